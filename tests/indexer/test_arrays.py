"""Tests of vitrine.indexer.arrays."""

import numpy as np

from vitrine.indexer.arrays import unit


def test_rows_are_scaled_to_unit_length_and_zero_rows_stay_zero() -> None:
    vectors = np.array([[3, 4], [0, 0], [-2, 0]], np.float32)
    scaled = unit(vectors)
    expected = np.array([[0.6, 0.8], [0, 0], [-1, 0]], np.float32)
    np.testing.assert_allclose(scaled, expected, atol=1e-7)
    assert scaled.dtype == np.float32
    assert vectors[0].tolist() == [3, 4], "the caller's array is unchanged"
