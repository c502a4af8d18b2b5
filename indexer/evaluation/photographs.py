"""Simulated photos of a product: its picture cropped, relit, scaled, blurred, mirrored or rotated."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance

from vitrine.indexer.pictures.preprocessing import open_picture

RandomGenerator = np.random.Generator
WHITE = (255, 255, 255)


def simulate_photo(data: bytes, change: str, rng: RandomGenerator) -> bytes:
    """Return the changed picture as a JPEG. change: one of PHOTO_CHANGES. Raises PictureError."""
    out = io.BytesIO()
    PHOTO_CHANGES[change](open_picture(data), rng).save(out, "JPEG", quality=92)
    return out.getvalue()


def _crop(image: Image.Image, rng: RandomGenerator) -> Image.Image:
    """Crop to 65 to 85 % of each side, at a random position."""
    share = rng.uniform(0.65, 0.85)
    width, height = max(int(image.width * share), 1), max(int(image.height * share), 1)
    left, top = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def _light(image: Image.Image, rng: RandomGenerator) -> Image.Image:
    """Change brightness, contrast and saturation."""
    image = ImageEnhance.Brightness(image).enhance(float(rng.choice([0.6, 1.5])))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))
    return ImageEnhance.Color(image).enhance(rng.uniform(0.6, 1.4))


def _scale(image: Image.Image, rng: RandomGenerator) -> Image.Image:
    """Shrink to 55 to 75 % of each side, centred on a white background of the same size."""
    share = rng.uniform(0.55, 0.75)
    background = Image.new("RGB", image.size, WHITE)
    small = image.resize((max(int(image.width * share), 1), max(int(image.height * share), 1)))
    background.paste(small, ((image.width - small.width) // 2, (image.height - small.height) // 2))
    return background


def _coarse(image: Image.Image, _: RandomGenerator) -> Image.Image:
    """Reduce to a quarter of the resolution, as thumbnails have."""
    return image.resize((max(image.width // 4, 24), max(image.height // 4, 24)))


def _mirror(image: Image.Image, _: RandomGenerator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _turn(image: Image.Image, rng: RandomGenerator) -> Image.Image:
    """Rotate by 12 degrees to either side."""
    angle = float(rng.choice([-12, 12]))
    return image.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=WHITE)


PHOTO_CHANGES: Mapping[str, Callable[[Image.Image, RandomGenerator], Image.Image]] = {
    "crop": _crop,
    "light": _light,
    "scale": _scale,
    "coarse": _coarse,
    "mirror": _mirror,
    "turn": _turn,
}
