"""Variants of the preprocessing of pictures, to compare their quality and their duration.

Shape letters: n pictures, H W pixels, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vitrine.indexer.arrays import FloatMatrix, unit
from vitrine.indexer.models import resolve_model
from vitrine.indexer.pictures.preprocessing import Fit, Preprocessing, open_picture

# Converts a picture file and a side in pixels to the network's input, (H, W, 3).
Prepare = Callable[[bytes, int], "np.ndarray[Any, np.dtype[np.uint8]]"]
MODEL = "efficientnet-lite2"
BATCH = 16


@dataclass(frozen=True)
class Variant:
    """A preprocessing variant. side_px: None for the default. mirrored: average with the mirror image."""

    prepare: Prepare
    side_px: int | None = None
    mirrored: bool = False


def by_spec(fit: Fit, *, trimmed: bool = False) -> Prepare:
    """Return the preprocessing of `build --fit … --trim`."""

    def prepare(data: bytes, side: int) -> Any:
        spec = Preprocessing.parse(f"decode|resize({side})|value_range(0,1)").with_fit(fit, trim=trimmed)
        return spec.to_pixels(data)[0]

    return prepare


def crop_centre(data: bytes, side: int) -> Any:
    """Crop a picture to its central square."""
    image = open_picture(data)
    return np.asarray(ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC))


VARIANTS = {
    "squash, as in the notebook": Variant(by_spec("squash")),
    "letterbox (`--fit letterbox`)": Variant(by_spec("letterbox")),
    "near-white border trimmed (`--trim`)": Variant(by_spec("squash", trimmed=True)),
    "centre crop": Variant(crop_centre),
    "average with the mirror image": Variant(by_spec("squash"), mirrored=True),
    "320 px (`--image-size 320`)": Variant(by_spec("squash"), side_px=320),
    "320 px, letterbox, border trimmed": Variant(by_spec("letterbox", trimmed=True), side_px=320),
}


class Embedder:
    """A network with one preprocessing variant."""

    def __init__(self, variant: Variant) -> None:
        """Load the network and run it once."""
        self._variant = variant
        source = resolve_model(MODEL, image_size=variant.side_px)
        self._side_px = source.size_px[0]
        self._model = source.load()
        self._model.embed(np.zeros((BATCH, self._side_px, self._side_px, 3), np.uint8))

    def embed(self, pictures: Sequence[bytes]) -> FloatMatrix:
        """Return the (n, D) unit vectors of picture files."""
        blocks = []
        for start in range(0, len(pictures), BATCH):
            pixels = np.stack(
                [self._variant.prepare(data, self._side_px) for data in pictures[start : start + BATCH]]
            )
            vectors = self._model.embed(pixels)
            if self._variant.mirrored:
                vectors = vectors + self._model.embed(np.ascontiguousarray(pixels[:, :, ::-1]))
            blocks.append(unit(vectors))
        return np.concatenate(blocks)

    def duration_s(self, pictures: Sequence[bytes]) -> float:
        """Return the time in seconds to embed the pictures."""
        start_s = time.perf_counter()
        self.embed(pictures)
        return time.perf_counter() - start_s

    def close(self) -> None:
        """Close the network."""
        self._model.close()
