"""Calibration of score confidence at build: a sample of rows and their nearest-neighbour scores.

Shape letters: N rows, n rows of the sample, D dimension.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleArray, Rows
from vitrine.indexer.products.table import Table
from vitrine.indexer.recipes import VectorIndex
from vitrine.indexer.snapshot.confidence import Confidence, calibrate
from vitrine.indexer.transform.choice import have_counts_drifted

QUERIES_MAX = 4000
# Large catalogues, where a scan takes long, use fewer queries: 2,000 determine a level to within 0.03.
QUERIES_MIN = 2000
VALUES_READ_MAX = 10**11
# Every category gets this many queries before frequent categories get more.
QUERIES_PER_CATEGORY = 64
SEED = 5
_BLOCK_ROWS = 256


def calibrate_confidence(vectors: np.ndarray[Any, Any], table: Table, index: VectorIndex) -> Confidence:
    """Fit the confidence of scores to the live rows. vectors: (N, D), those of `index`."""
    live = ~table.deleted
    query_count = min(max(VALUES_READ_MAX // max(vectors.size, 1), QUERIES_MIN), QUERIES_MAX)
    rows = sample_queries(table.category_codes, np.flatnonzero(live), query_count)
    scores = nearest_neighbour_scores(vectors, rows, live, index)
    has_neighbour = np.isfinite(scores)
    codes = table.category_codes[rows[has_neighbour]]
    confidence = calibrate(scores[has_neighbour], codes, table.categories)
    return replace(confidence, counts=_live_counts(table))


def is_calibration_current(confidence: Confidence, table: Table) -> bool:
    """Return True if the live products by category are nearly as many as at the calibration."""
    return not have_counts_drifted(confidence.counts, _live_counts(table))


def _live_counts(table: Table) -> dict[str, int]:
    counts = np.bincount(table.category_codes[~table.deleted], minlength=len(table.categories))
    return dict(zip(table.categories, counts.tolist(), strict=True))


def sample_queries(codes: np.ndarray[Any, Any], rows: Rows, count: int = QUERIES_MAX) -> Rows:
    """Return a sample of at most `count` rows, sorted.

    codes: (N,) category codes. rows: the rows to draw from. Each category gets up to QUERIES_PER_CATEGORY
    rows; the rest is drawn at random.
    """
    shuffled = np.random.default_rng(SEED).permutation(rows)
    if len(rows) <= count:
        return np.sort(shuffled)
    order = np.argsort(codes[shuffled], kind="stable")
    sizes = np.bincount(codes[shuffled])
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(rows), np.int64)  # of a row within its category
    rank[order] = np.arange(len(rows)) - np.repeat(starts, sizes)
    by_priority = shuffled[np.argsort(np.maximum(rank - QUERIES_PER_CATEGORY, 0), kind="stable")]
    return np.sort(by_priority[:count])


def nearest_neighbour_scores(
    vectors: np.ndarray[Any, Any], rows: Rows, live: np.ndarray[Any, Any], index: VectorIndex
) -> DoubleArray:
    """Return (n,) scores of the nearest live neighbour of each row, the row itself excluded.

    -inf for a row without a neighbour.
    """
    scores = np.full(len(rows), -np.inf)
    allowed = None if live.all() else live
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = rows[start : start + _BLOCK_ROWS]
        neighbours = index.search(np.asarray(vectors[block], np.float32), 2, allowed=allowed)
        others = np.where(neighbours.rows == block[:, None], -np.inf, neighbours.scores)
        scores[start : start + len(block)] = others.max(axis=1, initial=-np.inf)
    return scores
