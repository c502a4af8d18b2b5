"""Sources: a folder or a manifest as one table of products, with their picture files.

The rules for products are checked once, when a source is opened. Errors of a single picture are raised when
it is read; pictures are not decoded here.
"""

# os.path on strings, not Path: a folder may contain a million pictures.
# ruff: noqa: PTH100, PTH110, PTH112, PTH118, PTH120, PTH122

import copy
import logging
import os
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Literal

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import requests

from vitrine.indexer.errors import PictureError, SourceError
from vitrine.indexer.journal.fold import Move
from vitrine.indexer.pictures.preprocessing import PICTURE_EXTENSIONS
from vitrine.indexer.source.complete import SourceContext, compile_category_pattern, complete_products
from vitrine.indexer.source.manifest import manifest_format, parse_manifest
from vitrine.indexer.source.readers import (
    LocalReader,
    PictureReader,
    RemoteReader,
    UrlReader,
    client_errors_as_os_errors,
    is_url,
    local_path,
    read_local,
)

SourceFormat = Literal["folder", "csv", "parquet", "jsonl"]

_MAX_MANIFEST_BYTES = 8 * 2**30
_MANIFEST_TIMEOUT_S = 600.0
_NO_PICTURE_FILES = "no JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file in this folder"

_log = logging.getLogger(__name__)


