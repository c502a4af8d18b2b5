"""Typed access to faiss: files that plain faiss reads, searches without -1, and errors in plain words."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pytest

from tests.indexer.recipes.builds import VECTORS, D
from vitrine.indexer.errors import RecipeImpossible, SnapshotCorrupt
from vitrine.indexer.recipes import RecipeRequest, build_index
from vitrine.indexer.recipes.engine import (
    Engine,
    make_index,
    open_index,
    read_index,
    train_index,
    write_index,
)


@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "HNSW16_SQ8", "SVD32,SQ8", "PCA16,Flat"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_plain_faiss_reads_every_index(recipe: str, dtype: type, tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    report = build_index(VECTORS[:900].astype(dtype), RecipeRequest(recipe), path)
    index = faiss.read_index(str(path))
    assert (index.ntotal, index.d) == (900, D)
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    assert index.search(VECTORS[:3], 5)[1].shape == (3, 5)
    assert json.loads(json.dumps(report.parameters)) == report.parameters


@pytest.mark.parametrize(
    ("factory", "family", "nlist"),
    [("Flat", "flat", 0), ("HNSW16", "graph", 0), ("IVF8,SQ8", "lists", 8), ("SQ8", "codes", 0)],
)
def test_a_search_returns_rows_that_exist_however_many_are_requested(
    factory: str, family: str, nlist: int
) -> None:
    index = make_index(D, factory)
    train_index(index, VECTORS[:500], factory)
    index.add(VECTORS[:20])
    engine = Engine(index)
    assert (engine.family, engine.nlist, engine.ntotal, engine.dimension) == (family, nlist, 20, D)
    for rows in engine.search(VECTORS[:3], 50, 1000):
        assert 0 < len(rows) <= 20
        assert set(rows.tolist()) <= set(range(20))
    allowed = np.arange(20) % 2 == 0
    assert engine.has_selectors
    assert sorted(engine.search_codes(VECTORS[:1], 50, allowed)[0].tolist()) == list(range(0, 20, 2))


def test_a_projection_in_front_of_an_index_is_applied() -> None:
    directions = np.eye(D, dtype=np.float32)[:32]
    index = make_index(D, "Flat", directions)
    index.add(VECTORS[:50])
    best = int(np.argmax(VECTORS[:50, :32] @ VECTORS[7, :32]))
    assert Engine(index).search(VECTORS[7:8], 1, 1)[0].tolist() == [best]
    assert Engine(index).family == "codes"


def test_too_small_a_sample_is_refused_in_plain_words() -> None:
    with pytest.raises(RecipeImpossible, match=r"^recipe 'PQ8' cannot learn from 50 products: (?!.*\.cpp)"):
        train_index(make_index(D, "PQ8"), VECTORS[:50], "PQ8")


def test_unreadable_files_and_other_metrics_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    path.write_bytes(b"not an index")
    for read in (open_index, read_index):
        with pytest.raises(SnapshotCorrupt, match="not a readable faiss index"):
            read(path)
    write_index(faiss.IndexFlatL2(D), path)
    with pytest.raises(SnapshotCorrupt, match="does not compare by inner product: build again"):
        open_index(path)


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"index\.faiss"):
        write_index(make_index(D, "Flat"), tmp_path / "missing" / "index.faiss")
