"""Recommendations under shop rules, against a brute-force oracle, with every option."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, view_from_products
from tests.service.queries.test_nearest import (
    LIVE,
    OPTIONS,
    PRODUCTS,
    VECTORS,
    N,
    confidence_of,
    filtered_rows,
    options,
    plain_drops,
    plain_mmr,
)
from tests.service.queries.test_nearest import make_view as view_without_rules
from vitrine.indexer.state.rules import Ban, NeverTogether, Pin, Rules, Selector
from vitrine.indexer.vectors.scoring import score_rows
from vitrine.service.queries.nearest import (
    Reference,
    product_reference,
    products_reference,
    recommend,
)
from vitrine.service.queries.nearest import vector_reference as by_vector
from vitrine.service.queries.options import SearchOptions
from vitrine.service.queries.view import View

SELECTORS = st.sampled_from(
    [
        Selector(ids=tuple(f"id{number:03d}" for number in range(0, N, 7))),
        Selector(groups=("g3", "g11", "g12", "g30")),
        Selector(categories=("bags",)),
        Selector(categories=("shoes", "watches"), where={"price": {"gte": 12}}),
        Selector(where={"brand": "a"}),
        Selector(ids=("unknown",)),
    ]
)
WHEN = st.one_of(st.none(), SELECTORS)
RULES = st.builds(
    Rules,
    st.lists(
        st.builds(Pin, st.sampled_from(["p", "q"]), SELECTORS, WHEN, st.integers(1, 12), st.integers(1, 6)),
        max_size=3,
    ).map(tuple),
    st.lists(st.builds(Ban, st.just("b"), SELECTORS, WHEN), max_size=2).map(tuple),
    st.lists(st.builds(NeverTogether, st.just("n"), SELECTORS, SELECTORS), max_size=2).map(tuple),
    st.just("digest"),
)


def view_with(rules: Rules, base: int = N) -> View:
    return view_without_rules(base).with_rules(rules)


def is_selected(selector: Selector, row: int) -> bool:
    item = PRODUCTS[row]
    fits = not selector.ids or item.id in selector.ids
    fits = fits and (not selector.groups or item.group in selector.groups)
    fits = fits and (not selector.categories or item.category in selector.categories)
    for name, condition in selector.where.items():
        value = item.attributes[name]
        fits = fits and (value >= condition["gte"] if isinstance(condition, dict) else value == condition)
    return fits


def applies(when: Selector | None, reference: Reference) -> bool:
    return when is None or any(is_selected(when, row) for row in reference.liked)


def allowed_rows(rules: Rules, reference: Reference, requested: SearchOptions) -> list[int]:
    rows = filtered_rows(reference, requested)
    for ban in rules.bans:
        if applies(ban.when, reference):
            rows = [row for row in rows if not is_selected(ban.hide, row)]
    for rule in rules.never_together:
        for liked in reference.liked:
            if is_selected(rule.one, liked):
                rows = [row for row in rows if not is_selected(rule.other, row)]
            if is_selected(rule.other, liked):
                rows = [row for row in rows if not is_selected(rule.one, row)]
    return rows


def plain_answer(
    rules: Rules, reference: Reference, requested: SearchOptions
) -> list[tuple[int, str | None]]:
    """The specification as loops over Python lists: (row, rule)."""
    scores = np.clip(np.vecdot(VECTORS, reference.vector), -1, 1)
    rows = allowed_rows(rules, reference, requested)
    rows.sort(key=lambda row: (-scores[row], PRODUCTS[row].id))
    if requested.min_score is not None:
        rows = [row for row in rows if float(scores[row]) >= requested.min_score]
    if requested.min_confidence is not None:
        rows = [row for row in rows if confidence_of(scores[row], reference) >= requested.min_confidence]
    pins: dict[int, Pin] = {}
    for pin in rules.pins:
        if applies(pin.when, reference):
            free = [row for row in rows if is_selected(pin.show, row) and row not in pins]
            pins |= dict.fromkeys(free[: pin.limit], pin)
    kept = plain_drops([*pins, *(row for row in rows if row not in pins)], requested)
    kept = plain_never_together(kept, rules)
    others = [row for row in kept if row not in pins]
    if requested.diversity:
        others = plain_mmr(others, scores, requested.diversity)
    due = sorted((row for row in kept if row in pins), key=lambda row: pins[row].rank)
    out: list[int] = []
    while due or others:
        is_due = due and (not others or pins[due[0]].rank <= len(out) + 1)
        out.append((due if is_due else others).pop(0))
    page = out[requested.offset : requested.offset + requested.limit]
    return [(row, pins[row].name if row in pins else None) for row in page]


def plain_never_together(rows: list[int], rules: Rules) -> list[int]:
    shown: list[int] = []
    for row in rows:
        clashes = [
            rule
            for rule in rules.never_together
            for other in shown
            if (is_selected(rule.one, row) and is_selected(rule.other, other))
            or (is_selected(rule.other, row) and is_selected(rule.one, other))
        ]
        if not clashes:
            shown.append(row)
    return shown


LIVE_ROWS = st.sampled_from(np.flatnonzero(LIVE).tolist())


@settings(max_examples=150)
@given(rules=RULES, requested=OPTIONS, row=LIVE_ROWS, base=st.sampled_from([N, N - 30]))
def test_any_rules_and_options_equal_the_oracle(
    rules: Rules, requested: dict[str, Any], row: int, base: int
) -> None:
    view = view_with(rules, base)
    reference = product_reference(view, row)
    answer = recommend(view, reference, options(**requested))
    hits = list(zip(answer.rows.tolist(), answer.rules, strict=True))
    assert hits == plain_answer(rules, reference, options(**requested))
    np.testing.assert_array_equal(answer.scores, score_rows(VECTORS[answer.rows], reference.vector))
    assert (answer.reason is None) == (answer.returned == answer.requested)


@settings(max_examples=60)
@given(rules=RULES, requested=OPTIONS, longer=st.integers(1, 150), row=LIVE_ROWS)
def test_a_shorter_answer_begins_a_longer_one_under_any_rules(
    rules: Rules, requested: dict[str, Any], longer: int, row: int
) -> None:
    view = view_with(rules)
    reference = product_reference(view, row)
    short = recommend(view, reference, options(**requested))
    long = recommend(view, reference, options(**requested | {"limit": requested["limit"] + longer}))
    assert long.rows.tolist()[: len(short.rows)] == short.rows.tolist()
    assert long.rules[: len(short.rows)] == short.rules


def test_deleted_products_and_the_reference_itself_are_never_pinned() -> None:
    deleted = int(np.flatnonzero(~LIVE)[0])
    pin = Pin("p", Selector(ids=(PRODUCTS[deleted].id, PRODUCTS[0].id)))
    view = view_with(Rules(pins=(pin,)))
    answer = recommend(view, product_reference(view, 0), SearchOptions())
    assert set(answer.rules) == {None}
    assert not {deleted, 0} & set(answer.rows.tolist())


def test_a_rule_for_a_product_applies_neither_to_a_photo_nor_to_an_unliked_product() -> None:
    rules = Rules(pins=(Pin("p", Selector(ids=(PRODUCTS[50].id,)), Selector(ids=(PRODUCTS[40].id,))),))
    view = view_with(rules)
    assert recommend(view, products_reference(view, [40, 41]), options()).rules[0] == "p"
    assert recommend(view, products_reference(view, [41], [40]), options()).rules[0] is None
    assert recommend(view, by_vector(view, VECTORS[40]), options()).rules[0] is None


def test_the_trace_and_the_reason_contain_the_effects_of_rules() -> None:
    rules = Rules(
        pins=(Pin("p", Selector(ids=(PRODUCTS[50].id,))),),
        bans=(Ban("b", Selector(categories=("bags",))),),
        never_together=(
            NeverTogether("n", Selector(categories=("shoes",)), Selector(categories=("watches",))),
        ),
    )
    view = view_with(rules)
    answer = recommend(view, by_vector(view, VECTORS[0]), options(limit=1000))
    stages = [stage for stage, _ in answer.trace]
    assert stages == ["catalogue", "live", "bans", "search", "pins", "never_together", "page"]
    assert answer.reason is not None
    assert "may be shown by the rules" in answer.reason
    assert "may stand together by the rules" in answer.reason


def test_a_pin_replaces_its_group_and_its_copies() -> None:
    products = [product("ref"), product("near", group="g"), product("far", group="g"), product("twin")]
    vectors = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0.2], [0, 1, 0.2]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    view = view_from_products(products, vectors, rules=Rules(pins=(Pin("p", Selector(ids=("far",))),)))
    answer = recommend(
        view, product_reference(view, 0), options(one_per_group=True, collapse_duplicates=0.99)
    )
    assert view.state.ids(answer.rows) == ["far"]


@pytest.mark.parametrize("requested", [{"min_score": 0.9}, {"category": ["shoes"]}, {"exclude": ["id001"]}])
def test_a_pin_shows_only_products_that_the_query_allows(requested: dict[str, Any]) -> None:
    row = next(at for at in range(N) if PRODUCTS[at].id == "id001")
    assert LIVE[row]
    assert PRODUCTS[row].category != "shoes"
    view = view_with(Rules(pins=(Pin("p", Selector(ids=("id001",))),)))
    reference = product_reference(view, 0)
    assert recommend(view, reference, options()).rules[0] == "p"
    assert "p" not in recommend(view, reference, options(**requested)).rules
