"""Validation of new products: attribute types, generated ids."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from tests.indexes import GridEmbedder, SampleProduct, publish_samples
from vitrine.indexer.errors import InputError
from vitrine.service import Catalogue
from vitrine.service.catalogue.new_product import NewProduct, generate_id


def test_attributes_keep_the_types_of_their_columns(
    tmp_path: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    import dataclasses

    kinds = {
        "stock": 3,
        "price": 1.5,
        "brand": "a",
        "new": True,
        "seen": dt.datetime(2024, 1, 1),
        "odd": None,
    }
    first = dataclasses.replace(samples[0], product=dataclasses.replace(samples[0].product, attributes=kinds))
    publish_samples(tmp_path / "index", [first], small_source)
    with Catalogue.open(tmp_path / "index", embedder=GridEmbedder()) as catalogue:
        view = catalogue.view()

        def checked(**attributes: object) -> dict[str, object]:
            return dict(NewProduct("n", "c", attributes=attributes).validated(view).attributes)

        assert checked(stock=4, price=2, brand="b", new=False) == {
            "stock": 4,
            "price": 2.0,
            "brand": "b",
            "new": False,
        }
        assert checked(stock=4.0, other="x", brand=None) == {"stock": 4, "other": "x", "brand": None}
        for wrong in (
            {"stock": 1.5},
            {"stock": True},
            {"price": "2"},
            {"brand": 2},
            {"new": 1},
            {"seen": "today"},
        ):
            with pytest.raises(InputError, match="is of type"):
                checked(**wrong)
        for unusable in (
            {"id": "x"},
            {"": 1},
            {"a\n": 1},
            {"list": [1]},
            {"stock": 2.0**70},
            {"price": 10**400},
        ):
            with pytest.raises(InputError):
                checked(**unusable)
        for infinite in (float("inf"), float("-inf"), float("nan")):
            with pytest.raises(InputError, match="beyond"):
                checked(stock=infinite)
        with pytest.raises(InputError, match="at most 100"):
            checked(**{f"a{number}": 1 for number in range(101)})
        with pytest.raises(InputError, match="at most 500"):
            NewProduct("x" * 501, "c").validated(view)


def test_ids_are_generated_from_the_name_and_are_not_taken() -> None:
    taken = {"tenis-azul-abcdef01", "tenis-azul-abcdef01-2"}
    assert (
        generate_id(NewProduct("Tênis Azul!", "c"), "abcdef0123", taken.__contains__)
        == "tenis-azul-abcdef01-3"
    )
    assert generate_id(NewProduct("靴", "c"), "abcdef0123", taken.__contains__).endswith("abcdef01")
