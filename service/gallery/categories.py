"""How alike the categories are: the heatmap in its orders, the closest pairs of two, a file to download."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from flask import Response, jsonify, render_template, request

from vitrine.service.catalogue.serialisation import Json
from vitrine.service.gallery.routes import Pages, Visit
from vitrine.service.http.csv import csv_reply

page = Pages()
Order = Literal["likeness", "name", "size"]
ORDERS: tuple[Order, ...] = ("likeness", "name", "size")
LINKAGES = ("centroid", "mean")
MOST = 100
CLOSEST = 5
PAIRS = 12
# An optimal order of the leaves costs the cube of their number; past this any order of the tree will do.
OPTIMAL_UP_TO = 200


@dataclass(frozen=True, slots=True)
class Heatmap:
    """An ordered matrix. values: (C, C), nan where a category of one product has no pair with itself."""

    names: list[str]
    counts: list[int]
    values: np.ndarray[Any, Any]
    linkage: str
    order: Order
    left_out: int

    def as_json(self) -> Json:
        """Return it for the script that draws it."""
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
        """Return each category with its size and the others nearest to it, best first."""
        others = np.nan_to_num(self.values, nan=-np.inf)
        np.fill_diagonal(others, -np.inf)
        best = np.argsort(-others, axis=1, kind="stable")[:, : min(count, len(self.names) - 1)]
        return [
            (name, self.counts[row], [(self.names[place], float(others[row, place])) for place in best[row]])
            for row, name in enumerate(self.names)
        ]


@page("/categories")
def categories(visit: Visit) -> str:
    """Show the heatmap, and for each category those nearest to it."""
    shown = {"heatmap": _heatmap(visit), **_pairs(visit)}
    return render_template("vitrine/categories.html", page="categories", **shown)


@page("/categories/heatmap")
def heatmap_part(visit: Visit) -> Response:
    """Return the heatmap in another order or linkage, as JSON and as the table beside it."""
    found = _heatmap(visit)
    return jsonify(**found.as_json(), table=render_template("vitrine/_closest.html", heatmap=found))


@page("/categories/pairs")
def pairs_part(visit: Visit) -> str:
    """Show only the closest pairs of two categories."""
    return render_template("vitrine/_pairs.html", **_pairs(visit))


@page("/categories/heatmap.csv")
def heatmap_csv(visit: Visit) -> Response:
    """Return the heatmap as a table: comma separated, with dots, as programs read it."""
    found = _heatmap(visit, most=10_000)
    values = (["" if np.isnan(value) else f"{value:.4f}" for value in row] for row in found.values)
    lines = zip(found.names, found.counts, values, strict=True)
    head = ["category", "products", *found.names]
    return csv_reply("vitrine-categories.csv", [head, *([name, count, *row] for name, count, row in lines)])


def _heatmap(visit: Visit, most: int = MOST) -> Heatmap:
    linkage = request.args.get("linkage", "")
    linkage = linkage if linkage in LINKAGES else LINKAGES[0]
    order = next((each for each in ORDERS if each == request.args.get("order")), ORDERS[0])
    answer = visit.catalogue.matrix(linkage=linkage)
    counts = np.array(answer["counts"], int)
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in answer["matrix"]], float)
    values = values.reshape(len(counts), len(counts))
    largest = np.argsort(-counts, kind="stable")
    kept = np.sort(largest[:most])
    places = kept[arrange(values[np.ix_(kept, kept)], counts[kept], order)]
    return Heatmap(
        [answer["categories"][place] for place in places],
        counts[places].tolist(),
        values[np.ix_(places, places)],
        linkage,
        order,
        len(counts) - len(kept),
    )


def arrange(values: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], order: Order) -> np.ndarray[Any, Any]:
    """Return (C,) the order of the categories, given in the order of their names. values: (C, C) cosines.

    likeness: the leaves of an average-linkage tree, turned so that neighbours are as alike as can be
    (Bar-Joseph et al. 2001).
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
        linkage(condensed, "average", optimal_ordering=count <= OPTIMAL_UP_TO)
    )
    return leaves


def _pairs(visit: Visit) -> Json:
    a, b = request.args.get("a"), request.args.get("b")
    if a is None or b is None:
        return {"a": a, "b": b, "pairs": None}
    return {"a": a, "b": b, "pairs": visit.catalogue.pairs(a=a, b=b, limit=PAIRS)["pairs"]}
