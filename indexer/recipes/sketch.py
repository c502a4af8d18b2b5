"""Sketches of vectors: their coordinates along a few directions, and the length of the remainder.

By the Cauchy-Schwarz inequality, the inner product of two vectors is at most that of their sketches. A pass
over the sketches, a few per cent of the size of the vectors, therefore tells which few vectors an exact
search has to read. Shape letters: N rows, D dimension, p directions, n selected rows, Q queries.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, Rows, StoredVectors
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.files import create_matrix
from vitrine.indexer.recipes.reduction import leading_directions
from vitrine.indexer.vectors.scoring import score_subset, to_float32

SKETCH = "sketch.npy"
# A matrix of fewer values is read in full in a millisecond or two.
MIN_VALUES = 2**23
# Rounding may bring the product of two sketches this far below the product of their vectors.
BOUND_ROUNDING = 2e-5
_LENGTH_ROUNDING = 4e-6
_SAMPLE_ROWS = 4096
# The true scores of 2 k rows and this many more give a lower bound of the k-th best score.
_EXTRA_ROWS = 16
_DIRECTION_COUNTS = (16, 32, 64, 128, 256)
# Reading one row at its place costs as much as reading this many in a pass over all rows.
_SCATTERED_READ_FACTOR = 2.0
# Sketches are kept only if they make exact search at least this many times cheaper.
_MIN_GAIN = 3.0
_BLOCK_VALUES = 2**24


class Sketch:
    """Sketches of the D axes and of N vectors: (D + N, p + 1) float32, remaining lengths in the last column.

    The sketches of the axes hold the directions themselves, so one array is complete.
    """

    def __init__(self, array: FloatMatrix, dimension: int) -> None:
        """Use an array as described, of vectors of this dimension."""
        self._directions = np.ascontiguousarray(array[:dimension, :-1])
        self._rows = np.asarray(array[dimension:])

    @classmethod
    def open(cls, path: Path, shape: tuple[int, int]) -> Sketch:
        """Memory-map a file of sketches of vectors of this shape, (N, D). Raises SnapshotCorrupt."""
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable array: {error}") from error
        if array.ndim != 2 or array.dtype != np.float32 or len(array) != sum(shape):
            raise SnapshotCorrupt(f"{path} holds no sketch of {shape[0]} x {shape[1]} vectors")
        return cls(array, shape[1])

    def __len__(self) -> int:
        """Return N."""
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """The size of the sketches in bytes."""
        return self._rows.nbytes + self._directions.nbytes

    @property
    def directions(self) -> FloatMatrix:
        """The orthonormal directions as columns, (D, p)."""
        return self._directions

    def upper_bounds(self, query: FloatVector, rows: Rows | None = None) -> FloatVector:
        """Return upper bounds, (n,), of the inner products of a unit query with rows, by default all."""
        query_sketch = compute_sketches(query[None], self._directions)[0]
        bounds: FloatVector = (self._rows if rows is None else self._rows[rows]) @ query_sketch
        return bounds

    def select_candidates(
        self, vectors: StoredVectors, query: FloatVector, k: int, allowed: Mask | None, allowed_only: bool
    ) -> Rows:
        """Return every allowed row that may be among the k best, and few others.

        k: at most the number of allowed rows. allowed_only: read the sketches of the allowed rows only, which
        pays if these are few.
        """
        allowed_rows = None if allowed is None else np.flatnonzero(allowed)
        bounds = self.upper_bounds(query, allowed_rows if allowed_only else None)
        if allowed_rows is not None and not allowed_only:
            bounds = bounds[allowed_rows]
        probes = min(2 * k + _EXTRA_ROWS, len(bounds))
        best = np.argpartition(bounds, len(bounds) - probes)[len(bounds) - probes :]
        scores = score_subset(vectors, best if allowed_rows is None else allowed_rows[best], query)
        min_score = np.partition(scores, probes - k)[probes - k]
        candidates = np.flatnonzero(bounds >= min_score - BOUND_ROUNDING)
        return candidates if allowed_rows is None else allowed_rows[candidates]


def compute_sketches(vectors: FloatMatrix, directions: FloatMatrix) -> FloatMatrix:
    """Return the sketches, (n, p + 1), of vectors (n, D) along orthonormal directions (D, p)."""
    sketches = np.empty((len(vectors), directions.shape[1] + 1), np.float32)
    coordinates = sketches[:, :-1]
    np.matmul(vectors, directions, out=coordinates)
    squared = np.einsum("nd,nd->n", vectors, vectors) - np.einsum("np,np->n", coordinates, coordinates)
    sketches[:, -1] = np.sqrt(np.maximum(squared, 0) + _LENGTH_ROUNDING)
    return sketches


def choose_directions(
    vectors: StoredVectors, queries: FloatMatrix, kth_scores: FloatVector
) -> FloatMatrix | None:
    """Return the directions, (D, p), of the sketches that speed up exact search most; None if none pays.

    queries: (Q, D). kth_scores: (Q,), the score that a row must reach to be among the best. The cost of a
    search is the number of values it reads, counted on a sample of the vectors: those of all sketches, and of
    the rows that these cannot exclude.
    """
    if vectors.size < MIN_VALUES:
        return None
    rows = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), _SAMPLE_ROWS)).astype(np.int64))
    sample = to_float32(vectors[rows])
    dimension = sample.shape[1]
    counts = [count for count in _DIRECTION_COUNTS if 2 * count <= min(sample.shape)]
    if not counts:
        return None
    leading = np.ascontiguousarray(leading_directions(sample, counts[-1]).T)
    values_read: dict[int, float] = {}
    for count in counts:
        directions = np.ascontiguousarray(leading[:, :count])
        bounds = compute_sketches(queries, directions) @ compute_sketches(sample, directions).T
        passed = float(np.mean(bounds >= kth_scores[:, None]))
        values_read[count] = count + 1 + _SCATTERED_READ_FACTOR * passed * dimension
    best = min(values_read, key=lambda count: values_read[count])
    if _MIN_GAIN * values_read[best] > dimension:
        return None
    return np.ascontiguousarray(leading[:, :best])


def write_sketch(
    path: Path, vectors: StoredVectors, directions: FloatMatrix, previous: Sketch | None = None
) -> Sketch:
    """Write the sketches of vectors (N, D) to a file and return them, opened.

    previous: sketches of the first rows along the same directions, which are copied.
    """
    count, dimension = vectors.shape
    array = create_matrix(path, np.float32, (dimension + count, directions.shape[1] + 1))
    array[:dimension] = compute_sketches(np.eye(dimension, dtype=np.float32), directions)
    array[:dimension, :-1] = directions
    done = 0
    if previous is not None:
        done = len(previous)
        array[dimension : dimension + done] = previous._rows
    step = max(_BLOCK_VALUES // dimension, 1)
    for start in range(done, count, step):
        block = to_float32(vectors[start : start + step])
        array[dimension + start : dimension + start + len(block)] = compute_sketches(block, directions)
    array.flush()
    return Sketch(array, dimension)
