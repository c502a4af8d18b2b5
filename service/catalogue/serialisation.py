"""JSON objects of the contract for products, hits and changes, the same in Python and over HTTP."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import numpy as np

from vitrine.indexer.arrays import Rows
from vitrine.indexer.journal.journal import Change
from vitrine.indexer.products.schema import Product
from vitrine.indexer.products.table import Table
from vitrine.service.queries.nearest import SearchResult
from vitrine.service.queries.view import View

Json = dict[str, Any]
# From a product id to the URL of its picture.
ImageUrl = Callable[[str], str]
API = "/api/v1"
# Past this number the rows read longest ago are dropped from the cache.
MAX_CACHED_ROWS = 65_536
# Most ids need no quoting in a URL; matching one is quicker than quoting it.
_UNQUOTED_ID = re.compile(r"[\w.~:-]+", re.ASCII)
_CORE_FIELDS = ("id", "name", "category", "group", "width", "height")
_JSON_SCALARS = frozenset({str, int, bool, type(None)})


def image_url_builder(prefix: str) -> ImageUrl:
    """Return a function that builds the URL of a product's picture. prefix: the service's mount point."""
    start = f"{prefix}{API}/products/"

    @lru_cache(maxsize=MAX_CACHED_ROWS)
    def image_url(product_id: str) -> str:
        quoted = product_id if _UNQUOTED_ID.fullmatch(product_id) else quote(product_id, safe=":")
        return f"{start}{quoted}/image"

    return image_url


def reference_json(view: View, row: int, image_url: ImageUrl) -> Json:
    """Return the reference product of a search."""
    fields = row_fields(view, [row])[0]
    return {
        "id": fields["id"],
        "name": fields["name"],
        "category": fields["category"],
        "image_url": image_url(fields["id"]),
    }


def product_json(product: Product, image_url: ImageUrl) -> Json:
    """Return a product with all its fields."""
    return {
        "id": product.id,
        "name": product.name,
        "category": product.category,
        "group": product.group,
        "image_url": image_url(product.id),
        "deleted_at": _timestamp(product.deleted_at),
        "attributes": attributes_json(product.attributes),
        "width": product.width_px,
        "height": product.height_px,
    }


def hits_json(view: View, result: SearchResult, image_url: ImageUrl) -> list[Json]:
    """Return the hits of a search, in order, with their scores and confidences."""
    return [
        {
            "id": fields["id"],
            "name": fields["name"],
            "category": fields["category"],
            "group": fields["group"],
            "score": score,
            "confidence": confidence,
            "rule": rule,
            "image_url": image_url(fields["id"]),
            "attributes": dict(fields["attributes"]),
        }
        for fields, score, confidence, rule in zip(
            row_fields(view, result.rows.tolist()),
            np.round(result.scores.astype(np.float64), 6).tolist(),
            _rounded_confidences(result),
            result.rules,
            strict=True,
        )
    ]


def _rounded_confidences(result: SearchResult) -> list[float | None]:
    if result.confidences is None:
        return [None] * result.returned
    rounded: list[float | None] = result.confidences.round(4).tolist()
    return rounded


def products_json(view: View, rows: Rows, image_url: ImageUrl) -> list[Json]:
    """Return the products of some rows, in order."""
    state = view.state
    return [
        {
            "id": fields["id"],
            "name": fields["name"],
            "category": fields["category"],
            "group": fields["group"],
            "image_url": image_url(fields["id"]),
            "deleted_at": None if state.live[row] else _timestamp(state.product(int(row)).deleted_at),
            "attributes": dict(fields["attributes"]),
            "width": fields["width"],
            "height": fields["height"],
        }
        for row, fields in zip(rows, row_fields(view, rows.tolist()), strict=True)
    ]


def row_fields(view: View, rows: Sequence[int]) -> list[Json]:
    """Return the fields of rows: id, name, category, group, width, height, and `attributes` ready for JSON.

    The dicts are cached for the snapshot and shared: do not change them.
    """
    cache: dict[int, Json] = view.cached_for_snapshot("row fields", dict)
    try:
        fields = [cache[row] for row in rows]
    except KeyError:
        fields = _read_missing(view, rows, cache)
    if moved := view.state.segments.moved:
        return [
            row_values if row not in moved else {**row_values, "category": moved[row]}
            for row, row_values in zip(rows, fields, strict=True)
        ]
    return fields


def _read_missing(view: View, rows: Sequence[int], cache: dict[int, Json]) -> list[Json]:
    """Read rows that are not cached by whole columns: for 1,000 rows, ten times faster than row by row."""
    segments = view.state.segments
    missing = np.array([row for row in dict.fromkeys(rows) if row not in cache], np.int64)
    fields = {row: cached for row in rows if (cached := cache.get(row)) is not None}
    ends = [*(offset for offset, _ in segments.tables[1:]), segments.n]
    for (offset, table), end in zip(segments.tables, ends, strict=True):
        in_table = missing[(missing >= offset) & (missing < end)]
        if len(in_table):
            fields |= zip(in_table.tolist(), _read_table(table, in_table - offset), strict=True)
    cache |= fields
    for row in list(cache)[: max(len(cache) - MAX_CACHED_ROWS, 0)]:
        cache.pop(row, None)
    return [fields[row] for row in rows]


def _read_table(table: Table, rows: Rows) -> Iterator[Json]:
    """Yield the fields of rows of one table."""
    names = table.attribute_names
    core_columns = table.columns(_CORE_FIELDS, rows)
    attribute_columns = [[_json_value(value) for value in column] for column in table.columns(names, rows)]
    for number, values in enumerate(zip(*core_columns, strict=True)):
        fields = dict(zip(_CORE_FIELDS, values, strict=True))
        fields["attributes"] = {
            name: column[number] for name, column in zip(names, attribute_columns, strict=True)
        }
        yield fields


def change_json(change: Change) -> Json:
    """Return one entry of the journal."""
    return {
        "sequence": change.sequence,
        "kind": change.kind,
        "id": change.id,
        "at": _timestamp(change.at),
        "actor": change.actor,
        "undone": change.undone,
        "details": dict(change.details),
        "undoes": change.undoes,
        "request": change.request,
    }


def changes_json(changes: Sequence[Change]) -> Json:
    """Return several entries of the journal."""
    return {"changes": [change_json(change) for change in changes]}


def undo_json(changes: Sequence[Change]) -> Json:
    """Return the answer to an undo: the first change that was undone, and all changes of its batch."""
    return {"undone": change_json(changes[0]), "changes": [change_json(change) for change in changes]}


def attributes_json(attributes: Mapping[str, Any]) -> Json:
    """Return attributes with JSON values; NaN, which JSON does not have, becomes null."""
    return {name: _json_value(value) for name, value in attributes.items()}


def _json_value(value: Any) -> Any:
    value_type = type(value)
    if value_type in _JSON_SCALARS:
        return value
    if value_type is float:
        return value if math.isfinite(value) else None
    return _converted(value)


def _converted(value: Any) -> Any:
    match value:
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case decimal.Decimal():
            return float(value) if value.is_finite() else None
        case bytes():
            return value.hex()
        case Mapping():
            return {str(key): _json_value(item) for key, item in value.items()}
        case list() | tuple():
            return [_json_value(item) for item in value]
    return str(value)


def _timestamp(time: dt.datetime | None) -> str | None:
    """Return a time in UTC as ISO 8601 with a Z."""
    return None if time is None else time.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
