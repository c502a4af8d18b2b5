"""The scoring function (cosine) and exact nearest-neighbour search with it.

Every score that leaves Vitrine comes from `score_rows`. It computes each row's score from that row and the
query alone, so equal vectors have bit-identical scores wherever they are stored. Blocked matrix products
round differently by block (equal rows may differ by an ulp); they only select candidates. Shape letters:
N rows, n selected rows, Q queries, K results, D dimension.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, RowMatrix, Rows, StoredVectors

# Bound on the difference between a BLAS product of unit vectors and `score_rows`: far above the 2e-6 measured
# at D = 8192.
ROUNDING = 1e-5
_BLOCK_VALUES = 2**22
_DECODED_BLOCK_VALUES = 2**18
_SCORED_BLOCK_ROWS = 256
_SMALL_MATRIX_VALUES = 2**22
_HALF_MAGNITUDE = np.int32(0x8FFFFFFF - 2**32)
_HALF_SCALE = np.float32(2.0**112)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The K nearest rows of each of Q queries.

    scores: (Q, K) float32 in [-1, 1], non-increasing. rows: (Q, K) int64, never -1. K is the lesser of the
    requested k and the number of allowed rows, and so the same for every query.
    """

    scores: FloatMatrix
    rows: RowMatrix


def to_float32(vectors: StoredVectors) -> FloatMatrix:
    """Return (n, D) vectors as contiguous float32; no copy if they already are."""
    if vectors.dtype == np.float32:
        return np.ascontiguousarray(vectors, np.float32)
    decoded = np.empty(vectors.shape, np.float32)
    step = max(_DECODED_BLOCK_VALUES // max(vectors.shape[1], 1), 1)
    for start in range(0, len(vectors), step):
        _decode_halves(vectors[start : start + step], decoded[start : start + step])
    return decoded


def _decode_halves(halves: StoredVectors, out: FloatMatrix) -> None:
    """Decode finite float16 values with integer operations: four times as fast as NumPy's cast.

    Shifted left by 13 bits, the sign, exponent and fraction of a float16 are at the positions of a float32's,
    with an exponent that is 112 too small. Subnormal float16 values are decoded correctly as well.
    """
    bits = out.view(np.int32)
    bits[:] = halves.view(np.int16)
    bits <<= 13
    bits &= _HALF_MAGNITUDE
    out *= _HALF_SCALE


def score_rows(vectors: FloatMatrix, query: FloatVector) -> FloatVector:
    """Return the cosine of each unit row with the unit query, clipped to [-1, 1].

    vectors: (n, D) float32, C order. query: (D,) float32. vecdot sums each row separately, in a fixed order.
    """
    scores: FloatVector = np.vecdot(vectors, query)
    return np.clip(scores, -1.0, 1.0, out=scores)


def score_subset(vectors: StoredVectors, rows: Rows, query: FloatVector) -> FloatVector:
    """Return (n,) scores of the given rows.

    Works in blocks of a few hundred rows, which fit in the CPU cache. Several blocks run in parallel threads,
    since reading scattered rows takes most of the time.
    """
    if len(rows) <= _SCORED_BLOCK_ROWS:
        return score_rows(to_float32(vectors[rows]), query)
    parts = [rows[start : start + _SCORED_BLOCK_ROWS] for start in range(0, len(rows), _SCORED_BLOCK_ROWS)]
    return np.concatenate(list(_thread_pool().map(lambda part: score_subset(vectors, part, query), parts)))


@cache
def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="scorer")


def top_k(rows: Rows, scores: FloatVector, k: int, tie_ranks: Rows | None = None) -> tuple[Rows, FloatVector]:
    """Return the k best (rows, scores), best first; equal scores by `tie_ranks`, (N,), else by row number."""
    order = np.lexsort((rows if tie_ranks is None else tie_ranks[rows], -scores))[:k]
    return rows[order], scores[order]


