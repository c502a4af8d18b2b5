"""Choosing by cross-validation: how far to shrink, how sharp the kinds are, how much they weigh.

Every product is judged by a map that was fitted without it. That works across folds because a likeness to a
category means the same in each. Shape letters: n products, Q queries, C kinds, D dimension.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from indexer.adaptation.discriminant import discriminants, looks_only, measure
from indexer.adaptation.sample import SEED, Sample, deal
from indexer.evaluation.retrieval import Labelled, Labels, Retrieval, judge, judge_scores, places_in
from indexer.transform import Adaptation, FloatMatrix, FloatVector, even_out, probabilities_root, unit

FOLDS = 5
SHRINKAGES = (0.5, 0.65, 0.8, 0.9, 0.35)
SHARPNESSES = (0.01, 0.015, 0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.22, 0.33)
SHARPENED = (1.0, 1.5, 2.25)
WEIGHTS = (0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
WEIGHTS_JUDGED = 2  # the heaviest harmless one, and the next in case it is too heavy already
TUNED_ROWS_MAX = 8192
QUERIES_MAX = 1000
GALLERY_MAX = 4096
# The simulated second photo: noise at which the looks alone still find 99 % of the products again, of which
# the kinds may cost half a point. On real crops, light and scale (tests/benchmarks) that is no loss at all.
FOUND_AGAIN = 0.99
LOSS_MAX = 0.005
TWIN = 0.85


@dataclass(frozen=True)
class Fit:
    """kinds (D, C) and bias (C,) learnt without the products of one fold."""

    kinds: FloatMatrix
    bias: FloatVector

    def logits(self, even: FloatMatrix) -> FloatMatrix:
        """Return (n, C) log-likelihoods up to a constant."""
        scores: FloatMatrix = even @ self.kinds + self.bias
        return scores


@dataclass(frozen=True)
class Tuned:
    """What was chosen. found_by_looks, found_again: shares of the simulated second photos."""

    shrinkage: float
    sharpness: float
    weight: float
    log_loss: float
    retrieval: Retrieval
    found_by_looks: float
    found_again: float


class CrossValidation:
    """The sample, dealt into folds."""

    def __init__(self, sample: Sample) -> None:
        """Take at most TUNED_ROWS_MAX of the products, in a fixed random order."""
        rng = np.random.default_rng(SEED)
        self.sample = sample.take(rng.permutation(len(sample.raw.labels))[:TUNED_ROWS_MAX])
        self._fold = deal(self.sample.raw.labels, self.sample.raw.items, FOLDS)
        even, kinds = self.sample.even.vectors, self.sample.even.labels
        self._moments = [
            measure(even[self._fold != fold], kinds[self._fold != fold], self.sample.kinds)
            for fold in range(FOLDS)
        ]
        self._looks = looks_only(measure(even, kinds, self.sample.kinds))

    @cached_property
    def _gallery(self) -> np.ndarray[Any, Any]:
        return np.arange(min(len(self.sample.raw.labels), GALLERY_MAX))

    @cached_property
    def _queries(self) -> np.ndarray[Any, Any]:
        return self._gallery[:QUERIES_MAX]

    def judge_plain(self) -> Retrieval:
        """Judge the model's own vectors."""
        return self._judge(self.sample.raw.vectors)

    def judge_centred(self) -> Retrieval:
        """Judge vectors less their mean."""
        return self._judge(unit(self.sample.raw.vectors - self.sample.raw.vectors.mean(axis=0)))

    def _judge(self, vectors: FloatMatrix) -> Retrieval:
        labelled = self.sample.raw.with_vectors(vectors)
        return judge(labelled.take(self._queries), labelled.take(self._gallery))

    def tune(self, deadline: float) -> Tuned | None:
        """Choose everything; None when no weight keeps the simulated second photos found.

        deadline: time.monotonic() after which nothing further is tried.
        """
        loss, shrinkage, sharpness = self._tune_likelihood(deadline)
        fits = self._fits(shrinkage)
        photos = self._second_photos(fits)
        looks = self._looks.looks_of(self.sample.raw.vectors[self._gallery])
        alike = looks[self._queries] @ looks.T
        again = self._looks.looks_of(photos.vectors) @ looks.T
        logits = self._held_out(fits)[self._gallery]
        trials = []
        for sharper in (sharpness * more for more in SHARPENED):
            kinds = probabilities_root(sharper * logits)
            kind_alike = kinds[self._queries] @ kinds.T
            kind_again = probabilities_root(sharper * photos.logits) @ kinds.T
            for weight, found in _harmless(again, kind_again, photos):
                retrieval = self._judge_scores((1 - weight) * alike + weight * kind_alike)
                trials.append(
                    Tuned(shrinkage, sharper, weight, loss, retrieval, photos.found_by_looks, found)
                )
            if trials and time.monotonic() > deadline:
                break
        return max(trials, key=_map, default=None)

    def _without_twins(self) -> np.ndarray[Any, Any]:
        """Return the queries that have no near-duplicate: of twins, neither is the right one to find."""
        looks = self._looks.looks_of(self.sample.raw.vectors[self._gallery])
        alike = looks[self._queries] @ looks.T
        alike[np.arange(len(self._queries)), self._queries] = -1
        alone = self._queries[alike.max(axis=1) < TWIN]
        return alone if len(alone) else self._queries

    def _judge_scores(self, scores: FloatMatrix) -> Retrieval:
        labels, items = self.sample.raw.labels, self.sample.raw.items
        gallery = Labelled(self.sample.raw.vectors[:0], labels[self._gallery], items[self._gallery])
        return judge_scores(scores, gallery.take_labels(self._queries), gallery)

    def _tune_likelihood(self, deadline: float) -> tuple[float, float, float]:
        """Return the least held-out log-loss in nats with its shrinkage and sharpness."""
        known = np.flatnonzero(self.sample.even.labels >= 0)
        kinds = self.sample.even.labels[known]
        best = (np.inf, 0.0, 0.0)
        for shrinkage in SHRINKAGES:
            logits = self._held_out(self._fits(shrinkage))[known]
            for sharpness in SHARPNESSES:
                loss = float(_losses(sharpness * logits, kinds).mean())
                best = min(best, (loss, shrinkage, sharpness))
            if time.monotonic() > deadline:
                break
        return best

    def _fits(self, shrinkage: float) -> list[Fit]:
        return [Fit(*discriminants(moments, shrinkage)) for moments in self._moments]

    def _held_out(self, fits: list[Fit]) -> FloatMatrix:
        """Return (n, C) logits, each product's by the fit of its fold, which has not seen it."""
        return self._logits_of(self.sample.even.vectors, np.arange(len(self._fold)), fits)

    def _logits_of(self, even: FloatMatrix, rows: np.ndarray[Any, Any], fits: list[Fit]) -> FloatMatrix:
        logits = np.empty((len(even), self.sample.kinds), np.float32)
        for fold, fit in enumerate(fits):
            mine = self._fold[rows] == fold
            logits[mine] = fit.logits(even[mine])
        return logits

    def _second_photos(self, fits: list[Fit]) -> SecondPhotos:
        gallery = self.sample.raw.vectors[self._gallery]
        alone = self._without_twins()
        targets = np.resize(alone, QUERIES_MAX)
        vectors, found = photograph_again(gallery, targets, self._looks)
        logits = self._logits_of(even_out(vectors), targets, fits)
        return SecondPhotos(vectors, targets, logits, found)


