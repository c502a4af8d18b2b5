"""Stages that thin out or rearrange ranked hits. Each is pure, and what it keeps of the best m hits does not
change when more are given: a longer answer begins with the shorter one. Shape letters: m hits, D dimension.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vitrine.indexer.arrays import Codes, DoubleArray, FloatMatrix, FloatVector, Mask, Rows, Strings
from vitrine.indexer.vectors.scoring import score_rows

Vectors = Callable[[Rows], FloatMatrix]
# Diversity rearranges the best hits a window at a time; what lies past a window cannot move into it.
DIVERSITY_WINDOW = 100
# Unit vectors that are equal may have a cosine this far below 1.
_ULPS = 1e-6


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked rows and their scores, (m,) each, best first.

    rules: (m,) the rule that put each hit there, or None; None for none at all.
    """

    rows: Rows
    scores: FloatVector
    rules: Strings | None = None

    def __len__(self) -> int:
        """Return m."""
        return len(self.rows)

    def take(self, places: Rows) -> Hits:
        """Return the hits at these places, in that order."""
        rules = None if self.rules is None else self.rules[places]
        return Hits(self.rows[places], self.scores[places], rules)

    def followed_by(self, others: Hits) -> Hits:
        """Return these hits, then the others."""
        rules = [np.full(len(each), None) if each.rules is None else each.rules for each in (self, others)]
        return Hits(
            np.concatenate([self.rows, others.rows]),
            np.concatenate([self.scores, others.scores]),
            np.concatenate(rules),
        )


def _nothing() -> Hits:
    return Hits(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, object))


@dataclass(frozen=True, slots=True)
class Ruled:
    """What the rules of the shop say of one list; by default nothing.

    pins: (p,) hits that stand at the places of their rows, counted from 1, whatever their scores. apart:
    pairs of (n,) masks by row; a hit of one and a hit of the other do not both stand.
    """

    pins: Hits = field(default_factory=_nothing)
    places: Mapping[int, int] = field(default_factory=dict)
    apart: tuple[tuple[Mask, Mask], ...] = ()


NOT_RULED = Ruled()


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

    def sure(self, hits: Hits, levels: DoubleArray | None) -> Hits:
        """Return the hits, best first, that have the score and the confidence asked for."""
        return self._sure_enough(hits, levels)[-1][1]

    def passes(self, hits: Hits, levels: DoubleArray | None) -> bool:
        """Whether the last hit has the score and the confidence asked for, so that further ones may too."""
        return not len(hits) or len(self.sure(hits, levels)) == len(hits)

    def applied(
        self,
        hits: Hits,
        groups: Codes,
        vectors: Vectors,
        wanted: int,
        levels: DoubleArray | None = None,
        ruled: Ruled = NOT_RULED,
    ) -> tuple[Hits, list[tuple[str, int]]]:
        """Return what the stages leave of the best m hits, and how many each left.

        groups: (n,) by row. wanted: as `reach` returns it, and one more for each pin. levels: (m,)
        confidences, needed for `min_confidence`; pins are sure enough already. Pins come before all others
        until the last stage, so that nothing takes their group, or their place, from them.
        """
        sure = self._sure_enough(hits, levels)
        hits = sure[-1][1]
        trace = [(stage, len(left)) for stage, left in sure]
        if ruled.pins.rows.size:
            hits = pins_first(hits, ruled.pins)
            trace.append(("pins", len(hits)))
        if self.one_per_group:
            hits = first_of_group(hits, groups[hits.rows])
            trace.append(("one_per_group", len(hits)))
        if self.collapse_duplicates is not None:
            kept = len(hits) if ruled.apart else wanted  # the stage after it may drop some of them
            hits = drop_duplicates(hits, vectors, self.collapse_duplicates, kept)
            trace.append(("collapse_duplicates", len(hits)))
        if ruled.apart:
            hits = keep_apart(hits, ruled.apart)
            trace.append(("never_together", len(hits)))
        if self.diversity:
            pinned = int(np.isin(hits.rows, ruled.pins.rows).sum())
            others = hits.take(np.arange(pinned, len(hits)))
            others = diversify(others, vectors, self.diversity, DIVERSITY_WINDOW)
            hits = hits.take(np.arange(pinned)).followed_by(others) if pinned else others
            trace.append(("diversity", len(hits)))
        return place_pins(hits, ruled.places), trace

    def _sure_enough(self, hits: Hits, levels: DoubleArray | None) -> list[tuple[str, Hits]]:
        """Return the hits after each stage that looks at the score alone; each keeps the first so many."""
        stages = [("search", hits)]
        if self.min_score is not None:
            stages.append(("min_score", at_least(hits, hits.scores, self.min_score)))
        if self.min_confidence is not None:
            assert levels is not None, "checked before"
            hits = stages[-1][1]
            stages.append(("min_confidence", at_least(hits, levels[: len(hits)], self.min_confidence)))
        return stages


def at_least(hits: Hits, values: FloatVector | DoubleArray, least: float) -> Hits:
    """Keep the hits whose value, one of (m,), reaches `least`."""
    return hits.take(np.flatnonzero(values.astype(np.float64) >= least))


def pins_first(hits: Hits, pins: Hits) -> Hits:
    """Put pins before all other hits, each hit once."""
    return pins.followed_by(hits.take(np.flatnonzero(~np.isin(hits.rows, pins.rows))))


def keep_apart(hits: Hits, apart: Sequence[tuple[Mask, Mask]]) -> Hits:
    """Walk down the hits; leave out one that never stands together with one kept.

    apart: pairs of (n,) masks by row: a hit of one and another of the other do not both stand.
    """
    sides = np.array([[one[hits.rows], other[hits.rows]] for one, other in apart], bool)
    seen = np.zeros((len(apart), 2), bool)
    stays = np.ones(len(hits), bool)
    for place in np.flatnonzero(sides.any(axis=(0, 1))).tolist():
        here = sides[:, :, place]
        if (here & seen[:, ::-1]).any():
            stays[place] = False
        else:
            seen |= here
    return hits.take(np.flatnonzero(stays))


def place_pins(hits: Hits, places: Mapping[int, int]) -> Hits:
    """Move the hits of these rows to their places, counted from 1; the others keep their order around them.

    Of two for one place the earlier comes first and the other behind it; a place past the end is the end.
    """
    if not places:
        return hits
    rows = hits.rows.tolist()
    due = deque(sorted((at for at, row in enumerate(rows) if row in places), key=lambda at: places[rows[at]]))
    others = deque(at for at, row in enumerate(rows) if row not in places)
    order: list[int] = []
    while due or others:
        is_due = due and (not others or places[rows[due[0]]] <= len(order) + 1)
        order.append((due if is_due else others).popleft())
    return hits.take(np.array(order, np.int64))


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