def search_rows(
    vectors: StoredVectors, rows: Rows, queries: FloatMatrix, k: int, tie_ranks: Rows | None = None
) -> Neighbours:
    """Return the exact k best among the given rows; reads only those. Cost: n x D for each query."""
    results = [top_k(rows, score_subset(vectors, rows, query), k, tie_ranks) for query in queries]
    return stack_neighbours(results, min(k, len(rows)))


def search_all(
    vectors: StoredVectors,
    queries: FloatMatrix,
    k: int,
    allowed: Mask | None = None,
    tie_ranks: Rows | None = None,
) -> Neighbours:
    """Return the exact k best of all allowed rows, in one pass over the vectors.

    allowed: (N,) bool, default all. tie_ranks: (N,) order of rows with equal scores, default row number.
    A matrix product selects candidates; `score_rows` ranks them.
    """
    count = len(vectors) if allowed is None else int(np.count_nonzero(allowed))
    k = min(k, count)
    if not k:
        return stack_neighbours([(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries], 0)
    is_single = len(queries) == 1
    if is_single and vectors.size <= _SMALL_MATRIX_VALUES:
        return stack_neighbours([_search_small(vectors, queries[0], k, allowed, tie_ranks)], k)
    pools = [_CandidatePool(k) for _ in queries]
    block_rows = max(_BLOCK_VALUES // vectors.shape[1], 1)
    if is_single and vectors.dtype == np.float32:
        block_rows = len(vectors)
    for start in range(0, len(vectors), block_rows):
        block = to_float32(vectors[start : start + block_rows])
        products = (block @ queries[0])[None] if is_single else queries @ block.T
        if allowed is not None:
            products[:, ~allowed[start : start + block_rows]] = -np.inf
        for pool, query_products in zip(pools, products, strict=True):
            pool.add(start, query_products)
    results = []
    for pool, query in zip(pools, queries, strict=True):
        rows = pool.rows()
        results.append(top_k(rows, score_subset(vectors, rows, query), k, tie_ranks))
    return stack_neighbours(results, k)


def stack_neighbours(results: list[tuple[Rows, FloatVector]], k: int) -> Neighbours:
    """Stack the (rows, scores) of single queries, k of each, into one result."""
    if len(results) == 1:
        return Neighbours(results[0][1][np.newaxis], results[0][0][np.newaxis])
    rows = np.array([rows for rows, _ in results], np.int64).reshape(len(results), k)
    scores = np.array([scores for _, scores in results], np.float32).reshape(len(results), k)
    return Neighbours(scores, rows)


def _search_small(
    vectors: StoredVectors, query: FloatVector, k: int, allowed: Mask | None, tie_ranks: Rows | None
) -> tuple[Rows, FloatVector]:
    """Return the exact k best of few vectors: scoring all is faster than a multithreaded matrix product."""
    scores = score_rows(to_float32(vectors), query)
    rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    scores = scores[rows]
    if len(rows) > 4 * k:
        candidates = np.flatnonzero(scores >= _kth_best(scores, k))
        rows, scores = rows[candidates], scores[candidates]
    return top_k(rows, scores, k, tie_ranks)


class _CandidatePool:
    """Top-k candidates of one query, collected block by block from matrix products."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._min_product = -2.0
        self._rows: list[Rows] = []
        self._products: list[FloatVector] = []

    def add(self, start: int, products: FloatVector) -> None:
        """Add the rows of a block that reach the k-th best product of any block, less ROUNDING.

        start: the first row of the block.
        """
        if len(products) > 2 * self._k:
            self._min_product = max(self._min_product, _kth_best(products, self._k) - ROUNDING)
        candidates = np.flatnonzero(products >= self._min_product)
        self._rows.append(candidates + start)
        self._products.append(products[candidates])

    def rows(self) -> Rows:
        """Return every row whose score may be among the k best, given ROUNDING."""
        rows, products = np.concatenate(self._rows), np.concatenate(self._products)
        return rows[products >= _kth_best(products, self._k) - ROUNDING]


def _kth_best(products: FloatVector, k: int) -> float:
    return float(np.partition(products, len(products) - k)[len(products) - k])
