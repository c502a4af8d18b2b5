"""The catalogue as a Python object: fixed views, URL prefixes, images of a search."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pictures import jpeg
from vitrine.indexer.errors import QueryError
from vitrine.service import Catalogue
from vitrine.service.errors import DeletedProduct, IdTaken


def test_a_fixed_catalogue_does_not_see_later_changes(catalogue: Catalogue) -> None:
    fixed = catalogue.at_current_view()
    catalogue.delete("p03")
    assert fixed.product("p03")["deleted_at"] is None
    assert fixed.at_current_view().view() is fixed.view()
    with pytest.raises(DeletedProduct):
        catalogue.product("p03")


def test_picture_urls_begin_with_the_prefix(catalogue: Catalogue) -> None:
    mounted = catalogue.with_url_prefix("/shop")
    assert mounted.product("p03")["image_url"] == "/shop/api/v1/products/p03/image"
    assert mounted.with_url_prefix("/shop") is mounted
    assert catalogue.product("p03")["image_url"] == "/api/v1/products/p03/image"


def test_an_image_cannot_be_combined_with_another_reference(catalogue: Catalogue) -> None:
    with pytest.raises(QueryError, match="'product' is not a known field"):
        catalogue.search(image=jpeg(), product="p00")


def test_an_id_that_is_in_use_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(IdTaken, match="choose another id"):
        catalogue.add(jpeg(), name="x", category="y", id="p00")


def test_a_batch_answers_each_search_on_its_own(catalogue: Catalogue) -> None:
    searches: list[dict[str, Any]] = [{"product": "p00", "limit": 2}, {"product": "unknown"}, {"limit": 3}]
    first, unknown, without = catalogue.search_batch(searches)["answers"]
    assert first["returned"] == 2
    assert unknown["type"] == "/problems/unknown-product"
    assert without["status"] == 422
