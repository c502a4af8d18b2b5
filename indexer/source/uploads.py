"""Uploaded products as part of the next source: their rows in the journal, pictures in the index folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from vitrine.indexer.errors import PictureError
from vitrine.indexer.journal.journal import Upload
from vitrine.indexer.products.assembly import join_products
from vitrine.indexer.products.schema import COMPUTED_COLUMNS, Product
from vitrine.indexer.products.table import Table
from vitrine.indexer.source.source import Source


class SourceWithUploads(Source):
    """Source followed by uploaded products, whose `image` is a path relative to the index folder."""

    def __init__(self, source: Source, uploads: pa.Table, root: Path) -> None:
        """uploads: columns as in Source.products. root: the index folder."""
        products = join_products(source.products, uploads)
        super().__init__(source.location, source.format, products, source.reader)
        self._source = source
        self._root = root

    def read(self, row: int) -> bytes:
        """Return the bytes of a picture. Raises PictureError."""
        if row < len(self._source):
            return self._source.read(row)
        path = self._root / self._image(row)
        try:
            return path.read_bytes()
        except OSError as error:
            raise PictureError(f"the uploaded picture is gone ({error.strerror})", code="missing") from error

    def resolve_image(self, row: int) -> str:
        """Return the path or URL of a picture.

        The path of an upload stays relative to the index folder, so that the folder can be moved.
        """
        return self._source.resolve_image(row) if row < len(self._source) else self._image(row)

    def fingerprint(self, row: int) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns), or None.

        An upload has None: its file name is the hash of its content.
        """
        return self._source.fingerprint(row) if row < len(self._source) else None


def add_uploads(source: Source, uploads: Mapping[str, Upload], root: Path) -> Source:
    """Return the source with the uploads whose ids it does not contain. root: the index folder."""
    if not uploads:
        return source
    source_ids = set(source.products.column("id").to_pylist())
    products = [Product(**upload.product) for id, upload in uploads.items() if id not in source_ids]
    if not products:
        return source
    columns = Table.from_products(products).arrow.drop_columns(sorted(COMPUTED_COLUMNS))
    return SourceWithUploads(source, columns, root)
