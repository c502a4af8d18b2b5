"""Leading directions compared with a full singular value decomposition."""

from __future__ import annotations

import numpy as np

from tests.indexer.recipes.builds import VECTORS
from vitrine.indexer.recipes.reduction import leading_directions


def test_leading_directions_are_orthonormal_hold_the_most_and_never_change() -> None:
    directions = leading_directions(VECTORS, 20)
    np.testing.assert_allclose(directions @ directions.T, np.eye(20), atol=1e-4)
    singular_values = np.linalg.svd(VECTORS, full_matrices=False)[1][:20]
    np.testing.assert_allclose(np.linalg.norm(VECTORS @ directions.T, axis=0), singular_values, rtol=0.02)
    np.testing.assert_array_equal(directions, leading_directions(VECTORS, 20))
