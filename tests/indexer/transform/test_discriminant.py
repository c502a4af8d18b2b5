"""Tests of vitrine.indexer.transform.discriminant against scikit-learn and NumPy."""

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tests.indexer.transform.training_sets import CATEGORIES, D, features
from vitrine.indexer.transform.discriminant import (
    fit_discriminants,
    fit_moments,
    fit_spectrum,
    residual_adaptation,
)
from vitrine.indexer.transform.transform import signed_sqrt


def test_discriminants_equal_those_of_scikit_learn() -> None:
    vectors, codes = features(per_category=30)
    vectors = signed_sqrt(vectors)
    directions, bias = fit_discriminants(fit_moments(vectors, codes, CATEGORIES), 0.5)
    reference = LinearDiscriminantAnalysis(
        solver="lsqr", shrinkage=0.5, priors=np.full(CATEGORIES, 1 / CATEGORIES)
    ).fit(vectors.astype(np.float64), codes)
    actual = vectors @ directions + bias
    expected = reference.decision_function(vectors.astype(np.float64))
    np.testing.assert_allclose(actual - actual[:, :1], expected - expected[:, :1], atol=2e-2, rtol=1e-3)


def test_a_whitened_residual_has_unit_covariance() -> None:
    vectors = signed_sqrt(features(per_category=200)[0])
    adaptation = residual_adaptation(fit_spectrum(vectors), 3, 0.0)
    assert adaptation.residual_projection is not None
    assert adaptation.residual_projection.shape == (D, D - 3)
    white = (vectors - adaptation.mean) @ adaptation.residual_projection
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(D - 3), atol=1e-2)
