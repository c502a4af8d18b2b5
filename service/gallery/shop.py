"""The shop window, a product with what is like it, and two products side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flask import render_template, request, url_for

from vitrine.indexer.arrays import Codes, Rows
from vitrine.service.catalogue import serialisation as answers
from vitrine.service.catalogue.serialisation import Json
from vitrine.service.errors import DeletedProduct, UnknownProduct
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.gallery.snippets import calls_for
from vitrine.service.queries.view import View

page = Pages()
WINDOW_PAGE = 48
CHIPS_SHOWN = 12
RECOMMENDATIONS = 12
MOST_RECOMMENDATIONS = 96
STOCK = "in_stock"


@page("/")
def window(visit: Visit) -> str:
    """Show the products that match the words and the categories of the address."""
    return render_template("vitrine/window.html", page="window", **_found(visit))


@page("/grid")
def grid(visit: Visit) -> str:
    """Show the part of the window that changes with a search; past the first page, only more products."""
    found = _found(visit)
    template = "_more.html" if found["offset"] else "_found.html"
    return render_template(f"vitrine/{template}", **found)


def _found(visit: Visit) -> Json:
    words = request.args.get("q", "").strip()[:300]
    chosen = request.args.getlist("category")
    offset = max(0, request.args.get("offset", 0, int))
    if words or chosen:
        answer = visit.catalogue.products(q=words, category=chosen, offset=offset, limit=WINDOW_PAGE)
    else:
        answer = _mixed(visit, offset)
    end = offset + len(answer["products"])
    return {
        "q": words,
        "chosen": chosen,
        "chips": _chips(answer["facets"]["category"], chosen),
        "chips_shown": CHIPS_SHOWN,
        "products": answer["products"],
        "total": answer["total"],
        "everywhere": sum(answer["facets"]["category"].values()),
        "offset": offset,
        "next_offset": end if end < answer["total"] else None,
    }


def _mixed(visit: Visit, offset: int) -> Json:
    """Return a page of everything, a product of each category in turn: a window that shows what there is."""
    view = visit.catalogue.view()
    rows = view.cached("mixed window", lambda: mixed_rows(view.category_codes, np.flatnonzero(view.live)))
    counts = visit.catalogue.categories()["categories"]
    return {
        "products": answers.page(
            view, rows[offset : offset + WINDOW_PAGE], answers.image_urls(visit.catalogue.prefix)
        ),
        "facets": {"category": {each["name"]: each["live"] for each in counts if each["live"]}},
        "total": len(rows),
    }


def mixed_rows(codes: Codes, rows: Rows) -> Rows:
    """Return the rows with those of each category in turn, the first of each, then the second of each."""
    by_category = rows[np.argsort(codes[rows], kind="stable")]
    sizes = np.bincount(codes[by_category]) if len(by_category) else np.zeros(0, int)
    places = np.arange(len(by_category)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    mixed: Rows = by_category[np.argsort(places, kind="stable")]
    return mixed


@dataclass(frozen=True, slots=True)
class Chip:
    """A category to filter by. `categories` is what is chosen after a click on it."""

    name: str
    count: int
    is_chosen: bool
    categories: list[str]


def _chips(facets: Mapping[str, int], chosen: list[str]) -> list[Chip]:
    """Return the chosen categories, then the others, the largest first."""
    names = sorted(
        set(facets) | set(chosen), key=lambda name: (name not in chosen, -facets.get(name, 0), name)
    )
    return [
        Chip(
            name,
            facets.get(name, 0),
            name in chosen,
            [each for each in chosen if each != name] if name in chosen else [*chosen, name],
        )
        for name in names
    ]


@page("/product/<id>")
def product(visit: Visit, id: str) -> Any:
    """Show a product, and beside it what is like it."""
    try:
        shown = visit.catalogue.product(id)
    except DeletedProduct as error:
        gone = {"id": id, "name": _name_of(visit.catalogue.view(), id), "deleted_at": error.deleted_at}
        return render_template("vitrine/deleted.html", page="deleted", gone=gone), 410
    return render_template(
        "vitrine/product.html",
        page="product",
        shown=shown,
        categories=visit.live_categories(),
        **_similar(visit, id),
    )


@page("/product/<id>/similar")
def similar_part(visit: Visit, id: str) -> str:
    """Show only the recommendations, for a change of their options."""
    return render_template("vitrine/_similar.html", shown=visit.catalogue.product(id), **_similar(visit, id))


@dataclass(frozen=True, slots=True)
class Toggles:
    """What a visitor asked of the recommendations."""

    same_category: bool
    in_stock: bool
    one_per_group: bool
    diversity: float
    limit: int

    @classmethod
    def of_request(cls) -> Toggles:
        """Read them from the address; what cannot be read counts as not asked."""
        given = request.args
        return cls(
            same_category=given.get("same_category") == "1",
            in_stock=given.get(STOCK) == "1",
            one_per_group=given.get("one_per_group") == "1",
            diversity=min(1.0, max(0.0, given.get("diversity", 0.0, float))),
            limit=min(MOST_RECOMMENDATIONS, max(1, given.get("limit", RECOMMENDATIONS, int))),
        )

    def options(self) -> Json:
        """Return them as options of a search; those that change nothing are left out."""
        asked: Json = {"limit": self.limit}
        if self.same_category:
            asked["same_category"] = True
        if self.in_stock:
            asked["where"] = json.dumps({STOCK: True})
        if self.one_per_group:
            asked["one_per_group"] = True
        if self.diversity:
            asked["diversity"] = round(self.diversity, 2)
        return asked

    def query(self, **other: Any) -> dict[str, Any]:
        """Return them as the query of an address, some replaced."""
        asked = {
            "same_category": "1" if self.same_category else None,
            STOCK: "1" if self.in_stock else None,
            "one_per_group": "1" if self.one_per_group else None,
            "diversity": round(self.diversity, 2) or None,
            "limit": self.limit if self.limit != RECOMMENDATIONS else None,
        }
        return asked | other


def _similar(visit: Visit, id: str) -> Json:
    toggles = Toggles.of_request()
    options = toggles.options()
    answer = visit.catalogue.similar(id, **options)
    more = min(MOST_RECOMMENDATIONS, toggles.limit + RECOMMENDATIONS)
    view = visit.catalogue.view()
    return {
        "answer": answer,
        "toggles": toggles,
        "more": toggles.query(limit=more) if answer["returned"] == toggles.limit < more else None,
        "has_stock": any(STOCK in table.attribute_names for _, table in view.tables),
        "has_groups": view.cached("has groups", lambda: bool(np.any(view.group_codes >= 0))),
        "calls": calls_for(url_for(".similar", id=id, _external=True), options, id),
    }


@page("/compare")
def compare(visit: Visit) -> str:
    """Show two products side by side, attributes lined up."""
    ids = [request.args.get(side, "") for side in ("a", "b")]
    pair = [visit.catalogue.product(id) for id in ids]
    view = visit.catalogue.view()
    rows = [view.row_of(id) for id in ids]
    first, second = view.vectors([row for row in rows if row is not None][:2])
    score = float(np.clip(first @ second, -1, 1))
    names = list(dict.fromkeys(name for each in pair for name in each["attributes"]))
    lines = [(name, [each["attributes"].get(name) for each in pair]) for name in names]
    return render_template("vitrine/compare.html", page="compare", pair=pair, score=score, lines=lines)


def _name_of(view: View, id: str) -> str:
    row = view.row_of(id)
    if row is None:
        raise UnknownProduct(id)
    return view.product(row).name
