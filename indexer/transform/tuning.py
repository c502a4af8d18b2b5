"""Choosing by cross-validation: how far to whiten looks, how sharp the kinds are, how much they weigh.

One half of the sample teaches the looks, the other is searched; its kinds are held out. Shape letters:
n products, N of them searched, Q queries, C kinds, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.transform.discriminant import WHITEN_UP_TO, looks_only, spectrum_of
from vitrine.indexer.transform.posteriors import HeldOutKinds
from vitrine.indexer.transform.sample import SEED, Sample, deal
from vitrine.indexer.transform.transform import Adaptation, even_out, probabilities_root
from vitrine.indexer.vectors.metrics import RetrievalMetrics, evaluate_retrieval, evaluate_scores, target_ranks

LOOK_SHRINKAGES = (0.7, 0.9, 1.0)
SHARPENED = (1.0, 1.6)
WEIGHTS = (0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1)
# Of trials whose mAP differs by less than this, the one that finds most second photos is taken.
ALIKE = 0.003
TUNED_ROWS_MAX = 8192
QUERIES_MAX = 1000
GALLERY_MAX = 4096
# The simulated second photo: noise at which the looks alone still find 99 % of the products again, of which
# the kinds may cost half a point. On real crops, light and scale that is no loss (tests/benchmarks).
FOUND_AGAIN = 0.99
LOSS_MAX = 0.005
TWIN = 0.85


@dataclass(frozen=True)
class Tuned:
    """What was chosen. found_by_looks, found_again: shares of the simulated second photos."""

    look_shrinkage: float
    shrinkage: float
    sharpness: float
    weight: float
    log_loss: float
    retrieval: RetrievalMetrics
    found_by_looks: float
    found_again: float


@dataclass(frozen=True)
class SecondPhotos:
    """Simulated second photos, (Q, D) as the model would see them, of the rows `targets` that are searched.

    logits: (Q, C) held out. found_by_looks: the share that the looks alone find first.
    """

    vectors: FloatMatrix
    targets: np.ndarray[Any, Any]
    logits: FloatMatrix
    found_by_looks: float


class CrossValidation:
    """Held-out figures of every way of comparing that is considered. sample: what they are taken on."""

    def __init__(self, sample: Sample) -> None:
        """Take at most TUNED_ROWS_MAX of the products, in a fixed random order, and halve them."""
        order = np.random.default_rng(SEED).permutation(len(sample.raw.labels))[:TUNED_ROWS_MAX]
        self.sample = sample.take(order)
        half = deal(self.sample.raw.labels, self.sample.raw.items, 2)
        self._taught = np.flatnonzero(half == 0)
        self._searched = np.flatnonzero(half == 1)[:GALLERY_MAX]
        self._gallery = self.sample.raw.take(self._searched)
        self._queries = np.arange(min(len(self._searched), QUERIES_MAX))

    def judge_plain(self) -> RetrievalMetrics:
        """Judge the model's own vectors."""
        return evaluate_retrieval(self._gallery.take(self._queries), self._gallery)

    def judge_centred(self) -> RetrievalMetrics:
        """Judge vectors less the mean of the other half."""
        mean = self.sample.raw.vectors[self._taught].mean(axis=0)
        centred = self._gallery.with_vectors(unit(self._gallery.vectors - mean))
        return evaluate_retrieval(centred.take(self._queries), centred)

    def tune(self, deadline: float) -> Tuned | None:
        """Choose everything; None when nothing keeps the simulated second photos found.

        deadline: time.monotonic() after which nothing further is tried.
        """
        kinds = HeldOutKinds(self.sample)
        loss, shrinkage, sharpness = kinds.tune(deadline)
        logits = kinds.logits(self.sample.even.vectors[self._searched], self._searched)
        spectrum = spectrum_of(self.sample.even.vectors[self._taught])
        wide = len(spectrum.mean) > WHITEN_UP_TO
        photos, trials = None, []
        for look_shrinkage in (1.0,) if wide else LOOK_SHRINKAGES:
            looks = looks_only(spectrum, self.sample.kinds, look_shrinkage)
            photos = photos or self._second_photos(looks, kinds)
            for sharper in (sharpness * more for more in SHARPENED):
                for weight, retrieval, found in self._trials(looks, sharper * logits, sharper, photos):
                    trials.append(
                        Tuned(look_shrinkage, shrinkage, sharper, weight, loss, retrieval,
                              photos.found_by_looks, found)
                    )  # fmt: skip
            if trials and time.monotonic() > deadline:
                break
        best = max((mean_precision(trial.retrieval) for trial in trials), default=0.0)
        alike = [trial for trial in trials if mean_precision(trial.retrieval) >= best - ALIKE]
        return max(alike, key=lambda trial: (trial.found_again, -trial.weight), default=None)

    def _trials(
        self, looks: Adaptation, logits: FloatMatrix, sharpness: float, photos: SecondPhotos
    ) -> Iterator[tuple[float, RetrievalMetrics, float]]:
        """Yield harmless weights with what they find of categories and of second photos.

        The heaviest first, and on as long as lighter ones lose nothing.
        """
        shown = looks.looks_of(self._gallery.vectors)
        kinds = probabilities_root(logits)
        alike, kind_alike = shown[self._queries] @ shown.T, kinds[self._queries] @ kinds.T
        again = looks.looks_of(photos.vectors) @ shown.T
        kind_again = probabilities_root(sharpness * photos.logits) @ kinds.T
        best = 0.0
        for weight in WEIGHTS:
            found = found_first((1 - weight) * again + weight * kind_again, photos.targets)
            if found < photos.found_by_looks - LOSS_MAX:
                continue
            retrieval = self._judge((1 - weight) * alike + weight * kind_alike)
            yield weight, retrieval, found
            if mean_precision(retrieval) < best - ALIKE:
                return
            best = max(best, mean_precision(retrieval))

    def _judge(self, scores: FloatMatrix) -> RetrievalMetrics:
        return evaluate_scores(scores, self._gallery.take_labels(self._queries), self._gallery)

    def _second_photos(self, looks: Adaptation, kinds: HeldOutKinds) -> SecondPhotos:
        targets = np.resize(self._without_twins(looks), QUERIES_MAX)
        vectors, found = photograph_again(self._gallery.vectors, targets, looks)
        logits = kinds.logits(even_out(vectors), self._searched[targets])
        return SecondPhotos(vectors, targets, logits, found)

    def _without_twins(self, looks: Adaptation) -> np.ndarray[Any, Any]:
        """Return the queries that have no near-duplicate: of twins, neither is the right one to find."""
        shown = looks.looks_of(self._gallery.vectors)
        alike = shown[self._queries] @ shown.T
        alike[np.arange(len(self._queries)), self._queries] = -1
        alone = self._queries[alike.max(axis=1) < TWIN]
        return alone if len(alone) else self._queries


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
        return seen, found_first(looks.looks_of(seen) @ shown.T, targets)

    weak, strong = 0.0, 4.0
    for _ in range(8):
        middle = (weak + strong) / 2
        weak, strong = (middle, strong) if photos(middle)[1] >= FOUND_AGAIN else (weak, middle)
    return photos(weak)


def found_first(scores: FloatMatrix, targets: np.ndarray[Any, Any]) -> float:
    """Return the share of queries, rows of (Q, N) scores, whose target row is first."""
    return float((target_ranks(scores, targets) == 0).mean())


def mean_precision(retrieval: RetrievalMetrics) -> float:
    """Return the mean average precision, 0 where nothing could be judged."""
    return float(retrieval.average_precision.mean()) if len(retrieval) else 0.0
