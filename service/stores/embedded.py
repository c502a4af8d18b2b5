"""The embedded store: the snapshot's own FAISS index in this process, uploads scanned beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Mask
from vitrine.indexer.recipes import Neighbours, score_rows
from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.service.queries.filters import Filters

if TYPE_CHECKING:
    from vitrine.service.queries.view import View


class EmbeddedSearcher:
    """Searches the index that a view's snapshot has open."""

    name = "faiss"

    def search(
        self,
        view: View,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask,
        exact: bool,
        filters: Filters | None = None,  # noqa: ARG002 (the mask says it all)
    ) -> Neighbours:
        """Return the k most similar allowed rows; the snapshot's index and the uploads answer as one."""
        base = view.segments.base_rows
        snapshot = view.snapshot
        found = snapshot.index.search(
            queries, k, allowed=_or_all(allowed[:base]), exact=exact, ties=snapshot.table.id_rank
        )
        uploaded = base + np.flatnonzero(allowed[base:])
        if not len(uploaded):
            return found
        vectors = view.segments.uploads.vectors[uploaded - base]
        merged = []
        for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
            candidates = np.concatenate([rows, uploaded])
            both = np.concatenate([scores, score_rows(vectors, query)])
            order = sorted(range(len(candidates)), key=lambda i: (-both[i], view.id_at(int(candidates[i]))))[
                :k
            ]
            merged.append((candidates[order], both[order]))
        return Neighbours(
            scores=np.array([scores for _, scores in merged], np.float32),
            rows=np.array([rows for rows, _ in merged], np.int64),
        )

    def keep_up(self, view: View, folder: IndexFolder) -> None:
        """Nothing to bring anywhere: the view holds every change."""


EMBEDDED = EmbeddedSearcher()


class EmbeddedStore:
    """Serves the snapshot that `current` names."""

    def live_name(self, folder: IndexFolder) -> str | None:
        """Return the snapshot that `current` names."""
        return folder.current_or_none()

    def attach(self, snapshot: Snapshot) -> EmbeddedSearcher:  # noqa: ARG002 (the view has it)
        """Return the one searcher."""
        return EMBEDDED

    def close(self) -> None:
        """Nothing is held."""


def _or_all(allowed: Mask) -> Mask | None:
    """Return None for a mask without a hole: searching without a selector is faster."""
    return None if allowed.all() else allowed
