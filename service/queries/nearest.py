"""Recommendation: a reference becomes a vector, and the stages reduce the live products to one page of hits.

filter, bans → search → min score and confidence → pins first → groups → duplicates → never together →
diversity → pins at their ranks → page. Every stage but the filter looks at better hits only, so the hit at
rank 3 does not depend on the number of hits asked for.
Shape letters: n rows of the state, m hits, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleArray, FloatVector, Mask, Rows, Strings
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.conditions import category_mask, condition_mask
from vitrine.indexer.state.compiled_rules import CompiledRules
from vitrine.indexer.vectors.ranking import Hits, RuleEffects, Stages
from vitrine.service.queries.options import SearchOptions
from vitrine.service.queries.searcher import Filters
from vitrine.service.queries.view import View

# (k, rows) to the k best of these rows, with the confidence of each, or None where it is not needed.
TopK = Callable[[int, Mask], tuple[Hits, DoubleArray | None]]
# Rocchio's weight of the negative examples (gamma); the positive ones have weight 1.
UNLIKE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Reference:
    """The query of a search: the vector that hits are compared with, and the products it was made of.

    vector: (D,) float32, unit. rows: these products, which are never hits. categories: their categories, for
    `same_category` and for the calibration of scores; empty for a vector or a photo. liked: the positive
    examples among the rows, to which the shop rules apply.
    """

    vector: FloatVector
    rows: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    liked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page of hits.

    rows, scores: (m,) each, in order. confidences: (m,) of the scores, None where the snapshot was not
    calibrated. requested: the limit. reason: the explanation for fewer hits than `requested`, or None.
    trace: (stage, candidates left after it), in order. rules: (m,) the name of the rule that placed each hit,
    or None.
    """

    rows: Rows
    scores: FloatVector
    confidences: DoubleArray | None
    requested: int
    reason: str | None
    trace: tuple[tuple[str, int], ...]
    rules: tuple[str | None, ...]

    @property
    def hits(self) -> list[tuple[int, float]]:
        """(row, score) of each hit."""
        return list(zip(self.rows.tolist(), self.scores.tolist(), strict=True))

    @property
    def returned(self) -> int:
        """The number of hits."""
        return len(self.rows)


def product_reference(view: View, row: int) -> Reference:
    """Return one product as a reference."""
    return products_reference(view, [row])


def products_reference(view: View, like: Sequence[int], unlike: Sequence[int] = ()) -> Reference:
    """Return the mean of some products less half the mean of others as a reference.

    This is Rocchio's relevance feedback with gamma = 0.5. Raises QueryError when `like` is empty, a product
    is in both lists, or the difference has no direction.
    """
    segments = view.state.segments
    if not like:
        raise QueryError("products.like names at least one product", field="products")
    if set(like) & set(unlike):
        both = segments.id_at(min(set(like) & set(unlike)))
        raise QueryError(f"product {both!r} is both liked and unliked", field="products")
    liked = segments.vectors(list(like))
    vector = liked[0] if len(like) == 1 else liked.mean(axis=0)
    if unlike:
        vector = vector - UNLIKE_WEIGHT * segments.vectors(list(unlike)).mean(axis=0)
    categories = dict.fromkeys(view.state.categories[view.state.category_codes[row]] for row in like)
    if len(like) > 1 or unlike:
        vector = _unit_vector(vector, "the liked and the unliked products cancel out", "products")
    return Reference(vector, (*like, *unlike), tuple(categories), tuple(like))


def vector_reference(view: View, values: Any, field: str = "vector") -> Reference:
    """Return a vector in the snapshot's space as a reference; its length does not matter.

    Raises QueryError unless it holds D finite numbers that are not all zero.
    """
    dimension = view.state.segments.dimension
    try:
        vector = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise QueryError("a vector is a list of numbers", field=field, malformed=True) from None
    if vector.shape != (dimension,):
        size = "x".join(map(str, vector.shape)) or "one"
        raise QueryError(f"a vector has {dimension} numbers here, not {size}", field=field)
    if not np.isfinite(vector).all():
        raise QueryError("a vector holds NaN or infinity", field=field)
    greatest = float(np.abs(vector).max())
    return Reference(_unit_vector(vector / (greatest or 1.0), "a vector of zeros has no direction", field))


def recommend(view: View, reference: Reference, options: SearchOptions) -> SearchResult:
    """Return one page of the most similar live products that the options allow.

    Order: score descending, then id; with `diversity`, by maximal marginal relevance; pins of the shop rules
    at their ranks. Raises QueryError for an option that cannot be applied.
    """
    if options.min_confidence is not None and view.state.snapshot.confidence is None:
        raise QueryError(
            "this snapshot was built before scores had a confidence: build again", field="min_confidence"
        )
    allowed, trace = _filter(view, reference, options)
    end = options.offset + options.limit
    hits, stage_trace = _search(view, reference, options, allowed, end)
    trace += stage_trace
    page = slice(options.offset, end)
    rows, scores, rules = hits.rows[page], hits.scores[page], _rule_names(hits.rules, len(hits))[page]
    trace.append(("page", len(rows)))
    reason = _shortfall_reason(options, trace) if len(rows) < options.limit else None
    confidences = confidences_of(view, reference, scores)
    return SearchResult(rows, scores, confidences, options.limit, reason, tuple(trace), tuple(rules))


