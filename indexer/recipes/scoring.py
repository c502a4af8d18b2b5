"""How two vectors are compared: the one scoring function, and exact search with it.

Every score that leaves Vitrine comes from `score_rows`, whose answer for a row depends on that row and the
query alone, so that equal pictures tie to the last bit wherever they lie. Matrix products, whose blocking
makes equal rows differ by an ulp, only ever propose candidates. Shape letters: N rows, Q queries, K results,
D dimension, n asked rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.recipes.engine import faiss

FloatMatrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
FloatVector = np.ndarray[tuple[int], np.dtype[np.float32]]
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32] | np.dtype[np.float16]]
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
RowMatrix = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]

# How far a BLAS product of unit vectors may lie from `score_rows`: far above the 2e-6 seen at D = 8192.
ROUNDING = 1e-5
_BLOCK_ROWS = 8192
_SCORED_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The K best rows of each of Q queries.

    scores: (Q, K) float32 in [-1, 1], non-increasing. rows: (Q, K) int64, never -1. K is the number asked for
    or the number of rows allowed, whichever is less, and so the same for every query.
    """

    scores: FloatMatrix
    rows: RowMatrix


def to_float32(vectors: Vectors) -> FloatMatrix:
    """Return vectors (n, D) as contiguous float32; faiss decodes half floats faster than NumPy."""
    if vectors.dtype == np.float32:
        return np.ascontiguousarray(vectors, np.float32)
    halves = np.ascontiguousarray(vectors)
    codec = faiss.ScalarQuantizer(halves.shape[1], faiss.ScalarQuantizer.QT_fp16)
    decoded: FloatMatrix = codec.decode(halves.view(np.uint8))
    return decoded


def score_rows(vectors: FloatMatrix, query: FloatVector) -> FloatVector:
    """Return the cosine of each unit row with the unit query, clipped to [-1, 1].

    vectors: (n, D) float32, C order. query: (D,) float32. einsum sums each row by itself, in one fixed order.
    """
    scores: FloatVector = np.einsum("nd,d->n", vectors, query)
    return np.clip(scores, -1.0, 1.0, out=scores)


def best_of(rows: Rows, scores: FloatVector, k: int, ties: Rows | None = None) -> tuple[Rows, FloatVector]:
    """Return the k best (rows, scores), best first; equal scores by `ties`, (N,), else by row number."""
    order = np.lexsort((rows if ties is None else ties[rows], -scores))[:k]
    return rows[order], scores[order]


def score_some(vectors: Vectors, rows: Rows, query: FloatVector) -> FloatVector:
    """Return the scores of the rows named, (n,), reading them a few thousand at a time."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _SCORED_ROWS):
        part = slice(start, start + _SCORED_ROWS)
        scores[part] = score_rows(to_float32(vectors[rows[part]]), query)
    return scores


def search_rows(
    vectors: Vectors, rows: Rows, queries: FloatMatrix, k: int, ties: Rows | None = None
) -> Neighbours:
    """Return the exact k best among the rows named, by reading only those. Costs n x D for each query."""
    found = [best_of(rows, score_some(vectors, rows, query), k, ties) for query in queries]
    return neighbours_of(found, min(k, len(rows)))


def search_all(
    vectors: Vectors, queries: FloatMatrix, k: int, allowed: Mask | None = None, ties: Rows | None = None
) -> Neighbours:
    """Return the exact k best of all allowed rows, by one pass over the vectors.

    allowed: (N,) bool with at least one True, default all.
    """
    count = len(vectors) if allowed is None else int(np.count_nonzero(allowed))
    k = min(k, count)
    pools = [_Pool(k) for _ in queries]
    size = len(vectors) if len(queries) == 1 and vectors.dtype == np.float32 else _BLOCK_ROWS
    for start in range(0, len(vectors), size):
        block = to_float32(vectors[start : start + size])
        near = block @ queries[0][:, None] if len(queries) == 1 else block @ queries.T
        if allowed is not None:
            near[~allowed[start : start + size]] = -np.inf
        for pool, column in zip(pools, near.T, strict=True):
            pool.add(start, column)
    found = []
    for pool, query in zip(pools, queries, strict=True):
        rows = pool.rows()
        found.append(best_of(rows, score_some(vectors, rows, query), k, ties))
    return neighbours_of(found, k)


def neighbours_of(found: list[tuple[Rows, FloatVector]], k: int) -> Neighbours:
    """Stack the answers of single queries, each of k rows."""
    rows = np.array([each[0] for each in found], np.int64).reshape(len(found), k)
    scores = np.array([each[1] for each in found], np.float32).reshape(len(found), k)
    return Neighbours(scores, rows)


class _Pool:
    """Rows that may be among the k best of one query, from approximate scores of blocks of rows."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._floor = -np.inf
        self._rows: list[Rows] = []
        self._scores: list[np.ndarray[Any, Any]] = []

    def add(self, start: int, near: np.ndarray[Any, Any]) -> None:
        """Take the rows of a block that reach the k-th best so far, within rounding."""
        if len(near) > 4 * self._k:
            kth = np.partition(near, len(near) - self._k)[len(near) - self._k]
            self._floor = max(self._floor, float(kth) - ROUNDING)
        kept = np.flatnonzero(near >= max(self._floor, -2.0))
        self._rows.append(kept + start)
        self._scores.append(near[kept])

    def rows(self) -> Rows:
        """Return every row that rounding could have kept from the k best."""
        rows, scores = np.concatenate(self._rows), np.concatenate(self._scores)
        if len(scores) > self._k:
            kth = np.partition(scores, len(scores) - self._k)[len(scores) - self._k]
            rows = rows[scores >= kth - ROUNDING]
        return rows
