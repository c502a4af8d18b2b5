"""Products on a plane or in space: the principal components of live vectors.

The axes of a snapshot are found once. While little has changed since, they stay, so that deleting a product
moves no other; mean and variances follow what is live. Shape letters: n rows of the view, N of its snapshot,
D dimension, P = 3 components, m points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, Mask, Rows
from vitrine.indexer.errors import QueryError
from vitrine.indexer.products.where import rows_of_categories
from vitrine.service.queries.components import Blocks, Components, fit_components
from vitrine.service.queries.recent import recent_answers
from vitrine.service.queries.view import View

FITS = ("all", "selection")
MAX_LIMIT = 100_000
# The axes of a snapshot serve until this share of its products changed, if they were found from so many.
_KEEP_SHARE = 0.005
_KEEP_FROM = 5000
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Projection:
    """rows: (m,) products. points: (m, 2 or 3) float32. ratios: the share of the variance along each axis.

    sampled: whether there are more products than points.
    """

    rows: Rows
    points: FloatMatrix
    ratios: tuple[float, ...]
    sampled: bool


@dataclass(frozen=True, slots=True)
class _Fitted:
    """Components, and where every row lies along them, (n, P); None where rows are placed when asked for."""

    components: Components
    places: FloatMatrix | None = None


def project(
    view: View,
    dimensions: int = 2,
    *,
    categories: Sequence[str] = (),
    fit: str = "all",
    limit: int = 2000,
) -> Projection:
    """Project live products onto the axes along which live products vary most.

    categories: which products to show, default all. fit: find the axes from all live products, or from those
    of the categories only. limit: show at most so many, each category in proportion. Raises QueryError.
    """
    if dimensions not in (2, 3):
        raise QueryError("dimensions is 2 or 3", field="dimensions")
    if fit not in FITS:
        raise QueryError(f"fit is one of {', '.join(FITS)}, not {fit!r}", field="fit")
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(f"limit is between 1 and {MAX_LIMIT}", field="limit")
    chosen = tuple(sorted(set(categories)))
    shown = _shown(view, chosen)
    memo = recent_answers(view)
    if fit == "all" or not chosen:
        fitted = view.cached("components", lambda: _fit_live(view))
    else:
        key = ("components", chosen)
        fitted = memo.get(key, lambda: _Fitted(_fit_rows(view, shown, _base(view).components)))
    rows = memo.get(("sample", chosen, limit), lambda: _sample(view, shown, limit))
    places = fitted.components.points(view.vectors(rows)) if fitted.places is None else fitted.places[rows]
    ratios = tuple(fitted.components.ratios[:dimensions].tolist())
    return Projection(rows, places[:, :dimensions], ratios, len(rows) < int(np.count_nonzero(shown)))


def _shown(view: View, categories: Sequence[str]) -> Mask:
    if not categories:
        return view.live
    for name in categories:
        if name not in view.categories:
            raise QueryError(f"there is no category {name!r}", field="category")
    shown: Mask = view.live & rows_of_categories(categories, view.categories, view.category_codes)
    return shown


def _sample(view: View, shown: Mask, limit: int) -> Rows:
    """Return the rows to show; the order to pick them in is found once for the rows of a snapshot."""
    table = view.tables[0][1]
    if view.n > len(table) or view.moved:
        return sample_rows(view.category_codes, shown, limit)
    order = view.cached_for_snapshot("sampling order", lambda: sampling_order(table.category_codes))
    return sample_rows(view.category_codes, shown, limit, order)


def _base(view: View) -> _Fitted:
    """Return the components of what was live in the snapshot, and the places of all its N rows; made once."""
    return view.cached_for_snapshot("components", lambda: _fit_base(view))


def _fit_base(view: View) -> _Fitted:
    live = ~view.tables[0][1].deleted
    components = fit_components(_blocks(view, live), view.dimension)
    places = [components.points(block) for block in _blocks(view, np.ones(len(live), bool))()]
    return _Fitted(components, np.concatenate(places))


def _fit_live(view: View) -> _Fitted:
    """Return the components of what is live now: the snapshot's while little changed, else found anew."""
    base = _base(view)
    was = np.zeros(view.n, bool)
    was[: len(view.tables[0][1])] = ~view.tables[0][1].deleted
    changed = int(np.count_nonzero(view.live != was))
    places, count = base.places, base.components.count
    if places is None or (changed and (count < _KEEP_FROM or changed > _KEEP_SHARE * count)):
        return _Fitted(_fit_rows(view, view.live, base.components))
    if view.n > len(places):
        added = view.vectors(np.arange(len(places), view.n))
        places = np.concatenate([places, base.components.points(added)])
    if not changed:
        return _Fitted(base.components, places)
    return _recentred(view, base.components, places, was)


