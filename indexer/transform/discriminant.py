"""Closed-form fits: shrunk linear discriminants of the classes and shrunk whitening of the residual.

Shape letters: n products, D dimension, C classes, L = D - C residual features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Labels, Rows
from vitrine.indexer.transform.transform import Adaptation

_BLOCK_ROWS = 2048
# The eigendecomposition of a wider covariance takes minutes.
WHITENED_DIMENSION_MAX = 4096


@dataclass(frozen=True)
class ClassMoments:
    """Class means and pooled within-class covariance.

    means: (C, D). within: (D, D). Both float32, which is precise enough for sums over tens of thousands of
    unit vectors.
    """

    means: FloatMatrix
    within: FloatMatrix


def fit_moments(vectors: FloatMatrix, classes: Labels, class_count: int) -> ClassMoments:
    """Return the class moments of (n, D) vectors. classes: (n,); rows of class -1 are ignored.

    A class without rows gets the mean of all rows.
    """
    known = np.flatnonzero(classes >= 0)
    sizes = np.bincount(classes[known], minlength=class_count)
    sums = np.zeros((class_count, vectors.shape[1]), np.float32)
    for rows in _blocks(known):
        np.add.at(sums, classes[rows], vectors[rows])
    means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], sums.sum(axis=0) / len(known))
    means = means.astype(np.float32)
    within = np.zeros((vectors.shape[1], vectors.shape[1]), np.float32)
    for rows in _blocks(known):
        deviations = vectors[rows] - means[classes[rows]]
        within += deviations.T @ deviations
    return ClassMoments(means, within / np.float32(len(known)))


def _blocks(rows: Rows) -> Iterator[Rows]:
    """Yield the rows in blocks, so that no copy of all vectors is made."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS]


def shrink_covariance(covariance: FloatMatrix, shrinkage: float) -> FloatMatrix:
    """Return a covariance shrunk towards the scaled identity of the same trace (Ledoit and Wolf).

    shrinkage: share of the identity, in 0..1.
    """
    shrunk = (1 - shrinkage) * covariance
    variance = max(float(np.trace(covariance)), 1e-9) / len(covariance)
    shrunk[np.diag_indices_from(shrunk)] += shrinkage * variance
    return shrunk


def fit_discriminants(moments: ClassMoments, shrinkage: float) -> tuple[FloatMatrix, FloatVector]:
    """Return directions (D, C) and bias (C,) of linear discriminant analysis with equal priors.

    v @ directions + bias is the log-likelihood of each class, up to a constant, under normal distributions
    with the class means and one shrunk covariance (Hastie, Tibshirani and Friedman, section 4.3).
    """
    covariance = shrink_covariance(moments.within, shrinkage)
    factor = linalg.cho_factor(covariance, lower=True, check_finite=False)
    directions = linalg.cho_solve(factor, moments.means.T, check_finite=False)
    bias = -0.5 * np.einsum("cd,dc->c", moments.means, directions)
    return directions.astype(np.float32), bias.astype(np.float32)


@dataclass(frozen=True)
class Spectrum:
    """Mean, variances and eigendecomposition of the covariance of vectors.

    mean, variances: (D,) by feature. eigenvalues: (D,) ascending, with eigenvectors (D, D) in columns. Where
    D is greater than WHITENED_DIMENSION_MAX, eigenvectors is None and eigenvalues are the variances.
    """

    mean: FloatVector
    variances: FloatVector
    eigenvalues: FloatVector
    eigenvectors: FloatMatrix | None


def fit_spectrum(vectors: FloatMatrix) -> Spectrum:
    """Return the spectrum of (n, D) vectors."""
    mean, variances = vectors.mean(axis=0), vectors.var(axis=0)
    if vectors.shape[1] > WHITENED_DIMENSION_MAX:
        return Spectrum(mean, variances, variances, None)
    covariance = np.zeros((vectors.shape[1], vectors.shape[1]), np.float32)
    for rows in _blocks(np.arange(len(vectors))):
        centred = vectors[rows] - mean
        covariance += centred.T @ centred / np.float32(len(vectors))
    eigenvalues, eigenvectors = linalg.eigh(covariance, check_finite=False, driver="evd")
    return Spectrum(mean, variances, eigenvalues, eigenvectors)


def residual_adaptation(spectrum: Spectrum, class_count: int, shrinkage: float) -> Adaptation:
    """Return an adaptation with a residual of D - class_count features and class weight 0.

    The residual consists of the L directions of most variance, each scaled to equal variance. The variances
    are shrunk towards their mean first, since full whitening amplifies noise to the level of the signal;
    shrinkage 1 only centres. Without eigenvectors, the L features of most variance are used unchanged.
    """
    dimension = len(spectrum.mean)
    features = np.sort(np.argsort(-spectrum.variances, kind="stable")[: dimension - class_count])
    projection = None
    if spectrum.eigenvectors is not None:
        mean = max(float(spectrum.eigenvalues.mean()), 1e-12)
        variances = (1 - shrinkage) * np.maximum(spectrum.eigenvalues, 0) + shrinkage * mean
        scaled = spectrum.eigenvectors[:, class_count:] / np.sqrt(variances[class_count:])
        projection = np.asarray(scaled, np.float32)
    zeros = np.zeros((dimension, class_count), np.float32)
    return Adaptation(spectrum.mean, projection, features, zeros, zeros[0], 0.0)


def add_classes(
    residual: Adaptation, moments: ClassMoments, shrinkage: float, sharpness: float, weight: float
) -> Adaptation:
    """Return an adaptation with the class part added.

    sharpness: factor of the log-likelihoods. It is below 1 because features are not normally distributed,
    which makes the likelihoods overconfident.
    """
    directions, bias = fit_discriminants(moments, shrinkage)
    return replace(
        residual, class_directions=sharpness * directions, class_bias=sharpness * bias, class_weight=weight
    )
