"""Tests of conditions on every column type that tables of other tools have.

The expected rows are those that PostgreSQL or pandas select for the same values.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.queries_view import product, view_from_products
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.conditions import category_mask, condition_mask
from vitrine.indexer.products.table import Table

CENTS = [Decimal("19.90"), None, Decimal("20.00"), Decimal("19.99"), Decimal("-0.01")]


def table_with(column: pa.Array) -> Table:
    products = [product(f"p{number}") for number in range(len(column))]
    table = view_from_products(products, np.eye(len(products))).state.segments.tables[0][1]
    return Table(table.arrow.append_column("x", column))


def rows(column: pa.Array, condition: Any) -> list[int]:
    return np.flatnonzero(condition_mask([(0, table_with(column))], {"x": condition})).tolist()


@pytest.mark.parametrize("column_type", [pa.decimal128(10, 2), pa.decimal128(38, 2), pa.decimal256(60, 4)])
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (19.9, [0]),
        (20, [2]),
        ({"lt": 19.99}, [0, 4]),
        ({"lte": 19.99}, [0, 3, 4]),
        ({"gt": 19.989999}, [2, 3]),
        ({"gte": 1e30}, []),
        ({"lt": 10**400}, [0, 2, 3, 4]),
        ({"gt": -(10**400)}, [0, 2, 3, 4]),
        ({"ne": 19.9}, [2, 3, 4]),
        ([19.9, 20, 7], [0, 2]),
        ({"not_in": [19.9]}, [2, 3, 4]),
        ({"gt": 5e-324}, [0, 2, 3]),
        (None, [1]),
    ],
)
def test_decimals_are_compared_exactly(column_type: pa.DataType, condition: Any, expected: list[int]) -> None:
    assert rows(pa.array(CENTS, column_type), condition) == expected


def test_decimals_of_negative_scale_are_compared() -> None:
    thousands = pa.array([Decimal("12E3"), Decimal("13E3")], pa.decimal128(5, -3))
    assert rows(thousands, 12000) == [0]
    assert rows(thousands, {"gt": 12000.5}) == [1]


@pytest.mark.parametrize("column_type", [pa.float16(), pa.float32(), pa.float64()])
def test_floats_are_compared_in_their_own_precision(column_type: pa.DataType) -> None:
    column = pa.array(np.array([19.9, 20.0, -3.5]), pa.float64()).cast(column_type, safe=False)
    assert rows(column, 19.9) == [0]
    assert rows(column, {"lt": 20}) == [0, 2]
    assert rows(column, {"gt": 10**400}) == []


@pytest.mark.parametrize(
    "column_type",
    [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()],
)
def test_integers_are_compared_with_any_number(column_type: pa.DataType) -> None:
    column = pa.array([3, None, 100], column_type)
    assert rows(column, 3) == [0]
    assert rows(column, {"lt": 3.5}) == [0]
    assert rows(column, {"lt": 2**70}) == [0, 2]
    assert rows(column, {"gt": -(2**70)}) == [0, 2]
    assert rows(column, {"lt": 10**400}) == [0, 2]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_are_compared_with_seconds(unit: str) -> None:
    column = pa.array([dt.timedelta(seconds=90), None, dt.timedelta(hours=2)], pa.duration(unit))
    assert rows(column, 90) == [0]
    assert rows(column, {"gte": 90}) == [0, 2]
    with pytest.raises(QueryError, match="expected a number of seconds, not 'PT90S'"):
        rows(column, "PT90S")
    with pytest.raises(QueryError, match="expected a number of seconds"):
        rows(column, 1e300)


@pytest.mark.parametrize(
    "list_type", [pa.list_(pa.string()), pa.large_list(pa.string()), pa.list_(pa.string(), 2)]
)
def test_lists_of_any_kind_match_by_one_value(list_type: pa.DataType) -> None:
    column = pa.array([["a", "b"], None, ["c", "d"]], list_type)
    assert rows(column, "a") == [0]
    assert rows(column, {"ne": "a"}) == [2]
    assert rows(column, ["b", "d"]) == [0, 2]


COLUMNS = {
    "decimal": pa.array(CENTS, pa.decimal128(10, 2)),
    "float16": pa.array([np.float16(1)], pa.float16()),
    "boolean": pa.array([True, None]),
    "text": pa.array(["a"]),
    "large text": pa.array(["a"], pa.large_string()),
    "binary": pa.array([b"a"]),
    "date32": pa.array([dt.date(2024, 1, 1)]),
    "date64": pa.array([dt.date(2024, 1, 1)], pa.date64()),
    "time": pa.array([dt.time(1, 2)]),
    "timestamp": pa.array([dt.datetime(2024, 1, 1)]),
    "timestamp ns": pa.array([dt.datetime(2024, 1, 1)], pa.timestamp("ns", tz="America/Sao_Paulo")),
    "duration": pa.array([dt.timedelta(1)]),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
    "struct": pa.array([{"a": 1}]),
    "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    "list of structs": pa.array([[{"a": 1}]]),
    "nested list": pa.array([[["a"]]]),
    "null": pa.nulls(1),
}
VALUES = [
    *json.loads(
        '[0, -1, 1.5, 1e300, "", "a", "2024-01-01", "0001-01-01", "9999-12-31T23:59:59+00:00",'
        ' true, false, null,'
        ' [],'
        ' [1], ["a"], [[1]], [null], {"a": 1}, {"lt": 1}, {"lt": "a"}, {"in": 3}, {"in": [1, "a"]},'
        ' {"exists": 1},'
        ' {"exists": true}, {"near": 2}, {"not_in": [true]}, {"gte": {}}, {"eq": []}, {"lt": "24:00"}]'
),
    10**400, -(10**40), float("nan"), float("inf"), "\x00", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_every_comparison_is_an_answer_or_an_error_that_names_the_attribute(name: str) -> None:
    column = COLUMNS[name]
    for value in VALUES:
        problem = None
        try:
            found = rows(column, value)
        except QueryError as error:
            problem = error
        if problem is None:
            assert set(found) <= set(range(len(column)))
        else:
            assert problem.field == "where"
            assert "'x'" in str(problem)


def test_text_and_categories_are_equal_in_any_unicode_form() -> None:
    composed, decomposed = "T\u00eanis", "Te\u0302nis"
    assert rows(pa.array([composed, "outro"]), decomposed) == [0]
    codes = np.array([0, 1, 2], np.int32)
    assert category_mask([decomposed], [composed, decomposed, "Bolsa"], codes).tolist() == [True, True, False]
