"""Preprocessing of pictures for a network, described by one readable string, and thumbnails."""

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
    "make_thumbnail",
    "open_picture",
    "sniff_format",
]

PICTURE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
)

Fit = Literal["squash", "letterbox"]
# A pixel is near white if all its channels are within this of 255.
WHITE_TOLERANCE = 16
# A border is kept if less than this share of a side would remain: a speck on white is not a product.
_MIN_REMAINING_SHARE = 0.1


def open_picture(data: bytes, *, target_px: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame as RGB, upright (EXIF), with transparency over white.

    target_px: (width, height) that the caller will resize the picture to. A large JPEG is then decoded at a
    reduced scale, but never below three times that size on either side.
    Raises PictureError if the data is damaged, of an unsupported format, or over MAX_PIXELS or MAX_BYTES.
    """
    return decode(data, target_px)[0]


def make_thumbnail(data: bytes, size_px: int, format: Literal["WEBP", "JPEG"] = "WEBP") -> bytes:
    """Encode a copy that fits in size_px by size_px, never enlarged, without metadata.

    Colours are converted to sRGB if the picture has an embedded profile, since the profile is left out.
    Raises PictureError as open_picture does.
    """
    small = open_picture(data, target_px=(size_px, size_px))
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
    """One step of a preprocessing spec: a name and its arguments, such as resize(224,224)."""

    name: str
    arguments: tuple[float, ...] = ()

    def __str__(self) -> str:
        arguments = ",".join(_format_number(number) for number in self.arguments)
        return f"{self.name}({arguments})" if arguments else self.name


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing spec of a network: decode|resize(H,W)|value_range(low,high), as written in manifests.

    resize ignores the aspect ratio; letterbox(H,W) in its place keeps it and adds white bars. trim(T), after
    decode, crops a border whose pixels are within T of white. value_range is applied by the graph of the
    model, to pixels / 255; the pixels here stay uint8.
    """

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, spec: str) -> "Preprocessing":
        """Parse a spec; `str()` of the result is its canonical form. Raises InputError."""
        steps = tuple(_parse_step(part, spec) for part in spec.split("|"))
        names = [step.name for step in steps]
        middle = names[1:-1] if names[1:2] != ["trim"] else names[2:-1]
        is_resized_once = len(middle) == 1 and middle[0] in _RESIZERS
        if names[0] != "decode" or names[-1] != "value_range" or not is_resized_once:
            raise InputError(
                f"preprocessing {spec!r}: expected decode|{' or '.join(_RESIZERS)}(H,W)|"
                "value_range(low,high), optionally with trim(T) after decode"
            )
        return cls(steps)

    def __str__(self) -> str:
        return "|".join(str(step) for step in self.steps)

    @property
    def height(self) -> int:
        """Height H of the output in px."""
        return int(self._resize_step.arguments[0])

    @property
    def width(self) -> int:
        """Width W of the output in px."""
        return int(self._resize_step.arguments[1])

    @property
    def value_range(self) -> tuple[float, float]:
        """Network inputs that pixel values 0 and 255 are mapped to."""
        low, high = self.steps[-1].arguments
        return low, high

    @property
    def _resize_step(self) -> Step:
        return self.steps[-2]

    def with_fit(self, fit: Fit, *, trim: bool = False) -> "Preprocessing":
        """Return the same spec with another resizing step. trim: crop a near-white border first."""
        resize_step = Step("resize" if fit == "squash" else fit, self._resize_step.arguments)
        trim_steps = (Step("trim", (WHITE_TOLERANCE,)),) if trim else ()
        return Preprocessing((self.steps[0], *trim_steps, resize_step, self.steps[-1]))

    def to_pixels(self, data: bytes) -> tuple[Pixels, int, int]:
        """Return the (H, W, 3) uint8 pixels, and the width and height in px of the upright original.

        Raises PictureError as open_picture does.
        """
        size = (self.width, self.height)
        image, (width_px, height_px) = decode(data, size)
        if self.steps[1].name == "trim":
            image = _trim(image, int(self.steps[1].arguments[0]))
        resized = _RESIZERS[self._resize_step.name](image, size)
        return np.asarray(resized, dtype=np.uint8), width_px, height_px


def _squash(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize ignoring the aspect ratio, bicubic with antialiasing, as in the original notebook."""
    return image.resize(size, Image.Resampling.BICUBIC)


def _letterbox(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize keeping the aspect ratio, centred on a white page."""
    small = ImageOps.contain(image, size, Image.Resampling.BICUBIC)
    page = Image.new("RGB", size, (255, 255, 255))
    page.paste(small, ((size[0] - small.width) // 2, (size[1] - small.height) // 2))
    return page


def _trim(image: Image.Image, tolerance: int) -> Image.Image:
    """Crop the near-white border, unless less than a tenth of a side would remain."""
    darkness = ImageChops.invert(image).split()
    darkest = ImageChops.lighter(ImageChops.lighter(darkness[0], darkness[1]), darkness[2])
    box = darkest.point(lambda value: 255 if value > tolerance else 0).getbbox()
    if box is None:
        return image
    left, top, right, bottom = box
    remaining = min((right - left) / image.width, (bottom - top) / image.height)
    return image if remaining < _MIN_REMAINING_SHARE else image.crop(box)


# Steps that resize a picture to its final size.
_RESIZERS: Mapping[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
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
        raise InputError(f"preprocessing {spec!r}: {part!r} has an argument that is not a number") from None
    if name in _RESIZERS:
        numbers = numbers * 2 if len(numbers) == 1 else numbers
        is_valid = len(numbers) == 2 and all(1 <= n <= 4096 and n == int(n) for n in numbers)
    elif name == "trim":
        is_valid = len(numbers) == 1 and 0 <= numbers[0] < 255 and numbers[0] == int(numbers[0])
    elif name == "value_range":
        is_valid = len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]
    else:
        is_valid = name == "decode" and not numbers
    if not is_valid:
        raise InputError(f"preprocessing {spec!r}: {part!r} is not a known step")
    return Step(name, numbers)


def _format_number(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert from an embedded RGB profile to sRGB; an unusable profile is ignored."""
    if not isinstance(profile, bytes) or not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted
