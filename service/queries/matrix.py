"""How alike the categories are, by their live products, and which products of two are most alike.

Sums of vectors are taken once for a snapshot and mended for what changed since. Shape letters: C categories,
D dimension, n rows of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import QueryError
from vitrine.indexer.vectors.scoring import ROUNDING, score_rows
from vitrine.service.queries.recent import recent_answers
from vitrine.service.queries.view import View

Linkage = Literal["centroid", "mean"]
LINKAGES: tuple[Linkage, ...] = ("centroid", "mean")
MAX_PAIRS = 1000
FloatMatrix64 = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
_BLOCK_ROWS = 2048
_BLOCK_PAIRS = 2**22
# Pairs of one block that rounding cannot tell apart are looked at up to here: more are copies of one picture.
_EQUAL_PAIRS = 20_000


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


@dataclass(frozen=True, slots=True)
class Pair:
    """Two products by their rows, and their cosine."""

    a: int
    b: int
    score: float


def category_matrix(
    view: View, linkage: str = "centroid", categories: Sequence[str] | None = None
) -> CategoryMatrix:
    """Compare categories: the cosine of their mean vectors, or the mean cosine of all pairs of their
    products.

    The mean cosine of all pairs (x, y), x from one category and y from another, is the product of the two
    mean vectors; of a category with itself it counts each product with itself too. categories: which ones,
    default all; one with no live product is left out. Raises QueryError for a linkage or category that does
    not exist.
    """
    if linkage not in LINKAGES:
        raise QueryError(f"linkage is one of {', '.join(LINKAGES)}, not {linkage!r}", field="linkage")
    known = {name: code for code, name in enumerate(view.categories)}
    for name in categories or ():
        if name not in known:
            raise QueryError(f"there is no category {name!r}", field="category")
    totals = category_sums(view)
    wanted = sorted(set(categories)) if categories else view.categories
    codes = [known[name] for name in wanted if totals.counts[known[name]] > 0]
    means = totals.sums[codes] / totals.counts[codes][:, None]
    if linkage == "centroid":
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    values = np.clip(means @ means.T, -1.0, 1.0)
    values = (values + values.T) / 2
    if linkage == "centroid":
        np.fill_diagonal(values, 1.0)
    names = tuple(view.categories[code] for code in codes)
    counts = tuple(totals.counts[codes].tolist())
    return CategoryMatrix(names, counts, "centroid" if linkage == "centroid" else "mean", values)


def category_sums(view: View) -> CategorySums:
    """Return the sums over live products: the snapshot's, mended for what changed since."""
    return view.cached("category sums", lambda: _mended_sums(view))


def _mended_sums(view: View) -> CategorySums:
    table = view.tables[0][1]
    base = view.cached_for_snapshot(
        "category sums", lambda: _sums(view, ~table.deleted, table.category_codes, len(table.categories))
    )
    known = {name: code for code, name in enumerate(view.categories)}
    place = np.array([known.get(name, -1) for name in table.categories], np.int32)
    sums = np.zeros((len(view.categories), view.dimension))
    sums[place[place >= 0]] = base.sums[place >= 0]
    now = np.where(view.live, view.category_codes, -1)
    was = np.full(view.n, -1, now.dtype)
    was[: len(table)] = np.where(table.deleted, -1, place[table.category_codes])
    for codes, sign in ((now, 1.0), (was, -1.0)):
        rows = np.flatnonzero((now != was) & (codes >= 0))
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = rows[start : start + _BLOCK_ROWS]
            sums += sign * _by_category(view.vectors(part), codes[part], len(sums))
    counts: Any = np.bincount(view.category_codes[view.live], minlength=len(sums))
    return CategorySums(sums, counts)


def _sums(view: View, chosen: Mask, codes: Codes, count: int) -> CategorySums:
    """Sum the chosen rows of the snapshot, the first of the view, in one pass over its vectors."""
    sums = np.zeros((count, view.dimension))
    for start, block in view.blocks(_BLOCK_ROWS):
        part = slice(start, min(start + len(block), len(chosen)))
        if start >= len(chosen):
            break
        rows = np.flatnonzero(chosen[part])
        picked = block if len(rows) == len(block) else block[rows]
        sums += _by_category(picked, codes[part][rows], count)
    return CategorySums(sums, np.bincount(codes[chosen], minlength=count))


def _by_category(vectors: Any, codes: Codes, count: int) -> Any:
    """Return the sum of the vectors of each category, (count, D) float32, for up to a block of vectors."""
    import scipy.sparse  # a tenth of a second, which the service's start would pay

    picks = (np.ones(len(codes), np.float32), (codes, np.arange(len(codes))))
    return scipy.sparse.csr_array(picks, shape=(count, len(codes))) @ vectors


def closest_pairs(view: View, a: str, b: str, limit: int = 10) -> list[Pair]:
    """Return the most similar pairs of live products, one of category `a`, one of `b`; best first, then by
    ids.

    With a = b, each pair of two different products once. Raises QueryError.
    """
    for field, name in (("a", a), ("b", b)):
        if name not in view.categories:
            raise QueryError(f"there is no category {name!r}", field=field)
    if not 1 <= limit <= MAX_PAIRS:
        raise QueryError(f"limit is between 1 and {MAX_PAIRS}", field="limit")
    return recent_answers(view).get(("pairs", a, b, limit), lambda: _closest(view, a, b, limit))


def _closest(view: View, a: str, b: str, limit: int) -> list[Pair]:
    rows_a, rows_b = (
        np.flatnonzero(view.live & (view.category_codes == view.categories.index(name))) for name in (a, b)
    )
    others = view.vectors(rows_b)
    best: list[Pair] = []
    step = max(_BLOCK_PAIRS // max(len(rows_b), 1), 1)
    for start in range(0, len(rows_a), step):
        part = rows_a[start : start + step]
        vectors = view.vectors(part)
        products = vectors @ others.T
        if a == b:
            products[part[:, None] >= rows_b[None]] = -np.inf
        floor = best[-1].score if len(best) == limit else -2.0
        for i, js in _candidates(products, limit, floor):
            scores = score_rows(others[js], vectors[i])
            best += [
                Pair(int(part[i]), int(rows_b[j]), float(score)) for j, score in zip(js, scores, strict=True)
            ]
        best = sorted(best, key=lambda pair: (-pair.score, view.id_at(pair.a), view.id_at(pair.b)))[:limit]
    return best


def _candidates(products: Any, limit: int, floor: float) -> list[tuple[int, Rows]]:
    """Return the places (i, js) of a block of products that may be among the `limit` best."""
    flat = products.ravel()
    if len(flat) > limit:
        floor = max(floor, float(np.partition(flat, len(flat) - limit)[len(flat) - limit]))
    chosen = np.flatnonzero(flat >= max(floor - ROUNDING, -2.0))
    if len(chosen) > _EQUAL_PAIRS:
        clear = np.flatnonzero(flat > floor + ROUNDING)
        chosen = np.concatenate([clear, chosen[~np.isin(chosen, clear)][:_EQUAL_PAIRS]])
    i, js = np.divmod(np.sort(chosen), products.shape[1])
    return [(int(first), js[i == first]) for first in np.unique(i)]
