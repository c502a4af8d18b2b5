"""Array types, shape letters and the scaling of vectors to unit length.

Shape letters: N rows, Q queries, K results, D dimension, C categories, P components, H and W pixels.
A lower-case letter is the size of a part: n of N rows. Docstrings write shapes as (N, D).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
FloatMatrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
FloatVector = np.ndarray[tuple[int], np.dtype[np.float32]]
StoredVectors = np.ndarray[tuple[int, int], np.dtype[np.float32] | np.dtype[np.float16]]
DoubleArray = NDArray[np.float64]
DoubleMatrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
DoubleVector = np.ndarray[tuple[int], np.dtype[np.float64]]
# Row numbers: of the table, the vectors and the index alike.
Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
RowMatrix = np.ndarray[tuple[int, int], np.dtype[np.int64]]
# Numbers of categories, groups or items; -1 for none.
Codes = np.ndarray[tuple[int], np.dtype[np.int32]]
Labels = Codes
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]
Pixels = NDArray[np.uint8]
Strings = np.ndarray[Any, np.dtype[np.object_]]

# Rows of vectors that are read or written at a time.
BLOCK_ROWS = 4096
_TINY = 1e-12


def unit(vectors: FloatMatrix) -> FloatMatrix:
    """Return a copy with rows of unit length; a zero row stays zero. vectors: (N, D)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatMatrix = (vectors / np.maximum(lengths, _TINY)).astype(np.float32)
    return scaled
