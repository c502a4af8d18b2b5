"""What is evaluated: the live products of a snapshot, in every space they can be compared in.

Shape letters: N products, D dimension.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Labels, Rows
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import InputError, PictureError, SnapshotCorrupt
from vitrine.indexer.evaluation.colours import DIMENSION, colour_histogram
from vitrine.indexer.pictures.preprocessing import MAX_BYTES
from vitrine.indexer.products.table import Table
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.indexer.source.readers import UrlReader, is_url, local_path, read_local
from vitrine.indexer.vectors.metrics import LabelledVectors, category_labels

PRODUCTS_MAX = 20_000
SEED = 7
_BLOCK_ROWS = 1000


@dataclass(frozen=True)
class Subject:
    """rows: (N,) of the snapshot's table. names: of the categories that `labels` (N,) number; -1 for none.

    items: (N,) equal for pictures of one thing. served: (N, D) as searched. raw: (N, D) as the model said,
    None where the cache has lost some. sampled: True when the catalogue is larger.
    """

    snapshot: Snapshot
    rows: Rows
    names: tuple[str, ...]
    labels: Labels
    items: Labels
    served: FloatMatrix
    raw: FloatMatrix | None
    sampled: bool

    def labelled(self, vectors: FloatMatrix) -> LabelledVectors:
        """Return the products in one of the spaces."""
        return LabelledVectors(vectors, self.labels, self.items)


def load_subject(folder: IndexFolder, snapshot: Snapshot, labels: Mapping[str, str] | None) -> Subject:
    """Read the live products, at most PRODUCTS_MAX of them. labels: categories by id, instead of the table's.

    Raises InputError when not one id of `labels` is in the snapshot.
    """
    table = snapshot.table
    rows = np.flatnonzero(~table.deleted).astype(np.int64)
    sampled = len(rows) > PRODUCTS_MAX
    if sampled:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, PRODUCTS_MAX, replace=False))
    names, codes = _labels(table, rows, labels)
    served = np.asarray(snapshot.vectors[rows], np.float32)
    raw = read_raw(folder, snapshot, rows)
    return Subject(snapshot, rows, names, codes, items_of(table, rows), served, raw, sampled)


def _labels(table: Table, rows: Rows, given: Mapping[str, str] | None) -> tuple[tuple[str, ...], Labels]:
    if given is None:
        return table.categories, category_labels(table.categories, table.category_codes[rows])
    names = tuple(sorted(set(given.values())))
    number = {name: code for code, name in enumerate(names)}
    codes = np.array([number.get(given.get(product, ""), -1) for product in table.ids(rows)], np.int32)
    if not (codes >= 0).any():
        raise InputError("--labels: none of its ids is a live product of the snapshot")
    return names, codes


def items_of(table: Table, rows: Rows) -> Labels:
    """Return (n,) numbers that are equal for rows of one group, or with the very same picture."""
    groups = table.group_codes[rows]
    digests = table.column("sha256")
    _, pictures = np.unique([digests[row] for row in rows.tolist()], return_inverse=True)
    return np.where(groups >= 0, groups, pictures + len(table.groups)).astype(np.int32)


def read_raw(folder: IndexFolder, snapshot: Snapshot, rows: Rows) -> FloatMatrix | None:
    """Return what the model said of rows, (n, D), from the cache; None where that is not all there."""
    if snapshot.transform.is_identity:
        return np.asarray(snapshot.vectors[rows], np.float32)
    if not folder.layout.cache.is_dir():
        return None
    model = snapshot.manifest.model
    column = snapshot.table.column("sha256")
    digests = [bytes.fromhex(column[row]) for row in rows.tolist()]
    with EmbeddingCache.open(folder.layout.cache) as cache:
        if len(cache.known(model.key, digests)) < len(set(digests)):
            return None
        raw = np.empty((len(rows), model.dimension), np.float32)
        try:
            for start in range(0, len(rows), _BLOCK_ROWS):
                part = digests[start : start + _BLOCK_ROWS]
                raw[start : start + len(part)] = cache.vectors(model.key, part)
        except SnapshotCorrupt:
            return None
    return raw


class Pictures:
    """The picture files of a snapshot's products."""

    def __init__(self, folder: IndexFolder, snapshot: Snapshot) -> None:
        """Read nothing yet."""
        self._root = folder.root
        self._images = snapshot.table.column("image")
        self._urls = UrlReader()

    def read(self, row: int) -> bytes:
        """Return the bytes of a product's picture. Raises PictureError."""
        image = self._images[row]
        try:
            if is_url(image):
                return self._urls.read(image, MAX_BYTES)
            return read_local(str(self._root / local_path(image)), MAX_BYTES)
        except (OSError, ValueError) as error:
            raise PictureError(f"{image} cannot be read any more", kind="missing") from error


def colours_of(pictures: Pictures, rows: Rows, progress: Progress) -> FloatMatrix | None:
    """Return (n, DIMENSION) colour histograms; None when a picture is gone."""
    found = np.empty((len(rows), DIMENSION), np.float32)
    progress.start(len(rows), "colours of pictures")
    for place, row in enumerate(rows.tolist()):
        try:
            found[place] = colour_histogram(pictures.read(row))
        except PictureError:
            progress.done()
            return None
        progress.advance(1)
    progress.done()
    return found


def read_labels(path: Path) -> dict[str, str]:
    """Return category by id from a CSV with these two columns. Raises InputError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--labels {path} cannot be read: {error}") from error
    if not rows or not {"id", "category"} <= rows[0].keys():
        raise InputError(f"--labels {path}: expected a CSV with the columns id and category")
    return {row["id"]: row["category"] for row in rows if row["category"]}
