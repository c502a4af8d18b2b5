"""The interface of a vector search backend: the methods that a view needs to search one catalogue state.

Shape letters: n rows of the state, D dimension, Q queries, K results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, Rows
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.scoring import Neighbours


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that every allowed row meets; a hint for a store that can filter by itself.

    The row mask decides. categories: lists of names; a product's category is in each of these lists. where:
    conditions on attributes, as in SearchOptions.
    """

    categories: tuple[tuple[str, ...], ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)


class Searcher(Protocol):
    """The search of one snapshot and the uploads since. Thread-safe."""

    name: str

    def search(
        self,
        state: CatalogueState,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask,
        exact: bool,
        filters: Filters | None,
    ) -> Neighbours:
        """Return the k most similar allowed rows, as View.search does.

        allowed: (n,) bool, decides which rows may be returned. filters: conditions that all of them meet, a
        hint. Raises StoreUnavailable.
        """

    def sync_changes(self, state: CatalogueState, folder: IndexFolder) -> None:
        """Write the changes of the state into the store. Called at intervals. Raises StoreUnavailable."""


def merge_top_k(state: CatalogueState, lists: Iterable[tuple[Rows, FloatVector]], k: int) -> Neighbours:
    """Return the k best of each query's candidates (rows, scores), equal scores ordered by id.

    lists: one (rows, scores) for each query; each holds at least K candidates, K being the same for all.
    """
    best = []
    for rows, scores in lists:
        order = sorted(range(len(rows)), key=lambda i: (-scores[i], state.segments.id_at(int(rows[i]))))[:k]
        best.append((rows[order], scores[order]))
    return Neighbours(
        scores=np.array([scores for _, scores in best], np.float32).reshape(len(best), -1),
        rows=np.array([rows for rows, _ in best], np.int64).reshape(len(best), -1),
    )
