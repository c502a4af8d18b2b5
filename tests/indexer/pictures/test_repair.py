"""Tests of repair: files that browsers show are decoded, and incomplete pictures are still refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from vitrine.indexer.errors import PictureError
from vitrine.indexer.pictures.preprocessing import make_thumbnail, open_picture
from vitrine.indexer.pictures.repair import repair_picture

JPEG_END = b"\xff\xd9"


def scene(width_px: int = 96, height_px: int = 64) -> Image.Image:
    """A picture without large areas of one colour."""
    noise = np.random.default_rng(3).integers(0, 256, (height_px // 4, width_px // 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width_px, height_px), Image.Resampling.BICUBIC)


def jpeg(**options: object) -> bytes:
    out = io.BytesIO()
    scene().save(out, "JPEG", quality=90, **options)
    return out.getvalue()


def png(info: PngImagePlugin.PngInfo | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    scene().save(out, "PNG", pnginfo=info, **options)
    return out.getvalue()


def chunk(name: bytes, content: bytes, *, is_sound: bool = True) -> bytes:
    checksum = zlib.crc32(name + content) ^ (0 if is_sound else 1)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def with_chunk(data: bytes, added: bytes) -> bytes:
    """Return a PNG with a chunk behind its header."""
    return data[:33] + added + data[33:]


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("padding", [b"", b"\0" * 100])
def test_a_jpeg_without_its_end_marker_is_whole(progressive: bool, padding: bytes) -> None:
    data = jpeg(progressive=progressive)
    cut = data.removesuffix(JPEG_END) + padding
    assert np.array_equal(pixels(cut), pixels(data))
    assert make_thumbnail(cut, 32)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
def test_a_part_of_a_jpeg_is_refused(progressive: bool, share: float) -> None:
    data = jpeg(progressive=progressive)
    with pytest.raises(PictureError, match="the JPEG is truncated"):
        open_picture(data[: int(len(data) * share)])


def test_a_jpeg_that_lacks_its_last_bytes_is_refused() -> None:
    data = jpeg()
    with pytest.raises(PictureError, match="the JPEG is truncated"):
        open_picture(data[:-12])


LONG_TEXT = PngImagePlugin.PngInfo()
LONG_TEXT.add_text("comment", "x" * 3_000_000, zip=True)
LONG_XMP = PngImagePlugin.PngInfo()
LONG_XMP.add_itxt("XML:com.adobe.xmp", "<x>" + " " * 3_000_000 + "</x>", zip=True)
MANY_TEXTS = PngImagePlugin.PngInfo()
for number in range(80):
    MANY_TEXTS.add_text(f"part {number}", "y" * 1_000_000, zip=True)


@pytest.mark.parametrize("info", [LONG_TEXT, LONG_XMP, MANY_TEXTS], ids=["text", "xmp", "many"])
def test_a_png_with_long_texts_is_decoded(info: PngImagePlugin.PngInfo) -> None:
    assert np.array_equal(pixels(png(info)), np.asarray(scene()))


@pytest.mark.parametrize(
    "added",
    [
        chunk(b"tEXt", b"comment\0damaged", is_sound=False),
        chunk(b"gAMA", struct.pack(">I", 45455), is_sound=False),
        chunk(b"pHYs", b"\0\0\1"),
        chunk(b"tIME", b"\7"),
        chunk(b"iCCP", b"name\0\0" + zlib.compress(b"\0" * 5_000_000)),
        chunk(b"iCCP", b"name\0\0not zlib"),
        chunk(b"zTXt", b"name\0\0not zlib"),
        chunk(b"prVt", b"\0" * 1000, is_sound=False),
    ],
    ids=[
        "checksum",
        "gamma checksum",
        "short pHYs",
        "short tIME",
        "large profile",
        "profile",
        "zTXt",
        "private",
    ],
)
def test_a_png_with_a_damaged_ancillary_chunk_is_decoded(added: bytes) -> None:
    assert np.array_equal(pixels(with_chunk(png(), added)), np.asarray(scene()))


def test_transparency_survives_the_repair() -> None:
    out = io.BytesIO()
    palette = scene().quantize(16)
    palette.save(out, "PNG", transparency=palette.getpixel((0, 0)))
    damaged = with_chunk(out.getvalue(), chunk(b"tEXt", b"x\0y", is_sound=False))
    assert np.array_equal(pixels(damaged), pixels(out.getvalue()))


def test_a_png_without_its_end_is_whole() -> None:
    data = png()
    assert np.array_equal(pixels(data[:-12]), pixels(data))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_part_of_a_png_is_refused(share: float) -> None:
    data = png()
    with pytest.raises(PictureError, match="the PNG is "):
        open_picture(data[: int(len(data) * share)])


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE"])
def test_a_damaged_critical_chunk_is_refused(name: bytes) -> None:
    out = io.BytesIO()
    scene().quantize(16).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[data.index(name) + 6] ^= 0xFF
    with pytest.raises(PictureError, match="the PNG is "):
        open_picture(bytes(data))


def test_whole_pixels_with_a_wrong_checksum_of_their_own_are_decoded() -> None:
    data = png()
    start = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, start - 4)
    packed = bytearray(data[start + 4 : start + 4 + length])
    packed[-1] ^= 0xFF
    damaged = data[: start - 4] + chunk(b"IDAT", bytes(packed)) + data[start + 8 + length :]
    assert np.array_equal(pixels(damaged), np.asarray(scene()))


def test_sound_pictures_are_not_touched() -> None:
    assert repair_picture(jpeg(), "JPEG") is None
    assert repair_picture(png(), "PNG") is None
    assert repair_picture(b"", "GIF") is None


@pytest.mark.parametrize("name", [b"IDAT", b"IEND"])
def test_a_wrong_checksum_around_whole_pixels_is_corrected(name: bytes) -> None:
    data = bytearray(png())
    (length,) = struct.unpack_from(">I", data, data.index(name) - 4)
    data[data.index(name) + 4 + length] ^= 0xFF
    assert np.array_equal(pixels(bytes(data)), np.asarray(scene()))
