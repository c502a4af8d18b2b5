"""Projection of live products onto two or three principal components.

The axes of a snapshot are computed once. While little has changed since, they stay, so that deleting a
product moves no other; mean and variances follow the live products. Shape letters: n rows of the state,
N of its snapshot, D dimension, P = 3 components, m points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, Mask, Rows
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.conditions import category_mask
from vitrine.service.queries.components import Blocks, Components, fit_components
from vitrine.service.queries.view import View

FITS = ("all", "selection")
MAX_LIMIT = 100_000
# The axes of a snapshot are kept until this share of its products changed, if it has at least this many.
_KEEP_SHARE = 0.005
_KEEP_FROM = 5000
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Projection:
    """Products as points.

    rows: (m,) products. points: (m, 2 or 3) float32. ratios: the share of the variance along each axis.
    sampled: True where there are more products than points.
    """

    rows: Rows
    points: FloatMatrix
    ratios: tuple[float, ...]
    sampled: bool


@dataclass(frozen=True, slots=True)
class _FittedComponents:
    """Components, and the points (n, P) of every row; None where points are computed when asked for."""

    components: Components
    points: FloatMatrix | None = None


def project(
    view: View,
    dimensions: int = 2,
    *,
    categories: Sequence[str] = (),
    fit: str = "all",
    limit: int = 2000,
) -> Projection:
    """Project live products onto their principal components.

    categories: the products to show, default all. fit: "all" computes the axes from all live products,
    "selection" from those of the categories only. limit: the maximum number of points, sampled from each
    category in proportion. Raises QueryError.
    """
    if dimensions not in (2, 3):
        raise QueryError("dimensions is 2 or 3", field="dimensions")
    if fit not in FITS:
        raise QueryError(f"fit is one of {', '.join(FITS)}, not {fit!r}", field="fit")
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(f"limit is between 1 and {MAX_LIMIT}", field="limit")
    selection = tuple(sorted(set(categories)))
    shown = _shown_rows(view, selection)
    if fit == "all" or not selection:
        fitted = view.cached("components", lambda: _fit_live(view))
    else:
        key = ("components", selection)
        fitted = view.cached_recently(
            key, lambda: _FittedComponents(_fit_rows(view, shown, _snapshot_fit(view).components))
        )
    rows = view.cached_recently(("sample", selection, limit), lambda: _sample(view, shown, limit))
    if fitted.points is None:
        points = fitted.components.transform(view.state.segments.vectors(rows))
    else:
        points = fitted.points[rows]
    ratios = tuple(fitted.components.ratios[:dimensions].tolist())
    return Projection(rows, points[:, :dimensions], ratios, len(rows) < int(np.count_nonzero(shown)))


def _shown_rows(view: View, categories: Sequence[str]) -> Mask:
    """Return (n,) the live rows of some categories, or of all. Raises QueryError for an unknown category."""
    state = view.state
    if not categories:
        return state.live
    for name in categories:
        if name not in state.categories:
            raise QueryError(f"there is no category {name!r}", field="category")
    shown: Mask = state.live & category_mask(categories, state.categories, state.category_codes)
    return shown


def _sample(view: View, shown: Mask, limit: int) -> Rows:
    """Return the rows to show; their sampling order is computed once for the rows of a snapshot."""
    state, segments = view.state, view.state.segments
    table = state.snapshot.table
    if segments.n > len(table) or segments.moved:
        return sample_rows(state.category_codes, shown, limit)
    order = view.cached_for_snapshot("sampling order", lambda: sampling_order(table.category_codes))
    return sample_rows(state.category_codes, shown, limit, order)


def _snapshot_fit(view: View) -> _FittedComponents:
    """Return the components of the live rows of the snapshot, and the points of all its N rows."""
    return view.cached_for_snapshot("components", lambda: _fit_snapshot(view))


def _fit_snapshot(view: View) -> _FittedComponents:
    live = ~view.state.snapshot.table.deleted
    components = fit_components(_blocks(view, live), view.state.segments.dimension)
    points = [components.transform(block) for block in _blocks(view, np.ones(len(live), bool))()]
    return _FittedComponents(components, np.concatenate(points))


def _fit_live(view: View) -> _FittedComponents:
    """Return the components of the live rows: the snapshot's axes while little changed, else new ones."""
    state, segments = view.state, view.state.segments
    fitted = _snapshot_fit(view)
    was_live = np.zeros(segments.n, bool)
    was_live[: segments.base_rows] = ~state.snapshot.table.deleted
    changed = int(np.count_nonzero(state.live != was_live))
    points, count = fitted.points, fitted.components.count
    if points is None or (changed and (count < _KEEP_FROM or changed > _KEEP_SHARE * count)):
        return _FittedComponents(_fit_rows(view, state.live, fitted.components))
    if segments.n > len(points):
        added = segments.vectors(np.arange(len(points), segments.n))
        points = np.concatenate([points, fitted.components.transform(added)])
    if not changed:
        return _FittedComponents(fitted.components, points)
    return _recentred(view, fitted.components, points, was_live)


