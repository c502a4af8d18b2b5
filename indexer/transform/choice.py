"""The choice of a build: keep the transform, adapt, or say why not and fall back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix
from vitrine.indexer.errors import InputError
from vitrine.indexer.transform.discriminant import looks_only, measure, spectrum_of, with_kinds
from vitrine.indexer.transform.sample import KIND_FROM, Catalogue, Sample, draw_sample
from vitrine.indexer.transform.transform import CENTRE_FROM, NAMES, Transform, fit_mean
from vitrine.indexer.transform.tuning import CrossValidation, Tuned
from vitrine.indexer.vectors.metrics import RetrievalMetrics

TUNING_S = 30.0
# Categories and the number of products in each may change so much before the map is learnt anew.
COUNT_DRIFT_MAX = 0.02
GAIN_MIN = 0.01
_BLOCK_ROWS = 4096


def still_fits(transform: Transform, asked: str, catalogue: Catalogue) -> bool:
    """True when a transform asked for by the same name was fitted on nearly the same counts."""
    if transform.asked != asked or not transform.counts:
        return False
    now = catalogue.counts
    moved = sum(abs(now.get(name, 0) - transform.counts.get(name, 0)) for name in {*now, *transform.counts})
    return moved <= COUNT_DRIFT_MAX * sum(transform.counts.values())


def choose_transform(asked: str, catalogue: Catalogue, previous: Transform | None = None) -> Transform:
    """Return the transform for a catalogue; `previous` itself while that still fits.

    asked: "auto", "none", "centre" or "adapt". `auto` adapts only where products that were not learnt from
    find more of their category and no fewer of themselves. Raises InputError for another name.
    """
    if asked not in NAMES:
        raise InputError(f"--transform {asked!r} is not one of {', '.join(NAMES)}")
    if previous is not None and still_fits(previous, asked, catalogue):
        return previous
    verdict = Verdict()
    if asked in ("auto", "adapt"):
        adapted, verdict = _adapt(asked, catalogue)
        if adapted is not None:
            return adapted
    fitted = fit_mean("auto" if asked == "adapt" else asked, _blocks(catalogue), len(catalogue))
    if previous is not None and previous.asked == asked and previous.is_close_to(fitted):
        return previous
    why = f"not adapted: {verdict.against}" if verdict.against else fitted.why
    return Transform(fitted.name, why, fitted.mean, None, asked, catalogue.counts, verdict.figures)


@dataclass(frozen=True)
class Verdict:
    """What speaks against an adaptation (empty: nothing), and what was measured."""

    against: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


def _blocks(catalogue: Catalogue) -> Iterator[FloatMatrix]:
    for start in range(0, len(catalogue), _BLOCK_ROWS):
        yield catalogue.read(np.arange(start, min(start + _BLOCK_ROWS, len(catalogue))))


def _adapt(asked: str, catalogue: Catalogue) -> tuple[Transform | None, Verdict]:
    """Return the adaptation, or None, and the verdict on it."""
    started = time.monotonic()
    if asked == "auto" and len(catalogue) < CENTRE_FROM:
        return None, Verdict(f"fewer than {CENTRE_FROM} products")
    sample = draw_sample(catalogue)
    if against := _too_little(sample):
        return None, Verdict(against)
    validation = CrossValidation(sample)
    if len(validation.sample.raw.labels) == len(sample.raw.labels):
        sample = validation.sample  # the same products in another order: one copy is enough
    baselines = {"none": validation.judge_plain(), "centre": validation.judge_centred()}
    tuned = validation.tune(started + TUNING_S)
    figures: dict[str, Any] = {"kinds": sample.kinds, "learnt_from": len(sample.raw.labels)}
    figures |= {"held_out": {name: each.summary() for name, each in baselines.items()}}
    if tuned is None:
        return None, Verdict("products are no longer found again in another light", figures)
    against = _compare(baselines, tuned.retrieval)
    figures |= _figures_of(tuned, figures["held_out"])
    figures["seconds"] = round(time.monotonic() - started, 2)
    if asked == "auto" and against:
        return None, Verdict(against, figures)
    moments = measure(sample.even.vectors, sample.even.labels, sample.kinds)
    looks = looks_only(spectrum_of(sample.even.vectors), sample.kinds, tuned.look_shrinkage)
    adaptation = with_kinds(looks, moments, tuned.shrinkage, tuned.sharpness, tuned.weight)
    before, after = figures["held_out"]["none"]["map"], figures["held_out"]["adapt"]["map"]
    why = f"mAP {after:.3f} held out, {before:.3f} without"
    if against:
        why = f"asked for, although {against}"
    return Transform("adapt", why, None, adaptation, asked, catalogue.counts, figures), Verdict()


def _too_little(sample: Sample) -> str:
    """Say why nothing can be learnt from a sample; empty when something can."""
    if sample.kinds < 2:
        return f"fewer than two categories have {KIND_FROM} products or more"
    if sample.kinds > sample.dimension // 2:
        return f"{sample.kinds} categories are too many for vectors of {sample.dimension}"
    return ""


def _compare(baselines: dict[str, RetrievalMetrics], adapted: RetrievalMetrics) -> str:
    """Say what speaks against an adaptation; empty when it helps by more than chance could."""
    best = max(baselines.values(), key=lambda each: float(each.average_precision.mean()))
    gains = adapted.average_precision - best.average_precision
    error = float(gains.std() / np.sqrt(len(gains)))
    if float(gains.mean()) < max(GAIN_MIN, 2 * error):
        return f"its categories teach nothing (mAP {gains.mean():+.3f} held out)"
    if adapted.precision_at(5).mean() < best.precision_at(5).mean() - GAIN_MIN / 2:
        return "fewer of the first five are of the category"
    return ""


def _figures_of(tuned: Tuned, held_out: dict[str, Any]) -> dict[str, Any]:
    return {
        "judged": len(tuned.retrieval),
        "shrinkage": tuned.shrinkage,
        "look_shrinkage": tuned.look_shrinkage,
        "sharpness": tuned.sharpness,
        "weight": tuned.weight,
        "log_loss": round(tuned.log_loss, 4),
        "held_out": held_out | {"adapt": tuned.retrieval.summary()},
        "found_again": {"looks": round(tuned.found_by_looks, 4), "adapt": round(tuned.found_again, 4)},
    }
