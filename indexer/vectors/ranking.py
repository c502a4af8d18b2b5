"""Ranked hits and the stages that filter or rearrange them.

Each stage is a pure function, and its result for the best m hits does not change when more hits are given:
a longer result begins with the shorter one. Shape letters: n rows, m hits, p pins, D dimension.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vitrine.indexer.arrays import Codes, DoubleArray, FloatMatrix, FloatVector, Mask, Rows, Strings
from vitrine.indexer.vectors.scoring import score_rows

VectorReader = Callable[[Rows], FloatMatrix]
# Hits are diversified in windows of this size; no hit moves from one window into another.
DIVERSITY_WINDOW = 100
# The computed cosine of equal unit vectors may be this far below 1.
_COSINE_ERROR = 1e-6


@dataclass(frozen=True, slots=True)
class Hits:
    """Ranked rows and their scores, (m,) each, best first.

    rules: (m,) name of the rule that pinned each hit, or None; None if no hit is pinned.
    """

    rows: Rows
    scores: FloatVector
    rules: Strings | None = None

    def __len__(self) -> int:
        """Return m."""
        return len(self.rows)

    def take(self, indices: Rows) -> Hits:
        """Return the hits at these indices, in that order."""
        rules = None if self.rules is None else self.rules[indices]
        return Hits(self.rows[indices], self.scores[indices], rules)

    def followed_by(self, others: Hits) -> Hits:
        """Return these hits, then the others."""
        rules = [np.full(len(hits), None) if hits.rules is None else hits.rules for hits in (self, others)]
        return Hits(
            np.concatenate([self.rows, others.rows]),
            np.concatenate([self.scores, others.scores]),
            np.concatenate(rules),
        )


def _no_hits() -> Hits:
    return Hits(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, object))


@dataclass(frozen=True, slots=True)
class RuleEffects:
    """Effects of the shop's rules on one list of hits; none by default.

    pins: (p,) hits to show at given ranks, regardless of their scores. pin_ranks: the rank of each pinned
    row, counted from 1. never_together: pairs of (n,) masks by row; a hit of one mask and a hit of the other
    are not shown together.
    """

    pins: Hits = field(default_factory=_no_hits)
    pin_ranks: Mapping[int, int] = field(default_factory=dict)
    never_together: tuple[tuple[Mask, Mask], ...] = ()


NO_EFFECTS = RuleEffects()


@dataclass(frozen=True, slots=True)
class Stages:
    """Options of the stages applied to ranked hits, in this order; the defaults change nothing.

    The stages are the functions of this module.
    """

    min_score: float | None = None
    min_confidence: float | None = None
    one_per_group: bool = False
    collapse_duplicates: float | None = None
    diversity: float = 0.0

    def hits_needed(self, limit: int) -> int:
        """Return the number of hits that must be left for the first `limit` of them to be final."""
        return -(-limit // DIVERSITY_WINDOW) * DIVERSITY_WINDOW if self.diversity else limit

    @property
    def can_drop_hits(self) -> bool:
        """True if a stage may drop hits from the middle of the ranking, so that more must be searched."""
        return self.one_per_group or self.collapse_duplicates is not None

    def filter_by_thresholds(self, hits: Hits, confidences: DoubleArray | None) -> Hits:
        """Return the hits that reach the minimum score and the minimum confidence. confidences: (m,)."""
        return self._threshold_stages(hits, confidences)[-1][1]

    def last_hit_passes(self, hits: Hits, confidences: DoubleArray | None) -> bool:
        """Return True if the last hit reaches both thresholds, so that further hits may reach them too."""
        return not len(hits) or len(self.filter_by_thresholds(hits, confidences)) == len(hits)

    def apply(
        self,
        hits: Hits,
        groups: Codes,
        read_vectors: VectorReader,
        limit: int,
        confidences: DoubleArray | None = None,
        effects: RuleEffects = NO_EFFECTS,
    ) -> tuple[Hits, list[tuple[str, int]]]:
        """Return the hits left by the stages and a trace: the name of each stage and the number of hits left.

        groups: (n,) by row. limit: from `hits_needed`, plus one for each pin. confidences: (m,), required for
        `min_confidence`; pins have passed the thresholds already. Pins come before all other hits until the
        last stage, so that no other hit displaces them as the best of their group or as a duplicate.
        """
        passed = self._threshold_stages(hits, confidences)
        hits = passed[-1][1]
        trace = [(stage, len(left)) for stage, left in passed]
        if effects.pins.rows.size:
            hits = prepend_pins(hits, effects.pins)
            trace.append(("pins", len(hits)))
        if self.one_per_group:
            hits = best_per_group(hits, groups[hits.rows])
            trace.append(("one_per_group", len(hits)))
        if self.collapse_duplicates is not None:
            # The next stage may drop some of them, so that all are needed there.
            distinct_limit = len(hits) if effects.never_together else limit
            hits = drop_duplicates(hits, read_vectors, self.collapse_duplicates, distinct_limit)
            trace.append(("collapse_duplicates", len(hits)))
        if effects.never_together:
            hits = drop_conflicting(hits, effects.never_together)
            trace.append(("never_together", len(hits)))
        if self.diversity:
            pinned = int(np.isin(hits.rows, effects.pins.rows).sum())
            others = hits.take(np.arange(pinned, len(hits)))
            others = diversify(others, read_vectors, self.diversity, DIVERSITY_WINDOW)
            hits = hits.take(np.arange(pinned)).followed_by(others) if pinned else others
            trace.append(("diversity", len(hits)))
        return place_pins(hits, effects.pin_ranks), trace

    def _threshold_stages(self, hits: Hits, confidences: DoubleArray | None) -> list[tuple[str, Hits]]:
        """Return the hits after each threshold stage. Scores descend, so each leaves a prefix."""
        stages = [("search", hits)]
        if self.min_score is not None:
            stages.append(("min_score", filter_at_least(hits, hits.scores, self.min_score)))
        if self.min_confidence is not None:
            assert confidences is not None, "min_confidence needs confidences"
            hits = stages[-1][1]
            stages.append(
                ("min_confidence", filter_at_least(hits, confidences[: len(hits)], self.min_confidence))
            )
        return stages


def filter_at_least(hits: Hits, values: FloatVector | DoubleArray, minimum: float) -> Hits:
    """Return the hits whose value is at least `minimum`. values: (m,)."""
    return hits.take(np.flatnonzero(values.astype(np.float64) >= minimum))


def prepend_pins(hits: Hits, pins: Hits) -> Hits:
    """Return the pins followed by all other hits, each row once."""
    return pins.followed_by(hits.take(np.flatnonzero(~np.isin(hits.rows, pins.rows))))


def drop_conflicting(hits: Hits, never_together: Sequence[tuple[Mask, Mask]]) -> Hits:
    """Drop each hit that conflicts with a better hit that is kept.

    never_together: pairs of (n,) masks by row. A hit of one mask conflicts with a hit of the other.
    """
    # (pairs, 2, m): the masks, by hit.
    sides = np.array([[one[hits.rows], other[hits.rows]] for one, other in never_together], bool)
    seen = np.zeros((len(never_together), 2), bool)
    keep = np.ones(len(hits), bool)
    for index in np.flatnonzero(sides.any(axis=(0, 1))).tolist():
        own_sides = sides[:, :, index]
        if (own_sides & seen[:, ::-1]).any():
            keep[index] = False
        else:
            seen |= own_sides
    return hits.take(np.flatnonzero(keep))


def place_pins(hits: Hits, pin_ranks: Mapping[int, int]) -> Hits:
    """Move the hits of these rows to their ranks, counted from 1; the others keep their order around them.

    Of two pins with one rank, the earlier hit comes first and the other follows it. A rank past the end
    means the end.
    """
    if not pin_ranks:
        return hits
    rows = hits.rows.tolist()
    pinned = deque(
        sorted((i for i, row in enumerate(rows) if row in pin_ranks), key=lambda i: pin_ranks[rows[i]])
    )
    others = deque(i for i, row in enumerate(rows) if row not in pin_ranks)
    order: list[int] = []
    while pinned or others:
        is_due = pinned and (not others or pin_ranks[rows[pinned[0]]] <= len(order) + 1)
        order.append((pinned if is_due else others).popleft())
    return hits.take(np.array(order, np.int64))


def best_per_group(hits: Hits, groups: Codes) -> Hits:
    """Return the best hit of each group and every hit without a group. groups: (m,), -1 for none."""
    is_first = np.zeros(len(hits), bool)
    is_first[np.unique(groups, return_index=True)[1]] = True
    return hits.take(np.flatnonzero(is_first | (groups < 0)))


def drop_duplicates(hits: Hits, read_vectors: VectorReader, threshold: float, limit: int) -> Hits:
    """Drop each hit whose cosine with a better kept hit is at least `threshold`; stop at `limit` hits."""
    if not len(hits):
        return hits
    vectors = read_vectors(hits.rows)
    kept_vectors = np.empty((min(limit, len(hits)), vectors.shape[1]), np.float32)
    kept: list[int] = []
    for index, vector in enumerate(vectors):
        if kept and score_rows(kept_vectors[: len(kept)], vector).max() >= threshold - _COSINE_ERROR:
            continue
        kept_vectors[len(kept)] = vector
        kept.append(index)
        if len(kept) == limit:
            break
    return hits.take(np.array(kept, np.int64))


def diversify(hits: Hits, read_vectors: VectorReader, diversity: float, window: int) -> Hits:
    """Rearrange hits by maximal marginal relevance (Carbonell and Goldstein, 1998), a window at a time.

    Repeatedly takes the hit of the window with the greatest (1 - diversity) * score - diversity * (greatest
    cosine with a hit already taken); the better hit of equals. diversity: 0 to 1.
    """
    if not len(hits):
        return hits
    vectors = read_vectors(hits.rows)
    max_cosines = np.full(len(hits), -1.0, np.float32)
    order: list[int] = []
    for start in range(0, len(hits), window):
        left = list(range(start, min(start + window, len(hits))))
        while left:
            redundancy = max_cosines[left] if order else np.zeros(len(left), np.float32)
            relevance = (1 - diversity) * hits.scores[left] - diversity * redundancy
            chosen = left.pop(int(np.argmax(relevance)))
            order.append(chosen)
            np.maximum(max_cosines, score_rows(vectors, vectors[chosen]), out=max_cosines)
    return hits.take(np.array(order, np.int64))
