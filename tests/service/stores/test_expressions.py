"""Filters as Milvus expressions."""

from __future__ import annotations

from typing import Any

from vitrine.service.queries.searcher import Filters
from vitrine.service.stores.expressions import expression_of


def test_expressions_contain_only_conditions_that_milvus_evaluates_exactly() -> None:
    filters = Filters((('a "b" \\',),), {"price": {"lt": 3, "gte": -1.5}, "brand": "x", "in": [True, 2]})
    assert expression_of(filters) == (
        'deleted == false and category in ["a \\"b\\" \\\\"] and attributes["price"] < 3.0'
        ' and attributes["price"] >= -1.5 and attributes["brand"] == "x"'
        ' and (attributes["in"] == true or attributes["in"] == 2.0)'
    )
    left_out: list[dict[str, Any]] = [
        {"a": "line\nbreak"},
        {"a": 2**60},
        {"a": "x" * 2000},
        {"a": {"ne": 3}},
        {"a": {"exists": True}},
        {"a": {"lt": "text"}},
        {"a": ["fine", "\x00"]},
        {"a": None},
        {"a\n": 1},
    ]
    for where in left_out:
        assert expression_of(Filters((), where)) == "deleted == false"
