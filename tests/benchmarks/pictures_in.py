"""Ways to bring a picture to the network's input, and what each costs: the notebook squashes.

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
from vitrine.indexer.models import resolve
from vitrine.indexer.pictures.preprocessing import Fit, Preprocessing, open_picture

# From the bytes of a picture and a side in pixels to what the network is fed.
Prepare = Callable[[bytes, int], "np.ndarray[Any, np.dtype[np.uint8]]"]
MODEL = "efficientnet-lite2"
BATCH = 16


@dataclass(frozen=True)
class Way:
    """side_px: None for the network's own. mirrored: both views averaged."""

    prepare: Prepare
    side_px: int | None = None
    mirrored: bool = False


def by_spec(fit: Fit, *, trimmed: bool = False) -> Prepare:
    """Prepare pictures as `build --fit … --trim` does."""

    def prepare(data: bytes, side: int) -> Any:
        spec = Preprocessing.parse(f"decode|resize({side})|value_range(0,1)").with_fit(fit, trim=trimmed)
        return spec.to_pixels(data)[0]

    return prepare


def crop_centre(data: bytes, side: int) -> Any:
    """Take the middle square."""
    image = open_picture(data)
    return np.asarray(ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC))


WAYS = {
    "squash, as in the notebook": Way(by_spec("squash")),
    "letterbox (`--fit letterbox`)": Way(by_spec("letterbox")),
    "near-white border cut off (`--trim`)": Way(by_spec("squash", trimmed=True)),
    "centre crop": Way(crop_centre),
    "mirror image averaged in": Way(by_spec("squash"), mirrored=True),
    "320 px (`--image-size 320`)": Way(by_spec("squash"), side_px=320),
    "320 px, letterbox, border cut off": Way(by_spec("letterbox", trimmed=True), side_px=320),
}


class Embedder:
    """The network of one way."""

    def __init__(self, way: Way) -> None:
        """Load it."""
        self._way = way
        source = resolve(MODEL, image_size=way.side_px)
        self._side = source.size_px[0]
        self._model = source.load()
        self._model.embed(np.zeros((BATCH, self._side, self._side, 3), np.uint8))

    def embed(self, pictures: Sequence[bytes]) -> FloatMatrix:
        """Return (n, D) unit rows of encoded pictures."""
        blocks = []
        for start in range(0, len(pictures), BATCH):
            pixels = np.stack(
                [self._way.prepare(each, self._side) for each in pictures[start : start + BATCH]]
            )
            vectors = self._model.embed(pixels)
            if self._way.mirrored:
                vectors = vectors + self._model.embed(np.ascontiguousarray(pixels[:, :, ::-1]))
            blocks.append(unit(vectors))
        return np.concatenate(blocks)

    def seconds_of(self, pictures: Sequence[bytes]) -> float:
        """Return how long the pictures take."""
        began = time.perf_counter()
        self.embed(pictures)
        return time.perf_counter() - began

    def close(self) -> None:
        """Give the network back."""
        self._model.close()
