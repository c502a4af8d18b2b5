"""Products that came in through the service, as part of the next source. Reads only the index folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from vitrine.indexer.errors import PictureError
from vitrine.indexer.journal.journal import Upload
from vitrine.indexer.products.table import CORE_SCHEMA, Product, Table, join_products
from vitrine.indexer.source.source import Source

_COMPUTED = [name for name in CORE_SCHEMA.names if name not in ("id", "name", "category", "group", "image")]


class SourceWithUploads(Source):
    """A source and, behind its rows, uploaded products. Their `image` is a path inside the index folder."""

    def __init__(self, source: Source, uploads: pa.Table, root: Path) -> None:
        """uploads: product columns as a source has them. root: the index folder."""
        super().__init__(source.location, source.kind, join_products(source.products, uploads), source._place)
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

    def absolute(self, row: int) -> str:
        """Return where a picture is; an upload's path stays relative, so that an index folder can move."""
        return self._source.absolute(row) if row < len(self._source) else self._image(row)

    def fingerprint(self, row: int) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns); None for uploads, which are named by content."""
        return self._source.fingerprint(row) if row < len(self._source) else None


def with_uploads(source: Source, uploads: Mapping[str, Upload], root: Path) -> Source:
    """Return the source with the uploads that it does not hold itself; a product of both is the source's."""
    if not uploads:
        return source
    known = set(source.products.column("id").to_pylist())
    products = [Product(**upload.product) for name, upload in uploads.items() if name not in known]
    if not products:
        return source
    columns = Table.from_products(products).arrow.drop_columns(_COMPUTED)
    return SourceWithUploads(source, columns, root)
