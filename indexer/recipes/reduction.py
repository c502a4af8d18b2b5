"""Linear dimension reduction by the leading directions of a sample of vectors (uncentred PCA).

Shape letters: n sampled rows, D dimension, p directions.
"""

from __future__ import annotations

import numpy as np

from vitrine.indexer.arrays import FloatMatrix

_SEED = 20_240
_OVERSAMPLING = 16
_ITERATIONS = 4


def leading_directions(sample: FloatMatrix, count: int) -> FloatMatrix:
    """Return the `count` leading right singular vectors of a sample, (p, D), largest singular value first.

    The sample is not centred, so that the inner product of two projections approximates that of the vectors.
    Randomised subspace iteration from a fixed start (Halko, Martinsson and Tropp 2011, algorithm 4.4): the
    same sample always gives the same directions.
    """
    width = min(count + _OVERSAMPLING, *sample.shape)
    random = np.random.default_rng(_SEED)
    basis = random.standard_normal((sample.shape[1], width), np.float32)
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(sample.T @ (sample @ basis))[0]
    coordinates = sample @ basis
    order = np.linalg.eigh((coordinates.T @ coordinates).astype(np.float64))[1][:, ::-1]
    directions: FloatMatrix = np.ascontiguousarray((basis @ order.astype(np.float32)).T[:count])
    return directions
