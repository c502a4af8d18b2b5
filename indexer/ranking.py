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
# Diversity rearranges the best hits a window at a time; what lies past a window cannot move into it.
DIVERSITY_WINDOW = 100
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


@dataclass(frozen=True, slots=True)
class Stages:
    """What happens to ranked hits, in this order; the defaults do nothing. See the functions below."""

    min_score: float | None = None
    min_confidence: float | None = None
    one_per_group: bool = False
    collapse_duplicates: float | None = None
    diversity: float = 0.0

    def reach(self, wanted: int) -> int:
        """Return how many hits must be left for the first `wanted` of them to stand."""
        return -(-wanted // DIVERSITY_WINDOW) * DIVERSITY_WINDOW if self.diversity else wanted

    @property
    def drop_some(self) -> bool:
        """Whether a stage may take hits away from between others, so that more may have to be searched."""
        return self.one_per_group or self.collapse_duplicates is not None

    def passes(self, hits: Hits, levels: Floats | None) -> bool:
        """Whether the last hit has the score and the confidence asked for, so that further ones may too."""
        return not len(hits) or len(self._sure_enough(hits, levels)[-1][1]) == len(hits)

    def applied(
        self, hits: Hits, groups: Codes, vectors: Vectors, wanted: int, levels: Floats | None = None
    ) -> tuple[Hits, list[tuple[str, int]]]:
        """Return what the stages leave of the best m hits, and how many each left.

        groups: (n,) by row. wanted: as `reach` returns it. levels: (m,) confidences, needed for
        `min_confidence`.
        """
        sure = self._sure_enough(hits, levels)
        hits = sure[-1][1]
        trace = [(stage, len(left)) for stage, left in sure]
        if self.one_per_group:
            hits = first_of_group(hits, groups[hits.rows])
            trace.append(("one_per_group", len(hits)))
        if self.collapse_duplicates is not None:
            hits = drop_duplicates(hits, vectors, self.collapse_duplicates, wanted)
            trace.append(("collapse_duplicates", len(hits)))
        if self.diversity:
            hits = diversify(hits, vectors, self.diversity, DIVERSITY_WINDOW)
            trace.append(("diversity", len(hits)))
        return hits, trace

    def _sure_enough(self, hits: Hits, levels: Floats | None) -> list[tuple[str, Hits]]:
        """Return the hits after each stage that looks at the score alone; each keeps the first so many."""
        stages = [("search", hits)]
        if self.min_score is not None:
            stages.append(("min_score", at_least(hits, hits.scores, self.min_score)))
        if self.min_confidence is not None:
            assert levels is not None, "checked before"
            hits = stages[-1][1]
            stages.append(("min_confidence", at_least(hits, levels[: len(hits)], self.min_confidence)))
        return stages


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
