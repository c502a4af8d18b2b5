"""Search options from outside: what is read, what is refused, and how the refusal names it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from vitrine.indexer.errors import QueryError
from vitrine.service.queries.options import SearchOptions


def test_the_defaults_are_those_of_the_contract() -> None:
    options = SearchOptions.parse({})
    assert (options.limit, options.offset, options.diversity, options.min_score) == (5, 0, 0.0, None)
    for switch in (options.same_category, options.one_per_group, options.exact, options.trace):
        assert switch is False
    assert (options.category, options.exclude, options.where) == ((), (), {})


def test_a_query_string_and_a_form_say_the_same_as_json() -> None:
    text = SearchOptions.parse(
        {
            "limit": "7",
            "offset": "2",
            "same_category": "true",
            "category": "a, with comma",
            "where": '{"price": {"lt": 50}}',
            "min_score": "0.5",
            "min_confidence": "0.9",
            "exclude": ["x"],
            "diversity": "0.25",
            "exact": "1",
            "collapse_duplicates": "0.9",
            "one_per_group": "false",
        }
    )
    json = SearchOptions.parse(
        {
            "limit": 7,
            "offset": 2,
            "same_category": True,
            "category": ["a, with comma"],
            "where": {"price": {"lt": 50}},
            "min_score": 0.5,
            "min_confidence": 0.9,
            "exclude": "x",
            "diversity": 0.25,
            "exact": True,
            "collapse_duplicates": 0.9,
            "one_per_group": False,
        }
    )
    assert text == json


@pytest.mark.parametrize(
    ("given", "field", "malformed"),
    [
        ({"limit": "abc"}, "limit", True),
        ({"limit": 2.5}, "limit", True),
        ({"limit": None}, "limit", True),
        ({"limit": 0}, "limit", False),
        ({"limit": 1001}, "limit", False),
        ({"limit": 10**30}, "limit", False),
        ({"offset": -1}, "offset", False),
        ({"same_category": "maybe"}, "same_category", True),
        ({"category": [3]}, "category", True),
        ({"category": {"a": 1}}, "category", True),
        ({"where": "{"}, "where", True),
        ({"where": "[1]"}, "where", True),
        ({"where": {str(number): 1 for number in range(51)}}, "where", False),
        ({"min_score": "nan"}, "min_score", False),
        ({"min_score": float("inf")}, "min_score", False),
        ({"min_score": 1.5}, "min_score", False),
        ({"diversity": -0.1}, "diversity", False),
        ({"collapse_duplicates": 1.01}, "collapse_duplicates", False),
        ({"exclude": ["x"] * 10_001}, "exclude", False),
        ({"limt": 5}, "limt", True),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], field: str, malformed: bool) -> None:
    with pytest.raises(QueryError) as caught:
        SearchOptions.parse(given)
    assert (caught.value.field, caught.value.malformed) == (field, malformed)
    assert field in str(caught.value)


def test_options_do_not_change() -> None:
    with pytest.raises(ValidationError):
        SearchOptions().limit = 3
