"""Repair of picture files that browsers show but Pillow refuses.

Only data that does not change the pixels is dropped or added: the missing end marker of a JPEG, and ancillary
chunks of a PNG. An incomplete picture stays incomplete.
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
    """Drop the ancillary chunks that have no effect on the pixels, or are damaged themselves."""
    kept = [_PNG_SIGNATURE]
    for chunk_type, content, is_sound in _png_chunks(data):
        is_critical = not chunk_type[0] & 0x20  # the case of the first letter, PNG specification section 5.4
        if is_critical or (chunk_type in _KEPT_CHUNKS and is_sound and _is_usable(chunk_type, content)):
            checksum = zlib.crc32(chunk_type + content) if is_sound else zlib.crc32(chunk_type + content) ^ 1
            kept.append(struct.pack(">I", len(content)) + chunk_type + content + struct.pack(">I", checksum))
    reduced = b"".join(kept)
    return None if reduced == data else reduced


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
        yield chunk_type, content, data[end - 4 : end] == struct.pack(">I", zlib.crc32(chunk_type + content))
        position = end
        if chunk_type == b"IEND":
            return


def _is_usable(chunk_type: bytes, content: bytes) -> bool:
    """Return True unless a colour profile is damaged or expands to more than a megabyte."""
    if chunk_type != b"iCCP":
        return True
    _, _, packed = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        inflate.decompress(packed[1:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return not inflate.unconsumed_tail
