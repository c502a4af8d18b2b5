"""Conditions on attributes: operators compared with plain Python for every type, and invalid conditions."""

from __future__ import annotations

import datetime as dt
import operator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.queries_view import product, view_from_products
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.conditions import category_mask, condition_mask
from vitrine.service.queries.view import View

COMPARISONS = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def view_with(base: int | None = None, **columns: list[Any]) -> View:
    count = len(next(iter(columns.values())))
    products = [
        product(f"p{i}", **{name: values[i] for name, values in columns.items()}) for i in range(count)
    ]
    return view_from_products(products, np.eye(count, max(count, 2)), base=base)


def rows(view: View, where: dict[str, Any]) -> list[int]:
    mask = condition_mask(view.state.segments.tables, where)
    assert mask.dtype == bool
    assert mask.shape == (view.state.segments.n,)
    return np.flatnonzero(mask).tolist()


VALUES: dict[str, list[Any]] = {
    "int": [3, None, -1, 7, 3],
    "float": [0.5, 2.0, None, -3.25, 0.5],
    "text": ["a", "b", None, "", "ç"],
    "day": [dt.date(2024, 1, 2), None, dt.date(2023, 5, 6), dt.date(2025, 1, 1), dt.date(2024, 1, 2)],
}


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("value_type", VALUES)
def test_operators_compare_as_python_does_and_null_never_matches(value_type: str, comparison: str) -> None:
    values = VALUES[value_type]
    view = view_with(x=values)
    for pivot in filter(lambda value: value is not None, values):
        expected = [
            i for i, value in enumerate(values) if value is not None and COMPARISONS[comparison](value, pivot)
        ]
        json_value = pivot.isoformat() if isinstance(pivot, dt.date) else pivot
        assert rows(view, {"x": {comparison: json_value}}) == expected


@pytest.mark.parametrize("value_type", VALUES)
def test_lists_and_exists(value_type: str) -> None:
    values = VALUES[value_type]
    view = view_with(x=values)
    two_values = [value for value in values if value is not None][:2]
    json_value = [value.isoformat() if isinstance(value, dt.date) else value for value in two_values]
    inside = [i for i, value in enumerate(values) if value in two_values and value is not None]
    outside = [i for i, value in enumerate(values) if value is not None and value not in two_values]
    assert rows(view, {"x": {"in": json_value}}) == rows(view, {"x": json_value}) == inside
    assert rows(view, {"x": {"not_in": json_value}}) == outside
    assert rows(view, {"x": {"exists": True}}) == sorted(inside + outside)
    assert rows(view, {"x": {"exists": False}}) == rows(view, {"x": None}) == [values.index(None)]
    assert rows(view, {"x": []}) == []


def test_a_scalar_means_equal_and_all_conditions_must_hold() -> None:
    view = view_with(price=[10, 60, 40, None], brand=["a", "b", "c", "a"], in_stock=[True, True, False, None])
    assert rows(view, {"price": {"lt": 50}, "brand": ["a", "b"], "in_stock": True}) == [0]
    assert rows(view, {"price": {"gte": 10, "lt": 60}}) == [0, 2]
    assert rows(view, {"in_stock": {"ne": True}}) == [2]
    assert rows(view, {}) == [0, 1, 2, 3]


def test_numbers_of_different_types_are_compared() -> None:
    view = view_with(whole=[1, 2, 3], part=[1.0, 2.5, 3.0])
    assert rows(view, {"whole": {"gt": 1.5}}) == [1, 2]
    assert rows(view, {"whole": 2.0}) == [1]
    assert rows(view, {"whole": 2.5}) == []
    assert rows(view, {"part": 3}) == [2]
    assert rows(view, {"whole": {"lt": 10**30}}) == [0, 1, 2]
    assert rows(view, {"whole": {"in": [1, 2.5, 10**30]}}) == [0]
    assert rows(view_with(x=[Decimal("1.50"), Decimal("2.25")]), {"x": {"lt": 2}}) == [0]


def test_times_are_compared_across_time_zones() -> None:
    noon = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    view = view_with(
        at=[noon, noon + dt.timedelta(hours=1)], bare=[dt.datetime(2024, 5, 1, 12), dt.datetime(2024, 5, 2)]
    )
    assert rows(view, {"at": {"gt": "2024-05-01T14:30:00+02:00"}}) == [1]
    assert rows(view, {"at": "2024-05-01T12:00:00"}) == [0]
    assert rows(view, {"bare": {"gte": "2024-05-02"}}) == [1]
    assert rows(view, {"bare": "2024-05-01T14:00:00+02:00"}) == [0]
    assert rows(view_with(t=[dt.time(9), dt.time(18)]), {"t": {"lt": "12:00"}}) == [0]


