"""Linear maps from what a model says to the space of a snapshot. Fitted at build, applied to queries alike.

`none` keeps the model's unit vectors (what the notebook compares); `centre` subtracts the catalogue's mean
and normalises again. A mean taken over a handful of products says more about them than about pictures, so
`auto` centres only from CENTRE_FROM products on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.errors import InputError, SnapshotCorrupt

FloatMatrix = np.ndarray[tuple[int, int], np.dtype[np.float32]]
FloatVector = np.ndarray[tuple[int], np.dtype[np.float32]]

NAMES = ("auto", "none", "centre")
CENTRE_FROM = 100
MEAN_DRIFT_MAX = 0.02
_TINY = 1e-12


def unit(vectors: FloatMatrix) -> FloatMatrix:
    """Return a copy with rows of unit length; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatMatrix = (vectors / np.maximum(lengths, _TINY)).astype(np.float32)
    return scaled


@dataclass(frozen=True)
class Transform:
    """One fitted transform. `mean` is (D,) float32 for `centre`, None for `none`."""

    name: str
    why: str
    mean: FloatVector | None = None

    @property
    def is_identity(self) -> bool:
        """True when vectors pass unchanged."""
        return self.mean is None

    def is_close_to(self, fitted: Transform) -> bool:
        """True when a newer fit would move no vector visibly, so that an index of this one can be extended.

        Means may differ by 2 % of their length: on real features that changes scores in the third decimal.
        """
        if self.mean is None or fitted.mean is None:
            return self.mean is None and fitted.mean is None
        moved = float(np.linalg.norm(self.mean - fitted.mean))
        return moved <= MEAN_DRIFT_MAX * float(np.linalg.norm(fitted.mean))

    def apply(self, vectors: FloatMatrix) -> FloatMatrix:
        """Map unit vectors (n, D) of the model into the snapshot's space: (n, D) float32, unit rows.

        A vector that coincides with the mean has no direction left and keeps its own.
        """
        if self.mean is None:
            return np.ascontiguousarray(vectors, np.float32)
        centred = vectors - self.mean
        lost = np.linalg.norm(centred, axis=1) < 1e-6
        centred[lost] = vectors[lost]
        return unit(centred)

    def save(self, path: Path) -> None:
        """Write transform.npz."""
        mean = np.zeros(0, np.float32) if self.mean is None else self.mean
        with path.open("wb") as file:
            np.savez(file, name=np.array(self.name), why=np.array(self.why), mean=mean)

    @classmethod
    def load(cls, path: Path) -> Transform:
        """Read transform.npz. Raises SnapshotCorrupt."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                mean = stored["mean"]
                return cls(str(stored["name"]), str(stored["why"]), mean if mean.size else None)
        except (OSError, ValueError, KeyError) as error:
            raise SnapshotCorrupt(f"{path} is not a readable transform: {error}") from error


def fit_transform(name: str, blocks: Iterable[FloatMatrix], products: int) -> Transform:
    """Fit the transform `name` ("auto", "none" or "centre") over (n, D) blocks of unit vectors.

    Raises InputError for another name.
    """
    if name not in NAMES:
        raise InputError(f"--transform {name!r} is not one of {', '.join(NAMES)}")
    if name == "none":
        return Transform("none", "asked for")
    if name == "auto" and products < CENTRE_FROM:
        return Transform("none", f"fewer than {CENTRE_FROM} products: their mean says little")
    total, count = None, 0
    for block in blocks:
        block_sum = block.sum(axis=0, dtype=np.float64)
        total = block_sum if total is None else total + block_sum
        count += len(block)
    if total is None:
        return Transform("none", "no products")
    why = "asked for" if name == "centre" else "subtracting the catalogue's mean raises mAP and costs nothing"
    return Transform("centre", why, (total / count).astype(np.float32))
