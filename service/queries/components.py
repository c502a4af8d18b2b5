"""Principal components of many vectors, a block at a time. Knows neither products nor views.

Shape letters: n vectors, D dimension, P = 3 components, c directions iterated on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleMatrix, DoubleVector, FloatMatrix

P = 3
_DIRECTIONS = 24
_ROUNDS = 20
_SETTLED = 3e-6
_SAMPLE = 4096
_SEED = 7
# Less variance than this, of unit vectors, is rounding.
_NOTHING = 1e-9
Blocks = Callable[[], Iterable[FloatMatrix]]


@dataclass(frozen=True, slots=True)
class Components:
    """The axes of greatest variance.

    count: n. mean: (D,). axes: (P, D) orthonormal rows, zero where there is no variance left. variances: (P,)
    along each axis, and `total` over all directions, both divided by n.
    """

    count: int
    mean: DoubleVector
    axes: DoubleMatrix
    variances: DoubleVector
    total: float

    @property
    def ratios(self) -> DoubleVector:
        """(P,) the share of the variance along each axis; zeros where nothing varies."""
        return self.variances / self.total if self.total > _NOTHING else np.zeros(P)

    def points(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return the places of vectors (m, D) along the axes, (m, P)."""
        axes = self.axes.astype(np.float32)
        placed: FloatMatrix = vectors @ axes.T - (self.axes @ self.mean).astype(np.float32)
        return placed


def fit_components(blocks: Blocks, dimension: int, like: DoubleMatrix | None = None) -> Components:
    """Find the axes of greatest variance of the vectors in blocks (b, D), which are read several times.

    Block power iteration on the centred vectors, from the axes of a sample, until what an axis still turns by
    cannot change its variance: equal to an eigendecomposition of the covariance, at a few passes over the
    vectors. like: (P, D) axes whose signs to keep; otherwise the largest coordinate of an axis is positive.
    """
    count, mean, total, sample = _moments(blocks, dimension)
    if count < 2 or total <= _NOTHING:
        return Components(count, mean, np.zeros((P, dimension)), np.zeros(P), 0.0)
    basis = _start(sample - mean.astype(np.float32), min(_DIRECTIONS, dimension))
    for _ in range(_ROUNDS):
        image = _covariance_times(blocks, mean, basis) / count
        inner = basis.T @ image
        values, turn = np.linalg.eigh((inner + inner.T) / 2)
        variances = np.pad(np.maximum(values[::-1][:P], 0.0), (0, max(P - len(values), 0)))
        turn = turn[:, ::-1][:, :P]
        axes = (basis @ turn).T
        if _errors(image @ turn, axes, variances, float(values[0])).max() <= _SETTLED * total:
            break
        basis = np.linalg.qr(image)[0]
    axes = np.pad(axes, ((0, P - len(axes)), (0, 0)))
    axes[variances <= _NOTHING] = 0.0
    variances = np.where(variances > _NOTHING, variances, 0.0)
    return Components(count, mean, _signed(axes, like), variances, total)


def _errors(images: DoubleMatrix, axes: DoubleMatrix, variances: DoubleVector, least: float) -> DoubleVector:
    """Return how far the variance along each axis (p, D) may be from an eigenvalue, (p,).

    images: (D, p), the covariance times each axis. least: the smallest variance within the basis. By Kato and
    Temple: the square of the residual over the distance to what lies outside the basis.
    """
    found = variances[: len(axes)]
    residuals: DoubleVector = np.sum((images.T - found[:, None] * axes) ** 2, axis=1)
    return residuals / np.maximum(found - max(least, 0.0), _NOTHING)


def _moments(blocks: Blocks, dimension: int) -> tuple[int, DoubleVector, float, FloatMatrix]:
    """Return how many vectors there are, their mean, their total variance, and a few of them."""
    count, total, squares = 0, np.zeros(dimension), 0.0
    parts: list[Any] = []
    for block in blocks():
        count += len(block)
        total += np.ones(len(block), np.float32) @ block
        squares += float(np.vecdot(block, block).sum(dtype=np.float64))
        parts.append(block[:: max(len(block) * 8 // _SAMPLE, 1)])
    sample = np.concatenate([*parts, np.zeros((0, dimension), np.float32)])
    sample = sample[np.unique(np.linspace(0, len(sample) - 1, min(len(sample), _SAMPLE)).astype(int))]
    mean = total / max(count, 1)
    variance = max(squares / max(count, 1) - float(mean @ mean), 0.0)
    return count, mean, variance, sample


def _start(sample: FloatMatrix, width: int) -> DoubleMatrix:
    """Return (D, c) orthonormal directions that nearly hold the greatest variance of the sample."""
    random = np.random.default_rng(_SEED)
    basis = random.standard_normal((sample.shape[1], width), np.float32)
    for _ in range(3):
        basis = np.linalg.qr(sample.T @ (sample @ basis) + 1e-6 * basis)[0]
    return basis.astype(np.float64)


def _covariance_times(blocks: Blocks, mean: DoubleVector, basis: DoubleMatrix) -> DoubleMatrix:
    """Return the scatter of the vectors times a basis (D, c), in one pass."""
    image = np.zeros(basis.shape)
    sums = np.zeros(basis.shape[1])
    narrow, shift = basis.astype(np.float32), (mean @ basis).astype(np.float32)
    for block in blocks():
        placed = block @ narrow - shift
        image += block.T @ placed
        sums += placed.sum(axis=0, dtype=np.float64)
    return image - np.outer(mean, sums)


def _signed(axes: DoubleMatrix, like: DoubleMatrix | None) -> DoubleMatrix:
    """Return the axes, each turned to the side of its like, or with its largest coordinate positive."""
    for number, axis in enumerate(axes):
        side = float(axis @ like[number]) if like is not None else 0.0
        if abs(side) < 0.1:
            side = float(axis[np.argmax(np.abs(axis))])
        if side < 0:
            axes[number] = -axis
    return axes
