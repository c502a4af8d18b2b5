"""Calibrating confidence for a snapshot to be: whose nearest-neighbour scores are taken, and how many.

Shape letters: N rows, Q queries, D dimension.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vitrine.indexer.snapshot.confidence import (Confidence, calibrate)
from vitrine.indexer.recipes import VectorIndex
from vitrine.indexer.products.table import (Table)
from vitrine.indexer.arrays import DoubleArray, Rows

QUERIES_MAX = 4000
# Where the catalogue is so large that a scan takes long, fewer are asked: 2,000 settle a level to 0.03.
QUERIES_MIN = 2000
VALUES_READ_MAX = 10**11
# Products of a category may have come and gone in so many cases before scores are calibrated anew.
COUNT_DRIFT_MAX = 0.02
# Rare categories are asked in full before frequent ones get more than their share.
QUERIES_EACH = 64
SEED = 5
_BLOCK_ROWS = 256


def calibrate_rows(vectors: np.ndarray[Any, Any], table: Table, index: VectorIndex) -> Confidence:
    """Return the confidence of live rows. vectors: (N, D), those of `index`."""
    live = ~table.deleted
    most = min(max(VALUES_READ_MAX // max(vectors.size, 1), QUERIES_MIN), QUERIES_MAX)
    rows = choose_queries(table.category_codes, np.flatnonzero(live), most)
    scores = nearest_scores(vectors, rows, live, index)
    kept = np.isfinite(scores)
    codes = table.category_codes[rows[kept]]
    return replace(calibrate(scores[kept], codes, table.categories), counts=_counts(table))


def still_holds(confidence: Confidence, table: Table) -> bool:
    """True when nearly as many live products of each category are there as when it was calibrated."""
    now, then = _counts(table), confidence.counts
    moved = sum(abs(now.get(name, 0) - then.get(name, 0)) for name in {*now, *then})
    return moved <= COUNT_DRIFT_MAX * sum(then.values())


def _counts(table: Table) -> dict[str, int]:
    counts = np.bincount(table.category_codes[~table.deleted], minlength=len(table.categories))
    return dict(zip(table.categories, counts.tolist(), strict=True))


def choose_queries(codes: np.ndarray[Any, Any], rows: Rows, most: int = QUERIES_MAX) -> Rows:
    """Return at most `most` of the rows: up to QUERIES_EACH of every category, then at random."""
    shuffled = np.random.default_rng(SEED).permutation(rows)
    if len(rows) <= most:
        return np.sort(shuffled)
    order = np.argsort(codes[shuffled], kind="stable")
    sizes = np.bincount(codes[shuffled])
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(rows), np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(starts, sizes)
    first = shuffled[np.argsort(np.maximum(place - QUERIES_EACH, 0), kind="stable")]
    return np.sort(first[:most])


def nearest_scores(
    vectors: np.ndarray[Any, Any], rows: Rows, live: np.ndarray[Any, Any], index: VectorIndex
) -> DoubleArray:
    """Return (n,) the score of each row's nearest live neighbour, itself apart; -inf where there is none."""
    scores = np.full(len(rows), -np.inf)
    allowed = None if live.all() else live
    for start in range(0, len(rows), _BLOCK_ROWS):
        part = rows[start : start + _BLOCK_ROWS]
        found = index.search(np.asarray(vectors[part], np.float32), 2, allowed=allowed)
        others = np.where(found.rows == part[:, None], -np.inf, found.scores)
        scores[start : start + len(part)] = others.max(axis=1, initial=-np.inf)
    return scores
