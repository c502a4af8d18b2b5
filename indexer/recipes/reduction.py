"""The few directions along which the vectors of a catalogue lie, so that an index can hold less of each.

Shape letters: n sampled rows, D dimension, p directions.
"""

from __future__ import annotations

import numpy as np

from vitrine.indexer.arrays import FloatMatrix

_SEED = 20_240
_OVERSAMPLING = 16
_ROUNDS = 4


def leading_directions(sample: FloatMatrix, count: int) -> FloatMatrix:
    """Return the `count` orthonormal directions that hold most of the sample's length, (p, D), greatest
    first.

    Not centred, so that the inner product of two projections approaches that of the vectors. Subspace
    iteration from a fixed start (Halko, Martinsson, Tropp 2011, algorithm 4.4): the same sample gives the
    same directions.
    """
    width = min(count + _OVERSAMPLING, *sample.shape)
    random = np.random.default_rng(_SEED)
    basis = random.standard_normal((sample.shape[1], width), np.float32)
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(sample.T @ (sample @ basis))[0]
    coordinates = sample @ basis
    order = np.linalg.eigh((coordinates.T @ coordinates).astype(np.float64))[1][:, ::-1]
    directions: FloatMatrix = np.ascontiguousarray((basis @ order.astype(np.float32)).T[:count])
    return directions
