"""The nearest neighbours of many rows at once. Knows vectors and row numbers, not products.

Blocked matrix products propose, `score_rows` decides, as everywhere. Rows that both ask and may be found meet
once: each product of two blocks serves the rows of both, which halves the work. Shape letters: n rows, Q rows
that ask, M rows that may be found, K neighbours, A and B rows of two blocks, D dimension, c candidates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrine.indexer.arrays import FloatArray, FloatMatrix, FloatVector, Mask, Rows
from vitrine.indexer.vectors.ranking import Hits
from vitrine.indexer.vectors.scoring import ROUNDING, best_of, score_rows

Read = Callable[[Rows], FloatMatrix]

BLOCK_ROWS = 4096
# Past so many candidates, those of all blocks are not held at once and every product is made twice.
HELD_MAX = 2**26
# A row's candidates are few more than K, unless that many tie within rounding; then scores decide early.
_SURPLUS = 256
_SAMPLE_COLUMNS = 1024
_COMPARED_NUMBERS = 2**18
_NOWHERE = -2.0


@dataclass(frozen=True)
class Question:
    """Which rows ask, (Q,), which may be found, (M,), and how many each wants. No row finds itself.

    ties: (n,) how equal scores are ordered. least: a score that must be reached; what lies below may be left
    out and may not.
    """

    asking: Rows
    findable: Rows
    k: int
    ties: Rows
    least: float | None = None


def nearest_to_each(
    read: Read, question: Question, *, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, Hits]]:
    """Yield each asking row with its best K findable rows, best first; all are scored by `score_rows`.

    read: vectors of rows, (len(rows), D) float32, unit. Rows that are findable come first, otherwise in the
    order of `asking`. Holds a few blocks of vectors and products, and up to HELD_MAX candidates.
    """
    findable = np.isin(question.asking, question.findable)
    both, only_asking = question.asking[findable], question.asking[~findable]
    only_found = question.findable[~np.isin(question.findable, both)]
    shared = len(both) * (question.k + 1) <= HELD_MAX
    twins = _Twins(read, question.findable, block_rows)
    pools = {start: _Pool(twins, question, part) for start, part in _blocks(both, block_rows)}
    for start, asking in _blocks(both, block_rows):
        pool, vectors = pools.pop(start), read(asking)
        for other, found in _blocks(both, block_rows):
            if other < start and shared:
                continue
            near = vectors @ (vectors if other == start else read(found)).T
            if other == start:
                np.fill_diagonal(near, _NOWHERE)
            pool.add(near, found)
            if other > start and shared:
                pools[other].add(near.T, asking)
        for _, found in _blocks(only_found, block_rows):
            pool.add(vectors @ read(found).T, found)
        yield from pool.settled(vectors)
    for _, asking in _blocks(only_asking, block_rows):
        pool, vectors = _Pool(twins, question, asking), read(asking)
        for _, found in _blocks(question.findable, block_rows):
            pool.add(vectors @ read(found).T, found)
        yield from pool.settled(vectors)


def _blocks(rows: Rows, size: int) -> Iterator[tuple[int, Rows]]:
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


class _Twins:
    """Which rows have the very same vector, found out when somebody asks."""

    def __init__(self, read: Read, rows: Rows, block_rows: int) -> None:
        self.read = read
        self._rows, self._block_rows = rows, block_rows

    @cached_property
    def codes(self) -> Rows:
        """(n,) numbers that are equal for rows with equal vectors."""
        codes = np.full(int(self._rows.max()) + 1, -1, np.int64)
        known: dict[bytes, int] = {}
        for _, rows in _blocks(self._rows, self._block_rows):
            for row, vector in zip(rows.tolist(), self.read(rows), strict=True):
                digest = hashlib.blake2b(vector.tobytes(), digest_size=16).digest()
                codes[row] = known.setdefault(digest, row)
        return codes


class _Pool:
    """Who may be among the K best of each of A rows, gathered from the products of block after block."""

    def __init__(self, twins: _Twins, question: Question, asking: Rows) -> None:
        self._read, self._twins, self._question, self._asking = twins.read, twins, question, asking
        least = _NOWHERE if question.least is None else question.least - ROUNDING
        self._floors = np.full(len(asking), least, np.float32)
        self._owners = np.empty(0, np.int32)
        self._rows = np.empty(0, np.int64)
        self._products = np.empty(0, np.float32)

    def add(self, near: FloatArray, found: Rows) -> None:
        """Take the products (A, B) with the rows `found`; what is marked as nowhere is passed over."""
        k = self._question.k
        if not len(self._owners) and near.shape[1] > 4 * k:
            sample = near[:, : max(_SAMPLE_COLUMNS, 4 * k)]
            place = sample.shape[1] - k
            kth = np.partition(sample, place, axis=1)[:, place] - np.float32(ROUNDING)
            self._floors = np.maximum(self._floors, kth)
        owners, places = _reaching(near, np.maximum(self._floors, _NOWHERE + 0.5))
        if len(owners):
            self._owners = np.concatenate([self._owners, owners.astype(np.int32)])
            self._rows = np.concatenate([self._rows, found[places]])
            self._products = np.concatenate([self._products, near[owners, places]])
            self._thin_out()

    def _thin_out(self) -> None:
        """Drop what cannot be among the K best any more, and raise the floors to what must be reached."""
        k = self._question.k
        order = np.lexsort((-self._products, self._owners))
        self._owners, self._rows = self._owners[order], self._rows[order]
        self._products = self._products[order]
        firsts = np.searchsorted(self._owners, np.arange(len(self._asking) + 1))
        full = np.flatnonzero(np.diff(firsts) >= k)
        kth = self._products[firsts[full] + k - 1] - np.float32(ROUNDING)
        self._floors[full] = np.maximum(self._floors[full], kth)
        self._keep(self._products >= self._floors[self._owners])
        counts = np.bincount(self._owners, minlength=len(self._asking))
        crowded = counts > 2 * k + _SURPLUS
        if crowded.any():
            self._decide(crowded, np.cumsum(counts) - counts, counts)

    def _decide(self, crowded: Mask, firsts: Rows, counts: Rows) -> None:
        """Keep only the K best by score of rows with many that tie, of which the products say too little."""
        owners = np.flatnonzero(crowded)
        vectors = self._read(self._asking[owners])
        best = [
            self._best(self._rows[first : first + count], vector)
            for first, count, vector in zip(firsts[owners], counts[owners], vectors, strict=True)
        ]
        self._keep(~crowded[self._owners])
        kept = np.repeat(owners, [len(rows) for rows, _ in best]).astype(np.int32)
        self._owners = np.concatenate([self._owners, kept])
        self._rows = np.concatenate([self._rows, *(rows for rows, _ in best)])
        self._products = np.concatenate([self._products, *(scores for _, scores in best)])

    def _keep(self, kept: Mask) -> None:
        self._owners, self._rows = self._owners[kept], self._rows[kept]
        self._products = self._products[kept]

    def _best(self, rows: Rows, vector: FloatVector) -> tuple[Rows, FloatVector]:
        scores = score_rows(self._read(rows), vector) if len(rows) <= _SURPLUS else self._scored(rows, vector)
        return best_of(rows, scores, self._question.k, self._question.ties)

    def _scored(self, rows: Rows, vector: FloatVector) -> FloatVector:
        """Score many rows, equal vectors once."""
        _, firsts, places = np.unique(self._twins.codes[rows], return_index=True, return_inverse=True)
        scores: FloatVector = score_rows(self._read(rows[firsts]), vector)[places]
        return scores

    def settled(self, vectors: FloatMatrix) -> Iterator[tuple[int, Hits]]:
        """Yield each row with its hits. vectors: (A, D)."""
        order = np.argsort(self._owners, kind="stable")
        firsts = np.searchsorted(self._owners[order], np.arange(len(self._asking) + 1))
        for owner, row in enumerate(self._asking.tolist()):
            candidates = self._rows[order[firsts[owner] : firsts[owner + 1]]]
            yield row, Hits(*self._best(candidates, vectors[owner]))


def _reaching(near: FloatArray, floors: FloatVector) -> tuple[Rows, Rows]:
    """Return (c,) owners and (c,) places of the products that reach the floor of their owner, row by row.

    A part at a time, whichever way the products lie in memory, so that each part is compared while in cache.
    """
    flipped = not near.flags.c_contiguous
    lying, bounds = (near.T, floors[np.newaxis]) if flipped else (near, floors[:, np.newaxis])
    step = max(_COMPARED_NUMBERS // max(lying.shape[1], 1), 1)
    parts = []
    for start in range(0, len(lying), step):
        part = lying[start : start + step]
        reaches = part >= (bounds if flipped else bounds[start : start + step])
        parts.append(np.flatnonzero(reaches) + start * lying.shape[1])
    places = np.concatenate(parts) if parts else np.empty(0, np.int64)
    first, second = np.divmod(places, max(lying.shape[1], 1))
    return (second, first) if flipped else (first, second)
