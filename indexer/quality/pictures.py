"""What is measured of a picture: a small copy, its contrast and its sharpness; kept by content.

Shape letters: n pictures, T side of the small copy in pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vitrine.indexer.arrays import Pixels, Rows
from vitrine.indexer.errors import PictureError, SnapshotError
from vitrine.indexer.files import storage_errors, whole_file
from vitrine.indexer.pictures.preprocessing import open_picture
from vitrine.indexer.progress import Progress

SIDE = 32
# Sharpness is compared at one size, so that a large picture is not taken for a blurred one.
_SHARPNESS_SIDE = 256
_THREADS = 4


class PictureFiles(Protocol):
    """Where the pictures of products are read."""

    def read(self, row: int) -> bytes:
        """Return the bytes of a product's picture. Raises PictureError."""


@dataclass(frozen=True)
class Measures:
    """known: (n,) False where a picture could not be read; the rest is 0 there.

    small: (n, T, T, 3) uint8. span: (n,) of the darkest to the lightest of it, of the channel with most, in
    0..255. sharpness: (n,) standard deviation of the Laplacian over that of the picture, at 256 px.
    """

    known: np.ndarray[Any, np.dtype[np.bool_]]
    small: Pixels
    span: np.ndarray[Any, np.dtype[np.float32]]
    sharpness: np.ndarray[Any, np.dtype[np.float32]]


def measure(data: bytes) -> tuple[Pixels, float, float]:
    """Return (T, T, 3), span and sharpness of one picture. Raises PictureError."""
    image = open_picture(data, near_px=(_SHARPNESS_SIDE, _SHARPNESS_SIDE))
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.uint8)
    low, high = np.percentile(small.reshape(-1, 3), (1, 99), axis=0)
    return small, float((high - low).max()), _sharpness(image)


def _sharpness(image: Image.Image) -> float:
    grey = image.convert("L")
    grey.thumbnail((_SHARPNESS_SIDE, _SHARPNESS_SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    if min(values.shape) < 3:
        return 0.0
    middle = values[1:-1, 1:-1]
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((around - 4 * middle).std() / max(float(values.std()), 1.0))


class MeasureCache:
    """Measures by content, in one file of the index folder's cache. Never a reason to fail."""

    def __init__(self, folder: Path) -> None:
        """Read what is there; a file that cannot be read counts as none."""
        self._path = folder / "pictures.npz"
        self._digests: dict[str, int] = {}
        self._small = np.zeros((0, SIDE, SIDE, 3), np.uint8)
        self._figures = np.zeros((0, 2), np.float32)
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                small, figures, digests = stored["small"], stored["figures"], stored["digests"].tolist()
            if small.shape == (len(digests), SIDE, SIDE, 3) and figures.shape == (len(digests), 2):
                self._small, self._figures = small, figures
                self._digests = {digest: place for place, digest in enumerate(digests)}
        except (OSError, ValueError, KeyError, EOFError):
            pass

    def measures(
        self, files: PictureFiles, rows: Rows, digests: Sequence[str], progress: Progress
    ) -> Measures:
        """Return the measures of rows whose contents have these digests (hex), measuring what is not kept."""
        new = {digest: row for row, digest in zip(rows.tolist(), digests, strict=True)}
        new = {digest: row for digest, row in new.items() if digest not in self._digests}
        if new:
            self._add(files, new, progress)
        places = np.array([self._digests.get(digest, -1) for digest in digests], np.int64)
        known = places >= 0
        small = np.zeros((len(places), SIDE, SIDE, 3), np.uint8)
        figures = np.zeros((len(places), 2), np.float32)
        small[known], figures[known] = self._small[places[known]], self._figures[places[known]]
        return Measures(known, small, figures[:, 0], figures[:, 1])

    def _add(self, files: PictureFiles, new: dict[str, int], progress: Progress) -> None:
        progress.start(len(new), "pictures measured")

        def measured(row: int) -> tuple[Pixels, float, float] | None:
            try:
                return measure(files.read(row))
            except PictureError:
                return None
            finally:
                progress.advance(1)

        with ThreadPoolExecutor(_THREADS) as pool:
            found = dict(zip(new, pool.map(measured, new.values()), strict=True))
        progress.done()
        good = {digest: each for digest, each in found.items() if each is not None}
        if not good:
            return
        self._digests |= {digest: len(self._digests) + place for place, digest in enumerate(good)}
        self._small = np.concatenate([self._small, np.stack([small for small, _, _ in good.values()])])
        figures = np.array([figures for _, *figures in good.values()], np.float32)
        self._figures = np.concatenate([self._figures, figures])
        self._save()

    def forget(self, digests: Sequence[str]) -> None:
        """Remove what is kept of these contents."""
        gone = {self._digests.pop(digest) for digest in digests if digest in self._digests}
        if not gone:
            return
        kept = list(self._digests.values())
        self._small, self._figures = self._small[kept], self._figures[kept]
        self._digests = {digest: place for place, digest in enumerate(self._digests)}
        self._save()

    def _save(self) -> None:
        digests = np.array(list(self._digests), dtype=np.str_)
        with contextlib.suppress(SnapshotError):  # it is measured again where nothing can be kept
            with storage_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path) as file:
                np.savez(file, digests=digests, small=self._small, figures=self._figures)