def confidences_of(view: View, reference: Reference, scores: FloatVector) -> DoubleArray | None:
    """Return (m,) confidences of scores against a reference; None where the snapshot was not calibrated.

    A reference with one category uses that category's calibration, any other that of the whole catalogue.
    """
    calibration = view.state.snapshot.confidence
    if calibration is None:
        return None
    return calibration.confidences_of(
        scores, reference.categories[0] if len(reference.categories) == 1 else None
    )


def _filter(view: View, reference: Reference, options: SearchOptions) -> tuple[Mask, list[tuple[str, int]]]:
    """Return (n,) bool, the rows that may be hits, and the number that each condition left."""
    state, segments = view.state, view.state.segments
    trace = [("catalogue", segments.n)]
    allowed = state.live.copy()

    def record(stage: str) -> None:
        trace.append((stage, int(np.count_nonzero(allowed))))

    record("live")
    if reference.rows:
        allowed[list(reference.rows)] = False
        record("reference")
    if options.same_category:
        if not reference.categories:
            raise QueryError("same_category needs a product as the reference", field="same_category")
        allowed &= category_mask(reference.categories, state.categories, state.category_codes)
        record("same_category")
    if options.category:
        allowed &= category_mask(options.category, state.categories, state.category_codes)
        record("category")
    if options.where:
        allowed &= condition_mask(segments.tables, options.where)
        record("where")
    if options.exclude:
        rows = [segments.row_of(product_id) for product_id in options.exclude]
        allowed[[row for row in rows if row is not None]] = False
        record("exclude")
    if (banned := view.compiled_rules.banned_rows(reference.liked)) is not None:
        allowed &= ~banned
        record("bans")
    return allowed, trace


def _store_filters(reference: Reference, options: SearchOptions) -> Filters:
    """Return those conditions of `_filter` that a store can apply by itself."""
    categories = [reference.categories] if options.same_category else []
    categories += [tuple(options.category)] if options.category else []
    return Filters(tuple(categories), options.where or {})


def _search(
    view: View, reference: Reference, options: SearchOptions, allowed: Mask, count: int
) -> tuple[Hits, list[tuple[str, int]]]:
    """Search with growing k until the stages leave `count` hits or no further hit can follow."""
    stages = Stages(
        options.min_score,
        options.min_confidence,
        options.one_per_group,
        options.collapse_duplicates,
        options.diversity,
    )
    filters, segments = _store_filters(reference, options), view.state.segments

    def top_k(k: int, rows: Mask) -> tuple[Hits, DoubleArray | None]:
        """Return the k best of some rows, with their confidences if `min_confidence` needs them."""
        nearest = view.search(reference.vector[None], k, allowed=rows, exact=options.exact, filters=filters)
        hits = Hits(nearest.rows[0], nearest.scores[0])
        return hits, None if options.min_confidence is None else confidences_of(view, reference, hits.scores)

    effects = _rule_effects(view.compiled_rules, reference.liked, allowed, top_k, stages)
    count = stages.hits_needed(count) + len(effects.pins)
    available = int(np.count_nonzero(allowed))
    k = min(count, available)
    while True:
        ranked, confidences = top_k(k, allowed)
        hits, trace = stages.apply(
            ranked, segments.group_codes, segments.vectors, count, confidences, effects
        )
        if len(hits) >= count or k >= available or not stages.last_hit_passes(ranked, confidences):
            return hits, trace
        k = min(4 * k, available)


def _rule_effects(
    compiled_rules: CompiledRules, liked: Sequence[int], allowed: Mask, top_k: TopK, stages: Stages
) -> RuleEffects:
    """Return the effects of the rules on this list; a pin shows only rows that the query allows."""
    pins = []
    for pin, rows, k in compiled_rules.pins_for(liked):
        candidates = rows & allowed
        if k := min(k, int(np.count_nonzero(candidates))):
            pins.append((pin, stages.filter_by_thresholds(*top_k(k, candidates))))
    return compiled_rules.effects(pins)


def _rule_names(rules: Strings | None, count: int) -> list[str | None]:
    return [None] * count if rules is None else rules.tolist()


def _unit_vector(vector: Any, problem: str, field: str) -> FloatVector:
    """Return a vector scaled to unit length. Raises QueryError with `problem` for one of length zero."""
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise QueryError(problem, field=field)
    scaled: FloatVector = np.asarray(vector / length, np.float32)
    return scaled


_STAGE_EFFECTS = {
    "live": "{left} of {before} products are not deleted",
    "reference": "{left} products besides the reference",
    "same_category": "{left} in the same category",
    "category": "{left} in the categories asked for",
    "where": "{left} satisfy the conditions",
    "exclude": "{left} are not excluded",
    "bans": "{left} may be shown by the rules of the shop",
    "min_score": "{left} reach the least score",
    "min_confidence": "{left} reach the least confidence",
    "one_per_group": "{left} groups",
    "collapse_duplicates": "{left} are not near-duplicates of a better hit",
    "never_together": "{left} may stand together by the rules of the shop",
    "page": "{before} hits in all, before the offset asked for",
}


def _shortfall_reason(options: SearchOptions, trace: list[tuple[str, int]]) -> str:
    """Return the stages that removed products, in their order, as a sentence."""
    effects = []
    for (_, before), (stage, left) in pairwise(trace):
        if stage in _STAGE_EFFECTS and left < before and (stage != "page" or options.offset):
            effects.append(_STAGE_EFFECTS[stage].format(left=left, before=before))
    return "only " + "; ".join(effects) if effects else "the catalogue has no more products"
