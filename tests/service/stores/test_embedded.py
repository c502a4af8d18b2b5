"""The embedded store: the current snapshot, and uploads merged with the index."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.indexes import GridEmbedder
from tests.pictures import jpeg
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue
from vitrine.service.stores import open_store
from vitrine.service.stores.embedded import EMBEDDED, EmbeddedStore


def test_the_current_snapshot_is_the_one_of_the_index_folder(small_index: Path, tmp_path: Path) -> None:
    store = open_store("faiss")
    assert isinstance(store, EmbeddedStore)
    assert store.current_name(IndexFolder(small_index)) == IndexFolder(small_index).current_name()
    (tmp_path / "empty").mkdir()
    assert store.current_name(IndexFolder(tmp_path / "empty")) is None


def test_uploads_and_the_index_answer_together(small_index: Path) -> None:
    with Catalogue.open(small_index, embedder=GridEmbedder()) as catalogue:
        catalogue.add(jpeg(48, 32, 3), name="copy", category="y", id="copy")
        state = catalogue.view().state
        query = state.segments.vectors([3])
        for exact in (False, True):
            neighbours = EMBEDDED.search(state, query, 3, allowed=state.live, exact=exact)
            vectors = state.segments.vectors(np.arange(state.segments.n))
            expected = np.sort(vectors @ query[0])[::-1][:3]
            np.testing.assert_allclose(neighbours.scores[0], expected, atol=1e-5)
            assert state.ids(neighbours.rows[0])[:2] == ["copy", "p03"]
