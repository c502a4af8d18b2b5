"""A sketch of the vectors: where each lies along a few directions, and the length of what is left of it.

By Cauchy and Schwarz, the inner product of two vectors is at most that of their sketches. So a pass over
sketches, a few per cent of the vectors, tells which few vectors exact search has to read. Shape letters: N
rows, D dimension, p directions, n asked rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, Mask, Rows, StoredVectors
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.files import create_matrix
from vitrine.indexer.recipes.reduction import leading_directions
from vitrine.indexer.vectors.scoring import score_subset, to_float32

FILE = "sketch.npy"
# Fewer numbers than these are read whole in a millisecond or two.
NUMBERS_MIN = 2**23
# How far rounding may bring the product of two sketches below the product of their vectors.
SLACK = 2e-5
_LENGTH_ROUNDING = 4e-6
_SAMPLE_ROWS = 4096
_NEAREST = 16
_DIRECTIONS = (16, 32, 64, 128, 256)
# A row that is read where it lies costs so many times what it costs in a pass.
_READ_APART = 2.0
# Sketches that do not make exact search at least so many times cheaper are not kept.
_GAIN_MIN = 3.0
_BLOCK_NUMBERS = 2**24


class Sketch:
    """The sketches of the axes and of N vectors: (D + N, p + 1) float32, the lengths left in the last column.

    The sketches of the D axes hold the directions themselves, so that one array tells everything.
    """

    def __init__(self, array: FloatMatrix, dimension: int) -> None:
        """array: as above, for vectors of `dimension` numbers."""
        self._directions = np.ascontiguousarray(array[:dimension, :-1])
        self._rows = np.asarray(array[dimension:])

    @classmethod
    def open(cls, path: Path, shape: tuple[int, int]) -> Sketch:
        """Map a file of sketches of (N, D) vectors. Raises SnapshotCorrupt when it is not that."""
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
        """How many bytes the sketches take."""
        return self._rows.nbytes + self._directions.nbytes

    @property
    def directions(self) -> FloatMatrix:
        """(D, p): orthonormal columns."""
        return self._directions

    def bounds(self, query: FloatVector, rows: Rows | None = None) -> FloatVector:
        """Return what the product of a unit query with each row, or each row named, is at most, (n,)."""
        sketched = sketch_rows(query[None], self._directions)[0]
        bounds: FloatVector = (self._rows if rows is None else self._rows[rows]) @ sketched
        return bounds

    def candidates(
        self, vectors: StoredVectors, query: FloatVector, k: int, allowed: Mask | None, apart: bool
    ) -> Rows:
        """Return every allowed row that can be among the k best, and few others. k: at most what is allowed.

        apart: look at the sketches of the allowed rows only, which pays for few of them.
        """
        which = None if allowed is None else np.flatnonzero(allowed)
        bounds = self.bounds(query, which if apart else None)
        if which is not None and not apart:
            bounds = bounds[which]
        first = min(2 * k + _NEAREST, len(bounds))
        best = np.argpartition(bounds, len(bounds) - first)[len(bounds) - first :]
        scores = score_subset(vectors, best if which is None else which[best], query)
        floor = np.partition(scores, first - k)[first - k]
        left = np.flatnonzero(bounds >= floor - SLACK)
        return left if which is None else which[left]


def sketch_rows(vectors: FloatMatrix, directions: FloatMatrix) -> FloatMatrix:
    """Return the sketches, (n, p + 1), of vectors (n, D) along orthonormal directions (D, p)."""
    sketched = np.empty((len(vectors), directions.shape[1] + 1), np.float32)
    coordinates = sketched[:, :-1]
    np.matmul(vectors, directions, out=coordinates)
    left = np.einsum("nd,nd->n", vectors, vectors) - np.einsum("np,np->n", coordinates, coordinates)
    sketched[:, -1] = np.sqrt(np.maximum(left, 0) + _LENGTH_ROUNDING)
    return sketched


def choose_directions(
    vectors: StoredVectors, queries: FloatMatrix, floors: FloatVector
) -> FloatMatrix | None:
    """Return the directions, (D, p), along which sketches of these vectors pay most; None where none do.

    queries: (Q, D); floors: (Q,) the score that a row must reach to be among the best for each. Counts, on a
    sample of the vectors, what an exact search reads: all sketches, and what these cannot rule out.
    """
    if vectors.size < NUMBERS_MIN:
        return None
    rows = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), _SAMPLE_ROWS)).astype(np.int64))
    sample = to_float32(vectors[rows])
    dimension = sample.shape[1]
    widths = [width for width in _DIRECTIONS if 2 * width <= min(sample.shape)]
    if not widths:
        return None
    leading = np.ascontiguousarray(leading_directions(sample, widths[-1]).T)
    numbers: dict[int, float] = {}
    for width in widths:
        directions = np.ascontiguousarray(leading[:, :width])
        bounds = sketch_rows(queries, directions) @ sketch_rows(sample, directions).T
        left = float(np.mean(bounds >= floors[:, None]))
        numbers[width] = width + 1 + _READ_APART * left * dimension
    width = min(numbers, key=lambda width: numbers[width])
    if _GAIN_MIN * numbers[width] > dimension:
        return None
    return np.ascontiguousarray(leading[:, :width])


def write_sketch(
    path: Path, vectors: StoredVectors, directions: FloatMatrix, known: Sketch | None = None
) -> Sketch:
    """Sketch vectors (N, D) into a file and return it opened. known: a sketch of the first rows."""
    count, dimension = vectors.shape
    array = create_matrix(path, np.float32, (dimension + count, directions.shape[1] + 1))
    array[:dimension] = sketch_rows(np.eye(dimension, dtype=np.float32), directions)
    array[:dimension, :-1] = directions
    done = 0
    if known is not None:
        done = len(known)
        array[dimension : dimension + done] = known._rows
    step = max(_BLOCK_NUMBERS // dimension, 1)
    for start in range(done, count, step):
        block = to_float32(vectors[start : start + step])
        array[dimension + start : dimension + start + len(block)] = sketch_rows(block, directions)
    array.flush()
    return Sketch(array, dimension)
