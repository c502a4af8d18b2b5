"""The one search: whatever was asked with becomes a vector, and stages take the live products down to one
page.

filter, bans → search → least score and confidence → pins first → groups → duplicates → never together →
diversity → pins at their places → page. Every stage but the filter looks at better hits only, so that what
stands at place 3 does not depend on how many are asked for.
Shape letters: n rows of the view, m hits, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleArray, FloatVector, Mask, Rows, Strings
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.where import matching_rows, rows_of_categories
from vitrine.indexer.state.compiled_rules import Rulings
from vitrine.indexer.vectors.ranking import Hits, Ruled, Stages
from vitrine.service.queries.options import SearchOptions
from vitrine.service.queries.searcher import Filters
from vitrine.service.queries.view import View

# The k best of the rows allowed, with the confidence of each, or None where nobody asked.
Best = Callable[[int, Mask], tuple[Hits, DoubleArray | None]]
UNLIKE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Reference:
    """What hits are compared with.

    vector: (D,) float32, unit. rows: the products it was made of, which are never hits. categories: theirs,
    for `same_category` and for what scores mean; empty for a vector or a photo. liked: of the rows, those
    that hits should be like, which the rules of the shop look at.
    """

    vector: FloatVector
    rows: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    liked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """rows, scores: the hits of one page, in order. reason: why they are fewer than `requested`, or None.

    confidences: (m,) of the scores, None where the snapshot was not calibrated. trace: (stage, candidates
    left after it), in order. rules: (m,) names of the rules that put hits there, None where none did.
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
    def levels(self) -> list[float | None]:
        """The confidence of each hit, to four decimals."""
        if self.confidences is None:
            return [None] * len(self.rows)
        rounded: list[float | None] = self.confidences.round(4).tolist()
        return rounded

    @property
    def returned(self) -> int:
        """How many hits there are."""
        return len(self.rows)


def product_reference(view: View, row: int) -> Reference:
    """Refer to one product of the view."""
    return products_reference(view, [row])


def products_reference(view: View, like: Sequence[int], unlike: Sequence[int] = ()) -> Reference:
    """Refer to the mean of some products less half the mean of others; (Rocchio's feedback with gamma = 0.5).

    Raises QueryError when nothing is liked, a product is on both sides, or nothing is left to compare with.
    """
    if not like:
        raise QueryError("products.like names at least one product", field="products")
    if set(like) & set(unlike):
        both = view.id_at(min(set(like) & set(unlike)))
        raise QueryError(f"product {both!r} is both liked and unliked", field="products")
    liked = view.vectors(list(like))
    vector = liked[0] if len(like) == 1 else liked.mean(axis=0)
    if unlike:
        vector = vector - UNLIKE_WEIGHT * view.vectors(list(unlike)).mean(axis=0)
    categories = dict.fromkeys(view.categories[view.category_codes[row]] for row in like)
    if len(like) > 1 or unlike:
        vector = _unit(vector, "the liked and the unliked products cancel out", "products")
    return Reference(vector, (*like, *unlike), tuple(categories), tuple(like))


def vector_reference(view: View, values: Any, field: str = "vector") -> Reference:
    """Refer to a vector in the snapshot's space; its length does not matter.

    Raises QueryError unless it holds D finite numbers that are not all zero.
    """
    try:
        vector = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise QueryError("a vector is a list of numbers", field=field, malformed=True) from None
    if vector.shape != (view.dimension,):
        size = "x".join(map(str, vector.shape)) or "one"
        raise QueryError(f"a vector has {view.dimension} numbers here, not {size}", field=field)
    if not np.isfinite(vector).all():
        raise QueryError("a vector holds NaN or infinity", field=field)
    greatest = float(np.abs(vector).max())
    return Reference(_unit(vector / (greatest or 1.0), "a vector of zeros has no direction", field))


def recommend(view: View, reference: Reference, options: SearchOptions) -> Answer:
    """Return one page of the most similar live products that the options admit.

    Order: score descending, then id; with `diversity`, by maximal marginal relevance; what the rules of the
    shop pin stands at its place. Raises QueryError for an option that cannot be obeyed.
    """
    if options.min_confidence is not None and view.confidence is None:
        raise QueryError(
            "this snapshot was built before scores had a confidence: build again", field="min_confidence"
        )
    allowed, trace = _filter(view, reference, options)
    wanted = options.offset + options.limit
    hits, after = _search(view, reference, options, allowed, wanted)
    trace += after
    page = slice(options.offset, wanted)
    rows, scores, rules = hits.rows[page], hits.scores[page], _listed(hits.rules, len(hits))[page]
    trace.append(("page", len(rows)))
    reason = _reason(options, trace) if len(rows) < options.limit else None
    confidences = confidence_of(view, reference, scores)
    return Answer(rows, scores, confidences, options.limit, reason, tuple(trace), tuple(rules))