def _recentred(view: View, base: Components, points: FloatMatrix, was_live: Mask) -> _FittedComponents:
    """Return the same axes with the mean and variances of the live rows. points: (n, P). was_live: (n,)."""
    is_live, segments = view.state.live, view.state.segments
    live_points = points[is_live].astype(np.float64)
    total = base.mean * base.count
    squares = (base.total_variance + float(base.mean @ base.mean)) * base.count
    for rows, sign in ((is_live & ~was_live, 1), (was_live & ~is_live, -1)):
        vectors = segments.vectors(np.flatnonzero(rows)).astype(np.float64)
        total = total + sign * vectors.sum(axis=0)
        squares += sign * float(np.sum(vectors * vectors))
    count = len(live_points)
    mean = total / count
    total_variance = max(squares / count - float(mean @ mean), 0.0)
    components = replace(
        base, count=count, mean=mean, variances=live_points.var(axis=0), total_variance=total_variance
    )
    return _FittedComponents(components, (points - live_points.mean(axis=0)).astype(np.float32))


def _fit_rows(view: View, chosen: Mask, signs_from: Components) -> Components:
    return fit_components(_blocks(view, chosen), view.state.segments.dimension, signs_from.axes)


def _blocks(view: View, chosen: Mask) -> Blocks:
    """Return a function that reads the chosen of the first len(chosen) rows, a block at a time."""
    rows, segments = np.flatnonzero(chosen), view.state.segments
    is_sparse = len(rows) * 4 < len(chosen)

    def read() -> Iterable[FloatMatrix]:
        if is_sparse:
            for start in range(0, len(rows), _BLOCK_ROWS):
                yield segments.vectors(rows[start : start + _BLOCK_ROWS])
            return
        for start, block in segments.blocks(_BLOCK_ROWS):
            part = chosen[start : start + len(block)]
            if part.all() and len(part) == len(block):
                yield block
            elif part.any():
                yield block[: len(part)][part]

    return read


def sample_rows(codes: Codes, shown: Mask, limit: int, order: Rows | None = None) -> Rows:
    """Return at most `limit` of the shown rows, sorted: a stratified sample, the same for the same input.

    Each category is sampled in proportion and keeps at least one row while the limit allows. The choice
    depends on row numbers only, so deleting one product puts at most one other in its place. codes: (n,)
    category codes. order: the `sampling_order` of codes, if it is known.
    """
    rows = np.flatnonzero(shown)
    if len(rows) <= limit:
        return rows
    order = sampling_order(codes) if order is None else order
    order = order[shown[order]]
    counts = np.bincount(codes[order])
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(order)) - starts[codes[order]]
    return np.sort(order[rank < _quotas(counts, limit)[codes[order]]])


def sampling_order(codes: Codes) -> Rows:
    """Return all rows, (n,), category by category, each category in a pseudo-random order."""
    return np.lexsort((_hash_rows(np.arange(len(codes))), codes))


def _quotas(counts: Rows, limit: int) -> Rows:
    """Return the sample size of each category, `limit` in all: in proportion, by largest remainders."""
    shares = counts * (limit / counts.sum())
    quotas: Rows = np.minimum(np.maximum(np.floor(shares).astype(np.int64), 1), counts)
    by_remainder = np.argsort(quotas - shares, kind="stable")
    while (missing := limit - int(quotas.sum())) > 0:
        not_full = by_remainder[quotas[by_remainder] < counts[by_remainder]][:missing]
        quotas[not_full] += 1
    while (excess := int(quotas.sum()) - limit) > 0:
        largest = np.argsort(-quotas, kind="stable")[:excess]
        quotas[largest[quotas[largest] == quotas[largest[0]]]] -= 1
    return quotas


def _hash_rows(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return a pseudo-random number for each row number (the finalizer of splitmix64)."""
    mixed = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
