"""Principal components against scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from tests.vectors import clustered
from vitrine.service.queries.components import fit_components


def pca_of(vectors: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    pca = PCA(dimensions, svd_solver="full").fit(vectors.astype(np.float64))
    return pca.explained_variance_ratio_, pca.transform(vectors.astype(np.float64))


@settings(max_examples=25)
@given(count=st.integers(4, 60), dimension=st.integers(3, 30), seed=st.integers(0, 99), cut=st.integers(1, 3))
def test_the_variances_are_right_for_any_shape(count: int, dimension: int, seed: int, cut: int) -> None:
    vectors = clustered(count, dimension, seed)
    found = fit_components(lambda: (vectors[at::cut] for at in range(cut)), dimension)
    np.testing.assert_allclose(found.ratios, pca_of(vectors, 3)[0], atol=1e-4)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.diag((found.variances > 0) * 1.0), atol=1e-5)


def test_slowly_falling_variances_are_found_within_the_tolerance() -> None:
    noise = np.random.default_rng(0).standard_normal((3000, 200)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    found = fit_components(lambda: [noise], 200)
    np.testing.assert_allclose(found.ratios, pca_of(noise, 3)[0], atol=1e-4)
