"""One opened index: answers queries over the rows allowed, always with k hits where k exist.

The faiss index proposes candidates; their scores are taken again from the snapshot's own vectors. How the
candidates are found (by a walk, by reading the codes or the vectors of the allowed rows only, or by a pass
over all) is decided for each query by what it costs. A walk is believed only if enough of what it passed was
allowed: where the neighbourhood of a query was filtered away, the codes of the allowed rows are read instead,
so that recall does not depend on how a filter lies. Shape letters: N rows, Q queries, K results, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, Rows, StoredVectors
from vitrine.indexer.errors import QueryError, SnapshotCorrupt
from vitrine.indexer.recipes.costs import Costs, walk_width
from vitrine.indexer.recipes.engine import Engine, open_index
from vitrine.indexer.recipes.sketch import FILE as SKETCH
from vitrine.indexer.recipes.sketch import Sketch
from vitrine.indexer.vectors.scoring import (
    Neighbours,
    top_k,
    stack_neighbours,
    score_subset,
    search_all,
    search_rows,
)

# Answers of up to so many hits come of the same candidates, so that a shorter one begins a longer one.
BUCKETS = (16, 64, 256, 1024, 4096)


class VectorIndex:
    """A faiss index and the vectors it was made of. Thread-safe: parameters go with each call."""

    def __init__(
        self,
        engine: Engine,
        vectors: StoredVectors,
        parameters: Mapping[str, Any],
        sketch: Sketch | None = None,
    ) -> None:
        """parameters: what build_index reported. vectors: (N, D) unit rows, row i of the index.

        Raises SnapshotCorrupt for parameters of something else.
        """
        self.engine = engine
        self.parameters = dict(parameters)
        # A plain view: a memmap costs more at each access.
        self._vectors = cast(StoredVectors, np.asarray(vectors))
        self._sketch = sketch
        try:
            self._flat = parameters["family"] == "flat"
            self._widths = [int(width) for width in parameters.get("widths") or untuned_widths(parameters)]
            self._effort = float(parameters["effort"])
            self._costs = Costs.of(parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotCorrupt(f"the recipe lacks what a search needs to know: {error!r}") from None

    @classmethod
    def open(cls, path: Path, vectors: StoredVectors, parameters: Mapping[str, Any]) -> VectorIndex:
        """Open an index file, memory-mapped where faiss can, and its sketch. Raises SnapshotCorrupt."""
        sketched = path.with_name(SKETCH) if parameters.get("sketched") else None
        sketch = Sketch.open(sketched, vectors.shape) if sketched else None
        return cls(Engine(open_index(path)), vectors, parameters, sketch)

    @property
    def ntotal(self) -> int:
        """N, as the index file has it."""
        return self.engine.ntotal

    @property
    def dimension(self) -> int:
        """D, as the index file has it."""
        return self.engine.dimension

    @property
    def sketch_bytes(self) -> int:
        """How many bytes the sketch takes; 0 without one."""
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

        queries: (Q, D) float32, unit rows. allowed: (N,) bool, default all. exact: read the vectors instead
        of using the index. ties: (N,) the place of each row among equal scores, default its number. Raises
        QueryError when queries is not (Q, D), not finite or not of unit length.
        """
        queries = checked_queries(queries, self.dimension)
        count = len(self._vectors) if allowed is None else int(np.count_nonzero(allowed))
        mask = None if count == len(self._vectors) else allowed
        k = min(k, count)
        candidates = min(self._candidates_for(k), count)
        if exact or self._flat or candidates >= count:
            return self._scan(queries, k, mask, count, tie_ranks)
        way = self._costs.cheapest(self.ntotal, count, candidates, self._effort)
        if way in ("rows", "all", "sketch"):
            return self._scan(queries, k, mask, count, tie_ranks)
        proposed = self._walk(queries, candidates, mask, count) if way == "walk" else [None] * len(queries)
        found = []
        for query, rows in zip(queries, proposed, strict=True):
            if rows is None:
                rows = self._read(query, candidates, mask, count)
            found.append(top_k(rows, score_subset(self._vectors, rows, query), k, tie_ranks))
        return stack_neighbours(found, k)

    def _candidates_for(self, k: int) -> int:
        """Return how many rows to score for an answer of k."""
        fitting = (width for size, width in zip(BUCKETS, self._widths, strict=True) if k <= size)
        return next(fitting, len(self._vectors))

    def _scan(
        self, queries: FloatMatrix, k: int, mask: Mask | None, count: int, tie_ranks: Rows | None
    ) -> Neighbours:
        """Answer exactly, in the way that costs least."""
        way = self._costs.cheapest_exact(len(self._vectors), count, len(queries), k)
        if way == "rows":
            rows = np.arange(len(self._vectors)) if mask is None else np.flatnonzero(mask)
            return search_rows(self._vectors, rows, queries, k, tie_ranks)
        if way == "all" or not k:
            return search_all(self._vectors, queries, k, mask, tie_ranks)
        found = []
        for query in queries:
            rows = self._sift(query, k, mask, count)
            found.append(top_k(rows, score_subset(self._vectors, rows, query), k, tie_ranks))
        return stack_neighbours(found, k)

    def _sift(self, query: FloatVector, k: int, mask: Mask | None, count: int) -> Rows:
        """Return the rows that sketches leave, or all that are allowed where there are no sketches."""
        if self._sketch is None:
            return np.arange(count) if mask is None else np.flatnonzero(mask)
        apart = self._costs.picks(len(self._vectors), count)
        return self._sketch.candidates(self._vectors, query, k, mask, apart)

    def _walk(
        self, queries: FloatMatrix, candidates: int, mask: Mask | None, count: int
    ) -> list[Rows | None]:
        """Return the allowed rows of a walk for each query; None where too few of what it passed were."""
        width = walk_width(self.ntotal, count, candidates)
        proposed = self.engine.walk(queries, width, int(width * self._effort) + 1)
        kept = [rows if mask is None else rows[mask[rows]][:candidates] for rows in proposed]
        return [rows if len(rows) == candidates else None for rows in kept]

    def _read(self, query: FloatVector, candidates: int, mask: Mask | None, count: int) -> Rows:
        """Return the best allowed rows by their codes, or all that are allowed where that costs less."""
        mask = np.ones(self.ntotal, bool) if mask is None else mask
        way = self._costs.cheapest(self.ntotal, count, candidates, None)
        if way == "codes":
            rows = self.engine.read_codes(query[None], candidates, mask)[0]
            if len(rows) == candidates:
                return rows
        elif way == "all":
            best: Rows = search_all(self._vectors, query[None], candidates, mask).rows[0]
            return best
        elif way == "sketch":
            return self._sift(query, candidates, mask, count)
        return np.flatnonzero(mask)


def untuned_widths(parameters: Mapping[str, Any]) -> list[int]:
    """Return how many candidates each of BUCKETS has where only the first was tuned: in proportion to it."""
    return [int(parameters["candidates"]) * size // BUCKETS[0] for size in BUCKETS]


def checked_queries(queries: FloatMatrix, dimension: int) -> FloatMatrix:
    """Return queries as (Q, D) float32 in C order. Raises QueryError unless they are finite unit rows."""
    checked: FloatMatrix = np.ascontiguousarray(queries, np.float32)
    if checked.ndim != 2 or checked.shape[1] != dimension:
        raise QueryError(f"a query vector has {dimension} numbers, not {checked.shape[-1]}", field="vector")
    # One number tells nearly always: a query's squared length, which nothing but numbers near 1 brings to 1.
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = [float(query @ query) for query in checked]
    if not all(abs(length - 1.0) <= 0.02 for length in lengths):
        if not np.isfinite(checked).all():
            raise QueryError("a query vector holds NaN or infinity", field="vector")
        raise QueryError("a query vector is not of unit length", field="vector")
    return checked
