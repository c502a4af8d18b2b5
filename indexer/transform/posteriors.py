"""Held-out class likelihoods: each product is scored by discriminants that were fitted without it.

Log-likelihoods of different folds are comparable because they refer to the same classes. Shape letters:
n products, C classes, D dimension.
"""

from __future__ import annotations

import time

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Labels, Rows
from vitrine.indexer.transform.discriminant import fit_discriminants, fit_moments
from vitrine.indexer.transform.sample import Sample, stratified_folds

FOLDS = 5
TUNING_FOLDS = 2
SHRINKAGES = (0.65, 0.8, 0.5, 0.9)
SHARPNESSES = (0.01, 0.015, 0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.22, 0.33)

Discriminants = tuple[FloatMatrix, FloatVector]


class HeldOutDiscriminants:
    """Linear discriminants for each fold of a sample, fitted on all other folds."""

    def __init__(self, sample: Sample) -> None:
        """Split the sample into FOLDS and compute the class moments of each fold's complement."""
        self._sample = sample
        self._fold = stratified_folds(sample.raw.labels, sample.raw.items, FOLDS)
        vectors, classes = sample.rooted.vectors, sample.rooted.labels
        self._moments = [
            fit_moments(vectors[self._fold != fold], classes[self._fold != fold], sample.class_count)
            for fold in range(FOLDS)
        ]
        self._fits: list[Discriminants] = []

    def tune(self, deadline: float) -> tuple[float, float, float]:
        """Choose the shrinkage and sharpness of least held-out log-loss on TUNING_FOLDS folds; fit all folds.

        deadline: time.monotonic() after which no further shrinkage is tried. Returns the loss in nats, the
        shrinkage and the sharpness.
        """
        is_used = (self._sample.rooted.labels >= 0) & (self._fold < TUNING_FOLDS)
        rows = np.flatnonzero(is_used)
        classes = self._sample.rooted.labels[rows]
        best = (np.inf, 0.0, 0.0)
        for shrinkage in SHRINKAGES:
            self._fits = [fit_discriminants(moments, shrinkage) for moments in self._moments[:TUNING_FOLDS]]
            logits = self.logits(self._sample.rooted.vectors[rows], rows)
            for sharpness in SHARPNESSES:
                best = min(
                    best, (float(_log_losses(sharpness * logits, classes).mean()), shrinkage, sharpness)
                )
            if time.monotonic() > deadline:
                break
        self._fits = [fit_discriminants(moments, best[1]) for moments in self._moments]
        return best

    def logits(self, rooted: FloatMatrix, rows: Rows) -> FloatMatrix:
        """Return (n, C) log-likelihoods, up to a constant, from the fits that exclude `rows`.

        rooted: (n, D) vectors after `signed_sqrt`, of pictures of those sample rows.
        """
        logits = np.empty((len(rooted), self._sample.class_count), np.float32)
        for fold, (directions, bias) in enumerate(self._fits):
            in_fold = self._fold[rows] == fold
            logits[in_fold] = rooted[in_fold] @ directions + bias
        return logits


def _log_losses(logits: FloatMatrix, classes: Labels) -> FloatVector:
    top = logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    losses: FloatVector = log_sums - logits[np.arange(len(classes)), classes]
    return losses
