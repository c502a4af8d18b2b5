"""The same product photographed again: crops, light, scale, a mirror. Real pictures in, real pictures out."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageEnhance

from vitrine.indexer.pictures.preprocessing import open_picture

Random = np.random.Generator
WHITE = (255, 255, 255)


def photograph_again(data: bytes, kind: str, rng: Random) -> bytes:
    """Return a JPEG of another photo of the same thing; kind: one of KINDS. Raises PictureError."""
    out = io.BytesIO()
    KINDS[kind](open_picture(data), rng).save(out, "JPEG", quality=92)
    return out.getvalue()


def _crop(image: Image.Image, rng: Random) -> Image.Image:
    """Keep 65 to 85 % of each side, from anywhere."""
    share = rng.uniform(0.65, 0.85)
    width, height = max(int(image.width * share), 1), max(int(image.height * share), 1)
    left, top = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
    return image.crop((int(left), int(top), int(left) + width, int(top) + height))


def _light(image: Image.Image, rng: Random) -> Image.Image:
    """Dark or bright, flat or hard, pale or garish."""
    image = ImageEnhance.Brightness(image).enhance(float(rng.choice([0.6, 1.5])))
    image = ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))
    return ImageEnhance.Color(image).enhance(rng.uniform(0.6, 1.4))


def _scale(image: Image.Image, rng: Random) -> Image.Image:
    """Smaller, in the middle of a white page."""
    share = rng.uniform(0.55, 0.75)
    page = Image.new("RGB", image.size, WHITE)
    small = image.resize((max(int(image.width * share), 1), max(int(image.height * share), 1)))
    page.paste(small, ((image.width - small.width) // 2, (image.height - small.height) // 2))
    return page


def _coarse(image: Image.Image, _: Random) -> Image.Image:
    """A quarter of the resolution, as a thumbnail saved from somewhere."""
    return image.resize((max(image.width // 4, 24), max(image.height // 4, 24)))


def _mirror(image: Image.Image, _: Random) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _turn(image: Image.Image, rng: Random) -> Image.Image:
    """Twelve degrees to one side."""
    angle = float(rng.choice([-12, 12]))
    return image.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=WHITE)


KINDS: Mapping[str, Callable[[Image.Image, Random], Image.Image]] = {
    "crop": _crop,
    "light": _light,
    "scale": _scale,
    "coarse": _coarse,
    "mirror": _mirror,
    "turn": _turn,
}
