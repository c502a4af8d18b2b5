"""Likeness to each kind, held out: every product is judged by discriminants fitted without it.

That works across folds because a likeness to a category means the same in each. Shape letters: n products,
C kinds, D dimension.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Labels
from vitrine.indexer.transform.discriminant import discriminants, measure
from vitrine.indexer.transform.sample import Sample, deal

FOLDS = 5
FOLDS_TRIED = 2
SHRINKAGES = (0.65, 0.8, 0.5, 0.9)
SHARPNESSES = (0.01, 0.015, 0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.22, 0.33)

Fit = tuple[FloatMatrix, FloatVector]


class HeldOutKinds:
    """The sample, dealt into folds, and the discriminants without each."""

    def __init__(self, sample: Sample) -> None:
        """Measure the moments of each fold's complement."""
        self._sample = sample
        self._fold = deal(sample.raw.labels, sample.raw.items, FOLDS)
        even, kinds = sample.even.vectors, sample.even.labels
        self._moments = [
            measure(even[self._fold != fold], kinds[self._fold != fold], sample.kinds)
            for fold in range(FOLDS)
        ]
        self._fits: list[Fit] = []

    def tune(self, deadline: float) -> tuple[float, float, float]:
        """Settle on the shrinkage of least held-out log-loss, by two of the folds.

        Returns the loss in nats, that shrinkage and the sharpness. deadline: time.monotonic() after which no
        further shrinkage is tried.
        """
        known = np.flatnonzero((self._sample.even.labels >= 0) & (self._fold < FOLDS_TRIED))
        kinds = self._sample.even.labels[known]
        best = (np.inf, 0.0, 0.0)
        for shrinkage in SHRINKAGES:
            self._fits = [discriminants(moments, shrinkage) for moments in self._moments[:FOLDS_TRIED]]
            logits = self.logits(self._sample.even.vectors[known], known)
            for sharpness in SHARPNESSES:
                best = min(best, (float(_losses(sharpness * logits, kinds).mean()), shrinkage, sharpness))
            if time.monotonic() > deadline:
                break
        self._fits = [discriminants(moments, best[1]) for moments in self._moments]
        return best

    def logits(self, even: FloatMatrix, rows: np.ndarray[Any, Any]) -> FloatMatrix:
        """Return (n, C) log-likelihoods, up to a constant, by the fits that have not seen `rows`.

        even: (n, D) evened-out vectors of pictures of those products.
        """
        logits = np.empty((len(even), self._sample.kinds), np.float32)
        for fold, (kinds, bias) in enumerate(self._fits):
            mine = self._fold[rows] == fold
            logits[mine] = even[mine] @ kinds + bias
        return logits


def _losses(logits: FloatMatrix, kinds: Labels) -> np.ndarray[Any, Any]:
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    losses: np.ndarray[Any, Any] = total - logits[np.arange(len(kinds)), kinds]
    return losses
