"""Products, hits and changes as the plain dicts of the contract, the same in Python and over HTTP."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from indexer.journal import Change
from indexer.table import Product
from service.view import View

Json = dict[str, Any]
ImageUrl = Callable[[str], str]
API = "/api/v1"
_PLAIN = frozenset({str, int, bool, type(None)})


def image_urls(prefix: str) -> ImageUrl:
    """Return what makes the URL of a product's picture. prefix: where the service is mounted."""
    start = f"{prefix}{API}/products/"

    def url(product_id: str) -> str:
        return f"{start}{quote(product_id, safe=':')}/image"

    return url


def brief(product: Product, url: ImageUrl) -> Json:
    """Return what an answer says of its reference."""
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "image_url": url(product.id),
    }


def full(product: Product, url: ImageUrl) -> Json:
    """Return the product object of the contract."""
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "group": product.group,
        "image_url": url(product.id),
        "deleted_at": _instant(product.deleted_at),
        "attributes": plain_attributes(product.attributes),
        "width": product.width_px,
        "height": product.height_px,
    }


def hits(view: View, found: Sequence[tuple[int, float]], url: ImageUrl) -> list[Json]:
    """Return the hits of (row, score) pairs, in their order."""
    return [_hit(view.product(row), score, url) for row, score in found]


def _hit(product: Product, score: float, url: ImageUrl) -> Json:
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "group": product.group,
        "score": round(float(score), 6),
        "image_url": url(product.id),
        "attributes": plain_attributes(product.attributes),
    }


def change(entry: Change) -> Json:
    """Return one entry of the journal."""
    return {
        "sequence": entry.sequence,
        "kind": entry.kind,
        "id": entry.id,
        "at": _instant(entry.at),
        "actor": entry.actor,
        "undone": entry.undone,
        "undoes": entry.undoes,
        "request": entry.request,
    }


def undone(changes: Sequence[Change]) -> Json:
    """Return the answer to an undo: the change taken back, and all of its batch."""
    return {"undone": change(changes[0]), "changes": [change(each) for each in changes]}


def plain_attributes(attributes: Mapping[str, Any]) -> Json:
    """Return attributes with values that JSON has; a NaN, which it has not, is null."""
    return {name: value if type(value) in _PLAIN else _plain(value) for name, value in attributes.items()}


def _plain(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return float(value) if value.is_finite() else None
        case bytes():
            return value.hex()
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    return value if type(value) in _PLAIN else str(value)


def _instant(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
