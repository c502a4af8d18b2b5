"""Category similarity: the matrix of categories, and the most similar product pairs of two categories.

The sums of vectors are computed once per snapshot and updated for the changes since. Shape letters:
C categories, D dimension, n rows of the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import QueryError
from vitrine.indexer.vectors.scoring import ROUNDING, score_rows
from vitrine.service.queries.view import View

Linkage = Literal["centroid", "mean"]
LINKAGES: tuple[Linkage, ...] = ("centroid", "mean")
MAX_PAIRS = 1000
FloatMatrix64 = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Counts = np.ndarray[tuple[int], np.dtype[np.int64]]
_BLOCK_ROWS = 2048
_BLOCK_PAIRS = 2**22
# Candidate pairs of one block whose scores rounding cannot tell apart; more are copies of one picture.
_MAX_TIED_PAIRS = 20_000


@dataclass(frozen=True, slots=True)
class CategoryMatrix:
    """Cosines between categories.

    categories: (C,) names in order. counts: (C,) live products. values: (C, C) cosines, symmetric.
    """

    categories: tuple[str, ...]
    counts: tuple[int, ...]
    linkage: Linkage
    values: FloatMatrix64


@dataclass(frozen=True, slots=True)
class CategorySums:
    """Sums (C, D) and counts (C,) of the live vectors of each category."""

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
    """Return the similarity of categories: "centroid", the cosine of their mean vectors, or "mean".

    "mean" is the mean cosine of all pairs (x, y), x from one category and y from another. It equals the inner
    product of the two mean vectors; within one category it counts each product with itself too. categories:
    the names to compare, default all; one with no live product is left out. Raises QueryError for a linkage
    or category that does not exist.
    """
    if linkage not in LINKAGES:
        raise QueryError(f"linkage is one of {', '.join(LINKAGES)}, not {linkage!r}", field="linkage")
    code_of = {name: code for code, name in enumerate(view.state.categories)}
    for name in categories or ():
        if name not in code_of:
            raise QueryError(f"there is no category {name!r}", field="category")
    totals = category_sums(view)
    requested = sorted(set(categories)) if categories else view.state.categories
    codes = [code_of[name] for name in requested if totals.counts[code_of[name]] > 0]
    means = totals.sums[codes] / totals.counts[codes][:, None]
    if linkage == "centroid":
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    values = np.clip(means @ means.T, -1.0, 1.0)
    values = (values + values.T) / 2
    if linkage == "centroid":
        np.fill_diagonal(values, 1.0)
    names = tuple(view.state.categories[code] for code in codes)
    counts = tuple(totals.counts[codes].tolist())
    return CategoryMatrix(names, counts, "centroid" if linkage == "centroid" else "mean", values)


def category_sums(view: View) -> CategorySums:
    """Return the sums over live products: those of the snapshot, updated for the changes since."""
    return view.cached("category sums", lambda: _updated_sums(view))


def _updated_sums(view: View) -> CategorySums:
    state, segments = view.state, view.state.segments
    table = state.snapshot.table
    base = view.cached_for_snapshot(
        "category sums", lambda: _sums(view, ~table.deleted, table.category_codes, len(table.categories))
    )
    code_of = {name: code for code, name in enumerate(state.categories)}
    new_codes = np.array([code_of.get(name, -1) for name in table.categories], np.int32)
    sums = np.zeros((len(state.categories), segments.dimension))
    sums[new_codes[new_codes >= 0]] = base.sums[new_codes >= 0]
    # The category code of each row, -1 where it is not live: in this state, and in the snapshot.
    current = np.where(state.live, state.category_codes, -1)
    published = np.full(segments.n, -1, current.dtype)
    published[: len(table)] = np.where(table.deleted, -1, new_codes[table.category_codes])
    for codes, sign in ((current, 1.0), (published, -1.0)):
        rows = np.flatnonzero((current != published) & (codes >= 0))
        for start in range(0, len(rows), _BLOCK_ROWS):
            part = rows[start : start + _BLOCK_ROWS]
            sums += sign * _sum_by_category(segments.vectors(part), codes[part], len(sums))
    counts: Any = np.bincount(state.category_codes[state.live], minlength=len(sums))
    return CategorySums(sums, counts)


def _sums(view: View, chosen: Mask, codes: Codes, count: int) -> CategorySums:
    """Sum the chosen rows of the snapshot, the first rows of the state, in one pass over its vectors."""
    sums = np.zeros((count, view.state.segments.dimension))
    for start, block in view.state.segments.blocks(_BLOCK_ROWS):
        part = slice(start, min(start + len(block), len(chosen)))
        if start >= len(chosen):
            break
        rows = np.flatnonzero(chosen[part])
        vectors = block if len(rows) == len(block) else block[rows]
        sums += _sum_by_category(vectors, codes[part][rows], count)
    return CategorySums(sums, np.bincount(codes[chosen], minlength=count))


def _sum_by_category(vectors: Any, codes: Codes, count: int) -> Any:
    """Return the sum of the vectors of each category, (count, D) float32, for up to a block of vectors."""
    import scipy.sparse  # takes a tenth of a second, which the start of the service would pay

    one_hot = (np.ones(len(codes), np.float32), (codes, np.arange(len(codes))))
    return scipy.sparse.csr_array(one_hot, shape=(count, len(codes))) @ vectors


def closest_pairs(view: View, a: str, b: str, limit: int = 10) -> list[Pair]:
    """Return the most similar pairs of live products of categories `a` and `b`; best first, then by ids.

    With a = b, each pair of two different products once. Raises QueryError.
    """
    for field, name in (("a", a), ("b", b)):
        if name not in view.state.categories:
            raise QueryError(f"there is no category {name!r}", field=field)
    if not 1 <= limit <= MAX_PAIRS:
        raise QueryError(f"limit is between 1 and {MAX_PAIRS}", field="limit")
    return view.cached_recently(("pairs", a, b, limit), lambda: _closest_pairs(view, a, b, limit))


def _closest_pairs(view: View, a: str, b: str, limit: int) -> list[Pair]:
    segments = view.state.segments
    rows_a, rows_b = _live_rows(view, a), _live_rows(view, b)
    vectors_b = segments.vectors(rows_b)

    def sort_key(pair: Pair) -> tuple[float, str, str]:
        return (-pair.score, segments.id_at(pair.a), segments.id_at(pair.b))

    best: list[Pair] = []
    step = max(_BLOCK_PAIRS // max(len(rows_b), 1), 1)
    for start in range(0, len(rows_a), step):
        part = rows_a[start : start + step]
        vectors_a = segments.vectors(part)
        products = vectors_a @ vectors_b.T
        if a == b:
            products[part[:, None] >= rows_b[None]] = -np.inf
        threshold = best[-1].score if len(best) == limit else -2.0
        for i, js in _candidates(products, limit, threshold):
            scores = score_rows(vectors_b[js], vectors_a[i])
            best += [
                Pair(int(part[i]), int(rows_b[j]), float(score)) for j, score in zip(js, scores, strict=True)
            ]
        best = sorted(best, key=sort_key)[:limit]
    return best


def _live_rows(view: View, category: str) -> Rows:
    state = view.state
    return np.flatnonzero(state.live & (state.category_codes == state.categories.index(category)))


def _candidates(products: Any, limit: int, threshold: float) -> list[tuple[int, Rows]]:
    """Return the positions (i, js) in a block of inner products that may be among the `limit` best.

    threshold: the score that a pair must reach, within rounding.
    """
    flat = products.ravel()
    if len(flat) > limit:
        threshold = max(threshold, float(np.partition(flat, len(flat) - limit)[len(flat) - limit]))
    chosen = np.flatnonzero(flat >= max(threshold - ROUNDING, -2.0))
    if len(chosen) > _MAX_TIED_PAIRS:
        above = np.flatnonzero(flat > threshold + ROUNDING)
        chosen = np.concatenate([above, chosen[~np.isin(chosen, above)][:_MAX_TIED_PAIRS]])
    i, js = np.divmod(np.sort(chosen), products.shape[1])
    return [(int(first), js[i == first]) for first in np.unique(i)]
