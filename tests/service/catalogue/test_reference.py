"""References of search requests: rows of ids, exactly one reference, errors that name the field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.queries_view import product, view_from_products
from vitrine.indexer.errors import QueryError
from vitrine.service.catalogue.reference import find_live_row, find_row, resolve_reference
from vitrine.service.catalogue.request_models import SearchRequest, parse_request
from vitrine.service.errors import DeletedProduct, UnknownProduct
from vitrine.service.queries.view import View


@pytest.fixture
def view() -> View:
    products = [product("a", "Blue shoe"), product("b", "Red shoe"), product("gone")]
    return view_from_products(products, np.eye(3), live=[True, True, False])


def test_ids_are_resolved_to_rows(view: View) -> None:
    assert [find_row(view, "b"), find_row(view, "gone")] == [1, 2]
    assert find_live_row(view, "b") == 1
    with pytest.raises(UnknownProduct):
        find_row(view, "unknown")
    with pytest.raises(DeletedProduct) as caught:
        find_live_row(view, "gone", "product")
    assert caught.value.field == "product"


@pytest.mark.parametrize(
    ("request_values", "row", "vector"),
    [
        ({"product": "b"}, 1, [0, 1, 0]),
        ({"text": "blue shoe"}, 0, [1, 0, 0]),
        ({"vector": [0, 0, 2]}, None, [0, 0, 1]),
        ({"products": {"like": ["a"], "unlike": ["b"]}}, None, [0.894427, -0.447214, 0]),
    ],
)
def test_each_kind_of_reference_becomes_a_unit_vector(
    view: View, request_values: dict[str, Any], row: int | None, vector: list[float]
) -> None:
    reference, found_row = resolve_reference(view, parse_request(SearchRequest, request_values))
    assert found_row == row
    np.testing.assert_allclose(reference.vector, vector, atol=1e-6)


@pytest.mark.parametrize("request_values", [{}, {"product": "a", "text": "shoe"}])
def test_exactly_one_reference_must_be_given(view: View, request_values: dict[str, Any]) -> None:
    with pytest.raises(QueryError, match="give exactly one of product, products, vector, text"):
        resolve_reference(view, parse_request(SearchRequest, request_values))
