"""Serialisation: attribute values as JSON, picture URLs."""

from __future__ import annotations

import datetime as dt
import decimal
import json

from vitrine.indexer.products.schema import Product
from vitrine.service.catalogue.serialisation import attributes_json, image_url_builder, product_json


def test_attributes_of_every_type_become_json() -> None:
    noon = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    given = {
        "text": "a",
        "number": 1.5,
        "nothing": float("nan"),
        "far": float("inf"),
        "at": noon,
        "day": noon.date(),
        "span": dt.timedelta(seconds=90),
        "price": decimal.Decimal("9.90"),
        "unknown": decimal.Decimal("NaN"),
        "bytes": b"\x01\xff",
        "list": [1, decimal.Decimal(2), None],
        "object": {"a": noon, 3: True},
        "other": complex(1, 2),
    }
    assert json.loads(json.dumps(attributes_json(given), allow_nan=False)) == {
        "text": "a",
        "number": 1.5,
        "nothing": None,
        "far": None,
        "at": "2024-05-01T12:00:00+00:00",
        "day": "2024-05-01",
        "span": 90.0,
        "price": 9.9,
        "unknown": None,
        "bytes": "01ff",
        "list": [1, 2.0, None],
        "object": {"a": "2024-05-01T12:00:00+00:00", "3": True},
        "other": "(1+2j)",
    }


def test_picture_urls_quote_ids() -> None:
    url = image_url_builder("/shop")
    assert url("shoes:red-01") == "/shop/api/v1/products/shoes:red-01/image"
    assert url("a b?#%é") == "/shop/api/v1/products/a%20b%3F%23%25%C3%A9/image"
    product = Product("x", "n", "c", None, "i", "s", 1, 2, dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    assert product_json(product, url)["deleted_at"] == "2024-01-01T00:00:00Z"
