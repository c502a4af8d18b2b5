"""An opened vector index: k hits for each query among the allowed rows, if k exist.

The faiss index returns candidates; they are scored again with the vectors of the snapshot. The cheapest
search strategy is chosen for each query by its measured costs: see `costs`. The result of a filtered index
search is used only if it holds enough allowed rows. If a filter excludes the neighbourhood of a query, the
codes of the allowed rows are searched instead, so that the recall does not depend on what a filter excludes.
Shape letters: N rows, Q queries, K results, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, Rows, StoredVectors
from vitrine.indexer.errors import QueryError, SnapshotCorrupt
from vitrine.indexer.recipes.costs import Costs, overfetch_count
from vitrine.indexer.recipes.engine import Engine, open_index
from vitrine.indexer.recipes.sketch import SKETCH, Sketch
from vitrine.indexer.vectors.scoring import (
    Neighbours,
    score_subset,
    search_all,
    search_rows,
    stack_neighbours,
    top_k,
)

# All answers of up to this many hits have the same candidates, so that a longer one begins with a shorter
# one.
K_BUCKETS = (16, 64, 256, 1024, 4096)


class VectorIndex:
    """A faiss index and the vectors it was built from. Thread-safe: search parameters go with each call."""

    def __init__(
        self,
        engine: Engine,
        vectors: StoredVectors,
        parameters: Mapping[str, Any],
        sketch: Sketch | None = None,
    ) -> None:
        """Use the parameters that build_index reported.

        vectors: (N, D) unit rows, row i of the index. Raises SnapshotCorrupt if a parameter is missing.
        """
        self.engine = engine
        self.parameters = dict(parameters)
        # A plain view: each access to a memmap costs more.
        self._vectors = cast(StoredVectors, np.asarray(vectors))
        self._sketch = sketch
        try:
            self._is_flat = parameters["family"] == "flat"
            counts = parameters.get("widths") or default_candidate_counts(parameters)
            self._candidate_counts = [int(count) for count in counts]
            self._effort = float(parameters["effort"])
            self._costs = Costs.from_parameters(parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotCorrupt(
                f"the recipe of the snapshot lacks a search parameter ({error!r}): build again"
            ) from None

    @classmethod
    def open(cls, path: Path, vectors: StoredVectors, parameters: Mapping[str, Any]) -> VectorIndex:
        """Open an index file and its sketches, memory-mapped if possible. Raises SnapshotCorrupt."""
        sketch_path = path.with_name(SKETCH) if parameters.get("sketched") else None
        sketch = Sketch.open(sketch_path, vectors.shape) if sketch_path else None
        return cls(Engine(open_index(path)), vectors, parameters, sketch)

    @property
    def ntotal(self) -> int:
        """The number of rows in the index file, N."""
        return self.engine.ntotal

    @property
    def dimension(self) -> int:
        """The dimension of the vectors in the index file, D."""
        return self.engine.dimension

    @property
    def sketch_bytes(self) -> int:
        """The size of the sketches in bytes; 0 without sketches."""
        return 0 if self._sketch is None else self._sketch.nbytes

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask | None = None,
        exact: bool = False,
        tie_ranks: Rows | None = None,
    ) -> Neighbours:
        """Return the k most similar allowed rows for each query.

        queries: (Q, D) float32, unit rows. allowed: (N,) bool, default all. exact: compare the vectors
        themselves instead of using the index. tie_ranks: (N,) order of rows with equal scores, default row
        number. Raises QueryError if queries is not (Q, D), not finite or not of unit length.
        """
        queries = validate_queries(queries, self.dimension)
        count = len(self._vectors) if allowed is None else int(np.count_nonzero(allowed))
        mask = None if count == len(self._vectors) else allowed
        k = min(k, count)
        candidates = min(self._candidate_count(k), count)
        if exact or self._is_flat or candidates >= count:
            return self._search_exact(queries, k, mask, count, tie_ranks)
        strategy = self._costs.cheapest(self.ntotal, count, candidates, self._effort)
        if strategy in ("rows", "scan", "sketch"):
            return self._search_exact(queries, k, mask, count, tie_ranks)
        candidate_rows: list[Rows | None] = [None] * len(queries)
        if strategy == "index":
            candidate_rows = self._search_index(queries, candidates, mask, count)
        results = []
        for query, rows in zip(queries, candidate_rows, strict=True):
            if rows is None:
                rows = self._search_without_index(query, candidates, mask, count)
            results.append(top_k(rows, score_subset(self._vectors, rows, query), k, tie_ranks))
        return stack_neighbours(results, k)

    def _candidate_count(self, k: int) -> int:
        """Return the number of candidates to score for an answer of k hits."""
        counts = (count for size, count in zip(K_BUCKETS, self._candidate_counts, strict=True) if k <= size)
        return next(counts, len(self._vectors))

    def _search_exact(
        self, queries: FloatMatrix, k: int, mask: Mask | None, count: int, tie_ranks: Rows | None
    ) -> Neighbours:
        """Search by the cheapest exact strategy. count: the number of allowed rows."""
        strategy = self._costs.cheapest_exact(len(self._vectors), count, len(queries), k)
        if strategy == "rows":
            rows = np.arange(len(self._vectors)) if mask is None else np.flatnonzero(mask)
            return search_rows(self._vectors, rows, queries, k, tie_ranks)
        if strategy == "scan" or not k:
            return search_all(self._vectors, queries, k, mask, tie_ranks)
        results = []
        for query in queries:
            rows = self._select_by_sketch(query, k, mask, count)
            results.append(top_k(rows, score_subset(self._vectors, rows, query), k, tie_ranks))
        return stack_neighbours(results, k)

    def _select_by_sketch(self, query: FloatVector, k: int, mask: Mask | None, count: int) -> Rows:
        """Return the rows that sketches cannot exclude from the k best; all allowed rows without sketches."""
        if self._sketch is None:
            return np.arange(count) if mask is None else np.flatnonzero(mask)
        allowed_only = self._costs.prefers_allowed_sketches(len(self._vectors), count)
        return self._sketch.select_candidates(self._vectors, query, k, mask, allowed_only)

    def _search_index(
        self, queries: FloatMatrix, candidates: int, mask: Mask | None, count: int
    ) -> list[Rows | None]:
        """Return the allowed rows of an index search for each query; None if these are too few."""
        requested = overfetch_count(self.ntotal, count, candidates)
        results = self.engine.search(queries, requested, int(requested * self._effort) + 1)
        allowed = [rows if mask is None else rows[mask[rows]][:candidates] for rows in results]
        return [rows if len(rows) == candidates else None for rows in allowed]

    def _search_without_index(
        self, query: FloatVector, candidates: int, mask: Mask | None, count: int
    ) -> Rows:
        """Return the best allowed rows by their codes, or a superset of the best if that is cheaper."""
        mask = np.ones(self.ntotal, bool) if mask is None else mask
        strategy = self._costs.cheapest(self.ntotal, count, candidates, None)
        if strategy == "codes":
            rows = self.engine.search_codes(query[None], candidates, mask)[0]
            if len(rows) == candidates:
                return rows
        elif strategy == "scan":
            best: Rows = search_all(self._vectors, query[None], candidates, mask).rows[0]
            return best
        elif strategy == "sketch":
            return self._select_by_sketch(query, candidates, mask, count)
        return np.flatnonzero(mask)


def default_candidate_counts(parameters: Mapping[str, Any]) -> list[int]:
    """Return the candidate counts of K_BUCKETS in proportion to the first, the only one that was tuned."""
    return [int(parameters["candidates"]) * size // K_BUCKETS[0] for size in K_BUCKETS]


def validate_queries(queries: FloatMatrix, dimension: int) -> FloatMatrix:
    """Return queries as (Q, D) float32 in C order. Raises QueryError unless they are finite unit rows."""
    validated: FloatMatrix = np.ascontiguousarray(queries, np.float32)
    if validated.ndim != 2 or validated.shape[1] != dimension:
        raise QueryError(f"a query vector has {dimension} numbers, not {validated.shape[-1]}", field="vector")
    # The squared length usually suffices: only finite values near unit length bring it near 1.
    with np.errstate(over="ignore", invalid="ignore"):
        squared_lengths = [float(query @ query) for query in validated]
    if not all(abs(length - 1.0) <= 0.02 for length in squared_lengths):
        if not np.isfinite(validated).all():
            raise QueryError("a query vector holds NaN or infinity", field="vector")
        raise QueryError("a query vector is not of unit length", field="vector")
    return validated
