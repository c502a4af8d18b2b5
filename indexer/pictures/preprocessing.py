"""Bytes of a picture in, upright RGB pixels out. Knows nothing of files, products or networks."""

import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageChops, ImageCms, ImageOps

from vitrine.indexer.arrays import Pixels
from vitrine.indexer.errors import InputError
from vitrine.indexer.pictures.decoding import MAX_BYTES, MAX_PIXELS, decode, sniff_format

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "PICTURE_EXTENSIONS",
    "Preprocessing",
    "open_picture",
    "sniff_format",
    "thumbnail",
]

PICTURE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
)

Fit = Literal["squash", "letterbox"]
# A pixel is white when no channel is further from 255 than this.
NEAR_WHITE = 16
# A border is not cut where less than this share of a side would be left: a speck on white is no product.
_LEFT_MIN = 0.1


def open_picture(data: bytes, *, near_px: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame as RGB, upright (EXIF), with transparency laid over white.

    near_px: (width, height) that the caller will shrink the picture to. A large JPEG is then decoded
    scaled down, never below three times that size on either side.
    Raises PictureError: not a picture of a known format, damaged, over MAX_PIXELS or MAX_BYTES.
    """
    return decode(data, near_px)[0]


def thumbnail(data: bytes, size_px: int, format: Literal["WEBP", "JPEG"] = "WEBP") -> bytes:
    """Encode a small copy that fits in size_px by size_px, never enlarged, without any metadata.

    Colours are converted from an embedded profile to sRGB, since the profile itself is left out.
    Raises PictureError as open_picture does.
    """
    small = open_picture(data, near_px=(size_px, size_px))
    profile = small.info.get("icc_profile")
    small.thumbnail((size_px, size_px), Image.Resampling.LANCZOS)
    small = _to_srgb(small, profile)
    small.info = {}
    out = io.BytesIO()
    if format == "WEBP":
        small.save(out, "WEBP", quality=82, method=4)
    else:
        small.save(out, "JPEG", quality=85, optimize=True)
    return out.getvalue()


@dataclass(frozen=True)
class Step:
    """One step of a preprocessing spec: a name and its numbers, e.g. resize(224,224)."""

    name: str
    arguments: tuple[float, ...] = ()

    def __str__(self) -> str:
        numbers = ",".join(_shortest(number) for number in self.arguments)
        return f"{self.name}({numbers})" if numbers else self.name


@dataclass(frozen=True)
class Preprocessing:
    """From bytes to the pixels a network wants, as one readable line: decode|resize(H,W)|value_range(lo,hi).

    resize squashes; letterbox(H,W) in its place fits the picture in whole, and trim(T) before it cuts off a
    border whose pixels are within T of white. value_range is recorded here and applied by the model's own
    graph to pixels / 255; pixels stay uint8.
    """

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, spec: str) -> "Preprocessing":
        """Read a spec; `str()` of the answer is its canonical form. Raises InputError naming the bad part."""
        steps = tuple(_parse_step(part, spec) for part in spec.split("|"))
        names = [step.name for step in steps]
        fits = names[1:-1] if names[1:2] != ["trim"] else names[2:-1]
        if names[0] != "decode" or names[-1] != "value_range" or len(fits) != 1 or fits[0] not in _FITS:
            raise InputError(
                f"preprocessing {spec!r}: expected decode|{' or '.join(_FITS)}(H,W)|value_range(lo,hi), "
                "perhaps with trim(T) after decode"
            )
        return cls(steps)

    def __str__(self) -> str:
        return "|".join(str(step) for step in self.steps)

    @property
    def height(self) -> int:
        """H of the pixels."""
        return int(self._sized.arguments[0])

    @property
    def width(self) -> int:
        """W of the pixels."""
        return int(self._sized.arguments[1])

    @property
    def value_range(self) -> tuple[float, float]:
        """The values that 0 and 255 become at the network's input."""
        low, high = self.steps[-1].arguments
        return low, high

    @property
    def _sized(self) -> Step:
        return self.steps[-2]

    def fitted(self, fit: Fit, *, trimmed: bool = False) -> "Preprocessing":
        """Return the same for pictures that are fitted in another way, their near-white border cut off."""
        step = Step("resize" if fit == "squash" else fit, self._sized.arguments)
        trims = (Step("trim", (NEAR_WHITE,)),) if trimmed else ()
        return Preprocessing((self.steps[0], *trims, step, self.steps[-1]))

    def pixels(self, data: bytes) -> tuple[Pixels, int, int]:
        """Return the pixels (H, W, 3) and the width and height in px of the upright original.

        Raises PictureError as open_picture does.
        """
        size = (self.width, self.height)
        image, (width_px, height_px) = decode(data, size)
        if self.steps[1].name == "trim":
            image = _trim(image, int(self.steps[1].arguments[0]))
        fitted = _FITS[self._sized.name](image, size)
        return np.asarray(fitted, dtype=np.uint8), width_px, height_px


def _squash(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize without keeping the ratio of the sides, bicubic with antialiasing, as the notebook does."""
    return image.resize(size, Image.Resampling.BICUBIC)


def _letterbox(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize keeping the ratio of the sides, in the middle of a white page."""
    small = ImageOps.contain(image, size, Image.Resampling.BICUBIC)
    page = Image.new("RGB", size, (255, 255, 255))
    page.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return page


def _trim(image: Image.Image, near_white: int) -> Image.Image:
    """Cut off the border; a picture stays whole where hardly anything would be left of it."""
    darkness = ImageChops.invert(image).split()
    darkest = ImageChops.lighter(ImageChops.lighter(darkness[0], darkness[1]), darkness[2])
    box = darkest.point(lambda value: 255 if value > near_white else 0).getbbox()
    if box is None or min((box[2] - box[0]) / image.width, (box[3] - box[1]) / image.height) < _LEFT_MIN:
        return image
    return image.crop(box)


# The steps that give a picture its final size. A new way of fitting is one more line here.
_FITS: Mapping[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "resize": _squash,
    "letterbox": _letterbox,
}
_STEP_PATTERN = re.compile(r"(\w+)(?:\(([^()]*)\))?")


def _parse_step(part: str, spec: str) -> Step:
    match = _STEP_PATTERN.fullmatch(part.strip())
    try:
        name = match[1] if match else ""
        numbers = tuple(float(text) for text in match[2].split(",")) if match and match[2] else ()
    except ValueError:
        raise InputError(f"preprocessing {spec!r}: {part!r} has something that is not a number") from None
    if name in _FITS:
        numbers = numbers * 2 if len(numbers) == 1 else numbers
        good = len(numbers) == 2 and all(1 <= n <= 4096 and n == int(n) for n in numbers)
    elif name == "trim":
        good = len(numbers) == 1 and 0 <= numbers[0] < 255 and numbers[0] == int(numbers[0])
    elif name == "value_range":
        good = len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]
    else:
        good = name == "decode" and not numbers
    if not good:
        raise InputError(f"preprocessing {spec!r}: {part!r} is not a step that is known")
    return Step(name, numbers)


def _shortest(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert from an embedded RGB profile to sRGB; the picture itself where the profile is of no use."""
    if not isinstance(profile, bytes) or not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted
