"""Decoding of picture files with Pillow: upright RGB pixels, or a PictureError for any invalid data.

Exceptions and warnings of Pillow do not leave this module, and Pillow's global settings are not changed.
"""

import io
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# The plugins are imported explicitly, which avoids Pillow's lazy registration: it is not safe when several
# threads open their first picture at once.
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
from vitrine.indexer.pictures.repair import repair_picture

MAX_PIXELS = 64_000_000
MAX_BYTES = 32 * 2**20

# A JPEG is decoded at a reduced scale (1/2, 1/4 or 1/8, in the DCT) only if both sides stay at least this
# many times the target size. Measured on photos of 1,200 px resized to 260 px: with 3 the cosine of the
# embedding changes by at most 0.0002, with 2 by 0.0017; saving the same photo again at quality 85 changes it
# by 0.0038.
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
_SHORT = 3
_TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, target_px: tuple[int, int] | None) -> tuple[Image.Image, tuple[int, int]]:
    """Return the first frame as upright RGB, and the (width, height) in px of the upright original.

    target_px: (width, height) that the caller will resize to, None for full size; see
    vitrine.indexer.pictures.preprocessing.open_picture. Raises PictureError.
    """
    format = sniff_format(data)
    try:
        return _decode(data, format, target_px)
    except PictureError:
        with _ignore_pillow_warnings():
            repaired = repair_picture(data, format)
        if repaired is None:
            raise
    return _decode(repaired, format, target_px)


def _decode(
    data: bytes, format: str, target_px: tuple[int, int] | None
) -> tuple[Image.Image, tuple[int, int]]:
    with _ignore_pillow_warnings(), _translate_errors(format):
        image: Image.Image = Image.open(io.BytesIO(data), formats=(format,))
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PictureError(_TOO_MANY_PIXELS, code="too-large")
        if target_px is not None:
            side = max(target_px) * DRAFT_MARGIN  # the longer side for both: EXIF may swap width and height
            image.draft(None, (side, side))
        is_reduced = image.size != (width, height)
        image.load()  # Pillow turns a TIFF upright here and resets its orientation to 1
        orientation = _orientation(image, format)
        transpose = _TRANSPOSE_BY_ORIENTATION.get(orientation)
        upright = image if transpose is None else image.transpose(transpose)
        if not is_reduced:
            return _to_rgb(upright), upright.size
        return _to_rgb(upright), (height, width) if orientation >= 5 else (width, height)


_TOO_MANY_PIXELS = f"more than {MAX_PIXELS // 1_000_000} megapixels"
_NOT_A_PICTURE = "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture"


def sniff_format(data: bytes) -> str:
    """Return Pillow's name of the format, detected from the first bytes.

    Only the decoder of that format is then given the data. Raises PictureError if the data is empty, larger
    than MAX_BYTES, or of an unsupported format.
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
def _translate_errors(format: str) -> Iterator[None]:
    """Turn every exception of a decoder into a PictureError with a stable reason."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(_TOO_MANY_PIXELS, code="too-large") from error
    except MemoryError as error:
        raise PictureError(f"not enough memory to decode the {format}") from error
    # For invalid data, decoders raise exceptions of many types: struct.error, SyntaxError, EOFError…
    except Exception as error:
        is_truncated = isinstance(error, EOFError) or "truncated" in str(error).lower()
        problem = "truncated" if is_truncated else "damaged, or of a kind that cannot be read"
        raise PictureError(f"the {format} is {problem}") from error


_filter_lock = threading.Lock()
_filter_users = 0
_PILLOW_FILTER = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@contextmanager
def _ignore_pillow_warnings() -> Iterator[None]:
    """Ignore warnings raised inside Pillow while any thread decodes.

    warnings.catch_warnings replaces the whole filter list and is not thread-safe. Instead, the first thread
    inserts one filter and the last one removes it.
    """
    global _filter_users
    filters = warnings.filters
    assert isinstance(filters, list)
    with _filter_lock:
        _filter_users += 1
        if _PILLOW_FILTER not in filters:
            filters.insert(0, _PILLOW_FILTER)
    try:
        yield
    finally:
        with _filter_lock:
            _filter_users -= 1
            if _filter_users == 0 and _PILLOW_FILTER in filters:
                filters.remove(_PILLOW_FILTER)


def _orientation(image: Image.Image, format: str) -> int:
    """Return the orientation that a browser applies, 1 to 8.

    As measured with Chromium: it reads the EXIF data of JPEG and PNG, if the value is one SHORT, and ignores
    XMP and the EXIF data of WebP. Pillow presents the rotation of an AVIF container as EXIF data.
    """
    exif = image.info.get("exif")
    return 1 if format in ("WEBP", "TIFF") or not isinstance(exif, bytes) else _exif_orientation(exif)


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation in the first directory of EXIF data, 1 if it is absent or broken."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        for start in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, number_type, length, value = struct.unpack_from(f"{order}HHIH", tiff, start)
            if tag == _ORIENTATION_TAG:
                is_one_short = (number_type, length) == (_SHORT, 1)
                return int(value) if is_one_short and value in _TRANSPOSE_BY_ORIENTATION else 1
    except struct.error:
        pass
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16-bit and float values scaled to 8 bits, transparency over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        if image.mode != "LA" and "icc_profile" in image.info:
            white.info["icc_profile"] = image.info["icc_profile"]
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale greyscale values of more than 8 bits to 8 bits, without clipping.

    In a 16-bit image 65535 becomes 255. 32-bit integers and floats have no fixed range: there, the smallest
    of 1 (floats only), 255, 65535 and the largest value of the image that no value exceeds becomes 255.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        grey = ((values.astype(np.uint32) * 255 + 32895) >> 16).astype(np.uint8)  # rounded value / 257
    else:
        values = np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        largest = float(values.max(initial=0.0))
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((top for top in ranges if largest <= top), largest)
        grey = np.clip(np.rint(values * (255.0 / top)), 0, 255).astype(np.uint8)
    key = image.info.get("transparency")
    if isinstance(key, int):
        grey[values == key] = 255
    return Image.fromarray(grey, "L")