def _recentred(view: View, base: Components, places: FloatMatrix, was: Mask) -> _Fitted:
    """Return the same axes with the mean and variances of what is live now. places: (n, P). was: (n,)."""
    live = places[view.live].astype(np.float64)
    total, squares = base.mean * base.count, (base.total + float(base.mean @ base.mean)) * base.count
    for rows, sign in ((view.live & ~was, 1), (was & ~view.live, -1)):
        vectors = view.vectors(np.flatnonzero(rows)).astype(np.float64)
        total = total + sign * vectors.sum(axis=0)
        squares += sign * float(np.sum(vectors * vectors))
    mean = total / len(live)
    variance = max(squares / len(live) - float(mean @ mean), 0.0)
    components = replace(base, count=len(live), mean=mean, variances=live.var(axis=0), total=variance)
    return _Fitted(components, (places - live.mean(axis=0)).astype(np.float32))


def _fit_rows(view: View, chosen: Mask, like: Components) -> Components:
    return fit_components(_blocks(view, chosen), view.dimension, like.axes)


def _blocks(view: View, chosen: Mask) -> Blocks:
    """Return a reader of the chosen of the first len(chosen) rows, a block at a time."""
    rows = np.flatnonzero(chosen)
    few = len(rows) * 4 < len(chosen)

    def read() -> Iterable[FloatMatrix]:
        if few:
            for start in range(0, len(rows), _BLOCK_ROWS):
                yield view.vectors(rows[start : start + _BLOCK_ROWS])
            return
        for start, block in view.blocks(_BLOCK_ROWS):
            part = chosen[start : start + len(block)]
            if part.all() and len(part) == len(block):
                yield block
            elif part.any():
                yield block[: len(part)][part]

    return read


def sample_rows(codes: Codes, shown: Mask, limit: int, order: Rows | None = None) -> Rows:
    """Return at most `limit` of the rows shown, in order: always the same, each category in proportion.

    Every category keeps at least one while the limit allows. Which rows are kept is a matter of their number
    alone, so that deleting one product puts at most one other in its place. order: what `sampling_order` says
    of codes, if that is known.
    """
    rows = np.flatnonzero(shown)
    if len(rows) <= limit:
        return rows
    order = sampling_order(codes) if order is None else order
    order = order[shown[order]]
    counts = np.bincount(codes[order])
    starts = np.cumsum(counts) - counts
    place = np.arange(len(order)) - starts[codes[order]]
    return np.sort(order[place < _quotas(counts, limit)[codes[order]]])


def sampling_order(codes: Codes) -> Rows:
    """Return all rows, (n,), category by category, and in each in the order in which they are picked."""
    return np.lexsort((_scattered(np.arange(len(codes))), codes))


def _quotas(counts: Rows, limit: int) -> Rows:
    """Return how many of each category to keep, `limit` in all, in proportion; greatest remainders first."""
    shares = counts * (limit / counts.sum())
    quotas: Rows = np.minimum(np.maximum(np.floor(shares).astype(np.int64), 1), counts)
    by_remainder = np.argsort(quotas - shares, kind="stable")
    while (missing := limit - int(quotas.sum())) > 0:
        open_ones = by_remainder[quotas[by_remainder] < counts[by_remainder]][:missing]
        quotas[open_ones] += 1
    while (excess := int(quotas.sum()) - limit) > 0:
        largest = np.argsort(-quotas, kind="stable")[:excess]
        quotas[largest[quotas[largest] == quotas[largest[0]]]] -= 1
    return quotas


def _scattered(rows: Rows) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return a number for each row number that looks like chance (the finalizer of splitmix64)."""
    mixed = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
