"""Products on a plane or in space: principal components of the live vectors. Shape letters: n rows, D
dimension, P components.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from indexer.errors import QueryError
from indexer.table import Mask, Rows
from indexer.transform import FloatMatrix
from service.view import View

FITS = ("all", "selection")
MAX_LIMIT = 100_000
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class Projection:
    """rows: (m,) products. points: (m, P) float32. ratios: (P,) share of the variance each axis explains."""

    rows: Rows
    points: FloatMatrix
    ratios: tuple[float, ...]
    sampled: bool


def project(
    view: View,
    dimensions: int = 2,
    *,
    categories: Sequence[str] = (),
    fit: str = "all",
    limit: int = 2000,
) -> Projection:
    """Project live products onto the axes along which the live products vary most.

    categories: which products to show, default all. fit: find the axes from all live products or only from
    those shown. limit: show at most so many, the same share of every category. Raises QueryError.
    """
    if dimensions not in (2, 3):
        raise QueryError("dimensions is 2 or 3", field="dimensions")
    if fit not in FITS:
        raise QueryError(f"fit is one of {', '.join(FITS)}, not {fit!r}", field="fit")
    if not 1 <= limit <= MAX_LIMIT:
        raise QueryError(f"limit is between 1 and {MAX_LIMIT}", field="limit")
    shown = view.live
    if categories:
        wanted = np.array([name in set(categories) for name in view.categories], bool)
        shown = shown & wanted[view.category_codes]
    axes, mean, ratios = _fit(view, shown if fit == "selection" else view.live)
    rows = sample_rows(view.category_codes, shown, limit)
    points = (view.vectors(rows) - mean) @ axes[:dimensions].T
    sampled = len(rows) < int(np.count_nonzero(shown))
    return Projection(rows, points.astype(np.float32), tuple(ratios[:dimensions]), sampled)


def _fit(view: View, chosen: Mask) -> tuple[Matrix, Any, list[float]]:
    count = int(np.count_nonzero(chosen))
    dimension = view.dimension
    axes, ratios = np.zeros((3, dimension)), [0.0, 0.0, 0.0]
    if count < 2:
        means = [block.mean(axis=0) for block in _chosen(view, chosen) if len(block)]
        return axes, means[0] if means else np.zeros(dimension), ratios
    total, product = np.zeros(dimension), np.zeros((dimension, dimension))
    for block in _chosen(view, chosen):
        total += block.sum(axis=0, dtype=np.float64)
        product += block.T @ block
    mean = total / count
    covariance = product / count - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    variance = max(float(np.trace(covariance)), 0.0)
    for number in range(min(3, dimension, count - 1)):
        value = float(values[-1 - number])
        if value > 1e-9 and variance > 0:
            axis = vectors[:, -1 - number]
            axes[number] = axis * np.sign(axis[np.argmax(np.abs(axis))])
            ratios[number] = value / variance
    return axes, mean, ratios


def _chosen(view: View, chosen: Mask) -> Iterator[FloatMatrix]:
    for start, block in view.blocks():
        yield block[chosen[start : start + len(block)]]


def sample_rows(codes: np.ndarray[Any, Any], shown: Mask, limit: int) -> Rows:
    """Return at most `limit` of the rows shown, in order: the same ones each time, spread over categories."""
    rows = np.flatnonzero(shown)
    if len(rows) <= limit:
        return rows
    by_category = rows[np.argsort(codes[rows], kind="stable")]
    places = (np.arange(limit) * len(rows)) // limit
    return np.sort(by_category[places])
