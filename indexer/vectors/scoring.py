"""How two vectors are compared: the one scoring function, and exact search with it.

Every score that leaves Vitrine comes from `score_rows`, whose answer for a row depends on that row and the
query alone, so that equal pictures tie to the last bit wherever they lie. Matrix products, whose blocking
makes equal rows differ by an ulp, only ever propose candidates. Shape letters: N rows, Q queries, K results,
D dimension, n asked rows.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, RowMatrix, Rows, StoredVectors

# How far a BLAS product of unit vectors may lie from `score_rows`: far above the 2e-6 seen at D = 8192.
ROUNDING = 1e-5
_BLOCK_NUMBERS = 2**22
_DECODED_NUMBERS = 2**18
_SCORED_ROWS = 256
_SMALL_NUMBERS = 2**22
_HALF_MAGNITUDE = np.int32(0x8FFFFFFF - 2**32)
_HALF_SCALE = np.float32(2.0**112)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The K best rows of each of Q queries.

    scores: (Q, K) float32 in [-1, 1], non-increasing. rows: (Q, K) int64, never -1. K is the number asked for
    or the number of rows allowed, whichever is less, and so the same for every query.
    """

    scores: FloatMatrix
    rows: RowMatrix


def to_float32(vectors: StoredVectors) -> FloatMatrix:
    """Return vectors (n, D) as contiguous float32; a view where they are that already."""
    if vectors.dtype == np.float32:
        return np.ascontiguousarray(vectors, np.float32)
    decoded = np.empty(vectors.shape, np.float32)
    step = max(_DECODED_NUMBERS // max(vectors.shape[1], 1), 1)
    for start in range(0, len(vectors), step):
        _decode_halves(vectors[start : start + step], decoded[start : start + step])
    return decoded


def _decode_halves(halves: StoredVectors, out: FloatMatrix) -> None:
    """Decode finite half floats bit by bit, four times as fast as a cast, which NumPy does one at a time.

    Moved 13 bits up, sign, exponent and fraction of a half are in the places of a float's, 112 short in the
    exponent; halves below the normal range come out right as well.
    """
    bits = out.view(np.int32)
    bits[:] = halves.view(np.int16)
    bits <<= 13
    bits &= _HALF_MAGNITUDE
    out *= _HALF_SCALE


def score_rows(vectors: FloatMatrix, query: FloatVector) -> FloatVector:
    """Return the cosine of each unit row with the unit query, clipped to [-1, 1].

    vectors: (n, D) float32, C order. query: (D,) float32. vecdot sums each row by itself, in one fixed order.
    """
    scores: FloatVector = np.vecdot(vectors, query)
    return np.clip(scores, -1.0, 1.0, out=scores)


def score_some(vectors: StoredVectors, rows: Rows, query: FloatVector) -> FloatVector:
    """Return the scores of the rows named, (n,), a few hundred at a time so that they stay in cache.

    Many rows are shared out among threads: reading them from where they lie is most of the work.
    """
    if len(rows) <= _SCORED_ROWS:
        return score_rows(to_float32(vectors[rows]), query)
    parts = [rows[start : start + _SCORED_ROWS] for start in range(0, len(rows), _SCORED_ROWS)]
    return np.concatenate(list(_scorers().map(lambda part: score_some(vectors, part, query), parts)))


@cache
def _scorers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="scorer")


def best_of(rows: Rows, scores: FloatVector, k: int, ties: Rows | None = None) -> tuple[Rows, FloatVector]:
    """Return the k best (rows, scores), best first; equal scores by `ties`, (N,), else by row number."""
    order = np.lexsort((rows if ties is None else ties[rows], -scores))[:k]
    return rows[order], scores[order]


def search_rows(
    vectors: StoredVectors, rows: Rows, queries: FloatMatrix, k: int, ties: Rows | None = None
) -> Neighbours:
    """Return the exact k best among the rows named, by reading only those. Costs n x D for each query."""
    found = [best_of(rows, score_some(vectors, rows, query), k, ties) for query in queries]
    return neighbours_of(found, min(k, len(rows)))


def search_all(
    vectors: StoredVectors,
    queries: FloatMatrix,
    k: int,
    allowed: Mask | None = None,
    ties: Rows | None = None,
) -> Neighbours:
    """Return the exact k best of all allowed rows, by one pass over the vectors.

    allowed: (N,) bool, default all. A matrix product finds who may be among the best; `score_rows` decides.
    """
    count = len(vectors) if allowed is None else int(np.count_nonzero(allowed))
    k = min(k, count)
    if not k:
        return neighbours_of([(np.empty(0, np.int64), np.empty(0, np.float32)) for _ in queries], 0)
    one = len(queries) == 1
    if one and vectors.size <= _SMALL_NUMBERS:
        return neighbours_of([_best_of_few(vectors, queries[0], k, allowed, ties)], k)
    pools = [_Pool(k) for _ in queries]
    size = len(vectors) if one and vectors.dtype == np.float32 else max(_BLOCK_NUMBERS // vectors.shape[1], 1)
    for start in range(0, len(vectors), size):
        block = to_float32(vectors[start : start + size])
        near = (block @ queries[0])[None] if one else queries @ block.T
        if allowed is not None:
            near[:, ~allowed[start : start + size]] = -np.inf
        for pool, products in zip(pools, near, strict=True):
            pool.add(start, products)
    found = []
    for pool, query in zip(pools, queries, strict=True):
        rows = pool.rows()
        found.append(best_of(rows, score_some(vectors, rows, query), k, ties))
    return neighbours_of(found, k)


def neighbours_of(found: list[tuple[Rows, FloatVector]], k: int) -> Neighbours:
    """Stack the answers of single queries, each of k rows."""
    if len(found) == 1:
        return Neighbours(found[0][1][np.newaxis], found[0][0][np.newaxis])
    rows = np.array([each[0] for each in found], np.int64).reshape(len(found), k)
    scores = np.array([each[1] for each in found], np.float32).reshape(len(found), k)
    return Neighbours(scores, rows)


def _best_of_few(
    vectors: StoredVectors, query: FloatVector, k: int, allowed: Mask | None, ties: Rows | None
) -> tuple[Rows, FloatVector]:
    """Return the exact k best where scoring all takes less than waking the threads of a matrix product."""
    scores = score_rows(to_float32(vectors), query)
    rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    scores = scores[rows]
    if len(rows) > 4 * k:
        kept = np.flatnonzero(scores >= _kth_best(scores, k))
        rows, scores = rows[kept], scores[kept]
    return best_of(rows, scores, k, ties)


class _Pool:
    """Rows that may be among the k best of one query, gathered from the products of block after block."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._floor = -2.0
        self._rows: list[Rows] = []
        self._products: list[np.ndarray[Any, Any]] = []

    def add(self, start: int, products: np.ndarray[Any, Any]) -> None:
        """Take the rows of a block that reach the k-th best of some block, within rounding."""
        if len(products) > 2 * self._k:
            self._floor = max(self._floor, _kth_best(products, self._k) - ROUNDING)
        kept = np.flatnonzero(products >= self._floor)
        self._rows.append(kept + start)
        self._products.append(products[kept])

    def rows(self) -> Rows:
        """Return every row that rounding could keep from the k best."""
        rows, products = np.concatenate(self._rows), np.concatenate(self._products)
        return rows[products >= _kth_best(products, self._k) - ROUNDING]


def _kth_best(products: np.ndarray[Any, Any], k: int) -> float:
    return float(np.partition(products, len(products) - k)[len(products) - k])
