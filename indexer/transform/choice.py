"""Choice of a snapshot's transform: keep the previous one, adapt, or centre.

The metrics of a transform go into the manifest, under the names used here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrine.indexer.arrays import BLOCK_ROWS, FloatMatrix
from vitrine.indexer.errors import InputError
from vitrine.indexer.transform.discriminant import (
    add_classes,
    fit_moments,
    fit_spectrum,
    residual_adaptation,
)
from vitrine.indexer.transform.sample import CLASS_ITEMS_MIN, Sample, TrainingSet, draw_sample
from vitrine.indexer.transform.transform import CENTRE_PRODUCTS_MIN, NAMES, Adaptation, Transform, fit_mean
from vitrine.indexer.transform.tuning import CrossValidation, TunedParameters
from vitrine.indexer.vectors.metrics import RetrievalMetrics

TUNING_S = 30.0
# Category counts have drifted when they differ by more than this share of the products.
COUNT_DRIFT_MAX = 0.02
# Held-out gain of mAP that an adaptation must reach at least.
GAIN_MIN = 0.01


def have_counts_drifted(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Return True if category counts differ so much that a fit to them is outdated.

    before, after: products by category. A product that moves between two categories counts twice.
    """
    changed = sum(abs(after.get(name, 0) - before.get(name, 0)) for name in {*before, *after})
    return changed > COUNT_DRIFT_MAX * sum(before.values())


def still_fits(transform: Transform, requested: str, training_set: TrainingSet) -> bool:
    """Return True if a transform was requested by the same name and fitted on nearly the same counts."""
    if transform.requested != requested or not transform.counts:
        return False
    return not have_counts_drifted(transform.counts, training_set.counts)


def choose_transform(
    requested: str, training_set: TrainingSet, previous: Transform | None = None
) -> Transform:
    """Return the transform for a training set, or `previous` while it still fits.

    requested: "auto", "none", "centre" or "adapt". `auto` adapts only if held-out mAP rises by more than
    chance, and held-out products are still found by simulated photos of them. Raises InputError for another
    name.
    """
    if requested not in NAMES:
        raise InputError(f"--transform {requested!r} is not one of {', '.join(NAMES)}")
    if previous is not None and still_fits(previous, requested, training_set):
        return previous
    attempt = _Attempt()
    if requested in ("auto", "adapt"):
        attempt = _try_adaptation(requested, training_set)
        if attempt.transform is not None:
            return attempt.transform
    fallback = "auto" if requested == "adapt" else requested
    fitted = fit_mean(fallback, _blocks(training_set), len(training_set))
    if previous is not None and previous.requested == requested and previous.is_close_to(fitted):
        return previous
    reason = f"not adapted: {attempt.objection}" if attempt.objection else fitted.reason
    return Transform(fitted.name, reason, fitted.mean, None, requested, training_set.counts, attempt.metrics)


@dataclass(frozen=True)
class _Attempt:
    """Result of fitting an adaptation: the transform, or the objection to it, and the metrics."""

    transform: Transform | None = None
    objection: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)


def _blocks(training_set: TrainingSet) -> Iterator[FloatMatrix]:
    for start in range(0, len(training_set), BLOCK_ROWS):
        yield training_set.read_vectors(np.arange(start, min(start + BLOCK_ROWS, len(training_set))))


def _try_adaptation(requested: str, training_set: TrainingSet) -> _Attempt:
    """Fit an adaptation and compare it with the other transforms on held-out products."""
    started = time.monotonic()
    if requested == "auto" and len(training_set) < CENTRE_PRODUCTS_MIN:
        return _Attempt(objection=f"fewer than {CENTRE_PRODUCTS_MIN} products")
    sample = draw_sample(training_set)
    if objection := _check_classes(sample):
        return _Attempt(objection=objection)
    validation = CrossValidation(sample)
    if len(validation.sample.raw.labels) == len(sample.raw.labels):
        sample = validation.sample  # the same products in another order: one copy is enough
    baselines = {"none": validation.evaluate_none(), "centre": validation.evaluate_centre()}
    tuned = validation.tune(started + TUNING_S)
    metrics: dict[str, Any] = {
        "kinds": sample.class_count,
        "learnt_from": len(sample.raw.labels),
        "held_out": {name: baseline.summary() for name, baseline in baselines.items()},
    }
    if tuned is None:
        return _Attempt(objection="products are no longer found by simulated photos", metrics=metrics)
    objection = _compare(baselines, tuned.retrieval)
    metrics |= _tuned_metrics(tuned, metrics["held_out"])
    metrics["seconds"] = round(time.monotonic() - started, 2)
    if requested == "auto" and objection:
        return _Attempt(objection=objection, metrics=metrics)
    before, after = metrics["held_out"]["none"]["map"], metrics["held_out"]["adapt"]["map"]
    reason = f"held-out mAP {after:.3f}, {before:.3f} without"
    if objection:
        reason = f"requested, although {objection}"
    adaptation = _fit_adaptation(sample, tuned)
    return _Attempt(Transform("adapt", reason, None, adaptation, requested, training_set.counts, metrics))


def _fit_adaptation(sample: Sample, tuned: TunedParameters) -> Adaptation:
    """Fit the chosen adaptation on the whole sample."""
    vectors, classes = sample.rooted.vectors, sample.rooted.labels
    moments = fit_moments(vectors, classes, sample.class_count)
    residual = residual_adaptation(fit_spectrum(vectors), sample.class_count, tuned.residual_shrinkage)
    return add_classes(residual, moments, tuned.class_shrinkage, tuned.sharpness, tuned.class_weight)


def _check_classes(sample: Sample) -> str:
    """Return why a sample cannot be learnt from; empty if it can."""
    if sample.class_count < 2:
        return f"fewer than two categories have {CLASS_ITEMS_MIN} products or more"
    if sample.class_count > sample.dimension // 2:
        return f"{sample.class_count} categories are too many for vectors of {sample.dimension}"
    return ""


def _compare(baselines: dict[str, RetrievalMetrics], adapted: RetrievalMetrics) -> str:
    """Return the objection to an adaptation; empty if it raises mAP by more than chance.

    The gain must be at least GAIN_MIN and two standard errors.
    """
    best = max(baselines.values(), key=lambda baseline: float(baseline.average_precision.mean()))
    gains = adapted.average_precision - best.average_precision
    standard_error = float(gains.std() / np.sqrt(len(gains)))
    if float(gains.mean()) < max(GAIN_MIN, 2 * standard_error):
        return f"the categories do not raise held-out mAP enough ({gains.mean():+.3f})"
    if adapted.precision_at(5).mean() < best.precision_at(5).mean() - GAIN_MIN / 2:
        return "held-out precision@5 falls"
    return ""


def _tuned_metrics(tuned: TunedParameters, held_out: dict[str, Any]) -> dict[str, Any]:
    """Return parameters and metrics under the names of the manifest."""
    return {
        "judged": len(tuned.retrieval),
        "shrinkage": tuned.class_shrinkage,
        "look_shrinkage": tuned.residual_shrinkage,
        "sharpness": tuned.sharpness,
        "weight": tuned.class_weight,
        "log_loss": round(tuned.log_loss, 4),
        "held_out": held_out | {"adapt": tuned.retrieval.summary()},
        "found_again": {"looks": round(tuned.residual_recall, 4), "adapt": round(tuned.photo_recall, 4)},
    }
