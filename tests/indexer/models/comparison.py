"""Distance between two sets of vectors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME = 1e-5  # limit of 1 - cosine for two implementations of the same network


def distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the largest 1 - cosine between corresponding rows. one, other: (N, D)."""

    def unit(rows: Any) -> Any:
        exact = np.asarray(rows, np.float64)
        return exact / np.linalg.norm(exact, axis=1, keepdims=True)

    return float(np.max(1 - np.sum(unit(one) * unit(other), axis=1)))
