"""The embedded vector store: the snapshot's own FAISS index in this process, with a scan of the uploads."""

from __future__ import annotations

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Mask
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.scoring import Neighbours, score_rows
from vitrine.service.queries.searcher import Filters, merge_top_k


class EmbeddedSearcher:
    """Search of the FAISS index that the state's snapshot has open."""

    name = "faiss"

    def search(
        self,
        state: CatalogueState,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask,
        exact: bool,
        filters: Filters | None = None,  # noqa: ARG002 (the mask decides)
    ) -> Neighbours:
        """Return the k most similar allowed rows, merged from the snapshot's index and the uploads."""
        base = state.segments.base_rows
        snapshot = state.snapshot
        nearest = snapshot.index.search(
            queries, k, allowed=_mask_or_none(allowed[:base]), exact=exact, tie_ranks=snapshot.table.id_rank
        )
        uploaded = base + np.flatnonzero(allowed[base:])
        if not len(uploaded):
            return nearest
        vectors = state.segments.uploads.vectors[uploaded - base]
        lists = [
            (np.concatenate([rows, uploaded]), np.concatenate([scores, score_rows(vectors, query)]))
            for query, rows, scores in zip(queries, nearest.rows, nearest.scores, strict=True)
        ]
        return merge_top_k(state, lists, k)

    def sync_changes(self, state: CatalogueState, folder: IndexFolder) -> None:
        """Do nothing: the state holds every change."""


EMBEDDED = EmbeddedSearcher()


class EmbeddedStore:
    """The store of the snapshot that the file `current` names."""

    def current_name(self, folder: IndexFolder) -> str | None:
        """Return the name in the file `current`, None without one."""
        return folder.current_name_or_none()

    def open_searcher(self, snapshot: Snapshot) -> EmbeddedSearcher:  # noqa: ARG002 (the state has it)
        """Return the shared searcher, which has no state."""
        return EMBEDDED

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _mask_or_none(allowed: Mask) -> Mask | None:
    """Return None for a mask that allows every row: a search without a selector is faster."""
    return None if allowed.all() else allowed
