"""What a score means: how many products of a category have a nearest neighbour that is no nearer.

A cosine of 0.6 is close among mugs and far among black shirts. Calibrated at build from nearest-neighbour
scores, one curve a category and one over all. Shape letters: n scores, C categories, K levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleArray, Labels
from vitrine.indexer.errors import SnapshotCorrupt

LEVELS = np.linspace(0, 1, 65)
# A category of so many scores counts as much as all the others together; a smaller one leans on them.
TRUSTED_SCORES = 10


@dataclass(frozen=True)
class Confidence:
    """Scores at each of LEVELS, non-decreasing: curves (C, K) by category, overall (K,).

    counts: live products by category when it was calibrated, to tell when that has to be done anew.
    """

    categories: tuple[str, ...]
    curves: DoubleArray
    overall: DoubleArray
    counts: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.categories)}

    def _curve(self, category: str | None) -> DoubleArray:
        row = self._rows.get(category) if category is not None else None
        curve: DoubleArray = self.overall if row is None else self.curves[row]
        return curve

    def of(self, scores: Any, category: str | None = None) -> DoubleArray:
        """Return (n,) confidences in 0..1, which grow with the score.

        category: of the reference; None, or one that is not known, for the whole catalogue.
        """
        levels: DoubleArray = np.interp(np.asarray(scores, np.float64), self._curve(category), LEVELS)
        return levels

    def score_at(self, level: float, category: str | None = None) -> float:
        """Return the least score whose confidence reaches a level in 0..1."""
        return float(np.interp(level, LEVELS, self._curve(category)))

    def save(self, path: Path) -> None:
        """Write confidence.npz."""
        counts = [self.counts.get(name, 0) for name in self.categories]
        with path.open("wb") as file:
            np.savez(
                file,
                categories=np.array(self.categories, dtype=np.str_),
                curves=self.curves,
                overall=self.overall,
                counts=np.array(counts, np.int64),
            )

    @classmethod
    def load(cls, path: Path) -> Confidence:
        """Read confidence.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                names = tuple(stored["categories"].tolist())
                counts = dict(zip(names, stored["counts"].tolist(), strict=True))
                return cls(names, stored["curves"], stored["overall"], counts)
        except (OSError, ValueError, KeyError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable calibration: {error}") from error


def calibrate(scores: DoubleArray, codes: Labels, categories: Sequence[str]) -> Confidence:
    """Fit the curves to nearest-neighbour scores.

    scores: (n,) of products, each with its nearest neighbour; codes: (n,) index of its category.
    """
    scores = np.asarray(scores, np.float64)
    overall = _curve_of(scores, np.ones(len(scores)))
    curves = np.tile(overall, (len(categories), 1))
    for code, count in enumerate(np.bincount(codes, minlength=len(categories)).tolist()):
        if count:
            share = count / (count + TRUSTED_SCORES)
            weights = np.full(len(scores), (1 - share) / len(scores))
            weights[codes == code] += share / count
            curves[code] = _curve_of(scores, weights)
    return Confidence(tuple(categories), curves, overall)


def _curve_of(scores: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """Return (K,) weighted quantiles at LEVELS, linear between scores; -1 is level 0, and 1 is level 1.

    The middle of a score's weight is its level, as in Hazen's plotting positions.
    """
    if not len(scores):
        return 2 * LEVELS - 1
    order = np.argsort(scores, kind="stable")
    ranked, weights = scores[order], weights[order]
    levels = (np.cumsum(weights) - weights / 2) / weights.sum()
    levels = np.concatenate([[0.0], levels, [1.0]])
    knots: DoubleArray = np.interp(LEVELS, levels, np.concatenate([[-1.0], ranked, [1.0]]))
    return np.maximum.accumulate(knots)


def kolmogorov_smirnov(levels: DoubleArray) -> float:
    """Return the greatest distance between the distribution of (n,) levels and the uniform one."""
    ranked = np.sort(np.asarray(levels, np.float64))
    steps = np.arange(len(ranked) + 1) / len(ranked)
    return float(max((steps[1:] - ranked).max(), (ranked - steps[:-1]).max()))