def confidence_of(view: View, reference: Reference, scores: FloatVector) -> DoubleArray | None:
    """Return (m,) confidences of scores against a reference; None where the snapshot was not calibrated.

    A reference of one category is held against that category, any other against the whole catalogue.
    """
    if view.confidence is None:
        return None
    return view.confidence.of(scores, reference.categories[0] if len(reference.categories) == 1 else None)


def _filter(view: View, reference: Reference, options: SearchOptions) -> tuple[Mask, list[tuple[str, int]]]:
    """Return (n,) bool, the rows that may be hits, and how many each condition left."""
    trace = [("catalogue", view.n)]
    allowed = view.live.copy()

    def note(stage: str) -> None:
        trace.append((stage, int(np.count_nonzero(allowed))))

    note("live")
    if reference.rows:
        allowed[list(reference.rows)] = False
        note("reference")
    if options.same_category:
        if not reference.categories:
            raise QueryError("same_category needs a product as the reference", field="same_category")
        allowed &= rows_of_categories(reference.categories, view.categories, view.category_codes)
        note("same_category")
    if options.category:
        allowed &= rows_of_categories(options.category, view.categories, view.category_codes)
        note("category")
    if options.where:
        allowed &= matching_rows(view.tables, options.where)
        note("where")
    if options.exclude:
        rows = [view.row_of(product_id) for product_id in options.exclude]
        allowed[[row for row in rows if row is not None]] = False
        note("exclude")
    if (banned := view.rulings.banned(reference.liked)) is not None:
        allowed &= ~banned
        note("bans")
    return allowed, trace


def _told(reference: Reference, options: SearchOptions) -> Filters:
    """Return the conditions of `_filter` that a store can be told."""
    categories = [reference.categories] if options.same_category else []
    categories += [tuple(options.category)] if options.category else []
    return Filters(tuple(categories), options.where or {})


def _search(
    view: View, reference: Reference, options: SearchOptions, allowed: Mask, wanted: int
) -> tuple[Hits, list[tuple[str, int]]]:
    """Search wider and wider until the stages leave `wanted` hits or there is nothing more to find."""
    stages = Stages(
        options.min_score,
        options.min_confidence,
        options.one_per_group,
        options.collapse_duplicates,
        options.diversity,
    )
    filters = _told(reference, options)

    def best(k: int, rows: Mask) -> tuple[Hits, DoubleArray | None]:
        """Return the k best of some rows, and their confidences where they matter."""
        found = view.search(reference.vector[None], k, allowed=rows, exact=options.exact, filters=filters)
        hits = Hits(found.rows[0], found.scores[0])
        return hits, None if options.min_confidence is None else confidence_of(view, reference, hits.scores)

    ruled = _ruled(view.rulings, reference.liked, allowed, best, stages)
    wanted = stages.reach(wanted) + len(ruled.pins)
    available = int(np.count_nonzero(allowed))
    k = min(wanted, available)
    while True:
        ranked, levels = best(k, allowed)
        hits, trace = stages.applied(ranked, view.group_codes, view.vectors, wanted, levels, ruled)
        if len(hits) >= wanted or k >= available or not stages.passes(ranked, levels):
            return hits, trace
        k = min(4 * k, available)


def _ruled(rulings: Rulings, liked: Sequence[int], allowed: Mask, best: Best, stages: Stages) -> Ruled:
    """Return what the rules say of this list; a pin shows only what the query admits."""
    found = []
    for pin, rows, k in rulings.pins_for(liked):
        may = rows & allowed
        if k := min(k, int(np.count_nonzero(may))):
            found.append((pin, stages.sure(*best(k, may))))
    return rulings.ruled(found)


def _listed(rules: Strings | None, count: int) -> list[str | None]:
    return [None] * count if rules is None else rules.tolist()


def _unit(vector: Any, problem: str, field: str) -> FloatVector:
    length = float(np.linalg.norm(vector))
    if not length > 1e-6:
        raise QueryError(problem, field=field)
    scaled: FloatVector = np.asarray(vector / length, np.float32)
    return scaled


_WHY = {
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


def _reason(options: SearchOptions, trace: list[tuple[str, int]]) -> str:
    """Say which stages took products away, in the order they did."""
    said = []
    for (_, before), (stage, left) in pairwise(trace):
        if stage in _WHY and left < before and (stage != "page" or options.offset):
            said.append(_WHY[stage].format(left=left, before=before))
    return "only " + "; ".join(said) if said else "the catalogue has no more products"
