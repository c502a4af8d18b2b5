"""Exact k-nearest-neighbour join: the K nearest candidate rows of every query row.

Blocked matrix products select candidates and `score_rows` ranks them, as in `scoring`. The product of two
blocks of rows that are both queries and candidates serves the queries of both blocks, which halves the work.
Shape letters: n rows, Q query rows, M candidate rows, K neighbours, A and B rows of two blocks, D dimension,
c entries of a pool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrine.indexer.arrays import BLOCK_ROWS, FloatArray, FloatMatrix, FloatVector, Mask, Rows
from vitrine.indexer.vectors.ranking import Hits, VectorReader
from vitrine.indexer.vectors.scoring import ROUNDING, score_rows, top_k

# Past so many pool entries, those of all blocks are not held at once and every product is computed twice.
POOL_ENTRIES_MAX = 2**26
# A pool holds few more than K entries of a query. More than this surplus means that many tie within
# rounding; they are then ranked by score early.
_SURPLUS = 256
_SAMPLE_COLUMNS = 1024
_COMPARED_VALUES = 2**18
# Below every product of unit vectors: marks a pair that is not to be considered.
_EXCLUDED = -2.0


@dataclass(frozen=True)
class KnnQuery:
    """Query rows (Q,), candidate rows (M,) and the number K of neighbours.

    A row is never its own neighbour. tie_ranks: (n,) order of rows with equal scores. min_score: neighbours
    below it may be left out, but need not be.
    """

    queries: Rows
    candidates: Rows
    k: int
    tie_ranks: Rows
    min_score: float | None = None


def knn_join(
    read_vectors: VectorReader, query: KnnQuery, *, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, Hits]]:
    """Yield each query row with its K best candidate rows, best first, scored by `score_rows`.

    read_vectors: returns the (len(rows), D) float32 unit vectors of rows. Query rows that are candidates too
    come first, otherwise in the order of `queries`. Memory: a few blocks of vectors and products, and up to
    POOL_ENTRIES_MAX pool entries.
    """
    is_candidate = np.isin(query.queries, query.candidates)
    shared, queries_only = query.queries[is_candidate], query.queries[~is_candidate]
    candidates_only = query.candidates[~np.isin(query.candidates, shared)]
    is_symmetric = len(shared) * (query.k + 1) <= POOL_ENTRIES_MAX
    identities = _VectorIdentities(read_vectors, query.candidates, block_rows)
    pools = {start: _CandidatePool(identities, query, rows) for start, rows in _blocks(shared, block_rows)}
    for start, query_rows in _blocks(shared, block_rows):
        pool, vectors = pools.pop(start), read_vectors(query_rows)
        for other, rows in _blocks(shared, block_rows):
            if other < start and is_symmetric:
                continue
            products = vectors @ (vectors if other == start else read_vectors(rows)).T
            if other == start:
                np.fill_diagonal(products, _EXCLUDED)
            pool.add(products, rows)
            if other > start and is_symmetric:
                pools[other].add(products.T, query_rows)
        for _, rows in _blocks(candidates_only, block_rows):
            pool.add(vectors @ read_vectors(rows).T, rows)
        yield from pool.results(vectors)
    for _, query_rows in _blocks(queries_only, block_rows):
        pool, vectors = _CandidatePool(identities, query, query_rows), read_vectors(query_rows)
        for _, rows in _blocks(query.candidates, block_rows):
            pool.add(vectors @ read_vectors(rows).T, rows)
        yield from pool.results(vectors)


def _blocks(rows: Rows, size: int) -> Iterator[tuple[int, Rows]]:
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


class _VectorIdentities:
    """Codes that are equal for rows with identical vectors, computed on first use."""

    def __init__(self, read_vectors: VectorReader, rows: Rows, block_rows: int) -> None:
        self.read_vectors = read_vectors
        self._rows, self._block_rows = rows, block_rows

    @cached_property
    def codes(self) -> Rows:
        """(n,) code of each row's vector, by row."""
        codes = np.full(int(self._rows.max()) + 1, -1, np.int64)
        first_rows: dict[bytes, int] = {}
        for _, rows in _blocks(self._rows, self._block_rows):
            for row, vector in zip(rows.tolist(), self.read_vectors(rows), strict=True):
                digest = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
                codes[row] = first_rows.setdefault(digest, row)
        return codes


