"""Principal components of vectors that are read in blocks. Independent of products and views.

Shape letters: n vectors, D dimension, P = 3 components, c directions of the iterated basis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import DoubleMatrix, DoubleVector, FloatMatrix

P = 3
_BASIS_SIZE = 24
_MAX_ITERATIONS = 20
# Iteration ends when no variance can be wrong by more than this share of the total.
_TOLERANCE = 3e-6
_SAMPLE_SIZE = 4096
_SEED = 7
# A variance of unit vectors below this is rounding.
_ZERO_VARIANCE = 1e-9
Blocks = Callable[[], Iterable[FloatMatrix]]


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components.

    count: n. mean: (D,). axes: (P, D) orthonormal rows, zero where there is no variance left. variances: (P,)
    along each axis, and `total_variance` over all directions, both divided by n.
    """

    count: int
    mean: DoubleVector
    axes: DoubleMatrix
    variances: DoubleVector
    total_variance: float

    @property
    def ratios(self) -> DoubleVector:
        """(P,) the share of the variance along each axis; zeros where nothing varies."""
        return self.variances / self.total_variance if self.total_variance > _ZERO_VARIANCE else np.zeros(P)

    def transform(self, vectors: FloatMatrix) -> FloatMatrix:
        """Return the coordinates of vectors (m, D) along the axes, (m, P)."""
        axes = self.axes.astype(np.float32)
        points: FloatMatrix = vectors @ axes.T - (self.axes @ self.mean).astype(np.float32)
        return points


def fit_components(blocks: Blocks, dimension: int, signs_from: DoubleMatrix | None = None) -> Components:
    """Compute the principal components of the vectors in blocks (b, D), which are read several times.

    Block power iteration on the centred vectors, starting from the axes of a sample, until the remaining
    rotation of an axis cannot change its variance. Equal to an eigendecomposition of the covariance, in a few
    passes over the vectors. signs_from: (P, D) axes whose signs to keep; by default the largest coordinate of
    an axis is positive.
    """
    count, mean, total_variance, sample = _moments(blocks, dimension)
    if count < 2 or total_variance <= _ZERO_VARIANCE:
        return Components(count, mean, np.zeros((P, dimension)), np.zeros(P), 0.0)
    basis = _initial_basis(sample - mean.astype(np.float32), min(_BASIS_SIZE, dimension))
    for _ in range(_MAX_ITERATIONS):
        image = _scatter_times(blocks, mean, basis) / count
        projected = basis.T @ image
        values, rotation = np.linalg.eigh((projected + projected.T) / 2)
        variances = np.pad(np.maximum(values[::-1][:P], 0.0), (0, max(P - len(values), 0)))
        rotation = rotation[:, ::-1][:, :P]
        axes = (basis @ rotation).T
        errors = _variance_errors(image @ rotation, axes, variances, float(values[0]))
        if errors.max() <= _TOLERANCE * total_variance:
            break
        basis = np.linalg.qr(image)[0]
    axes = np.pad(axes, ((0, P - len(axes)), (0, 0)))
    axes[variances <= _ZERO_VARIANCE] = 0.0
    variances = np.where(variances > _ZERO_VARIANCE, variances, 0.0)
    return Components(count, mean, _with_signs(axes, signs_from), variances, total_variance)


def _variance_errors(
    images: DoubleMatrix, axes: DoubleMatrix, variances: DoubleVector, least: float
) -> DoubleVector:
    """Return bounds (p,) of the distance from the variance along each axis (p, D) to an eigenvalue.

    images: (D, p), the covariance times each axis. least: the smallest variance within the basis. The bound
    of Kato and Temple: the square of the residual over the distance to the spectrum outside the basis.
    """
    estimates = variances[: len(axes)]
    residuals: DoubleVector = np.sum((images.T - estimates[:, None] * axes) ** 2, axis=1)
    return residuals / np.maximum(estimates - max(least, 0.0), _ZERO_VARIANCE)


def _moments(blocks: Blocks, dimension: int) -> tuple[int, DoubleVector, float, FloatMatrix]:
    """Return the number of vectors, their mean, their total variance, and a sample of them."""
    count, total, squares = 0, np.zeros(dimension), 0.0
    parts: list[Any] = []
    for block in blocks():
        count += len(block)
        total += np.ones(len(block), np.float32) @ block
        squares += float(np.vecdot(block, block).sum(dtype=np.float64))
        parts.append(block[:: max(len(block) * 8 // _SAMPLE_SIZE, 1)])
    sample = np.concatenate([*parts, np.zeros((0, dimension), np.float32)])
    sample = sample[np.unique(np.linspace(0, len(sample) - 1, min(len(sample), _SAMPLE_SIZE)).astype(int))]
    mean = total / max(count, 1)
    variance = max(squares / max(count, 1) - float(mean @ mean), 0.0)
    return count, mean, variance, sample


def _initial_basis(sample: FloatMatrix, size: int) -> DoubleMatrix:
    """Return (D, c) orthonormal directions that nearly span the largest variance of the sample."""
    random = np.random.default_rng(_SEED)
    basis = random.standard_normal((sample.shape[1], size), np.float32)
    for _ in range(3):
        basis = np.linalg.qr(sample.T @ (sample @ basis) + 1e-6 * basis)[0]
    return basis.astype(np.float64)


def _scatter_times(blocks: Blocks, mean: DoubleVector, basis: DoubleMatrix) -> DoubleMatrix:
    """Return the scatter matrix of the vectors times a basis (D, c), in one pass."""
    image = np.zeros(basis.shape)
    sums = np.zeros(basis.shape[1])
    basis32, shift = basis.astype(np.float32), (mean @ basis).astype(np.float32)
    for block in blocks():
        coordinates = block @ basis32 - shift
        image += block.T @ coordinates
        sums += coordinates.sum(axis=0, dtype=np.float64)
    return image - np.outer(mean, sums)


def _with_signs(axes: DoubleMatrix, signs_from: DoubleMatrix | None) -> DoubleMatrix:
    """Return the axes, each with the sign of its given axis, or with its largest coordinate positive."""
    for number, axis in enumerate(axes):
        side = float(axis @ signs_from[number]) if signs_from is not None else 0.0
        if abs(side) < 0.1:
            side = float(axis[np.argmax(np.abs(axis))])
        if side < 0:
            axes[number] = -axis
    return axes