def test_a_list_matches_if_one_of_its_values_does() -> None:
    view = view_with(
        tags=[["red", "wool"], ["blue"], [], None, ["wool", None]], sizes=[[36, 38], [40], [], None, [41]]
    )
    assert rows(view, {"tags": "wool"}) == [0, 4]
    assert rows(view, {"tags": ["red", "blue"]}) == [0, 1]
    assert rows(view, {"tags": {"ne": "wool"}}) == [1, 2]
    assert rows(view, {"tags": {"not_in": ["red", "blue"]}}) == [2, 4]
    assert rows(view, {"tags": {"exists": False}}) == [3]
    assert rows(view, {"sizes": {"lt": 40}}) == [0]
    assert rows(view, {"sizes": {"gte": 40}, "tags": "wool"}) == [4]
    with pytest.raises(QueryError, match="sizes"):
        rows(view, {"sizes": "large"})


def test_an_attribute_of_uploads_alone_is_null_elsewhere() -> None:
    products = [product("a"), product("b"), product("c", colour="red")]
    view = view_from_products(products, np.eye(3), base=2)
    assert rows(view, {"colour": "red"}) == [2]
    assert rows(view, {"colour": {"exists": False}}) == [0, 1]
    assert rows(view, {"colour": {"ne": "blue"}}) == [2]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"prize": 3}, "no product has an attribute 'prize'; there are: flag, name_tag, price"),
        ({"price": "cheap"}, "'price': expected a number, not 'cheap'"),
        ({"price": True}, "a number"),
        ({"price": float("nan")}, "a number"),
        ({"price": {"lt": None}}, "a number"),
        ({"price": {"like": 3}}, "'like' is not one of eq, ne"),
        ({"price": {}}, "give an operator of eq"),
        ({"price": {"in": 3}}, "in takes a list"),
        ({"price": {"exists": 1}}, "exists takes true or false"),
        ({"price": [1, "x"]}, "a number"),
        ({"name_tag": 3}, "expected text, not 3"),
        ({"flag": "yes"}, "true or false"),
        ({"flag": {"lt": True}}, "no order"),
    ],
)
def test_an_invalid_condition_is_refused_with_its_attribute(where: dict[str, Any], message: str) -> None:
    view = view_with(price=[1, 2], name_tag=["a", "b"], flag=[True, False])
    with pytest.raises(QueryError, match=message) as caught:
        condition_mask(view.state.segments.tables, where)
    assert caught.value.field == "where"
    assert not caught.value.malformed


def test_invalid_dates_and_types_that_cannot_be_compared_are_refused() -> None:
    view = view_with(day=[dt.date(2024, 1, 1)], box=[{"width": 3}])
    with pytest.raises(QueryError, match="ISO 8601"):
        condition_mask(view.state.segments.tables, {"day": "tomorrow"})
    with pytest.raises(QueryError, match="ISO 8601"):
        condition_mask(view.state.segments.tables, {"day": 20240101})
    with pytest.raises(QueryError, match="cannot be compared"):
        condition_mask(view.state.segments.tables, {"box": "a"})
    with pytest.raises(QueryError, match="no product has an attribute 'x'"):
        condition_mask(view_from_products([product("a")], np.eye(1, 2)).state.segments.tables, {"x": 1})


def test_category_mask_selects_the_rows_of_the_wanted_categories() -> None:
    codes = np.array([1, 0, 2, 1], np.int32)
    assert category_mask(["shoes", "unknown"], ("bags", "shoes", ""), codes).tolist() == [
        True, False, False, True,
    ]  # fmt: skip


@settings(max_examples=60)
@given(
    values=st.lists(st.none() | st.integers(-(2**62), 2**62), min_size=1, max_size=15).filter(any),
    comparison=st.sampled_from(sorted(COMPARISONS)),
    pivot=st.integers(-100, 100) | st.floats(-1e6, 1e6),
)
def test_integers_are_compared_with_any_number(
    values: list[int | None], comparison: str, pivot: float
) -> None:
    expected = [i for i, v in enumerate(values) if v is not None and COMPARISONS[comparison](v, pivot)]
    assert rows(view_with(x=values), {"x": {comparison: pivot}}) == expected
