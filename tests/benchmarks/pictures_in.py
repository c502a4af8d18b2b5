"""Ways to bring a picture to the network's input, and what each costs: the notebook squashes.

Shape letters: n pictures, H W pixels, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from indexer.images import open_picture
from indexer.models import resolve
from indexer.transform import FloatMatrix, unit

Fit = Callable[[Image.Image, int], Image.Image]
MODEL = "efficientnet-lite2"
WHITE = (255, 255, 255)
# A pixel this near to white in every channel is border.
NEAR_WHITE = 16
BATCH = 16


@dataclass(frozen=True)
class Way:
    """fit: any picture to side x side. side_px: None for the network's own. mirrored: both views averaged."""

    fit: Fit
    side_px: int | None = None
    mirrored: bool = False


def squash(image: Image.Image, side: int) -> Image.Image:
    """Resize without keeping the ratio of the sides."""
    return image.resize((side, side), Image.Resampling.BICUBIC)


def letterbox(image: Image.Image, side: int) -> Image.Image:
    """Fit in whole, white around it."""
    scale = side / max(image.size)
    small = image.resize(
        (max(round(image.width * scale), 1), max(round(image.height * scale), 1)), Image.Resampling.BICUBIC
    )
    page = Image.new("RGB", (side, side), WHITE)
    page.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return page


def crop_centre(image: Image.Image, side: int) -> Image.Image:
    """Take the middle square."""
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    return squash(image.crop((left, top, left + least, top + least)), side)


def trim(image: Image.Image, side: int) -> Image.Image:
    """Cut off a near-white border, then squash; a picture that is white all over stays whole."""
    darkness = ImageChops.invert(image).getchannel(0)
    for channel in (1, 2):
        darkness = ImageChops.lighter(darkness, ImageChops.invert(image).getchannel(channel))
    box = darkness.point(lambda value: 255 if value > NEAR_WHITE else 0).getbbox()
    return squash(image.crop(box) if box else image, side)


WAYS = {
    "squash": Way(squash),
    "letterbox": Way(letterbox),
    "centre crop": Way(crop_centre),
    "near-white border trimmed": Way(trim),
    "mirror image averaged in": Way(squash, mirrored=True),
    "320 px": Way(squash, side_px=320),
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

    def embed(self, pictures: Sequence[bytes]) -> tuple[FloatMatrix, float]:
        """Return (n, D) unit rows of encoded pictures, and the seconds that it took."""
        began = time.perf_counter()
        blocks = []
        for start in range(0, len(pictures), BATCH):
            images = [open_picture(data) for data in pictures[start : start + BATCH]]
            pixels = np.stack([np.asarray(self._way.fit(image, self._side)) for image in images])
            vectors = self._model.embed(pixels)
            if self._way.mirrored:
                vectors = vectors + self._model.embed(np.ascontiguousarray(pixels[:, :, ::-1]))
            blocks.append(unit(vectors))
        return np.concatenate(blocks), time.perf_counter() - began

    def close(self) -> None:
        """Give the network back."""
        self._model.close()
