"""Embedding of photos from queries and uploads, through the embedding cache.

Independent of products and HTTP. A picture that was embedded before, in a build or here, is read from the
cache.
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
from vitrine.indexer.source.readers import FileTooLarge, read_local
from vitrine.service.queries.view import View

log = logging.getLogger(__name__)
# Longer side of a cropped picture, in pixels.
CROPPED_MAX_PX = 1536
# The bytes of a picture, or its path.
ImageInput = bytes | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class EmbeddedPhoto:
    """The embedding of a picture. vector: (D,) float32, unit. The sizes are of the upright original."""

    vector: FloatVector
    width_px: int
    height_px: int


class PhotoEmbedder(Protocol):
    """The embedding of photos by the network that a model record names."""

    def embed(self, data: bytes, model: ModelRecord) -> EmbeddedPhoto:
        """Embed a photo with that network, loaded at the first call.

        Raises PictureError, ModelError, and TooManyRequests when too many photos are pending.
        """

    def warm(self, model: ModelRecord) -> None:
        """Load that network now. Raises ModelError."""

    def close(self) -> None:
        """Release the network."""


class CachingEmbedder:
    """A photo embedder with the embedding cache of an index folder. Thread-safe.

    cache_hits: the number of photos whose vector was in the cache.
    """

    def __init__(self, layout: Layout, embedder: PhotoEmbedder) -> None:
        """layout: of the index folder whose embedding cache is used, if it is writable."""
        self.embedder = embedder
        self.cache_hits = 0
        self._layout = layout
        self._cache: EmbeddingCache | None = None
        self._has_cache = True

    def close(self) -> None:
        """Release the network and close the cache."""
        self.embedder.close()
        if self._cache is not None:
            self._cache.close()

    def embed(self, data: bytes, view: View, *, store: bool = False) -> EmbeddedPhoto:
        """Embed a photo with the view's network, without the view's transform. store: write it to the cache.

        Raises PictureError, ModelError, TooManyRequests.
        """
        model = view.state.snapshot.manifest.model
        sha256 = hashlib.sha256(data).digest()
        cached = self._read_cache(model.key, sha256)
        if cached is not None:
            self.cache_hits += 1
            return cached
        photo = self.embedder.embed(data, model)
        if store:
            entry = CacheEntry(sha256, photo.width_px, photo.height_px, photo.vector)
            self._write_cache(model.key, entry)
        return photo

    def query_vector(self, image: ImageInput, crop: Sequence[float] | str | None, view: View) -> FloatVector:
        """Return (D,) the query vector of an image, in the view's space.

        crop: x, y, w, h, as shares of the image's sides. Raises PictureError, QueryError, ModelError,
        TooManyRequests.
        """
        data = read_image(image)
        photo = self.embed(data if crop is None else crop_picture(data, crop), view)
        vector: FloatVector = view.state.snapshot.transform.apply(photo.vector[np.newaxis])[0]
        return vector

    def _read_cache(self, key: str, sha256: bytes) -> EmbeddedPhoto | None:
        cache = self._open_cache()
        try:
            sizes = cache.sizes_px(key, [sha256]) if cache else {}
            if cache is None or sha256 not in sizes:
                return None
            return EmbeddedPhoto(cache.vectors(key, [sha256])[0], *sizes[sha256])
        except VitrineError as error:
            log.warning("the embedding cache cannot be read: %s", error)
            return None

    def _write_cache(self, key: str, entry: CacheEntry) -> None:
        cache = self._open_cache()
        try:
            if cache is not None:
                cache.put(key, [entry])
        except VitrineError as error:
            log.warning("the vector of an upload cannot be written to the embedding cache: %s", error)

    def _open_cache(self) -> EmbeddingCache | None:
        """Return the cache; None where the folder is not writable, as on a replica."""
        if self._cache is None and self._has_cache:
            try:
                self._cache = EmbeddingCache(self._layout.cache)
            except VitrineError as error:
                self._has_cache = False
                log.info("no embedding cache is used: %s", error)
        return self._cache


def read_image(image: ImageInput) -> bytes:
    """Return the bytes of an image given as bytes or as a path. Raises PictureError."""
    if isinstance(image, bytes):
        return image
    try:
        return read_local(os.fspath(image), MAX_BYTES)
    except FileTooLarge as error:
        raise PictureError(str(error), code="too-large") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"{image!s} cannot be read: {error}", code="missing") from error


def crop_picture(data: bytes, crop: Sequence[float] | str) -> bytes:
    """Return a part of a picture, upright, as a BMP file. crop: x, y, w, h, as shares of its sides in 0..1.

    Raises PictureError, QueryError.
    """
    x, y, width, height = _parse_crop(crop)
    image = open_picture(data)
    left, top = round(x * image.width), round(y * image.height)
    right, bottom = round((x + width) * image.width), round((y + height) * image.height)
    part = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    part.thumbnail((CROPPED_MAX_PX, CROPPED_MAX_PX))
    part.info = {}
    file = io.BytesIO()
    part.save(file, "BMP")
    return file.getvalue()


def _parse_crop(crop: Sequence[float] | str) -> tuple[float, float, float, float]:
    """Parse four numbers, as text with commas or a sequence. Raises QueryError."""
    try:
        parts = crop.split(",") if isinstance(crop, str) else crop
        x, y, width, height = (float(part) for part in parts)
    except (TypeError, ValueError):
        raise QueryError("crop is four numbers: x,y,w,h", field="crop", malformed=True) from None
    is_inside = min(x, y) >= 0 and min(width, height) > 0 and max(x + width, y + height) <= 1 + 1e-6
    if not (all(map(math.isfinite, (x, y, width, height))) and is_inside):
        raise QueryError(
            "crop is x,y,w,h as shares of the picture's sides: within 0..1, not empty", field="crop"
        )
    return x, y, width, height
