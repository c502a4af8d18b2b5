"""What is indexed: a folder or a manifest, as one table of products whose pictures can be read.

Knows nothing of decoding, models or snapshots. Every rule that a product of a source must keep is checked
here, once, when the source is opened; what is wrong with a single picture shows when it is read.
"""

# os.path on strings, not Path: a folder may hold a million pictures.
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
from vitrine.indexer.source.complete import Origin, category_pattern, complete_products
from vitrine.indexer.source.manifest import manifest_kind, parse_manifest
from vitrine.indexer.source.readers import (
    LocalPlace,
    Place,
    RemotePlace,
    UrlReader,
    clients_as_os_errors,
    is_url,
    local_path,
    read_local,
)

SourceKind = Literal["folder", "csv", "parquet", "jsonl"]

_MAX_MANIFEST_BYTES = 8 * 2**30
_MANIFEST_TIMEOUT_S = 600.0

_log = logging.getLogger(__name__)


class Source:
    """Products in source order, and their pictures.

    location: as given. kind: what it is. products: columns id, name, category, group, image (text; only
    group has nulls; no category is ""), then the attributes with their types.
    """

    def __init__(self, location: str, kind: SourceKind, products: pa.Table, place: Place) -> None:
        self.location = location
        self.kind = kind
        self.products = products
        self._place = place
        self._images: pa.Array = products["image"].combine_chunks()

    def __len__(self) -> int:
        return len(self.products)

    def without(self, ids: Collection[str]) -> "Source":
        """Return the source without the products of these ids."""
        if not ids:
            return self
        unwanted = pc.is_in(self.products["id"], value_set=pa.array(sorted(ids), pa.string()))
        return Source(self.location, self.kind, self.products.filter(pc.invert(unwanted)), self._place)

    def moved(self, moves: Mapping[str, Move]) -> "Source":
        """Return the source with products where people put them. moves: by id."""
        if not moves:
            return self
        names = self.products["category"].to_pylist()
        for row, product_id in enumerate(self.products["id"].to_pylist()):
            move = moves.get(product_id)
            if move is not None and move.overrides(names[row]):
                names[row] = move.category
        moved = copy.copy(self)
        place = self.products.column_names.index("category")
        moved.products = self.products.set_column(place, "category", pa.array(names, pa.string()))
        return moved

    def read(self, row: int) -> bytes:
        """Return the bytes of a product's picture; safe to call from several threads.

        Raises PictureError of kind missing, outside-source, too-large or unreadable.
        """
        image = self._image(row)
        if not image:
            raise PictureError("no image is named", code="missing")
        return self._place.read(image)

    def absolute(self, row: int) -> str:
        """Return the absolute path or URL of a product's picture, "" where none is named."""
        image = self._image(row)
        return self._place.absolute(image) if image else ""

    def fingerprint(self, row: int) -> tuple[int, int] | None:
        """Return (size in bytes, modification time in ns) of a local picture; None where there is none."""
        return self._place.fingerprint(self._image(row))

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
    """Open a folder or a CSV, Parquet or JSONL manifest, local or behind any fsspec URL.

    category_from: 'auto' (a manifest's own column, else the folder, else the leading letters of the file
    name), 'folder', 'filename', or a regular expression searched in the image's relative path without
    extension, whose first group is the category. columns: FIELD: NAME for a manifest whose columns are
    called otherwise. limit: at most so many products, the first ones.
    Raises SourceError.
    """
    text = os.fspath(location)
    text = text if is_url(text) else local_path(text)
    if limit is not None and limit < 1:
        raise SourceError(f"--limit {limit}: at least 1 product")
    if category_from not in ("auto", "folder", "filename"):
        category_pattern(category_from)
    kind = _kind(text)
    table, place = _list_folder(text) if kind == "folder" else _read_manifest(text, columns)
    if kind == "folder" and columns:
        raise SourceError(f"{text}: --column is for manifests, and this is a folder")
    if limit is not None:
        table = table.slice(0, limit)
    if len(table) == 0:
        what = (
            "no JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF file in this folder"
            if kind == "folder"
            else "no rows"
        )
        raise SourceError(f"{text}: no products found, {what}")

    def name_row(row: int) -> str:
        return repr(table["image"][row].as_py()) if kind == "folder" else f"row {row + 1}"

    products = complete_products(table, Origin(text, place.root, name_row), category_from)
    return Source(text, kind, products, place)


def _kind(text: str) -> SourceKind:
    """Tell a folder from the kinds of manifest. Raises SourceError for anything else."""
    if is_url(text):
        return manifest_kind(text.split("?")[0]) or "folder"
    if os.path.isdir(text):
        return "folder"
    if not os.path.exists(text):
        raise SourceError(f"{text}: no such file or folder")
    kind = manifest_kind(text)
    if kind is None:
        raise SourceError(f"{text}: neither a folder nor a manifest (.csv, .parquet or .jsonl)")
    return kind


def _read_manifest(text: str, columns: Mapping[str, str]) -> tuple[pa.Table, Place]:
    place: Place
    try:
        if is_url(text):
            place = RemotePlace(text.split("?")[0].rsplit("/", 1)[0])
            data = UrlReader(_MANIFEST_TIMEOUT_S).read(text, _MAX_MANIFEST_BYTES)
        else:
            place = LocalPlace(os.path.dirname(os.path.abspath(text)))
            data = read_local(text, _MAX_MANIFEST_BYTES)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{text}: cannot be read: {_reason(error)}") from error
    return parse_manifest(data, text.split("?")[0], columns), place


def _list_folder(text: str) -> tuple[pa.Table, Place]:
    place: Place
    try:
        if is_url(text):
            place = RemotePlace(text)
            images = _remote_images(text)
        else:
            place = LocalPlace(text)
            images = _local_images(text)
    except (OSError, ValueError, ImportError) as error:
        raise SourceError(f"{text}: cannot be listed: {_reason(error)}") from error
    images.sort()
    try:
        return pa.table({"image": pa.array(images, pa.string())}), place
    except UnicodeEncodeError as error:
        raise SourceError(f"{text}: {error.object!r}: the file name is not UTF-8; rename the file") from error


def _local_images(root: str) -> list[str]:
    """Relative paths of the picture files below root; hidden ones and links to folders are left out."""
    images: list[str] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path + "/")
                elif entry.is_dir():
                    _log.warning("%s: a link to a folder, not followed", os.path.join(root, path))
                elif _has_picture_extension(path):
                    images.append(path)
    return images


def _remote_images(url: str) -> list[str]:
    with clients_as_os_errors():
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
