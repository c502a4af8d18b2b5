"""Bytes of a picture in, upright RGB pixels out. Knows nothing of files, products or networks."""

import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from indexer.decoding import MAX_BYTES, MAX_PIXELS, decode, sniff_format
from indexer.errors import InputError

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

Pixels = npt.NDArray[np.uint8]


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

    value_range is recorded here and applied by the model's own graph to pixels / 255; pixels stay uint8.
    """

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, spec: str) -> "Preprocessing":
        """Read a spec; `str()` of the answer is its canonical form. Raises InputError naming the bad part."""
        steps = tuple(_parse_step(part, spec) for part in spec.split("|"))
        names = [step.name for step in steps]
        sized = [step for step in steps if step.name in _SIZED_STEPS]
        if names[0] != "decode" or names[-1] != "value_range" or len(sized) != 1 or len(steps) != 3:
            raise InputError(
                f"preprocessing {spec!r}: expected decode|{_SIZED_NAMES}(H,W)|value_range(lo,hi)"
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
        return self.steps[1]

    def pixels(self, data: bytes) -> tuple[Pixels, int, int]:
        """Return the pixels (H, W, 3) and the width and height in px of the upright original.

        Raises PictureError as open_picture does.
        """
        size = (self.width, self.height)
        image, (width_px, height_px) = decode(data, size)
        fitted = _SIZED_STEPS[self._sized.name](image, size)
        return np.asarray(fitted, dtype=np.uint8), width_px, height_px


def _squash(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize without keeping the ratio of the sides, bicubic with antialiasing, as the notebook does."""
    return image.resize(size, Image.Resampling.BICUBIC)


# The steps that give a picture its final size. A new way of fitting is one more line here.
_SIZED_STEPS: Mapping[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {"resize": _squash}
_SIZED_NAMES = " or ".join(_SIZED_STEPS)
_STEP_PATTERN = re.compile(r"(\w+)(?:\(([^()]*)\))?")


def _parse_step(part: str, spec: str) -> Step:
    match = _STEP_PATTERN.fullmatch(part.strip())
    try:
        name = match[1] if match else ""
        numbers = tuple(float(text) for text in match[2].split(",")) if match and match[2] else ()
    except ValueError:
        raise InputError(f"preprocessing {spec!r}: {part!r} has something that is not a number") from None
    if name in _SIZED_STEPS:
        numbers = numbers * 2 if len(numbers) == 1 else numbers
        good = len(numbers) == 2 and all(1 <= n <= 4096 and n == int(n) for n in numbers)
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
