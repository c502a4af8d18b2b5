"""The closed forms: shrunk linear discriminants for kinds, shrunk whitening for looks.

Shape letters: n products, D dimension, C kinds, L = D - C looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Labels
from vitrine.indexer.transform.transform import Adaptation

_BLOCK_ROWS = 2048
WHITEN_UP_TO = 4096  # the eigenvectors of a wider covariance take minutes


@dataclass(frozen=True)
class Moments:
    """means: (C, D) of the kinds; within: (D, D) covariance of the products around them.

    In float32: sums over tens of thousands of unit vectors lose nothing visible.
    """

    means: FloatMatrix
    within: FloatMatrix


def measure(vectors: FloatMatrix, kinds: Labels, count: int) -> Moments:
    """Return the moments of (n, D) vectors; those of kind -1 are passed over."""
    known = np.flatnonzero(kinds >= 0)
    sizes = np.bincount(kinds[known], minlength=count)
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    for rows in _blocks(known):
        np.add.at(sums, kinds[rows], vectors[rows])
    means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], sums.sum(axis=0) / len(known))
    means = means.astype(np.float32)
    within = np.zeros((vectors.shape[1], vectors.shape[1]), np.float32)
    for rows in _blocks(known):
        around = vectors[rows] - means[kinds[rows]]
        within += around.T @ around
    return Moments(means, within / np.float32(len(known)))


def _blocks(rows: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the rows a few at a time, so that memory holds no copy of all vectors."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS]


def shrink(covariance: FloatMatrix, share: float) -> FloatMatrix:
    """Return (1 - share) of a covariance plus `share` of the sphere of the same trace (Ledoit and Wolf)."""
    shrunk = (1 - share) * covariance
    shrunk[np.diag_indices_from(shrunk)] += share * max(float(np.trace(covariance)), 1e-9) / len(covariance)
    return shrunk


def discriminants(moments: Moments, shrinkage: float) -> tuple[FloatMatrix, FloatVector]:
    """Return kinds (D, C) and bias (C,) of linear discriminant analysis with equal priors.

    v @ kinds + bias is the log-likelihood of each kind, up to a constant: normal distributions with the means
    of the kinds and one shrunk covariance (Hastie, Tibshirani and Friedman, section 4.3).
    """
    factor = linalg.cho_factor(shrink(moments.within, shrinkage), lower=True, check_finite=False)
    kinds = linalg.cho_solve(factor, moments.means.T, check_finite=False)
    bias = -0.5 * np.einsum("cd,dc->c", moments.means, kinds)
    return kinds.astype(np.float32), bias.astype(np.float32)


@dataclass(frozen=True)
class Spectrum:
    """mean and variances: (D,). values (D,) and directions (D, D) of the covariance, ascending; None where D
    is past WHITEN_UP_TO."""

    mean: FloatVector
    variances: FloatVector
    values: FloatVector
    directions: FloatMatrix | None


def spectrum_of(vectors: FloatMatrix) -> Spectrum:
    """Return how (n, D) vectors spread."""
    mean, variances = vectors.mean(axis=0), vectors.var(axis=0)
    if vectors.shape[1] > WHITEN_UP_TO:
        return Spectrum(mean, variances, variances, None)
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]), np.float32)
    for rows in _blocks(np.arange(len(vectors))):
        centred = vectors[rows] - mean
        covariance += centred.T @ centred / np.float32(len(vectors))
    values, directions = linalg.eigh(covariance, check_finite=False, driver="evd")
    return Spectrum(mean, variances, values, directions)


def looks_only(spectrum: Spectrum, count: int, shrinkage: float) -> Adaptation:
    """Return an adaptation that leaves `count` of its D dimensions to kinds, which weigh nothing yet.

    The L directions of most variance, each scaled to even variance; shrunk, since full whitening lifts noise
    to the height of what is seen. Shrinkage 1 is centring. Without directions, the L features of most
    variance are kept as they are.
    """
    dimension = len(spectrum.mean)
    kept = np.sort(np.argsort(-spectrum.variances, kind="stable")[: dimension - count])
    looks = None
    if spectrum.directions is not None:
        mean = max(float(spectrum.values.mean()), 1e-12)
        values = (1 - shrinkage) * np.maximum(spectrum.values, 0) + shrinkage * mean
        looks = np.asarray(spectrum.directions[:, count:] / np.sqrt(values[count:]), np.float32)
    nothing = np.zeros((dimension, count), np.float32)
    return Adaptation(spectrum.mean, looks, kept, nothing, nothing[0], 0.0)


def with_kinds(
    looks: Adaptation, moments: Moments, shrinkage: float, sharpness: float, weight: float
) -> Adaptation:
    """Add the kinds. sharpness scales their log-likelihoods: below 1, since features that are not normal
    make them bolder than they should be."""
    kinds, bias = discriminants(moments, shrinkage)
    return replace(looks, kinds=sharpness * kinds, bias=sharpness * bias, weight=weight)
