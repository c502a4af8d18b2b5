"""Picture files: the pictures that may be served, their thumbnails, and stored uploads.

A file is found through the product table only, never through a name from a client, and only inside folders
that are known to hold the catalogue's pictures. Nothing is fetched from a URL.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitrine.indexer.config import Layout
from vitrine.indexer.errors import PictureError
from vitrine.indexer.files import atomic_write, storage_errors
from vitrine.indexer.pictures.preprocessing import MAX_BYTES, make_thumbnail, sniff_format
from vitrine.indexer.products.schema import Product
from vitrine.indexer.source.readers import is_url, local_path, read_local
from vitrine.service.errors import PictureUnavailable
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
    """A picture to serve. `etag` changes whenever the bytes could."""

    data: bytes
    mime_type: str
    etag: str


class PictureFiles:
    """The picture files of one index folder. Thread-safe."""

    def __init__(self, layout: Layout, roots: Sequence[str], thumbnail_bytes: int) -> None:
        """roots: folders whose pictures may be served, besides the snapshot's source and the uploads.

        thumbnail_bytes: the maximum size of all thumbnails on disk.
        """
        self._uploads = layout.uploads
        self._roots = tuple(roots)
        self.thumbnails = ThumbnailCache(layout.cache / "thumbnails", thumbnail_bytes)

    def original(self, product: Product, source: str) -> Picture:
        """Return the picture file of a product. source: of the manifest. Raises PictureUnavailable."""
        data = self._read(product, source)
        try:
            mime_type = _MIME_TYPES[sniff_format(data)]
        except PictureError as error:
            raise PictureUnavailable(
                f"the file of {product.id!r} is not a picture any more: {error}"
            ) from error
        return Picture(data, mime_type, _sha256(data)[:32])

    def scaled(self, product: Product, source: str, size_px: int, format: Format) -> Picture:
        """Return a thumbnail whose longer side is at most the rounded size. Raises PictureUnavailable."""
        size_px = rounded_size(size_px)

        def make() -> bytes:
            try:
                return make_thumbnail(self._read(product, source), size_px, format)
            except PictureError as error:
                raise PictureUnavailable(
                    f"the picture of {product.id!r} cannot be decoded: {error}"
                ) from error

        data = self.thumbnails.get(product.sha256, size_px, format, make)
        return Picture(data, f"image/{format.lower()}", f"{product.sha256[:32]}-{size_px}-{format.lower()}")

    def store_upload(self, data: bytes) -> tuple[str, str]:
        """Store an uploaded picture durably; return its SHA-256 and its path inside the index folder.

        The file is named by its digest, not by the client. Raises PictureError, StorageFull.
        """
        sha256 = _sha256(data)
        path = self._uploads / f"{sha256}.{_EXTENSIONS[sniff_format(data)]}"
        with storage_errors(self._uploads):
            if not (path.is_file() and path.stat().st_size == len(data)):
                self._uploads.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as file:
                    file.write(data)
                _sync_folder(self._uploads)
        return sha256, f"{self._uploads.name}/{path.name}"

    def _read(self, product: Product, source: str) -> bytes:
        try:
            return read_local(str(self._permitted_path(product, source)), MAX_BYTES)
        except (OSError, ValueError) as error:
            raise PictureUnavailable(f"the picture file of {product.id!r} is missing") from error

    def _permitted_path(self, product: Product, source: str) -> Path:
        """Return the product's file with links resolved. Raises PictureUnavailable outside known folders."""
        if is_url(product.image):
            raise PictureUnavailable(
                f"the picture of {product.id!r} is at a URL, and this service fetches no URLs"
            )
        path = (self._uploads.parent / local_path(product.image)).resolve()
        folders = [Path(folder) for folder in (*self._roots, *source_folders(source))]
        roots = [folder.resolve() for folder in (self._uploads, *folders)]
        if not any(path.is_relative_to(root) for root in roots):
            raise PictureUnavailable(
                f"the picture of {product.id!r} is outside the source's folder: "
                "name its folder with --picture-roots to serve it"
            )
        return path


def source_folders(source: str) -> list[str]:
    """Return the folder that holds a local source's pictures; an empty list for a remote source."""
    if is_url(source):
        return []
    path = Path(local_path(source))
    return [str(path if path.is_dir() else path.parent)]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Sync a folder to disk, so that a file renamed in it keeps its name after a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
