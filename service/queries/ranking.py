"""Stages that thin out or rearrange ranked hits. Each is pure, and what it keeps of the best m hits does not
change when more are given: a longer answer begins with the shorter one. Shape letters: m hits, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexer.confidence import Floats
from indexer.recipes import score_rows
from indexer.table import Codes, Rows
from indexer.transform import FloatMatrix, FloatVector

Vectors = Callable[[Rows], FloatMatrix]
# Unit vectors that are equal may have a cosine this far below 1.
_ULPS = 1e-6


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked rows and their scores, (m,) each, best first."""

    rows: Rows
    scores: FloatVector

    def __len__(self) -> int:
        """Return m."""
        return len(self.rows)

    def take(self, places: Rows) -> Hits:
        """Return the hits at these places, in that order."""
        return Hits(self.rows[places], self.scores[places])


def at_least(hits: Hits, values: FloatVector | Floats, least: float) -> Hits:
    """Keep the hits whose value, one of (m,), reaches `least`."""
    return hits.take(np.flatnonzero(values.astype(np.float64) >= least))


def first_of_group(hits: Hits, groups: Codes) -> Hits:
    """Keep the best hit of each group. groups: (m,) numbers; -1, a product of no group, stays."""
    first = np.zeros(len(hits), bool)
    first[np.unique(groups, return_index=True)[1]] = True
    return hits.take(np.flatnonzero(first | (groups < 0)))


def drop_duplicates(hits: Hits, vectors: Vectors, threshold: float, wanted: int) -> Hits:
    """Walk down the hits; leave out one whose cosine with one kept reaches `threshold`; stop at `wanted`."""
    if not len(hits):
        return hits
    candidates = vectors(hits.rows)
    kept = np.empty((min(wanted, len(hits)), candidates.shape[1]), np.float32)
    places: list[int] = []
    for place, candidate in enumerate(candidates):
        if places and score_rows(kept[: len(places)], candidate).max() >= threshold - _ULPS:
            continue
        kept[len(places)] = candidate
        places.append(place)
        if len(places) == wanted:
            break
    return hits.take(np.array(places, np.int64))


def diversify(hits: Hits, vectors: Vectors, diversity: float, window: int) -> Hits:
    """Rearrange hits by maximal marginal relevance, a window at a time.

    Next comes the hit of the window with the greatest (1 - diversity) * score - diversity * (greatest cosine
    with a hit placed before it), as in Carbonell and Goldstein 1998; the better of equals. diversity: 0 to 1.
    """
    if not len(hits):
        return hits
    pool = vectors(hits.rows)
    nearest = np.full(len(hits), -1.0, np.float32)
    order: list[int] = []
    for start in range(0, len(hits), window):
        left = list(range(start, min(start + window, len(hits))))
        while left:
            alike = nearest[left] if order else np.zeros(len(left), np.float32)
            gain = (1 - diversity) * hits.scores[left] - diversity * alike
            chosen = left.pop(int(np.argmax(gain)))
            order.append(chosen)
            np.maximum(nearest, score_rows(pool, pool[chosen]), out=nearest)
    return hits.take(np.array(order, np.int64))