class _CandidatePool:
    """Top-K candidates for A queries, collected block by block from matrix products.

    Three parallel arrays of entries: the query (its position among the A), the candidate row, the product.
    """

    def __init__(self, identities: _VectorIdentities, query: KnnQuery, query_rows: Rows) -> None:
        self._read_vectors, self._identities = identities.read_vectors, identities
        self._query, self._query_rows = query, query_rows
        min_product = _EXCLUDED if query.min_score is None else query.min_score - ROUNDING
        # (A,) products below which a candidate cannot be among the K best.
        self._thresholds = np.full(len(query_rows), min_product, np.float32)
        self._queries = np.empty(0, np.int32)
        self._rows = np.empty(0, np.int64)
        self._products = np.empty(0, np.float32)

    def add(self, products: FloatArray, rows: Rows) -> None:
        """Add the candidates of a block. products: (A, B), _EXCLUDED for a pair to skip. rows: (B,)."""
        k = self._query.k
        if not len(self._queries) and products.shape[1] > 4 * k:
            sample = products[:, : max(_SAMPLE_COLUMNS, 4 * k)]
            kth_column = sample.shape[1] - k
            kth = np.partition(sample, kth_column, axis=1)[:, kth_column] - np.float32(ROUNDING)
            self._thresholds = np.maximum(self._thresholds, kth)
        queries, columns = _select_reaching(products, np.maximum(self._thresholds, _EXCLUDED + 0.5))
        if len(queries):
            self._queries = np.concatenate([self._queries, queries.astype(np.int32)])
            self._rows = np.concatenate([self._rows, rows[columns]])
            self._products = np.concatenate([self._products, products[queries, columns]])
            self._prune()

    def _prune(self) -> None:
        """Drop the entries that cannot be among the K best any more, and raise the thresholds."""
        k = self._query.k
        order = np.lexsort((-self._products, self._queries))
        self._queries, self._rows = self._queries[order], self._rows[order]
        self._products = self._products[order]
        starts = np.searchsorted(self._queries, np.arange(len(self._query_rows) + 1))
        full = np.flatnonzero(np.diff(starts) >= k)
        kth = self._products[starts[full] + k - 1] - np.float32(ROUNDING)
        self._thresholds[full] = np.maximum(self._thresholds[full], kth)
        self._filter(self._products >= self._thresholds[self._queries])
        counts = np.bincount(self._queries, minlength=len(self._query_rows))
        overfull = counts > 2 * k + _SURPLUS
        if overfull.any():
            self._rank_early(overfull, np.cumsum(counts) - counts, counts)

    def _rank_early(self, overfull: Mask, starts: Rows, counts: Rows) -> None:
        """Keep only the K best by score of queries with many ties, which products cannot separate.

        overfull: (A,). starts, counts: (A,) the entries of each query.
        """
        queries = np.flatnonzero(overfull)
        vectors = self._read_vectors(self._query_rows[queries])
        best = [
            self._top_k(self._rows[start : start + count], vector)
            for start, count, vector in zip(starts[queries], counts[queries], vectors, strict=True)
        ]
        self._filter(~overfull[self._queries])
        ranked = np.repeat(queries, [len(rows) for rows, _ in best]).astype(np.int32)
        self._queries = np.concatenate([self._queries, ranked])
        self._rows = np.concatenate([self._rows, *(rows for rows, _ in best)])
        self._products = np.concatenate([self._products, *(scores for _, scores in best)])

    def _filter(self, mask: Mask) -> None:
        self._queries, self._rows = self._queries[mask], self._rows[mask]
        self._products = self._products[mask]

    def _top_k(self, rows: Rows, vector: FloatVector) -> tuple[Rows, FloatVector]:
        if len(rows) <= _SURPLUS:
            scores = score_rows(self._read_vectors(rows), vector)
        else:
            scores = self._score_distinct(rows, vector)
        return top_k(rows, scores, self._query.k, self._query.tie_ranks)

    def _score_distinct(self, rows: Rows, vector: FloatVector) -> FloatVector:
        """Score many rows, each distinct vector once."""
        _, firsts, inverse = np.unique(self._identities.codes[rows], return_index=True, return_inverse=True)
        scores: FloatVector = score_rows(self._read_vectors(rows[firsts]), vector)[inverse]
        return scores

    def results(self, vectors: FloatMatrix) -> Iterator[tuple[int, Hits]]:
        """Yield each query row with its hits. vectors: (A, D) of the query rows."""
        order = np.argsort(self._queries, kind="stable")
        starts = np.searchsorted(self._queries[order], np.arange(len(self._query_rows) + 1))
        for query, row in enumerate(self._query_rows.tolist()):
            candidates = self._rows[order[starts[query] : starts[query + 1]]]
            yield row, Hits(*self._top_k(candidates, vectors[query]))


def _select_reaching(products: FloatArray, thresholds: FloatVector) -> tuple[Rows, Rows]:
    """Return (c,) row and (c,) column numbers of the products that reach the threshold of their row.

    products: (A, B), in C or Fortran order. thresholds: (A,). Compares blocks, in memory order, that fit in
    the CPU cache.
    """
    is_transposed = not products.flags.c_contiguous
    matrix = products.T if is_transposed else products
    limits = thresholds[np.newaxis] if is_transposed else thresholds[:, np.newaxis]
    step = max(_COMPARED_VALUES // max(matrix.shape[1], 1), 1)
    blocks = []
    for start in range(0, len(matrix), step):
        reaches = matrix[start : start + step] >= (limits if is_transposed else limits[start : start + step])
        blocks.append(np.flatnonzero(reaches) + start * matrix.shape[1])
    flat = np.concatenate(blocks) if blocks else np.empty(0, np.int64)
    first, second = np.divmod(flat, max(matrix.shape[1], 1))
    return (second, first) if is_transposed else (first, second)
