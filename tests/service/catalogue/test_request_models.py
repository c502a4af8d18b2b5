"""Request models: parsed values, errors with their fields, the options of a search."""

from __future__ import annotations

from typing import Any

import pytest

from vitrine.indexer.errors import QueryError
from vitrine.service.catalogue.request_models import (
    BatchRequest,
    EmptyRequest,
    ProductForm,
    SearchRequest,
    parse_request,
)
from vitrine.service.queries.options import SearchOptions


def test_text_values_are_parsed_to_the_same_options_as_json() -> None:
    text = parse_request(
        SearchOptions,
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
        },
    )
    json = parse_request(
        SearchOptions,
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
        },
    )
    assert text == json


@pytest.mark.parametrize(
    ("values", "field", "malformed"),
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
def test_the_error_names_the_wrong_field(values: dict[str, Any], field: str, malformed: bool) -> None:
    with pytest.raises(QueryError) as caught:
        parse_request(SearchOptions, values)
    assert (caught.value.field, caught.value.malformed) == (field, malformed)
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("values", "field"),
    [({"limit": "7"}, "limit"), ({"exact": "true"}, "exact"), ({"min_score": "0.5"}, "min_score")],
)
def test_json_numbers_and_booleans_must_not_be_text(values: dict[str, Any], field: str) -> None:
    with pytest.raises(QueryError, match="is of the wrong type") as caught:
        parse_request(SearchOptions, values, is_text=False)
    assert (caught.value.field, caught.value.malformed) == (field, True)
    assert parse_request(SearchOptions, values)


@pytest.mark.parametrize("values", [{"limit": True}, {"exact": 1}])
def test_booleans_and_numbers_are_not_interchangeable(values: dict[str, Any]) -> None:
    with pytest.raises(QueryError, match="is of the wrong type"):
        parse_request(SearchOptions, values)


def test_an_unknown_field_is_answered_with_the_known_ones() -> None:
    with pytest.raises(QueryError, match="'size' is not a known field; the fields are: none"):
        parse_request(EmptyRequest, {"size": 1})


def test_messages_do_not_name_types_of_python() -> None:
    with pytest.raises(QueryError, match="searches: at most 256, not 257"):
        parse_request(BatchRequest, {"searches": [{}] * 257})
    with pytest.raises(QueryError, match="limit: not a whole number"):
        parse_request(SearchOptions, {"limit": "many"})


def test_attributes_are_an_object_or_its_json_text() -> None:
    for attributes in ({"price": 5}, '{"price": 5}'):
        form = parse_request(ProductForm, {"name": "a", "attributes": attributes})
        assert form.attributes == {"price": 5}
    assert parse_request(ProductForm, {"name": "a", "attributes": " "}).attributes == {}


def test_a_search_request_gives_its_options_alone() -> None:
    request = parse_request(SearchRequest, {"product": "p1", "limit": 3})
    assert request.options() == SearchOptions(limit=3)
