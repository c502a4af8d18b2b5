"""The closed forms: shrunk linear discriminants for kinds, shrunk whitening for looks.

Shape letters: n products, D dimension, C kinds, L looks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from indexer.evaluation.retrieval import Labels
from indexer.transform import Adaptation, FloatMatrix, FloatVector

LOOK_SHRINKAGE = 0.9
WHITEN_UP_TO = 4096

Double = np.ndarray[tuple[int, int], np.dtype[np.float64]]


@dataclass(frozen=True)
class Moments:
    """mean: (D,) and covariance: (D, D) of all products; within: (D, D) covariance around the means of kinds.

    means: (C, D). The arrays are float32: sums over tens of thousands of unit vectors lose nothing visible.
    """

    mean: FloatVector
    covariance: FloatMatrix
    within: FloatMatrix
    means: FloatMatrix


def measure(vectors: FloatMatrix, kinds: Labels, count: int) -> Moments:
    """Return the moments of (n, D) vectors; those of kind -1 count for the looks only."""
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    covariance = centred.T @ centred / len(centred)
    known = kinds >= 0
    labelled, codes = centred[known], kinds[known]
    sizes = np.bincount(codes, minlength=count).astype(np.float32)
    sums = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(sums, codes, labelled)
    means = sums / np.maximum(sizes, 1)[:, None]
    spread = labelled.T @ labelled - (means * sizes[:, None]).T @ means
    return Moments(mean, covariance, spread / max(len(labelled), 1), means + mean)


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


def whitening(covariance: FloatMatrix, count: int) -> FloatMatrix:
    """Return (D, count): the directions of most variance, each scaled to even variance, shrunk.

    Mild (shrinkage 0.9) on purpose: full whitening lifts noise to the height of what is seen.
    """
    values, directions = linalg.eigh(covariance, check_finite=False, driver="evd")
    values = (1 - LOOK_SHRINKAGE) * values + LOOK_SHRINKAGE * max(float(values.mean()), 1e-12)
    kept = slice(len(values) - count, None)
    scaled: FloatMatrix = (directions[:, kept] / np.sqrt(values[kept])).astype(np.float32)
    return scaled


def looks_only(moments: Moments) -> Adaptation:
    """Return an adaptation whose kinds weigh nothing."""
    dimension, count = len(moments.mean), len(moments.means)
    kept = np.sort(np.argsort(-np.diag(moments.covariance), kind="stable")[: dimension - count])
    looks = whitening(moments.covariance, dimension - count) if dimension <= WHITEN_UP_TO else None
    nothing = np.zeros((dimension, count), np.float32)
    return Adaptation(moments.mean, looks, kept, nothing, nothing[0], 0.0)


def adaptation_of(moments: Moments, shrinkage: float, sharpness: float, weight: float) -> Adaptation:
    """Put an adaptation together. sharpness scales the log-likelihoods: below 1, since features that are
    not normal and not independent make them bolder than they should be."""
    kinds, bias = discriminants(moments, shrinkage)
    looks = looks_only(moments)
    return Adaptation(looks.mean, looks.looks, looks.kept, sharpness * kinds, sharpness * bias, weight)
