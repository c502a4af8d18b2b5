"""Evaluation set: the live products of a snapshot with their labels, vectors and pictures.

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
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.source.readers import UrlReader, is_url, local_path, read_local
from vitrine.indexer.vectors.metrics import LabelledVectors, category_labels

PRODUCTS_MAX = 20_000
SEED = 7
_BLOCK_ROWS = 1000


@dataclass(frozen=True)
class EvaluationSet:
    """Products to evaluate, at most PRODUCTS_MAX.

    rows: (N,) row numbers of the snapshot's table. categories: names. labels: (N,) category of each product,
    -1 for none. items: (N,) numbers that are equal for pictures of one item. snapshot_vectors: (N, D) of the
    snapshot's space. model_vectors: (N, D) of the model's space, None if the cache lacks some. is_sampled:
    True if the catalogue has more products.
    """

    snapshot: Snapshot
    rows: Rows
    categories: tuple[str, ...]
    labels: Labels
    items: Labels
    snapshot_vectors: FloatMatrix
    model_vectors: FloatMatrix | None
    is_sampled: bool

    def with_vectors(self, vectors: FloatMatrix) -> LabelledVectors:
        """Return labels and items with the given vectors, (N, any dimension)."""
        return LabelledVectors(vectors, self.labels, self.items)


def read_evaluation_set(
    folder: IndexFolder, snapshot: Snapshot, labels: Mapping[str, str] | None
) -> EvaluationSet:
    """Read the live products, or a fixed random sample of PRODUCTS_MAX.

    labels: category by product id, instead of the table's categories. Raises InputError if `labels` contains
    no id of a live product.
    """
    table = snapshot.table
    rows = np.flatnonzero(~table.deleted).astype(np.int64)
    is_sampled = len(rows) > PRODUCTS_MAX
    if is_sampled:
        rows = np.sort(np.random.default_rng(SEED).choice(rows, PRODUCTS_MAX, replace=False))
    categories, codes = _categories_and_labels(table, rows, labels)
    return EvaluationSet(
        snapshot,
        rows,
        categories,
        codes,
        item_numbers(table, rows),
        snapshot_vectors=np.asarray(snapshot.vectors[rows], np.float32),
        model_vectors=read_model_vectors(folder, snapshot, rows),
        is_sampled=is_sampled,
    )


def _categories_and_labels(
    table: Table, rows: Rows, category_by_id: Mapping[str, str] | None
) -> tuple[tuple[str, ...], Labels]:
    if category_by_id is None:
        return table.categories, category_labels(table.categories, table.category_codes[rows])
    categories = tuple(sorted(set(category_by_id.values())))
    code_by_category = {name: code for code, name in enumerate(categories)}
    labels = [code_by_category.get(category_by_id.get(id_, ""), -1) for id_ in table.ids(rows)]
    if max(labels, default=-1) < 0:
        raise InputError("--labels: none of its ids is a live product of the snapshot")
    return categories, np.array(labels, np.int32)


def item_numbers(table: Table, rows: Rows) -> Labels:
    """Return (n,) numbers that are equal for rows of one group or with the same picture file."""
    groups = table.group_codes[rows]
    digests = table.column("sha256")
    _, pictures = np.unique([digests[row] for row in rows.tolist()], return_inverse=True)
    return np.where(groups >= 0, groups, pictures + len(table.groups)).astype(np.int32)


def read_model_vectors(folder: IndexFolder, snapshot: Snapshot, rows: Rows) -> FloatMatrix | None:
    """Return the model's vectors of rows, (n, D), from the cache; None if any is missing or damaged."""
    if snapshot.transform.is_identity:
        return np.asarray(snapshot.vectors[rows], np.float32)
    if not folder.layout.cache.is_dir():
        return None
    model = snapshot.manifest.model
    column = snapshot.table.column("sha256")
    digests = [bytes.fromhex(column[row]) for row in rows.tolist()]
    with EmbeddingCache(folder.layout.cache) as cache:
        if len(cache.sizes_px(model.key, digests)) < len(set(digests)):
            return None
        vectors = np.empty((len(rows), model.dimension), np.float32)
        try:
            for start in range(0, len(rows), _BLOCK_ROWS):
                block = digests[start : start + _BLOCK_ROWS]
                vectors[start : start + len(block)] = cache.vectors(model.key, block)
        except SnapshotCorrupt:
            return None
    return vectors


class PictureReader:
    """Reader of the pictures of a snapshot's products, from files and URLs."""

    def __init__(self, folder: IndexFolder, snapshot: Snapshot) -> None:
        """Prepare the reader; nothing is read yet."""
        self._root = folder.root
        self._images = snapshot.table.column("image")
        self._urls = UrlReader()

    def read(self, row: int) -> bytes:
        """Return the picture of a table row as encoded bytes. Raises PictureError."""
        image = self._images[row]
        try:
            if is_url(image):
                return self._urls.read(image, MAX_BYTES)
            return read_local(str(self._root / local_path(image)), MAX_BYTES)
        except (OSError, ValueError) as error:
            raise PictureError(f"{image} cannot be read any more", code="missing") from error


def read_colour_histograms(pictures: PictureReader, rows: Rows, progress: Progress) -> FloatMatrix | None:
    """Return (n, DIMENSION) colour histograms of rows; None if a picture cannot be read."""
    histograms = np.empty((len(rows), DIMENSION), np.float32)
    progress.start(len(rows), "colour histograms")
    for index, row in enumerate(rows.tolist()):
        try:
            histograms[index] = colour_histogram(pictures.read(row))
        except PictureError:
            progress.done()
            return None
        progress.advance(1)
    progress.done()
    return histograms


def read_labels(path: Path) -> dict[str, str]:
    """Return categories by product id from a CSV with the columns id and category. Raises InputError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--labels {path} cannot be read: {error}") from error
    if not rows or not {"id", "category"} <= rows[0].keys():
        raise InputError(f"--labels {path}: expected a CSV with the columns id and category")
    return {row["id"]: row["category"] for row in rows if row["category"]}