class Source:
    """Table of products in source order, with access to their picture files.

    location: path or URL, as given. products: columns id, name, category, group and image (text; only group
    has nulls; category is "" for none), then the attributes with their types.
    """

    def __init__(
        self, location: str, format: SourceFormat, products: pa.Table, reader: PictureReader
    ) -> None:
        self.location = location
        self.format = format
        self.products = products
        self.reader = reader
        self._images: pa.Array = products["image"].combine_chunks()

    def __len__(self) -> int:
        return len(self.products)

    def exclude_products(self, ids: Collection[str]) -> "Source":
        """Return the source without the products of the given ids."""
        if not ids:
            return self
        excluded = pc.is_in(self.products["id"], value_set=pa.array(sorted(ids), pa.string()))
        return Source(self.location, self.format, self.products.filter(pc.invert(excluded)), self.reader)

    def apply_moves(self, moves: Mapping[str, Move]) -> "Source":
        """Return the source with the categories that products were moved to. moves: by product id."""
        if not moves:
            return self
        categories = self.products["category"].to_pylist()
        for row, product_id in enumerate(self.products["id"].to_pylist()):
            move = moves.get(product_id)
            if move is not None and move.overrides(categories[row]):
                categories[row] = move.category
        changed = copy.copy(self)
        position = self.products.column_names.index("category")
        changed.products = self.products.set_column(position, "category", pa.array(categories, pa.string()))
        return changed

    def read(self, row: int) -> bytes:
        """Return the bytes of a product's picture. Thread-safe.

        Raises PictureError with code missing, outside-source, too-large or unreadable.
        """
        image = self._image(row)
        if not image:
            raise PictureError("no image is named", code="missing")
        return self.reader.read(image)

    def resolve_image(self, row: int) -> str:
        """Return the absolute path or URL of a product's picture, "" if it has none."""
        image = self._image(row)
        return self.reader.resolve(image) if image else ""

    def fingerprint(self, row: int) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns) of a local picture, else None."""
        return self.reader.fingerprint(self._image(row))

    def _image(self, row: int) -> str:
        image: str = self._images[row].as_py()
        return image


def open_source(
    location: str | os.PathLike[str],
    *,
    category_from: str = "auto",
    columns: Mapping[str, str] = MappingProxyType({}),
    limit: int | None = None,
) -> Source:
    """Open a folder or a CSV, Parquet or JSONL manifest, local or at any URL that fsspec supports.

    category_from: 'auto' (the column of a manifest, else the folder, else the leading letters of the file
    name), 'folder', 'filename', or a regular expression searched in the image's relative path without
    extension, whose first group is the category. columns: names of a manifest's columns by field, where they
    differ. limit: maximum number of products; the first ones are kept.
    Raises SourceError.
    """
    path = os.fspath(location)
    path = path if is_url(path) else local_path(path)
    if limit is not None and limit < 1:
        raise SourceError(f"--limit {limit}: at least 1 product")
    if category_from not in ("auto", "folder", "filename"):
        compile_category_pattern(category_from)
    format = _detect_format(path)
    table, reader = _list_folder(path) if format == "folder" else _read_manifest(path, columns)
    if format == "folder" and columns:
        raise SourceError(f"{path}: --column is for manifests, and this is a folder")
    if limit is not None:
        table = table.slice(0, limit)
    if len(table) == 0:
        reason = _NO_PICTURE_FILES if format == "folder" else "no rows"
        raise SourceError(f"{path}: no products found, {reason}")

    def row_label(row: int) -> str:
        return repr(table["image"][row].as_py()) if format == "folder" else f"row {row + 1}"

    products = complete_products(table, SourceContext(path, reader.root, row_label), category_from)
    return Source(path, format, products, reader)


def _detect_format(path: str) -> SourceFormat:
    """Return 'folder' or the format of a manifest. Raises SourceError for any other file."""
    if is_url(path):
        return manifest_format(path.split("?")[0]) or "folder"
    if os.path.isdir(path):
        return "folder"
    if not os.path.exists(path):
        raise SourceError(f"{path}: no such file or folder")
    format = manifest_format(path)
    if format is None:
        raise SourceError(f"{path}: neither a folder nor a manifest (.csv, .parquet or .jsonl)")
    return format


def _read_manifest(path: str, columns: Mapping[str, str]) -> tuple[pa.Table, PictureReader]:
    reader: PictureReader
    try:
        if is_url(path):
            reader = RemoteReader(path.split("?")[0].rsplit("/", 1)[0])
            data = UrlReader(_MANIFEST_TIMEOUT_S).read(path, _MAX_MANIFEST_BYTES)
        else:
            reader = LocalReader(os.path.dirname(os.path.abspath(path)))
            data = read_local(path, _MAX_MANIFEST_BYTES)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{path}: cannot be read: {_reason(error)}") from error
    return parse_manifest(data, path.split("?")[0], columns), reader


def _list_folder(path: str) -> tuple[pa.Table, PictureReader]:
    reader: PictureReader
    try:
        if is_url(path):
            reader = RemoteReader(path)
            images = _list_remote_images(path)
        else:
            reader = LocalReader(path)
            images = _list_local_images(path)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{path}: cannot be listed: {_reason(error)}") from error
    images.sort()
    try:
        return pa.table({"image": pa.array(images, pa.string())}), reader
    except UnicodeEncodeError as error:
        raise SourceError(f"{path}: {error.object!r}: the file name is not UTF-8; rename the file") from error


def _list_local_images(root: str) -> list[str]:
    """Return the relative paths of picture files below root, without hidden files and links to folders."""
    images: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path + "/")
                elif entry.is_dir():
                    _log.warning("%s: a link to a folder, not followed", os.path.join(root, path))
                elif _has_picture_extension(path):
                    images.append(path)
    return images


def _list_remote_images(url: str) -> list[str]:
    with client_errors_as_os_errors():
        filesystem, root = fsspec.core.url_to_fs(url)
        if not filesystem.isdir(root):
            raise FileNotFoundError("no such folder, and not a manifest (.csv, .parquet or .jsonl)")
        prefix = root.rstrip("/") + "/"
        paths = [path.removeprefix(prefix) for path in filesystem.find(root)]
    return [path for path in paths if _has_picture_extension(path) and not _is_hidden(path)]


def _has_picture_extension(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in PICTURE_EXTENSIONS


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _reason(error: Exception) -> str:
    if isinstance(error, requests.RequestException):
        return f"cannot be fetched ({type(error).__name__})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
