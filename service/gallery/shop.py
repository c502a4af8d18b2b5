"""Shop window, product page with recommendations, and comparison of two products."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flask import render_template, request, url_for

from vitrine.indexer.arrays import Codes, Rows
from vitrine.service.catalogue.serialisation import Json, image_url_builder, products_json
from vitrine.service.errors import DeletedProduct, UnknownProduct
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.gallery.snippets import snippets_for
from vitrine.service.queries.view import View

page = Pages()
WINDOW_PAGE = 48
CHIPS_SHOWN = 12
RECOMMENDATIONS = 12
MAX_RECOMMENDATIONS = 96
STOCK = "in_stock"


@page("/")
def window(visit: Visit) -> str:
    """Show the products that match the words and categories of the URL."""
    return render_template("vitrine/window.html", page="window", **_results(visit))


@page("/grid")
def grid(visit: Visit) -> str:
    """Show the results of a search; after the first page, only further products."""
    results = _results(visit)
    template = "_more.html" if results["offset"] else "_found.html"
    return render_template(f"vitrine/{template}", **results)


def _results(visit: Visit) -> Json:
    words = request.args.get("q", "").strip()[:300]
    chosen = request.args.getlist("category")
    offset = max(0, request.args.get("offset", 0, int))
    if words or chosen:
        answer = visit.catalogue.products(q=words, category=chosen, offset=offset, limit=WINDOW_PAGE)
    else:
        answer = _interleaved(visit, offset)
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


def _interleaved(visit: Visit, offset: int) -> Json:
    """Return a page of all products, one of each category in turn, to show the whole range."""
    view = visit.catalogue.view()
    codes, live = view.state.category_codes, view.state.live
    rows = view.cached("mixed window", lambda: interleave_categories(codes, np.flatnonzero(live)))
    counts = visit.catalogue.categories()["categories"]
    return {
        "products": products_json(
            view, rows[offset : offset + WINDOW_PAGE], image_url_builder(visit.catalogue.prefix)
        ),
        "facets": {"category": {each["name"]: each["live"] for each in counts if each["live"]}},
        "total": len(rows),
    }


def interleave_categories(codes: Codes, rows: Rows) -> Rows:
    """Return the rows interleaved by category: the first of each, then the second of each."""
    by_category = rows[np.argsort(codes[rows], kind="stable")]
    sizes = np.bincount(codes[by_category]) if len(by_category) else np.zeros(0, int)
    ranks = np.arange(len(by_category)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    interleaved: Rows = by_category[np.argsort(ranks, kind="stable")]
    return interleaved


@dataclass(frozen=True, slots=True)
class Chip:
    """A category to filter by. categories: the selection after a click on it."""

    name: str
    count: int
    is_chosen: bool
    categories: list[str]


def _chips(facets: Mapping[str, int], chosen: list[str]) -> list[Chip]:
    """Return the chosen categories, then the others, largest first."""
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
    """Show a product with its recommendations."""
    try:
        shown = visit.catalogue.product(id)
    except DeletedProduct as error:
        deleted = {"id": id, "name": _name_of(visit.catalogue.view(), id), "deleted_at": error.deleted_at}
        return render_template("vitrine/deleted.html", page="deleted", deleted=deleted), 410
    return render_template(
        "vitrine/product.html",
        page="product",
        shown=shown,
        categories=visit.live_categories(),
        **_similar(visit, id),
    )


@page("/product/<id>/similar")
def similar_part(visit: Visit, id: str) -> str:
    """Show only the recommendations, after a change of their options."""
    return render_template("vitrine/_similar.html", shown=visit.catalogue.product(id), **_similar(visit, id))


@dataclass(frozen=True, slots=True)
class Toggles:
    """Options of the recommendations on a product page."""

    same_category: bool
    in_stock: bool
    one_per_group: bool
    diversity: float
    limit: int

    @classmethod
    def from_request(cls) -> Toggles:
        """Read the options from the URL; invalid ones are ignored."""
        query = request.args
        return cls(
            same_category=query.get("same_category") == "1",
            in_stock=query.get(STOCK) == "1",
            one_per_group=query.get("one_per_group") == "1",
            diversity=min(1.0, max(0.0, query.get("diversity", 0.0, float))),
            limit=min(MAX_RECOMMENDATIONS, max(1, query.get("limit", RECOMMENDATIONS, int))),
        )

    def options(self) -> Json:
        """Return the search options; those with default values are left out."""
        options: Json = {"limit": self.limit}
        if self.same_category:
            options["same_category"] = True
        if self.in_stock:
            options["where"] = json.dumps({STOCK: True})
        if self.one_per_group:
            options["one_per_group"] = True
        if self.diversity:
            options["diversity"] = round(self.diversity, 2)
        return options

    def query(self, **other: Any) -> dict[str, Any]:
        """Return the parameters for a URL, some of them replaced."""
        parameters = {
            "same_category": "1" if self.same_category else None,
            STOCK: "1" if self.in_stock else None,
            "one_per_group": "1" if self.one_per_group else None,
            "diversity": round(self.diversity, 2) or None,
            "limit": self.limit if self.limit != RECOMMENDATIONS else None,
        }
        return parameters | other


def _similar(visit: Visit, id: str) -> Json:
    toggles = Toggles.from_request()
    options = toggles.options()
    answer = visit.catalogue.similar(id, **options)
    more = min(MAX_RECOMMENDATIONS, toggles.limit + RECOMMENDATIONS)
    view = visit.catalogue.view()
    return {
        "answer": answer,
        "toggles": toggles,
        "more": toggles.query(limit=more) if answer["returned"] == toggles.limit < more else None,
        "has_stock": any(STOCK in table.attribute_names for _, table in view.state.segments.tables),
        "has_groups": view.cached("has groups", lambda: bool(np.any(view.state.segments.group_codes >= 0))),
        "calls": snippets_for(url_for(".similar", id=id, _external=True), options, id),
    }


@page("/compare")
def compare(visit: Visit) -> str:
    """Show two products side by side with their attributes."""
    ids = [request.args.get(side, "") for side in ("a", "b")]
    pair = [visit.catalogue.product(id) for id in ids]
    view = visit.catalogue.view()
    rows = [view.state.segments.row_of(id) for id in ids]
    first, second = view.state.segments.vectors([row for row in rows if row is not None][:2])
    score = float(np.clip(first @ second, -1, 1))
    names = list(dict.fromkeys(name for each in pair for name in each["attributes"]))
    lines = [(name, [each["attributes"].get(name) for each in pair]) for name in names]
    return render_template("vitrine/compare.html", page="compare", pair=pair, score=score, lines=lines)


def _name_of(view: View, id: str) -> str:
    row = view.state.segments.row_of(id)
    if row is None:
        raise UnknownProduct(id)
    return view.state.product(row).name
