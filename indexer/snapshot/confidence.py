"""Confidence: a score expressed as a quantile of nearest-neighbour scores.

The confidence of a score is the share of products whose nearest neighbour has a lower score. A cosine of 0.6
is close among mugs and far among black shirts, so there is one distribution per category and one over all
categories, measured when a snapshot is built. Shape letters: n scores, C categories, K quantile levels.
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
# Shrinkage: the scores of a category of n products weigh n / (n + SHRINKAGE_COUNT), all others the rest.
SHRINKAGE_COUNT = 10


@dataclass(frozen=True)
class Confidence:
    """Quantiles of nearest-neighbour scores at LEVELS, non-decreasing.

    quantiles: (C, K) by category. overall_quantiles: (K,) of the whole catalogue. counts: live products by
    category at calibration, to tell when it must be repeated.
    """

    categories: tuple[str, ...]
    quantiles: DoubleArray
    overall_quantiles: DoubleArray
    counts: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def _row_by_category(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.categories)}

    def confidences_of(self, scores: Any, category: str | None = None) -> DoubleArray:
        """Return the confidences of scores, (n,) in 0 to 1, non-decreasing with the score.

        category: of the reference product; None or an unknown name for the whole catalogue.
        """
        row = None if category is None else self._row_by_category.get(category)
        quantiles = self.overall_quantiles if row is None else self.quantiles[row]
        confidences: DoubleArray = np.interp(np.asarray(scores, np.float64), quantiles, LEVELS)
        return confidences

    def save(self, path: Path) -> None:
        """Write confidence.npz."""
        counts = [self.counts.get(name, 0) for name in self.categories]
        with path.open("wb") as file:
            np.savez(
                file,
                categories=np.array(self.categories, dtype=np.str_),
                curves=self.quantiles,
                overall=self.overall_quantiles,
                counts=np.array(counts, np.int64),
            )

    @classmethod
    def load(cls, path: Path) -> Confidence:
        """Read confidence.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                categories = tuple(stored["categories"].tolist())
                counts = dict(zip(categories, stored["counts"].tolist(), strict=True))
                return cls(categories, stored["curves"], stored["overall"], counts)
        except (OSError, ValueError, KeyError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable calibration: {error}") from error


def calibrate(scores: DoubleArray, codes: Labels, categories: Sequence[str]) -> Confidence:
    """Fit the quantiles of each category and of all, without `counts`.

    scores: (n,) of products, each with its nearest neighbour. codes: (n,) the category of each product, an
    index into `categories`.
    """
    scores = np.asarray(scores, np.float64)
    overall_quantiles = _weighted_quantiles(scores, np.ones(len(scores)))
    quantiles = np.tile(overall_quantiles, (len(categories), 1))
    for code, count in enumerate(np.bincount(codes, minlength=len(categories)).tolist()):
        if count:
            share = count / (count + SHRINKAGE_COUNT)
            weights = np.full(len(scores), (1 - share) / len(scores))
            weights[codes == code] += share / count
            quantiles[code] = _weighted_quantiles(scores, weights)
    return Confidence(tuple(categories), quantiles, overall_quantiles)


def _weighted_quantiles(scores: DoubleArray, weights: DoubleArray) -> DoubleArray:
    """Return the (K,) weighted quantiles at LEVELS, interpolated; level 0 is score -1, level 1 is score 1.

    The level of a score is the middle of its weight, as in Hazen's plotting positions.
    """
    if not len(scores):
        return 2 * LEVELS - 1
    order = np.argsort(scores, kind="stable")
    scores, weights = scores[order], weights[order]
    levels = (np.cumsum(weights) - weights / 2) / weights.sum()
    levels = np.concatenate([[0.0], levels, [1.0]])
    quantiles: DoubleArray = np.interp(LEVELS, levels, np.concatenate([[-1.0], scores, [1.0]]))
    return np.maximum.accumulate(quantiles)
