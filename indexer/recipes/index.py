"""One opened index: answers queries over the rows allowed, always with k hits where k exist.

The faiss index proposes candidates; their scores are taken again from the snapshot's own vectors. A set of
allowed rows so small that reading it costs less than walking the index is scanned exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from indexer.errors import QueryError
from indexer.recipes.engine import faiss, open_index, select
from indexer.recipes.scoring import (
    FloatMatrix,
    Mask,
    Neighbours,
    RowMatrix,
    Rows,
    Vectors,
    best_of,
    neighbours_of,
    score_some,
    search_all,
    search_rows,
)


class VectorIndex:
    """A faiss index and the vectors it was made of. Thread-safe: parameters go with each call."""

    def __init__(self, index: Any, vectors: Vectors, parameters: Mapping[str, Any]) -> None:
        """parameters: what build_index reported. vectors: (N, D) unit rows, row i of the index."""
        self._index = index
        self._vectors = vectors
        self.parameters = dict(parameters)

    @classmethod
    def open(cls, path: Path, vectors: Vectors, parameters: Mapping[str, Any]) -> VectorIndex:
        """Open an index file, memory-mapped where faiss can. Raises SnapshotCorrupt."""
        return cls(open_index(path), vectors, parameters)

    @property
    def ntotal(self) -> int:
        """N, as the index file has it."""
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        """D, as the index file has it."""
        return int(self._index.d)

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask | None = None,
        exact: bool = False,
        ties: Rows | None = None,
    ) -> Neighbours:
        """Return the k most similar allowed rows for each query.

        queries: (Q, D) float32, unit rows. allowed: (N,) bool, default all. exact: read the vectors instead
        of walking the index. ties: (N,) the place of each row among equal scores, default its number. Raises
        QueryError when queries is not (Q, D), not finite or not of unit length.
        """
        queries = check_queries(queries, self.dimension)
        count = len(self._vectors) if allowed is None else int(np.count_nonzero(allowed))
        k = min(k, count)
        if k <= 0:
            return Neighbours(np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64))
        if exact or self._is_flat or self._is_small(count):
            return self._scan(queries, k, allowed, count, ties)
        found = []
        for query, proposed in zip(queries, self._propose(queries, self._breadth(k), allowed), strict=True):
            rows = proposed[proposed >= 0]
            if rows.size < k:
                part = self._scan(query[None], k, allowed, count, ties)
                found.append((part.rows[0], part.scores[0]))
            else:
                found.append(best_of(rows, score_some(self._vectors, rows, query), k, ties))
        return neighbours_of(found, k)

    @property
    def _is_flat(self) -> bool:
        return bool(self.parameters.get("family", "flat") == "flat")

    def _is_small(self, count: int) -> bool:
        return count <= int(self.parameters.get("exact_below", 0))

    def _breadth(self, k: int) -> int:
        """Return how many candidates to ask for: one number for all small k, so a top 5 begins a top 15."""
        breadth = int(self.parameters.get("rerank", 64))
        while breadth < 2 * k:
            breadth *= 4
        return min(breadth, self.ntotal)

    def _scan(
        self, queries: FloatMatrix, k: int, allowed: Mask | None, count: int, ties: Rows | None
    ) -> Neighbours:
        if allowed is not None and count < 0.4 * len(self._vectors):
            return search_rows(self._vectors, np.flatnonzero(allowed), queries, k, ties)
        return search_all(self._vectors, queries, k, allowed, ties)

    def _propose(self, queries: FloatMatrix, breadth: int, allowed: Mask | None) -> RowMatrix:
        effort = max(int(self.parameters.get("efSearch", 64)), breadth)
        parameters = faiss.SearchParametersHNSW(efSearch=effort, sel=select(allowed))
        rows: RowMatrix = self._index.search(queries, breadth, params=parameters)[1]
        return rows


def check_queries(queries: FloatMatrix, dimension: int) -> FloatMatrix:
    """Return queries as (Q, D) float32 in C order. Raises QueryError unless they are finite unit rows."""
    checked: FloatMatrix = np.ascontiguousarray(queries, np.float32)
    if checked.ndim != 2 or checked.shape[1] != dimension:
        raise QueryError(f"a query vector has {dimension} numbers, not {checked.shape[-1]}", field="vector")
    if not np.isfinite(checked).all():
        raise QueryError("a query vector holds NaN or infinity", field="vector")
    if not np.allclose(np.einsum("qd,qd->q", checked, checked), 1.0, atol=1e-2):
        raise QueryError("a query vector is not of unit length", field="vector")
    return checked
