"""How alike the categories are, by their live products. Shape letters: C categories, D dimension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse  # type: ignore[import-untyped]

from indexer.errors import QueryError
from service.view import View

Linkage = Literal["centroid", "mean"]
LINKAGES: tuple[Linkage, ...] = ("centroid", "mean")
FloatMatrix64 = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
_BLOCK_ROWS = 2048


@dataclass(frozen=True, slots=True)
class CategoryMatrix:
    """categories: (C,) names in order. counts: (C,) live products. values: (C, C) cosines, symmetric."""

    categories: tuple[str, ...]
    counts: tuple[int, ...]
    linkage: Linkage
    values: FloatMatrix64


@dataclass(frozen=True, slots=True)
class CategorySums:
    """The sum of the live vectors of each category, (C, D), and how many they are, (C,)."""

    sums: FloatMatrix64
    counts: Counts


def category_matrix(
    view: View, linkage: str = "centroid", categories: Sequence[str] | None = None
) -> CategoryMatrix:
    """Compare categories: the cosine of their mean vectors, or the mean cosine of all pairs of their
    products.

    categories: which ones, default all; one with no live product is left out. Raises QueryError for a linkage
    or category that does not exist.
    """
    if linkage not in LINKAGES:
        raise QueryError(f"linkage is one of {', '.join(LINKAGES)}, not {linkage!r}", field="linkage")
    known = {name: code for code, name in enumerate(view.categories)}
    for name in categories or ():
        if name not in known:
            raise QueryError(f"there is no category {name!r}", field="category")
    totals = category_sums(view)
    wanted = sorted(set(categories)) if categories else list(view.categories)
    codes = [known[name] for name in wanted if totals.counts[known[name]] > 0]
    means = totals.sums[codes] / totals.counts[codes][:, None]
    if linkage == "centroid":
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    values = np.clip(means @ means.T, -1.0, 1.0)
    values = (values + values.T) / 2
    if linkage == "centroid":
        np.fill_diagonal(values, 1.0)
    names = tuple(view.categories[code] for code in codes)
    return CategoryMatrix(names, tuple(totals.counts[codes].tolist()), _linkage(linkage), values)


def category_sums(view: View) -> CategorySums:
    """Return the sums over live products, made once a view."""
    return view.cached("category sums", lambda: _sum_live(view))


def _sum_live(view: View) -> CategorySums:
    count = len(view.categories)
    sums = np.zeros((count, view.dimension))
    for start, block in view.blocks(_BLOCK_ROWS):
        codes = view.category_codes[start : start + len(block)]
        rows = np.flatnonzero(view.live[start : start + len(block)])
        picks = (np.ones(len(rows), np.float32), (codes[rows], rows))
        sums += scipy.sparse.csr_array(picks, shape=(count, len(block))) @ block
    counts: Any = np.bincount(view.category_codes[view.live], minlength=count)
    return CategorySums(sums, counts)


def _linkage(name: str) -> Linkage:
    return "centroid" if name == "centroid" else "mean"