@dataclass(frozen=True)
class SecondPhotos:
    """Simulated second photos, (Q, D) as the model would see them, of the rows `targets` of the gallery.

    logits: (Q, C) held out. found_by_looks: the share that the looks alone find first.
    """

    vectors: FloatMatrix
    targets: np.ndarray[Any, Any]
    logits: FloatMatrix
    found_by_looks: float


def photograph_again(
    gallery: FloatMatrix, targets: np.ndarray[Any, Any], looks: Adaptation
) -> tuple[FloatMatrix, float]:
    """Simulate the same products photographed again, as hard as the looks alone can bear.

    Each feature is seen stronger or weaker (log-normal gain) and something of another product enters the
    picture. The strength is found by bisection. Returns (Q, D) and the share found by looks.
    """
    rng = np.random.default_rng(SEED)
    others = gallery[rng.integers(0, len(gallery), len(targets))]
    noise = rng.normal(size=(len(targets), gallery.shape[1])).astype(np.float32)
    shown = looks.looks_of(gallery)

    def photos(strength: float) -> tuple[FloatMatrix, float]:
        share = min(strength / 4, 0.5)
        seen = unit(((1 - share) * gallery[targets] + share * others) * np.exp(np.float32(strength) * noise))
        places = places_in(looks.looks_of(seen) @ shown.T, targets)
        return seen, float((places == 0).mean())

    weak, strong = 0.0, 4.0
    for _ in range(8):
        middle = (weak + strong) / 2
        weak, strong = (middle, strong) if photos(middle)[1] >= FOUND_AGAIN else (weak, middle)
    return photos(weak)


def _harmless(looks: FloatMatrix, kinds: FloatMatrix, photos: SecondPhotos) -> list[tuple[float, float]]:
    """Return the heaviest weights at which second photos still find their products, with the share found."""
    passed = []
    for weight in WEIGHTS:
        found = float((places_in((1 - weight) * looks + weight * kinds, photos.targets) == 0).mean())
        if found >= photos.found_by_looks - LOSS_MAX:
            passed.append((weight, found))
        if len(passed) == WEIGHTS_JUDGED:
            break
    return passed


def _losses(logits: FloatMatrix, kinds: Labels) -> np.ndarray[Any, Any]:
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    losses: np.ndarray[Any, Any] = total - logits[np.arange(len(kinds)), kinds]
    return losses


def _map(tuned: Tuned) -> float:
    return float(tuned.retrieval.average_precision.mean()) if len(tuned.retrieval) else 0.0
