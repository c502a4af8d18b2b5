"""Category similarity: the heatmap in its orders, the closest pairs of two, a file to download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from flask import Response, jsonify, render_template, request

from vitrine.service.catalogue.serialisation import Json
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.http.csv import csv_response

page = Pages()
Order = Literal["likeness", "name", "size"]
ORDERS: tuple[Order, ...] = ("likeness", "name", "size")
LINKAGES = ("centroid", "mean")
MAX_CATEGORIES = 100
CLOSEST = 5
PAIRS = 12
# Optimal leaf ordering takes cubic time; above this size the order of the tree is used as it is.
MAX_OPTIMAL_LEAVES = 200


@dataclass(frozen=True, slots=True)
class Heatmap:
    """An ordered similarity matrix. values: (C, C), NaN where a category of one product has no pair."""

    names: list[str]
    counts: list[int]
    values: np.ndarray[Any, Any]
    linkage: str
    order: Order
    left_out: int

    def as_json(self) -> Json:
        """Return the data for the script that draws the heatmap."""
        cells = np.round(self.values, 4).astype(object)
        cells[np.isnan(self.values)] = None
        return {
            "categories": self.names,
            "counts": self.counts,
            "matrix": cells.tolist(),
            "linkage": self.linkage,
            "order": self.order,
        }

    def closest(self, count: int = CLOSEST) -> list[tuple[str, int, list[tuple[str, float]]]]:
        """Return each category with its size and the most similar other categories, best first."""
        others = np.nan_to_num(self.values, nan=-np.inf)
        np.fill_diagonal(others, -np.inf)
        best = np.argsort(-others, axis=1, kind="stable")[:, : min(count, len(self.names) - 1)]
        return [
            (
                name,
                self.counts[row],
                [(self.names[column], float(others[row, column])) for column in best[row]],
            )
            for row, name in enumerate(self.names)
        ]


@page("/categories")
def categories(visit: Visit) -> str:
    """Show the heatmap, and the most similar categories of each category."""
    values = {"heatmap": _heatmap(visit), **_pairs(visit)}
    return render_template("vitrine/categories.html", page="categories", **values)


@page("/categories/heatmap")
def heatmap_part(visit: Visit) -> Response:
    """Return the heatmap in another order or linkage, as JSON with the HTML of its table."""
    heatmap = _heatmap(visit)
    return jsonify(**heatmap.as_json(), table=render_template("vitrine/_closest.html", heatmap=heatmap))


@page("/categories/pairs")
def pairs_part(visit: Visit) -> str:
    """Show only the most similar pairs of two categories."""
    return render_template("vitrine/_pairs.html", **_pairs(visit))


@page("/categories/heatmap.csv")
def heatmap_csv(visit: Visit) -> Response:
    """Return the heatmap as CSV with decimal points."""
    heatmap = _heatmap(visit, max_categories=10_000)
    values = (["" if np.isnan(value) else f"{value:.4f}" for value in row] for row in heatmap.values)
    lines = zip(heatmap.names, heatmap.counts, values, strict=True)
    head = ["category", "products", *heatmap.names]
    return csv_response(
        "vitrine-categories.csv", [head, *([name, count, *row] for name, count, row in lines)]
    )


def _heatmap(visit: Visit, max_categories: int = MAX_CATEGORIES) -> Heatmap:
    linkage = request.args.get("linkage", "")
    linkage = linkage if linkage in LINKAGES else LINKAGES[0]
    order = next((each for each in ORDERS if each == request.args.get("order")), ORDERS[0])
    answer = visit.catalogue.matrix(linkage=linkage)
    counts = np.array(answer["counts"], int)
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in answer["matrix"]], float)
    values = values.reshape(len(counts), len(counts))
    largest = np.argsort(-counts, kind="stable")
    kept = np.sort(largest[:max_categories])
    ordered = kept[arrange(values[np.ix_(kept, kept)], counts[kept], order)]
    return Heatmap(
        [answer["categories"][index] for index in ordered],
        counts[ordered].tolist(),
        values[np.ix_(ordered, ordered)],
        linkage,
        order,
        len(counts) - len(kept),
    )


def arrange(values: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], order: Order) -> np.ndarray[Any, Any]:
    """Return (C,) the display order of categories that are sorted by name. values: (C, C) cosines.

    order: "likeness" uses the leaves of an average-linkage tree, ordered so that neighbours are as similar as
    possible (Bar-Joseph et al. 2001).
    """
    count = len(values)
    if order == "size":
        return np.argsort(-counts, kind="stable")
    if order == "name" or count < 3:
        return np.arange(count)
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    distances = 1 - np.nan_to_num(values, nan=1.0)
    np.fill_diagonal(distances, 0)
    condensed = squareform(np.maximum(distances, 0), checks=False)
    leaves: np.ndarray[Any, Any] = leaves_list(
        linkage(condensed, "average", optimal_ordering=count <= MAX_OPTIMAL_LEAVES)
    )
    return leaves


def _pairs(visit: Visit) -> Json:
    a, b = request.args.get("a"), request.args.get("b")
    if a is None or b is None:
        return {"a": a, "b": b, "pairs": None}
    return {"a": a, "b": b, "pairs": visit.catalogue.pairs(a=a, b=b, limit=PAIRS)["pairs"]}
