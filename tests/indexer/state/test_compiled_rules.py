"""Tests of vitrine.indexer.state.compiled_rules."""

from __future__ import annotations

import numpy as np
import pytest

from tests.queries_view import product, view_from_products
from vitrine.indexer.arrays import Mask
from vitrine.indexer.errors import RulesError
from vitrine.indexer.state.compiled_rules import CompiledRules, RowSelector, compile_rules
from vitrine.indexer.state.rules import NO_RULES, Ban, NeverTogether, Pin, Rules, Selector
from vitrine.indexer.vectors.ranking import Hits

PRODUCTS = [
    product("a", category="shoes", group="g1", brand="acme", price=5.0),
    product("b", category="bags", group="g2", brand="zeta", price=50.0),
    product("c", category="shoes", brand="acme", price=60.0),
    product("d", category="toys", group="g1", brand="zeta", price=1.0),
]


def row_selector() -> RowSelector:
    """Return the row selector of three products of a snapshot and one upload."""
    vectors = np.eye(len(PRODUCTS), dtype=np.float32)
    return RowSelector.from_state(view_from_products(PRODUCTS, vectors, base=3).state)


def compiled(rules: Rules) -> CompiledRules:
    return compile_rules(rules, row_selector())


def rows_of(mask: Mask | None) -> list[int]:
    return [] if mask is None else np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    ("selector", "rows"),
    [
        (Selector(ids=("c", "d", "unknown")), [2, 3]),
        (Selector(groups=("g1",)), [0, 3]),
        (Selector(categories=("shoes", "toys")), [0, 2, 3]),
        (Selector(where={"brand": "acme", "price": {"lt": 50}}), [0]),
        (Selector(categories=("shoes",), where={"price": {"gt": 50}}), [2]),
        (Selector(ids=("a",), groups=("g2",)), []),
        (Selector(categories=("unknown",)), []),
    ],
)
def test_a_selector_combines_ids_groups_categories_and_attributes(
    selector: Selector, rows: list[int]
) -> None:
    assert rows_of(row_selector().mask(selector)) == rows


@pytest.mark.parametrize(
    ("where", "message"),
    [({"colour": 1}, "no product has an attribute 'colour'"), ({"price": "x"}, "number")],
)
def test_a_condition_that_does_not_fit_the_catalogue_is_an_error(
    where: dict[str, object], message: str
) -> None:
    with pytest.raises(RulesError, match="rule 'no colours'") as caught:
        compiled(Rules(bans=(Ban("no colours", Selector(where=where)),)))
    assert message in str(caught.value)


def test_banned_rows_depend_on_the_reference() -> None:
    rules = compiled(
        Rules(
            bans=(
                Ban("all", Selector(ids=("d",))),
                Ban("by shoes", Selector(ids=("b",)), Selector(categories=("shoes",))),
            ),
            never_together=(NeverTogether("rivals", Selector(ids=("c",)), Selector(groups=("g1",))),),
        )
    )
    assert rows_of(rules.banned_rows([])) == [3]
    assert rows_of(rules.banned_rows([1])) == [3]
    assert rows_of(rules.banned_rows([0])) == [1, 2, 3]
    assert rows_of(rules.banned_rows([2])) == [0, 1, 3]
    assert compiled(NO_RULES).banned_rows([0]) is None


def test_rules_that_select_no_product_are_idle() -> None:
    rules = Rules(
        pins=(Pin("p", Selector(ids=("gone",))), Pin("q", Selector(ids=("a",)))),
        bans=(Ban("b", Selector(categories=("gone",))),),
        never_together=(NeverTogether("n", Selector(ids=("a",)), Selector(ids=("gone",))),),
    )
    assert compiled(rules).idle == ("p", "b", "n")


def test_references_are_grouped_by_the_rules_that_apply_to_them() -> None:
    rows = np.array([3, 1, 0, 2])
    unconditional = compiled(Rules(bans=(Ban("all", Selector(ids=("d",))),)))
    assert [group.tolist() for group in unconditional.group_references(rows)] == [[3, 1, 0, 2]]
    for_shoes = compiled(Rules(pins=(Pin("p", Selector(ids=("a",)), Selector(categories=("shoes",))),)))
    groups = [group.tolist() for group in for_shoes.group_references(rows)]
    assert sorted(groups) == [[0, 2], [3, 1]]


def make_hits(rows: list[int]) -> Hits:
    return Hits(np.array(rows, np.int64), np.linspace(1, 0, len(rows)).astype(np.float32))


def test_a_product_of_two_pins_belongs_to_the_first() -> None:
    rules = compiled(
        Rules(pins=(Pin("p", Selector(ids=("a",)), limit=1), Pin("q", Selector(ids=("a", "b")), None, 3, 2)))
    )
    pins = list(rules.pins_for([]))
    assert [hits_needed for _, _, hits_needed in pins] == [1, 3]
    (first, _, _), (second, _, _) = pins
    effects = rules.effects([(first, make_hits([0, 1])), (second, make_hits([0, 2, 1, 3]))])
    assert effects.pins.rows.tolist() == [0, 2, 1]
    assert effects.pins.rules is not None
    assert effects.pins.rules.tolist() == ["p", "q", "q"]
    assert effects.pin_ranks == {0: 1, 2: 3, 1: 3}


def test_a_pin_with_a_condition_applies_only_to_its_reference() -> None:
    rules = compiled(Rules(pins=(Pin("p", Selector(ids=("a",)), Selector(ids=("b",))),)))
    assert [pin.name for pin, _, _ in rules.pins_for([1])] == ["p"]
    assert list(rules.pins_for([0])) == list(rules.pins_for([])) == []
