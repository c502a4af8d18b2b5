"""Picture files: which of them may be served, their thumbnails, and uploads kept under their digest.

A file is found through the product table only, never through a name that a client gave, and only inside
folders that are known to hold the catalogue's pictures. Nothing is fetched from a URL.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitrine.indexer.config import Layout
from vitrine.indexer.errors import PictureError
from vitrine.indexer.files import storage_errors
from vitrine.indexer.pictures.preprocessing import MAX_BYTES, sniff_format, thumbnail
from vitrine.indexer.products.table import Product
from vitrine.indexer.source.readers import is_url, local_path, read_local
from vitrine.service.errors import PictureAbsent
from vitrine.service.pictures.thumbnails import Format, ThumbnailCache, rounded_size

_EXTENSIONS = {
    "JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "AVIF": "avif",
}  # fmt: skip
_MIME_TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "BMP": "image/bmp",
    "TIFF": "image/tiff", "AVIF": "image/avif",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes to send. `etag` names them: it changes when they could."""

    data: bytes
    mime_type: str
    etag: str


class PictureFiles:
    """The pictures of one index folder. Thread-safe."""

    def __init__(self, layout: Layout, roots: Sequence[str], thumbnail_bytes: int) -> None:
        """roots: folders that pictures may lie in, besides the source of the snapshot and the uploads."""
        self._uploads = layout.uploads
        self._roots = tuple(roots)
        self.thumbnails = ThumbnailCache(layout.cache / "thumbnails", thumbnail_bytes)

    def original(self, product: Product, source: str) -> Picture:
        """Return the picture as it was indexed. source: the manifest's. Raises PictureAbsent."""
        data = self._read(product, source)
        try:
            mime_type = _MIME_TYPES[sniff_format(data)]
        except PictureError as error:
            raise PictureAbsent(f"the picture of {product.id!r} is no picture any more: {error}") from error
        return Picture(data, mime_type, _digest(data)[:32])

    def small(self, product: Product, source: str, size_px: int, format: Format) -> Picture:
        """Return a thumbnail at most the rounded size on its longer side. Raises PictureAbsent."""
        size_px = rounded_size(size_px)

        def make() -> bytes:
            try:
                return thumbnail(self._read(product, source), size_px, format)
            except PictureError as error:
                raise PictureAbsent(f"the picture of {product.id!r} cannot be shown: {error}") from error

        data = self.thumbnails.get(product.sha256, size_px, format, make)
        return Picture(data, f"image/{format.lower()}", f"{product.sha256[:32]}-{size_px}-{format.lower()}")

    def keep_upload(self, data: bytes) -> tuple[str, str]:
        """Store an uploaded picture durably; return its SHA-256 and its path inside the index folder.

        Its name is its digest, whatever the client called it. Raises PictureError, StorageFull.
        """
        sha256 = _digest(data)
        path = self._uploads / f"{sha256}.{_EXTENSIONS[sniff_format(data)]}"
        with storage_errors(self._uploads):
            if not (path.is_file() and path.stat().st_size == len(data)):
                self._uploads.mkdir(parents=True, exist_ok=True)
                _write_durably(path, data)
        return sha256, f"{self._uploads.name}/{path.name}"

    def _read(self, product: Product, source: str) -> bytes:
        try:
            return read_local(str(self._permitted(product, source)), MAX_BYTES)
        except (OSError, ValueError) as error:
            raise PictureAbsent(f"the picture file of {product.id!r} is not there any more") from error

    def _permitted(self, product: Product, source: str) -> Path:
        """Return the product's file with links resolved. Raises PictureAbsent outside the known folders."""
        if is_url(product.image):
            raise PictureAbsent(
                f"the picture of {product.id!r} lies behind a URL, which this service does not fetch"
            )
        path = (self._uploads.parent / local_path(product.image)).resolve()
        folders = [Path(folder) for folder in (*self._roots, *source_folders(source))]
        roots = [folder.resolve() for folder in (self._uploads, *folders)]
        if not any(path.is_relative_to(root) for root in roots):
            raise PictureAbsent(
                f"the picture of {product.id!r} lies outside the source's folder: "
                "name its folder with --picture-roots to serve it"
            )
        return path


def source_folders(source: str) -> list[str]:
    """Return the folder that a local source's pictures lie in; none for a remote one."""
    if is_url(source):
        return []
    path = Path(local_path(source))
    return [str(path if path.is_dir() else path.parent)]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_durably(path: Path, data: bytes) -> None:
    """Write by rename: after a crash at any moment the file is whole or absent."""
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
