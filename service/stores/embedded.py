"""The embedded store: the snapshot's own FAISS index in this process, uploads scanned beside it."""

from __future__ import annotations

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Mask
from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.scoring import Neighbours, score_rows
from vitrine.service.queries.searcher import Filters, merge_top_k


class EmbeddedSearcher:
    """Searches the index that a view's snapshot has open."""

    name = "faiss"

    def search(
        self,
        state: CatalogueState,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask,
        exact: bool,
        filters: Filters | None = None,  # noqa: ARG002 (the mask says it all)
    ) -> Neighbours:
        """Return the k most similar allowed rows; the snapshot's index and the uploads answer as one."""
        base = state.segments.base_rows
        snapshot = state.snapshot
        found = snapshot.index.search(
            queries, k, allowed=_or_all(allowed[:base]), exact=exact, tie_ranks=snapshot.table.id_rank
        )
        uploaded = base + np.flatnonzero(allowed[base:])
        if not len(uploaded):
            return found
        vectors = state.segments.uploads.vectors[uploaded - base]
        lists = [
            (np.concatenate([rows, uploaded]), np.concatenate([scores, score_rows(vectors, query)]))
            for query, rows, scores in zip(queries, found.rows, found.scores, strict=True)
        ]
        return merge_top_k(state, lists, k)

    def sync_changes(self, state: CatalogueState, folder: IndexFolder) -> None:
        """Nothing to bring anywhere: the view holds every change."""


EMBEDDED = EmbeddedSearcher()


class EmbeddedStore:
    """Serves the snapshot that `current` names."""

    def current_name(self, folder: IndexFolder) -> str | None:
        """Return the snapshot that `current` names."""
        return folder.current_or_none()

    def open_searcher(self, snapshot: Snapshot) -> EmbeddedSearcher:  # noqa: ARG002 (the view has it)
        """Return the one searcher."""
        return EMBEDDED

    def close(self) -> None:
        """Nothing is held."""


def _or_all(allowed: Mask) -> Mask | None:
    """Return None for a mask without a hole: searching without a selector is faster."""
    return None if allowed.all() else allowed
