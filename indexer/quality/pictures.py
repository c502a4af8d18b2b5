"""Picture measures: thumbnail, intensity range and sharpness, cached by content.

Shape letters: n pictures, T side of the thumbnail in pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from vitrine.indexer.arrays import FloatVector, Mask, Pixels, Rows
from vitrine.indexer.errors import PictureError, SnapshotError
from vitrine.indexer.files import atomic_write, storage_errors
from vitrine.indexer.pictures.preprocessing import open_picture
from vitrine.indexer.progress import Progress

THUMBNAIL_SIDE_PX = 32
# Sharpness is measured at one size, so that large pictures do not count as blurred.
_SHARPNESS_SIDE_PX = 256
_THREADS = 4


class PictureSource(Protocol):
    """Reader of product pictures."""

    def read(self, row: int) -> bytes:
        """Return the picture of a table row as encoded bytes. Raises PictureError."""


@dataclass(frozen=True)
class PictureMeasures:
    """Measures of n pictures.

    known: (n,) False for an unreadable picture, whose measures are 0. thumbnails: (n, T, T, 3) uint8.
    intensity_range: (n,) difference of the 99th and the 1st percentile of the thumbnail, in 0..255, of the
    channel with the greatest. sharpness: (n,) standard deviation of the Laplacian over that of the picture,
    at 256 px.
    """

    known: Mask
    thumbnails: Pixels
    intensity_range: FloatVector
    sharpness: FloatVector


def measure_picture(data: bytes) -> tuple[Pixels, float, float]:
    """Return the thumbnail (T, T, 3), the intensity range and the sharpness. Raises PictureError."""
    image = open_picture(data, target_px=(_SHARPNESS_SIDE_PX, _SHARPNESS_SIDE_PX))
    size = THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX
    thumbnail = np.asarray(image.resize(size, Image.Resampling.BOX), np.uint8)
    low, high = np.percentile(thumbnail.reshape(-1, 3), (1, 99), axis=0)
    return thumbnail, float((high - low).max()), _sharpness(image)


def _sharpness(image: Image.Image) -> float:
    grey = image.convert("L")
    grey.thumbnail((_SHARPNESS_SIDE_PX, _SHARPNESS_SIDE_PX), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    if min(values.shape) < 3:
        return 0.0
    centre = values[1:-1, 1:-1]
    neighbours = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((neighbours - 4 * centre).std() / max(float(values.std()), 1.0))


class MeasureCache:
    """Cache of picture measures by content digest, in one file of the index folder's cache.

    It never raises: what cannot be read or written is measured again.
    """

    def __init__(self, folder: Path) -> None:
        """Read the cache file of a folder; an unreadable file counts as empty."""
        self._path = folder / "pictures.npz"
        self._index_by_digest: dict[str, int] = {}
        self._thumbnails = np.zeros((0, THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX, 3), np.uint8)
        # Intensity range and sharpness in two columns.
        self._figures = np.zeros((0, 2), np.float32)
        try:
            with np.load(self._path, allow_pickle=False) as stored:
                thumbnails, figures = stored["small"], stored["figures"]
                digests = stored["digests"].tolist()
            shapes = (len(digests), *self._thumbnails.shape[1:]), (len(digests), 2)
            if (thumbnails.shape, figures.shape) == shapes:
                self._thumbnails, self._figures = thumbnails, figures
                self._index_by_digest = {digest: index for index, digest in enumerate(digests)}
        except (OSError, ValueError, KeyError, EOFError):
            pass

    def measures(
        self, pictures: PictureSource, rows: Rows, digests: Sequence[str], progress: Progress
    ) -> PictureMeasures:
        """Return the measures of rows, measuring those pictures that are not in the cache.

        digests: SHA-256 of the rows' pictures, hex.
        """
        row_by_digest = {
            digest: row
            for row, digest in zip(rows.tolist(), digests, strict=True)
            if digest not in self._index_by_digest
        }
        if row_by_digest:
            self._add(pictures, row_by_digest, progress)
        indices = np.array([self._index_by_digest.get(digest, -1) for digest in digests], np.int64)
        known = indices >= 0
        thumbnails = np.zeros((len(indices), *self._thumbnails.shape[1:]), np.uint8)
        figures = np.zeros((len(indices), 2), np.float32)
        thumbnails[known] = self._thumbnails[indices[known]]
        figures[known] = self._figures[indices[known]]
        return PictureMeasures(known, thumbnails, figures[:, 0], figures[:, 1])

    def _add(self, pictures: PictureSource, row_by_digest: dict[str, int], progress: Progress) -> None:
        progress.start(len(row_by_digest), "pictures measured")

        def measure(row: int) -> tuple[Pixels, float, float] | None:
            try:
                return measure_picture(pictures.read(row))
            except PictureError:
                return None
            finally:
                progress.advance(1)

        with ThreadPoolExecutor(_THREADS) as pool:
            results = list(pool.map(measure, row_by_digest.values()))
        progress.done()
        added = [
            (digest, result)
            for digest, result in zip(row_by_digest, results, strict=True)
            if result is not None
        ]
        if not added:
            return
        for digest, _ in added:
            self._index_by_digest[digest] = len(self._index_by_digest)
        thumbnails = np.stack([thumbnail for _, (thumbnail, _, _) in added])
        figures = np.array([figures for _, (_, *figures) in added], np.float32)
        self._thumbnails = np.concatenate([self._thumbnails, thumbnails])
        self._figures = np.concatenate([self._figures, figures])
        self._save()

    def remove(self, digests: Sequence[str]) -> None:
        """Remove the measures of pictures with these digests."""
        known = [digest for digest in digests if digest in self._index_by_digest]
        for digest in known:
            self._index_by_digest.pop(digest, None)
        if not known:
            return
        left = list(self._index_by_digest.values())
        self._thumbnails, self._figures = self._thumbnails[left], self._figures[left]
        self._index_by_digest = {digest: index for index, digest in enumerate(self._index_by_digest)}
        self._save()

    def _save(self) -> None:
        digests = np.array(list(self._index_by_digest), dtype=np.str_)
        with contextlib.suppress(SnapshotError):  # a read-only folder: measured again next time
            with storage_errors(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self._path) as file:
                np.savez(file, digests=digests, small=self._thumbnails, figures=self._figures)
