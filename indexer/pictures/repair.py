"""Repair of picture files that browsers show but Pillow refuses.

Only data that does not change the pixels is dropped or added: the missing end marker of a JPEG, ancillary
chunks and checksums of a PNG. An incomplete picture stays incomplete.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

_JPEG_END = b"\xff\xd9"
# Bits that would be decoded as picture content if a scan were incomplete.
_PROBE = b"\xa5\x5a\x33" * 128
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Ancillary chunks with an effect on how a picture looks.
_KEPT_CHUNKS = frozenset({b"tRNS", b"iCCP", b"eXIf"})
_MAX_PROFILE_BYTES = 2**20
_MAX_PIXEL_BYTES = 2**28


def repair_picture(data: bytes, format: str) -> bytes | None:
    """Return equivalent data that Pillow decodes, or None if there is nothing to repair.

    format: Pillow's name of the format. Call it for data that could not be decoded: it takes two decodings.
    """
    if format == "JPEG":
        return _complete_jpeg(data)
    return _reduce_png(data) if format == "PNG" else None


def _complete_jpeg(data: bytes) -> bytes | None:
    """Add the end marker to a JPEG whose last scan is complete.

    Bits behind a complete scan do not change the pixels; behind an incomplete one, they are decoded as its
    continuation. So a picture is complete if two different continuations give the same pixels.
    """
    if data.rstrip(b"\0").endswith(_JPEG_END):
        return None
    try:
        with (
            Image.open(io.BytesIO(data + _JPEG_END), formats=("JPEG",)) as ended,
            Image.open(io.BytesIO(data + _PROBE + _JPEG_END), formats=("JPEG",)) as continued,
        ):
            is_complete = np.array_equal(np.asarray(ended), np.asarray(continued))
    except Exception:  # decoders raise exceptions of many types
        return None
    return data + _JPEG_END if is_complete else None


def _reduce_png(data: bytes) -> bytes | None:
    """Drop the ancillary chunks that have no effect on the pixels, or are damaged themselves.

    Compressed pixels with wrong checksums are kept if they hold every row of the picture.
    """
    chunks = list(_png_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or not chunks[0][2]:
        return None
    packed = _complete_pixels(
        b"".join(content for name, content, _ in chunks if name == b"IDAT"), chunks[0][1]
    )
    if packed is None:
        return None
    kept = [_PNG_SIGNATURE]
    for name, content, is_sound in chunks:
        if name == b"IDAT":
            kept += [_png_chunk(name, packed)] if packed else []
            packed = b""
        elif name == b"IEND" or (is_sound and (_is_critical(name) or _is_kept(name, content))):
            kept.append(_png_chunk(name, content))
        elif _is_critical(name):
            return None
    reduced = b"".join(kept)
    return None if reduced == data else reduced


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + _checksum(name, content)


def _checksum(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(name + content))


def _is_critical(name: bytes) -> bool:
    """Return True for chunks without which a PNG cannot be shown: the case of the first letter says so."""
    return not name[0] & 0x20  # PNG specification, section 5.4


def _complete_pixels(packed: bytes, header: bytes) -> bytes | None:
    """Return a sound zlib stream of the pixels, None if rows are missing. packed: the stream of the file."""
    needed = _pixel_bytes(header)
    if not needed or needed > _MAX_PIXEL_BYTES:
        return None
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)  # without the checksum at the end
    try:
        pixels = inflate.decompress(packed[2:], needed)
    except zlib.error:
        return None
    if len(pixels) < needed:
        return None
    is_sound = packed[-4:] == struct.pack(">I", zlib.adler32(pixels)) and not inflate.unconsumed_tail
    return packed if is_sound else zlib.compress(pixels, 1)


def _pixel_bytes(header: bytes) -> int:
    """Return the size of all filtered rows in bytes, 0 for a header that does not tell it.

    The seven passes of an interlaced picture are not added up: such a picture is not repaired.
    """
    if len(header) != 13:
        return 0
    width, height, depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", header)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour_type, 0)
    return 0 if interlace else height * (1 + (width * depth * channels + 7) // 8) if channels else 0


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield (type, content, whether the checksum is right) of each whole chunk."""
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        chunk_type = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data) or not chunk_type.isalpha():
            return
        content = data[position + 8 : end - 4]
        yield chunk_type, content, data[end - 4 : end] == _checksum(chunk_type, content)
        position = end
        if chunk_type == b"IEND":
            return


def _is_kept(name: bytes, content: bytes) -> bool:
    """Return True for the ancillary chunks that change how a picture looks, except an unusable profile."""
    if name != b"iCCP":
        return name in _KEPT_CHUNKS
    _, _, packed = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        inflate.decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return not inflate.unconsumed_tail
