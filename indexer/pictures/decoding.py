"""One decoder for all pictures: whatever Pillow does with hostile data, an RGB picture or a PictureError.

No Pillow exception or warning leaves this module, and no setting of Pillow's is changed for the host program.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# The plugins are imported by name so that Pillow's lazy registration, which is not safe when several
# threads open their first picture at once, never runs.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from vitrine.indexer.errors import PictureError

MAX_PIXELS = 64_000_000
MAX_BYTES = 32 * 2**20

# A JPEG is decoded scaled down (by 2, 4 or 8, in the DCT) only while both sides keep this many times the
# size wanted. Measured on photos of 1,200 px shrunk to 260: at 3 the embedding moves by 0.0002 in cosine at
# worst, at 2 by 0.0017; saving the same photo again at quality 85 moves it by 0.0038.
DRAFT_MARGIN = 3

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


def decode(data: bytes, near_px: tuple[int, int] | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the first frame as RGB, upright, and the (width, height) in px of the whole original, upright.

    near_px: see vitrine.indexer.pictures.preprocessing.open_picture. Raises PictureError.
    """
    format = sniff_format(data)
    with _silent_pillow(), _only_picture_errors(format):
        image: Image.Image = Image.open(io.BytesIO(data), formats=(format,))
        full = image.size
        if full[0] * full[1] > MAX_PIXELS:
            raise PictureError(_TOO_MANY_PIXELS, code="too-large")
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


def sniff_format(data: bytes) -> str:
    """Name the format, as Pillow does, by the first bytes; no other decoder then sees the data.

    Raises PictureError: too large, empty, not of a format that is read here.
    """
    if len(data) > MAX_BYTES:
        raise PictureError(f"larger than {MAX_BYTES // 2**20} MiB", code="too-large")
    if not data:
        raise PictureError("the file is empty", code="not-a-picture")
    for format, signature in _SIGNATURES:
        if signature.match(data):
            return format
    raise PictureError(_NOT_A_PICTURE, code="not-a-picture")


@contextmanager
def _only_picture_errors(format: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a PictureError with a stable reason."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_TOO_MANY_PIXELS, code="too-large") from error
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
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        grey = ((values.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)  # rounded value / 257
    else:
        values = np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        found = float(values.max(initial=0.0))
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((top for top in ranges if found <= top), found)
        grey = np.clip(np.rint(values * (255.0 / top)), 0, 255).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey, "L")
