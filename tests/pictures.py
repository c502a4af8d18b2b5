"""Generated picture files: valid ones in every supported format, and invalid ones with their error codes."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw


def scene(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """Return an RGB picture with smooth colours, shapes and texture, which depends on the seed.

    The top left corner is red, the top right green, the bottom left blue and the bottom right white.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = rng.uniform(0.5, 3.0, (3, 2))
    phase = rng.uniform(0, 6.28, 3)
    channels = [
        127 + 90 * np.sin(waves[c, 0] * 6.28 * x / width + waves[c, 1] * 6.28 * y / height + phase[c])
        for c in range(3)
    ]
    base = np.stack(channels, axis=-1) + rng.normal(0, 6, (height, width, 3))
    image = Image.fromarray(np.clip(base, 0, 255).astype(np.uint8), "RGB")
    draw = ImageDraw.Draw(image)
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    draw.ellipse(box, fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    w, h = max(1, width // 4 - 1), max(1, height // 4 - 1)
    draw.rectangle((0, 0, w, h), fill=(255, 0, 0))
    draw.rectangle((width - 1 - w, 0, width - 1, h), fill=(0, 255, 0))
    draw.rectangle((0, height - 1 - h, w, height - 1), fill=(0, 0, 255))
    draw.rectangle((width - 1 - w, height - 1 - h, width - 1, height - 1), fill=(255, 255, 255))
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Encode a picture in a format of Pillow."""
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(width: int = 96, height: int = 64, seed: int = 0, quality: int = 92) -> bytes:
    """Return `scene` as a JPEG."""
    return encoded(scene(width, height, seed), "JPEG", quality=quality)


def png(width: int = 96, height: int = 64, seed: int = 0) -> bytes:
    """Return `scene` as a PNG."""
    return encoded(scene(width, height, seed), "PNG")


def rotated_jpeg(orientation: int, width: int = 96, height: int = 64) -> bytes:
    """Return a JPEG with rotated pixels and an EXIF orientation that restores `scene`."""
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = scene(width, height)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image if stored is None else image.transpose(stored), "JPEG", quality=95, exif=exif)


def sixteen_bit(big_endian: bool = False) -> Image.Image:
    """Return `scene` in 16-bit greyscale over the full range."""
    grey = np.asarray(scene().convert("L")).astype(np.uint16) * 257
    return Image.fromarray(grey.astype(">u2") if big_endian else grey)


def _with_alpha() -> Image.Image:
    image = scene().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 48, 64))
    return image


def _palette_with_transparency() -> bytes:
    image = Image.new("P", (96, 64), 1)
    image.putpalette([0, 0, 0, 0, 0, 200] + [0] * 762)
    image.paste(0, (0, 0, 48, 64))
    return encoded(image, "PNG", transparency=0)


def _palette_with_alpha_table() -> bytes:
    image = Image.new("P", (96, 64), 1)
    image.putpalette([0, 0, 0, 0, 0, 200] + [0] * 762)
    image.paste(0, (0, 0, 48, 64))
    return encoded(image, "PNG", transparency=bytes([0, 255]))


def _animated(format: str) -> bytes:
    frames = [scene(seed=seed).convert("RGB") for seed in range(3)]
    return encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)


def _float_tiff() -> bytes:
    grey = np.asarray(scene().convert("L")).astype(np.float32) / 255
    return encoded(Image.fromarray(grey, "F"), "TIFF")


def _int32_tiff() -> bytes:
    grey = np.asarray(scene().convert("L")).astype(np.int32) * 257
    return encoded(Image.fromarray(grey, "I"), "TIFF")


VALID_PICTURES: Mapping[str, Callable[[], bytes]] = {
    "jpeg": jpeg,
    "jpeg-progressive": lambda: encoded(scene(), "JPEG", progressive=True, quality=92),
    "jpeg-grey": lambda: encoded(scene().convert("L"), "JPEG", quality=92),
    "jpeg-cmyk": lambda: encoded(scene().convert("CMYK"), "JPEG", quality=95),
    "jpeg-multi-picture": lambda: encoded(scene(), "MPO", save_all=True, append_images=[scene(seed=1)]),
    "jpeg-rotated": lambda: rotated_jpeg(6),
    "png": png,
    "png-palette": lambda: encoded(scene().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
    "png-one-bit": lambda: encoded(scene().convert("1"), "PNG"),
    "png-grey": lambda: encoded(scene().convert("L"), "PNG"),
    "png-grey-alpha": lambda: encoded(_with_alpha().convert("LA"), "PNG"),
    "png-alpha": lambda: encoded(_with_alpha(), "PNG"),
    "png-16-bit": lambda: encoded(sixteen_bit(), "PNG"),
    "png-palette-transparency": _palette_with_transparency,
    "png-palette-alpha-table": _palette_with_alpha_table,
    "png-animated": lambda: _animated("PNG"),
    "webp": lambda: encoded(scene(), "WEBP", quality=92),
    "webp-lossless-alpha": lambda: encoded(_with_alpha(), "WEBP", lossless=True),
    "webp-animated": lambda: _animated("WEBP"),
    "gif": lambda: encoded(scene(), "GIF"),
    "gif-animated": lambda: _animated("GIF"),
    "bmp": lambda: encoded(scene(), "BMP"),
    "tiff": lambda: encoded(scene(), "TIFF"),
    "tiff-lzw": lambda: encoded(scene(), "TIFF", compression="tiff_lzw"),
    "tiff-cmyk": lambda: encoded(scene().convert("CMYK"), "TIFF"),
    "tiff-16-bit": lambda: encoded(sixteen_bit(), "TIFF"),
    "tiff-16-bit-big-endian": lambda: encoded(sixteen_bit(big_endian=True), "TIFF"),
    "tiff-float": _float_tiff,
    "tiff-32-bit": _int32_tiff,
    "tiff-two-pages": lambda: _animated("TIFF"),
    "avif": lambda: encoded(scene(), "AVIF", quality=92),
}


def huge_png(width: int = 10_000, height: int = 10_000) -> bytes:
    """Return a valid one-bit PNG, by default of 100 megapixels in a few KB."""
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _noise(length: int) -> bytes:
    return random.Random(0).randbytes(length)


# Functions that return the file, and the expected code of PictureError, by name.
INVALID_PICTURES: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not-a-picture"),
    "text-renamed": (lambda: b"these are not the pixels you are looking for\n" * 20, "not-a-picture"),
    "noise": (lambda: _noise(4096), "not-a-picture"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "not-a-picture"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not-a-picture"),
    "ppm": (lambda: encoded(scene(), "PPM"), "not-a-picture"),
    "ico": (lambda: encoded(scene(32, 32), "ICO"), "not-a-picture"),
    "jpeg-truncated": (lambda: jpeg()[:-400], "unreadable"),
    "jpeg-head-only": (lambda: jpeg()[:40], "unreadable"),
    "jpeg-signature-only": (lambda: b"\xff\xd8\xff" + _noise(500), "unreadable"),
    "png-truncated": (lambda: png()[:-2000], "unreadable"),
    "png-signature-only": (lambda: png()[:8], "unreadable"),
    "webp-truncated": (lambda: encoded(scene(), "WEBP")[:-200], "unreadable"),
    "gif-truncated": (lambda: encoded(scene(), "GIF")[:-900], "unreadable"),
    "bmp-truncated": (lambda: encoded(scene(), "BMP")[:-900], "unreadable"),
    "bmp-text": (lambda: b"BMX bicycles and other things\n", "unreadable"),
    "tiff-truncated": (lambda: encoded(scene(), "TIFF", compression="tiff_lzw")[:300], "unreadable"),
    "avif-truncated": (lambda: encoded(scene(), "AVIF")[:-200], "unreadable"),
    "hundred-megapixels": (huge_png, "too-large"),
    "bomb": (lambda: huge_png(60_000, 4_000), "too-large"),
}
