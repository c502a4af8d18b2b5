"""Map pages: products as points in two or three dimensions, sent as arrays, and the selected products."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from flask import Response, render_template, request

from vitrine.indexer.errors import QueryError
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.http.responses import matches_etag, not_modified
from vitrine.service.queries.projection import MAX_LIMIT, project
from vitrine.service.queries.view import View

page = Pages()
AXES = 3
SELECTED_SHOWN = 60
FITS = ("all", "selection")


@page("/map")
def products_map(visit: Visit) -> str:
    """Show the map, whose script fetches the points."""
    counts = visit.catalogue.categories()["categories"]
    return render_template(
        "vitrine/map.html",
        page="map",
        categories=[each for each in counts if each["live"]],
        chosen=request.args.getlist("category"),
        fit=_fit(),
        dimensions=3 if request.args.get("dimensions") == "3" else 2,
        most=MAX_LIMIT,
    )


@page("/map/points")
def points(visit: Visit) -> Response:
    """Return the points of the chosen categories, encoded by `encode_points`."""
    view = visit.catalogue.view()
    chosen = tuple(request.args.getlist("category"))
    tag = f'W/"{view.tag}"'
    if matches_etag(request, tag):
        return not_modified(tag)
    if chosen:
        body = encode_points(view, chosen, _fit())
    else:
        body = view.cached("map points", lambda: encode_points(view, (), FITS[0]))
    return Response(
        body,
        mimetype="application/octet-stream",
        headers={"ETag": tag, "Cache-Control": "private, no-cache"},
    )


def encode_points(view: View, categories: tuple[str, ...], fit: str) -> bytes:
    """Return points as bytes: length of a JSON header, the header padded to 4 bytes, then arrays.

    Little-endian. Header: count, categories (names), ratios, sampled, total, snapshot. Arrays: float32
    (count, 3) positions, uint16 (count,) indexes into `categories`, padded to 4 bytes; then the ids as a JSON
    list. There are always three axes, of which a map in two dimensions uses the first two.
    """
    projection = project(view, AXES, categories=categories, fit=fit, limit=MAX_LIMIT)
    codes = view.state.category_codes[projection.rows]
    present, indexes = np.unique(codes, return_inverse=True)
    header = {
        "count": len(projection.rows),
        "categories": [view.state.categories[code] for code in present],
        "ratios": [round(float(ratio), 6) for ratio in projection.ratios],
        "sampled": projection.sampled,
        "total": int(np.count_nonzero(view.state.live)),
        "snapshot": view.state.snapshot.name,
    }
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    category_indexes = indexes.astype("<u2").tobytes()
    return b"".join(
        (
            struct.pack("<I", len(text)),
            text,
            projection.points.astype("<f4").tobytes(),
            category_indexes + b"\0" * (-len(category_indexes) % 4),
            json.dumps(_ids(view, projection.rows), ensure_ascii=False).encode(),
        )
    )


def _ids(view: View, rows: np.ndarray[Any, Any]) -> list[str]:
    """Return the ids of rows in ascending order, table by table."""
    ids: list[str] = []
    for offset, table in view.state.segments.tables:
        inside = rows[(rows >= offset) & (rows < offset + len(table))]
        if len(inside):
            ids += table.columns(["id"], inside - offset)[0]
    return ids


@page("/map/selection", "POST")
def selection(visit: Visit) -> str:
    """Show the first products of a selection."""
    given = (request.get_json(silent=True) or {}).get("ids")
    if not isinstance(given, list):
        raise QueryError("ids must be a list of product ids", field="ids", malformed=True)
    view = visit.catalogue.view()
    rows = [view.state.segments.row_of(id) for id in given[:SELECTED_SHOWN] if isinstance(id, str)]
    ids = [view.state.segments.id_at(row) for row in rows if row is not None and view.state.live[row]]
    products = [visit.catalogue.product(id) for id in ids]
    return render_template("vitrine/_selection.html", products=products, total=len(given))


def _fit() -> str:
    fit = request.args.get("fit", "")
    return fit if fit in FITS else FITS[0]
