"""Bytes of a picture in, upright RGB pixels out. Knows nothing of files, products or networks.

Every way in which a picture can be bad ends as one PictureError with a short, stable reason; no Pillow
exception or warning leaves this module, and no setting of Pillow's is changed for the host program.
"""

import io
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

# The plugins are imported by name so that Pillow's lazy registration, which is not safe when several
# threads open their first picture at once, never runs.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from indexer.errors import InputError, PictureError

MAX_PIXELS = 64_000_000
MAX_BYTES = 32 * 2**20

PICTURE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
)

Pixels = npt.NDArray[np.uint8]

# A JPEG is decoded scaled down (by 2, 4 or 8, in the DCT) only while both sides keep this many times the
# size wanted: measured on 1,651 photos, see tests/test_images.py.
DRAFT_MARGIN = 2

_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("BMP", re.compile(rb"BM")),
    ("TIFF", re.compile(rb"II[*+]\x00|MM\x00[*+]")),
    ("AVIF", re.compile(rb"....ftyp(avif|avis|mif1|msf1)", re.DOTALL)),
)

# EXIF tag 0x0112, as in the EXIF 2.32 standard, section 4.6.4.
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(data: bytes, *, near_px: tuple[int, int] | None = None) -> Image.Image:
    """Decode the first frame as RGB, upright (EXIF), with transparency laid over white.

    near_px: (width, height) that the caller will shrink the picture to. A large JPEG is then decoded
    scaled down, never below DRAFT_MARGIN times that size on either side.
    Raises PictureError: not a picture of a known format, damaged, over MAX_PIXELS or MAX_BYTES.
    """
    return _decode(data, near_px)[0]


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
        image, (width_px, height_px) = _decode(data, size)
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
        good = len(numbers) == 2 and all(n == int(n) and 1 <= n <= 4096 for n in numbers)
    elif name == "value_range":
        good = len(numbers) == 2 and all(map(math.isfinite, numbers)) and numbers[0] < numbers[1]
    else:
        good = name == "decode" and not numbers
    if not good:
        raise InputError(f"preprocessing {spec!r}: {part!r} is not a step that is known")
    return Step(name, numbers)


def _shortest(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def _decode(data: bytes, near_px: tuple[int, int] | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the RGB picture and the (width, height) in px of the whole original, upright."""
    format = _sniff(data)
    with _silent_pillow(), _only_picture_errors(format):
        image: Image.Image = Image.open(io.BytesIO(data), formats=(format,))
        full = image.size
        if full[0] * full[1] > MAX_PIXELS:
            raise PictureError(_TOO_MANY_PIXELS, kind="too-large")
        if near_px is not None:
            side = max(near_px) * DRAFT_MARGIN  # one side for both: EXIF may still turn the picture
            image.draft(None, (side, side))
        scaled_down = image.size != full
        image.load()  # a TIFF is turned upright by Pillow here, and then says orientation 1
        turn = _orientation(image)
        upright = image.transpose(_UPRIGHT[turn]) if turn in _UPRIGHT else image
        if not scaled_down:
            full = upright.size
        elif turn >= 5:
            full = full[1], full[0]
        return _flatten(upright), full


_TOO_MANY_PIXELS = f"more than {MAX_PIXELS // 1_000_000} megapixels"
_NOT_A_PICTURE = "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture"


def _sniff(data: bytes) -> str:
    """Name the format by its first bytes, so that no other decoder of Pillow's ever sees the data."""
    if len(data) > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES // 2**20} MiB", kind="too-large")
    if not data:
        raise PictureError("the file is empty", kind="not-a-picture")
    for format, signature in _SIGNATURES:
        if signature.match(data):
            return format
    raise PictureError(_NOT_A_PICTURE, kind="not-a-picture")


@contextmanager
def _only_picture_errors(format: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a PictureError with a stable reason."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_TOO_MANY_PIXELS, kind="too-large") from error
    except MemoryError as error:
        raise PictureError(f"not enough memory to decode the {format}") from error
    except (
        Exception
    ) as error:  # decoders of hostile data raise anything: struct.error, SyntaxError, EOFError…
        truncated = isinstance(error, EOFError) or "truncated" in str(error).lower()
        what = "truncated" if truncated else "damaged, or of a kind that cannot be read"
        raise PictureError(f"the {format} is {what}") from error


_silence = threading.Lock()
_silence_depth = 0
_PILLOW_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@contextmanager
def _silent_pillow() -> Iterator[None]:
    """Ignore warnings raised inside Pillow while any thread decodes.

    Not warnings.catch_warnings: it swaps the whole filter list and is not safe with threads. One filter is
    put in front while at least one thread is inside, and taken out by the last to leave.
    """
    global _silence_depth
    filters = warnings.filters
    assert isinstance(filters, list)
    with _silence:
        _silence_depth += 1
        if _PILLOW_FILTER not in filters:
            filters.insert(0, _PILLOW_FILTER)
    try:
        yield
    finally:
        with _silence:
            _silence_depth -= 1
            if _silence_depth == 0 and _PILLOW_FILTER in filters:
                filters.remove(_PILLOW_FILTER)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1 to 8; 1 where the EXIF data is absent or broken, which never spoils a picture."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block raises anything, and the pixels are still good
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to RGB: 16-bit and float scaled to 8 bits, transparency over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        if image.mode != "LA" and "icc_profile" in image.info:
            white.info["icc_profile"] = image.info["icc_profile"]
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Greyscale of more than 8 bits, scaled by the range of its kind rather than clipped.

    16-bit: 65535 becomes 255. 32-bit integers and floats carry no range of their own, so the smallest of
    1 (floats), 255, 65535 and the maximum found that holds every value becomes 255.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        found = float(values.max(initial=0.0))
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((top for top in ranges if found <= top), found)
    grey = np.clip(np.rint(values * (255.0 / top)), 0, 255).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey, "L")


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
