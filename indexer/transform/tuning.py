"""Cross-validation of the adaptation's parameters: whitening, sharpness and weight of the classes.

One half of the sample is used to fit the residual, the other half is the search gallery; the class
likelihoods of the gallery are held out. Shape letters: n products, N of them in the gallery, Q queries,
C classes, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Rows, unit
from vitrine.indexer.transform.discriminant import (
    WHITENED_DIMENSION_MAX,
    Spectrum,
    fit_spectrum,
    residual_adaptation,
)
from vitrine.indexer.transform.posteriors import HeldOutDiscriminants
from vitrine.indexer.transform.sample import SEED, Sample, stratified_folds
from vitrine.indexer.transform.transform import Adaptation, signed_sqrt, sqrt_softmax
from vitrine.indexer.vectors.metrics import (
    RetrievalMetrics,
    evaluate_retrieval,
    evaluate_scores,
    target_ranks,
)

RESIDUAL_SHRINKAGES = (0.7, 0.9, 1.0)
SHARPNESS_FACTORS = (1.0, 1.6)
CLASS_WEIGHTS = (0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
# Trials whose mAP differs by less than this count as equal; of these, the one with the best recall of
# simulated photos is chosen.
MAP_TOLERANCE = 0.003
TUNED_ROWS_MAX = 8192
QUERIES_MAX = 1000
GALLERY_MAX = 4096
# Simulated photos are as distorted as they can be for the residual alone to reach this recall@1. The classes
# may lower it by RECALL_LOSS_MAX. On real crops, light and scale that is no loss (tests/benchmarks).
RESIDUAL_RECALL = 0.99
RECALL_LOSS_MAX = 0.005
# Gallery rows with this cosine of residuals or more are near-duplicates.
DUPLICATE_COSINE = 0.85


@dataclass(frozen=True)
class TunedParameters:
    """Chosen parameters with their held-out metrics.

    log_loss: of the class likelihoods, in nats. residual_recall, photo_recall: recall@1 of the simulated
    photos by the residual alone and by the whole adaptation.
    """

    residual_shrinkage: float
    class_shrinkage: float
    sharpness: float
    class_weight: float
    log_loss: float
    retrieval: RetrievalMetrics
    residual_recall: float
    photo_recall: float


@dataclass(frozen=True)
class SimulatedPhotos:
    """Model vectors (Q, D) of simulated second photos of the gallery rows `targets` (Q,).

    logits: (Q, C) held out. residual_recall: recall@1 by the residual alone.
    """

    vectors: FloatMatrix
    targets: Rows
    logits: FloatMatrix
    residual_recall: float


class CrossValidation:
    """Held-out metrics of the transforms under consideration, on the rows of `sample`."""

    def __init__(self, sample: Sample) -> None:
        """Take at most TUNED_ROWS_MAX of the products, in a fixed random order, and split them in halves."""
        order = np.random.default_rng(SEED).permutation(len(sample.raw.labels))[:TUNED_ROWS_MAX]
        self.sample = sample.take(order)
        half = stratified_folds(self.sample.raw.labels, self.sample.raw.items, 2)
        self._training_rows = np.flatnonzero(half == 0)
        self._gallery_rows = np.flatnonzero(half == 1)[:GALLERY_MAX]
        self._gallery = self.sample.raw.take(self._gallery_rows)
        # The first gallery rows are the queries.
        self._queries = np.arange(min(len(self._gallery_rows), QUERIES_MAX))

    def evaluate_none(self) -> RetrievalMetrics:
        """Return the metrics of the model's own vectors."""
        return evaluate_retrieval(self._gallery.take(self._queries), self._gallery)

    def evaluate_centre(self) -> RetrievalMetrics:
        """Return the metrics of vectors centred on the mean of the other half."""
        mean = self.sample.raw.vectors[self._training_rows].mean(axis=0)
        centred = self._gallery.with_vectors(unit(self._gallery.vectors - mean))
        return evaluate_retrieval(centred.take(self._queries), centred)

    def tune(self, deadline: float) -> TunedParameters | None:
        """Return the best parameters; None if every trial loses too many simulated photos.

        deadline: time.monotonic() after which no further trial starts.
        """
        discriminants = HeldOutDiscriminants(self.sample)
        log_loss, class_shrinkage, sharpness = discriminants.tune(deadline)
        gallery_logits = discriminants.logits(
            self.sample.rooted.vectors[self._gallery_rows], self._gallery_rows
        )
        spectrum = fit_spectrum(self.sample.rooted.vectors[self._training_rows])
        photos, trials = None, []
        for residual_shrinkage in _residual_shrinkages(spectrum):
            residual = residual_adaptation(spectrum, self.sample.class_count, residual_shrinkage)
            photos = photos or self._simulate_photos(residual, discriminants)
            for sharper in (sharpness * factor for factor in SHARPNESS_FACTORS):
                for weight, metrics, recall in self._try_weights(
                    residual, sharper * gallery_logits, sharper, photos
                ):
                    trials.append(
                        TunedParameters(
                            residual_shrinkage,
                            class_shrinkage,
                            sharper,
                            weight,
                            log_loss,
                            metrics,
                            photos.residual_recall,
                            recall,
                        )
                    )
            if trials and time.monotonic() > deadline:
                break
        best = max((mean_average_precision(trial.retrieval) for trial in trials), default=0.0)
        equals = [t for t in trials if mean_average_precision(t.retrieval) >= best - MAP_TOLERANCE]
        return max(equals, key=lambda trial: (trial.photo_recall, -trial.class_weight), default=None)

    def _try_weights(
        self, residual: Adaptation, logits: FloatMatrix, sharpness: float, photos: SimulatedPhotos
    ) -> Iterator[tuple[float, RetrievalMetrics, float]]:
        """Yield (class weight, retrieval metrics, recall of simulated photos), the greatest weight first.

        Skips weights that lose too many photos; stops when a smaller weight lowers the mAP. logits: (N, C)
        of the gallery, scaled by `sharpness`.
        """
        gallery_residual = residual.project_residual(self._gallery.vectors)
        gallery_classes = sqrt_softmax(logits)
        residual_scores = gallery_residual[self._queries] @ gallery_residual.T
        class_scores = gallery_classes[self._queries] @ gallery_classes.T
        photo_residual_scores = residual.project_residual(photos.vectors) @ gallery_residual.T
        photo_class_scores = sqrt_softmax(sharpness * photos.logits) @ gallery_classes.T
        queries = self._gallery.take_labels(self._queries)
        best = 0.0
        for weight in CLASS_WEIGHTS:
            photo_scores = (1 - weight) * photo_residual_scores + weight * photo_class_scores
            recall = recall_at_1(photo_scores, photos.targets)
            if recall < photos.residual_recall - RECALL_LOSS_MAX:
                continue
            scores = (1 - weight) * residual_scores + weight * class_scores
            metrics = evaluate_scores(scores, queries, self._gallery)
            yield weight, metrics, recall
            if mean_average_precision(metrics) < best - MAP_TOLERANCE:
                return
            best = max(best, mean_average_precision(metrics))

    def _simulate_photos(self, residual: Adaptation, discriminants: HeldOutDiscriminants) -> SimulatedPhotos:
        targets = np.resize(self._queries_without_duplicates(residual), QUERIES_MAX)
        vectors, recall = simulate_photos(self._gallery.vectors, targets, residual)
        logits = discriminants.logits(signed_sqrt(vectors), self._gallery_rows[targets])
        return SimulatedPhotos(vectors, targets, logits, recall)

    def _queries_without_duplicates(self, residual: Adaptation) -> Rows:
        """Return the queries without a near-duplicate in the gallery; all queries if there is none.

        A photo of a product with a near-duplicate has two right answers.
        """
        projected = residual.project_residual(self._gallery.vectors)
        scores = projected[self._queries] @ projected.T
        scores[np.arange(len(self._queries)), self._queries] = -1
        unique = self._queries[scores.max(axis=1) < DUPLICATE_COSINE]
        return unique if len(unique) else self._queries


def _residual_shrinkages(spectrum: Spectrum) -> tuple[float, ...]:
    """Return the shrinkages to try: only 1 where the dimension is too great for whitening."""
    return (1.0,) if len(spectrum.mean) > WHITENED_DIMENSION_MAX else RESIDUAL_SHRINKAGES


def simulate_photos(gallery: FloatMatrix, targets: Rows, residual: Adaptation) -> tuple[FloatMatrix, float]:
    """Simulate other photos of the target products, as distorted as a recall@1 of RESIDUAL_RECALL permits.

    Multiplies each feature by log-normal noise and mixes in a random other product. The strength is found by
    bisection. gallery: (N, D) model vectors. targets: (Q,) rows of it. Returns vectors (Q, D) and their
    recall@1 by the residual alone.
    """
    rng = np.random.default_rng(SEED)
    others = gallery[rng.integers(0, len(gallery), len(targets))]
    noise = rng.normal(size=(len(targets), gallery.shape[1])).astype(np.float32)
    gallery_residual = residual.project_residual(gallery)

    def distort(strength: float) -> tuple[FloatMatrix, float]:
        share = min(strength / 4, 0.5)
        mixed = (1 - share) * gallery[targets] + share * others
        vectors = unit(mixed * np.exp(np.float32(strength) * noise))
        return vectors, recall_at_1(residual.project_residual(vectors) @ gallery_residual.T, targets)

    low, high = 0.0, 4.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if distort(middle)[1] >= RESIDUAL_RECALL else (low, middle)
    return distort(low)


def recall_at_1(scores: FloatMatrix, targets: Rows) -> float:
    """Return the share of queries whose target row is ranked first. scores: (Q, N). targets: (Q,)."""
    return float((target_ranks(scores, targets) == 0).mean())


def mean_average_precision(metrics: RetrievalMetrics) -> float:
    """Return the mean average precision (mAP); 0 if no query was evaluated."""
    return float(metrics.average_precision.mean()) if len(metrics) else 0.0
