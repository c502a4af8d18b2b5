"""From the bytes of a photo to a vector of the live snapshot's network. Knows neither products nor HTTP.

What the network made of a picture before, in a build or here, is taken from the embedding cache.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vitrine.indexer.arrays import FloatVector
from vitrine.indexer.config import Layout
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.errors import PictureError, QueryError, VitrineError
from vitrine.indexer.pictures.preprocessing import MAX_BYTES, open_picture
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.indexer.source.readers import TooManyBytes, read_local
from vitrine.service.queries.view import View

log = logging.getLogger(__name__)
CROPPED_MAX_PX = 1536
Image = bytes | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Photo:
    """What a network made of a picture. vector: (D,) float32, unit. Sizes are of the upright original."""

    vector: FloatVector
    width_px: int
    height_px: int


class PhotoEmbedder(Protocol):
    """Turns photos into vectors with whatever network is asked for."""

    def embed(self, data: bytes, model: ModelRecord) -> Photo:
        """Return a photo's vector by that network, loaded at the first call.

        Raises PictureError, ModelError, and TooManyRequests when too many photos wait.
        """

    def warm(self, model: ModelRecord) -> None:
        """Load that network now. Raises ModelError."""

    def close(self) -> None:
        """Give the network back."""


class Photos:
    """Photos of queries and uploads. Thread-safe."""

    def __init__(self, layout: Layout, embedder: PhotoEmbedder) -> None:
        """layout: whose embedding cache is read and added to, where it can be."""
        self.embedder = embedder
        self.cache_hits = 0
        self._layout = layout
        self._cache: EmbeddingCache | None = None
        self._has_cache = True

    def close(self) -> None:
        """Give the network back."""
        self.embedder.close()
        if self._cache is not None:
            self._cache.close()

    def embed(self, data: bytes, view: View, *, keep: bool = False) -> Photo:
        """Return a photo by the view's network, before the view's transform. keep: remember it in the cache.

        Raises PictureError, ModelError, TooManyRequests.
        """
        key, sha256 = view.snapshot.manifest.model.key, hashlib.sha256(data).digest()
        known = self._known(key, sha256)
        if known is not None:
            self.cache_hits += 1
            return known
        photo = self.embedder.embed(data, view.snapshot.manifest.model)
        if keep:
            self._keep(key, CacheEntry(sha256, photo.width_px, photo.height_px, photo.vector))
        return photo

    def query(self, image: Image, crop: Sequence[float] | str | None, view: View) -> FloatVector:
        """Return (D,) the vector to search with, in the view's space. crop: x, y, w, h, shares of sides."""
        data = read_image(image)
        photo = self.embed(data if crop is None else cropped(data, crop), view)
        found: FloatVector = view.snapshot.transform.apply(photo.vector[np.newaxis])[0]
        return found

    def _known(self, key: str, sha256: bytes) -> Photo | None:
        cache = self._open_cache()
        try:
            sizes = cache.known(key, [sha256]) if cache else {}
            if cache is None or sha256 not in sizes:
                return None
            return Photo(cache.vectors(key, [sha256])[0], *sizes[sha256])
        except VitrineError as error:
            log.warning("the embedding cache cannot be read: %s", error)
            return None

    def _keep(self, key: str, entry: CacheEntry) -> None:
        cache = self._open_cache()
        try:
            if cache is not None:
                cache.put(key, [entry])
        except VitrineError as error:
            log.warning("an upload's vector is not in the embedding cache: %s", error)

    def _open_cache(self) -> EmbeddingCache | None:
        """Return the cache; None where the folder cannot be written, as on a replica."""
        if self._cache is None and self._has_cache:
            try:
                self._cache = EmbeddingCache.open(self._layout.cache)
            except VitrineError as error:
                self._has_cache = False
                log.info("no embedding cache: %s", error)
        return self._cache


def read_image(image: Image) -> bytes:
    """Return the bytes of an image given as such or by its path. Raises PictureError."""
    if isinstance(image, bytes):
        return image
    try:
        return read_local(os.fspath(image), MAX_BYTES)
    except TooManyBytes as error:
        raise PictureError(str(error), kind="too-large") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"{image!s} cannot be read: {error}", kind="missing") from error


def cropped(data: bytes, crop: Sequence[float] | str) -> bytes:
    """Return a part of a picture, upright, as a picture file. crop: x, y, w, h, shares of its sides in 0..1.

    Raises PictureError, QueryError.
    """
    x, y, width, height = _box(crop)
    image = open_picture(data)
    left, top = round(x * image.width), round(y * image.height)
    right, bottom = round((x + width) * image.width), round((y + height) * image.height)
    part = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    part.thumbnail((CROPPED_MAX_PX, CROPPED_MAX_PX))
    part.info = {}
    out = io.BytesIO()
    part.save(out, "BMP")
    return out.getvalue()


def _box(crop: Sequence[float] | str) -> tuple[float, float, float, float]:
    """Read four numbers, from text with commas or in a sequence. Raises QueryError."""
    try:
        parts = crop.split(",") if isinstance(crop, str) else crop
        x, y, width, height = (float(part) for part in parts)
    except (TypeError, ValueError):
        raise QueryError("crop is four numbers: x,y,w,h", field="crop", malformed=True) from None
    inside = min(x, y) >= 0 and min(width, height) > 0 and max(x + width, y + height) <= 1 + 1e-6
    if not (all(map(math.isfinite, (x, y, width, height))) and inside):
        raise QueryError(
            "crop is x,y,w,h as shares of the picture's sides: within 0..1, not empty", field="crop"
        )
    return x, y, width, height
