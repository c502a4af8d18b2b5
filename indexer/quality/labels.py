"""Products whose looks speak for another category than the one they have, and categories too small to tell.

Judged by discriminants of the other products' categories on the model's own vectors: a transform that was
taught with the wrong label has learnt to agree with it. Shape letters: N products, D dimension, C categories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

from vitrine.indexer.arrays import DoubleArray, FloatMatrix, Mask
from vitrine.indexer.quality.findings import Finding
from vitrine.indexer.quality.quality_input import QualityInput
from vitrine.indexer.transform.discriminant import fit_discriminants, fit_moments
from vitrine.indexer.transform.transform import signed_sqrt

# On 1,651 photos of clothes with 2 % of the categories swapped, three draws, precision and recall are about
# .7 and 2.2 to 2.9 % are taken for wrong; at shrinkage .5 .05 less, by votes of 10 neighbours .2 less.
SHRINKAGE = 0.9
DOUBT_FROM = 0.4
FOLDS = 5
LEARNT_FROM = 10
FEW = 5
_LEARNT_ROWS_MAX = 20_000
_SEED = 11
_SHOWN = 4
_NOT_LEARNT = -1e9
# Where the fit begins: logarithm of the temperature, log-odds of a wrong label.
_STARTS = ((0.0, -4.0), (2.0, -3.0), (4.0, -3.0))


@dataclass(frozen=True)
class Verdicts:
    """What looks say of labels.

    doubts: (N,) how probably the given category is wrong, 0 where nothing can be said. votes: (N,) the code
    of the likeliest other one, -1 for none. wrong_share: of all labels, as the fit sees it.
    """

    doubts: DoubleArray
    votes: np.ndarray[Any, np.dtype[np.int64]]
    wrong_share: float


def estimate_label_errors(vectors: FloatMatrix, codes: Any, usable: Mask, count: int) -> Verdicts | None:
    """Judge each product by what others teach: five folds, each judged by the other four.

    vectors: (N, D) as the model said. codes: (N,) 0..count-1, -1 none. usable: (N,) whose picture says
    something. None where fewer than two categories have enough products to learn from.
    """
    codes = np.where(usable, codes, -1)
    sizes = np.bincount(codes[codes >= 0], minlength=count)
    taught = np.flatnonzero(sizes >= LEARNT_FROM)
    if len(taught) < 2:
        return None
    kinds = np.full(count + 1, -1, np.int32)
    kinds[taught] = np.arange(len(taught))
    kind = kinds[codes]
    likelihoods = _held_out(signed_sqrt(vectors), kind, len(taught))
    known = np.flatnonzero(kind >= 0)
    own, others = kind[known], likelihoods[known]
    temperature, wrong = _fit(others, own)
    right = (1 - wrong) * softmax(others / temperature, axis=1)[np.arange(len(known)), own]
    others[np.arange(len(known)), own] = _NOT_LEARNT
    doubts, votes = np.zeros(len(codes)), np.full(len(codes), -1, np.int64)
    by_chance = wrong / len(taught)
    doubts[known], votes[known] = by_chance / (right + by_chance), taught[others.argmax(axis=1)]
    return Verdicts(doubts, votes, wrong)


def _held_out(vectors: FloatMatrix, kinds: Any, count: int) -> DoubleArray:
    """Return (N, count) log-likelihoods, of each product by discriminants that never saw it."""
    random = np.random.default_rng(_SEED)
    folds = np.zeros(len(kinds), np.int64)
    for kind in range(count):
        members = random.permutation(np.flatnonzero(kinds == kind))
        folds[members] = np.arange(len(members)) % FOLDS
    found = np.zeros((len(kinds), count))
    for fold in range(FOLDS):
        learnt = np.flatnonzero((folds != fold) & (kinds >= 0))
        if len(learnt) > _LEARNT_ROWS_MAX:
            learnt = np.sort(random.choice(learnt, _LEARNT_ROWS_MAX, replace=False))
        directions, bias = fit_discriminants(fit_moments(vectors[learnt], kinds[learnt], count), SHRINKAGE)
        asked = folds == fold
        found[asked] = vectors[asked] @ directions + bias
    return found


def _fit(likelihoods: DoubleArray, kinds: Any) -> tuple[float, float]:
    """Return the temperature of log-likelihoods and the share of wrong labels that explain the labels best.

    A label is that of the product with (1 - wrong) and any with wrong; the features are not independent, so
    that likelihoods are bolder than they should be. Both have to be fitted at once: without the share, a few
    wrong labels would pass for features that say little.
    """
    places = np.arange(len(kinds))

    def loss(parameters: DoubleArray) -> float:
        temperature, wrong = np.exp(parameters[0]), 1 / (1 + np.exp(-parameters[1]))
        right = softmax(likelihoods / temperature, axis=1)[places, kinds]
        return -float(np.log((1 - wrong) * right + wrong / likelihoods.shape[1]).mean())

    best = min((minimize(loss, start, method="Nelder-Mead") for start in _STARTS), key=lambda each: each.fun)
    return float(np.exp(best.x[0])), float(1 / (1 + np.exp(-best.x[1])))


def wrong_categories(data: QualityInput, usable: Mask) -> Iterator[Finding]:
    """Yield products whose category is doubted by DOUBT_FROM or more, with the one they look like."""
    verdicts = estimate_label_errors(data.raw, data.codes, usable, len(data.categories))
    if verdicts is None:
        return
    for place in np.flatnonzero(verdicts.doubts >= DOUBT_FROM).tolist():
        vote = int(verdicts.votes[place])
        near = data.alike.places[place]
        near = near[near >= 0]
        speaking = near[data.codes[near] == vote]
        if not len(speaking):
            speaking = np.flatnonzero(data.codes == vote)
            speaking = speaking[np.argsort(-(data.raw[speaking] @ data.raw[place]))]
        reason = {
            "category": data.categories[data.codes[place]],
            "vote": data.categories[vote],
            "neighbours": int((data.codes[near] == vote).sum()),
            "of": len(near),
        }
        shown = tuple(data.ids[other] for other in speaking[:_SHOWN])
        yield Finding("wrong-category", (data.ids[place],), float(verdicts.doubts[place]), shown, reason)


def small_categories(data: QualityInput) -> Iterator[Finding]:
    """Yield categories of fewer than FEW live products."""
    sizes = np.bincount(data.codes[data.codes >= 0], minlength=len(data.categories))
    for code in np.flatnonzero((sizes > 0) & (sizes < FEW)).tolist():
        ids = tuple(data.ids[place] for place in np.flatnonzero(data.codes == code).tolist())
        reason = {"category": data.categories[code], "products": len(ids)}
        yield Finding("small-category", ids, 1 - len(ids) / FEW, (), reason)
