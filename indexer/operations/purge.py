"""Purge: permanent removal of all data stored for some products.

A deletion hides a product and can be undone; a purge is for data that must not be kept. The source is not
changed: later builds skip a purged id that is still in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import BLOCK_ROWS, Rows
from vitrine.indexer.build.calibration import calibrate_confidence
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import InputError, RecipeImpossible, SnapshotCorrupt
from vitrine.indexer.files import create_matrix
from vitrine.indexer.operations.compact import link_unchanged
from vitrine.indexer.products.failures import read_failures, write_failures
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.quality.pictures import MeasureCache
from vitrine.indexer.quality.store import delete_analyses
from vitrine.indexer.recipes import SKETCH, IndexReport, RecipeRequest, VectorIndex, build_index
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import CONFIDENCE, FAILURES, INDEX, TABLE, TEXT, VECTORS, Snapshot


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """Result of a purge. snapshot: the current one afterwards. The other fields list what was removed.

    The field names are those of `purge --json`.
    """

    snapshot: str
    ids: list[str]
    vectors: int
    cache_entries: int
    files: list[str]
    snapshots: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `purge --json` prints."""
        return dataclasses.asdict(self)


def purge_products(folder: IndexFolder, ids: Sequence[str]) -> PurgeReport:
    """Remove everything that is stored for these products.

    First a new snapshot without them is published, then the files are removed, and last the records of which
    files those are. After an interruption, the same command finishes the work.
    Raises InputError for an id without stored data, SnapshotError.
    """
    folder.current_name()
    with folder.publishing(), EmbeddingCache(folder.layout.cache) as cache, folder.journal() as journal:
        current = folder.open()
        rows = current.table.rows_of(ids)
        uploaded = [change for change in journal.changes_since(0) if change.id in ids]
        known = {change.id for change in uploaded}
        known |= {name for name, row in zip(ids, rows, strict=True) if row >= 0}
        if unknown := [repr(name) for name in ids if name not in known]:
            raise InputError(f"no data is stored for {', '.join(unknown)}")
        if (rows >= 0).sum() == len(current.table):
            raise InputError("these are all products of the catalogue: remove the index folder instead")
        affected = [name for name in folder.snapshot_names() if _may_hold(folder, name, ids)]
        digests = {str(change.upload.product["sha256"]) for change in uploaded if change.upload}
        for name in affected:
            digests |= _picture_digests(folder, name, ids)
        journal.append("purge", ids)
        snapshot = _publish_without(folder, current, rows[rows >= 0], ids)
        if snapshot is current and any(change.upload for change in uploaded):
            snapshot = _republish(folder, current)
        # A picture that another product has too is kept.
        unused = sorted(digests - set(snapshot.table.column("sha256")) - {""})
        cache_entries = cache.delete([bytes.fromhex(digest) for digest in unused])
        MeasureCache(folder.layout.cache).remove(unused)
        delete_analyses(folder)
        files = _remove_files(folder.root, unused)
        journal.erase(ids)
        folder.remove(affected)
    return PurgeReport(snapshot.name, list(ids), int((rows >= 0).sum()), cache_entries, files, affected)


def _may_hold(folder: IndexFolder, name: str, ids: Sequence[str]) -> bool:
    """Return True if a snapshot contains any of the ids, or cannot be read and so may contain them."""
    try:
        return bool((Table.read(folder.snapshot_path(name) / TABLE).rows_of(ids) >= 0).any())
    except SnapshotCorrupt:
        return True


def _picture_digests(folder: IndexFolder, name: str, ids: Sequence[str]) -> set[str]:
    """Return the SHA-256 of the pictures that a snapshot has for the ids; empty if it cannot be read."""
    try:
        table = Table.read(folder.snapshot_path(name) / TABLE)
    except SnapshotCorrupt:
        return set()
    return {table.product(int(row)).sha256 for row in table.rows_of(ids) if row >= 0}


def _publish_without(folder: IndexFolder, current: Snapshot, rows: Rows, ids: Sequence[str]) -> Snapshot:
    """Publish a snapshot without some rows of the current one; return the current one if `rows` is empty."""
    if not len(rows):
        return current
    table = current.table.drop_rows(rows)
    with folder.staging() as staged:
        changed = (TABLE, VECTORS, INDEX, SKETCH, TEXT, FAILURES, CONFIDENCE)
        link_unchanged(current, staged, changed=changed)
        table.write(staged / TABLE)
        TextIndex.build(table).save(staged / TEXT)
        failures = [row for row in read_failures(current.path / FAILURES) if row["id"] not in ids]
        write_failures(staged / FAILURES, [(row["id"], row["image"], row["reason"]) for row in failures])
        vectors = _write_vectors_without(staged / VECTORS, current, rows)
        index = _rebuild_index(current, vectors, staged / INDEX)
        opened = VectorIndex.open(staged / INDEX, vectors, index.parameters)
        calibrate_confidence(vectors, table, opened).save(staged / CONFIDENCE)
        manifest = current.manifest.derive(
            folder.staged_name(staged),
            "purge",
            products=len(table),
            deleted=int(table.deleted.sum()),
            failed=len(failures),
            categories=table.category_count,
            recipe=dataclasses.asdict(index),
            recall_at_10=index.recall_at_10,
            latency={"p50_ms": index.p50_ms, "p95_ms": index.p95_ms},
        )
        return folder.publish(staged, manifest)


def _rebuild_index(current: Snapshot, vectors: np.memmap[Any, Any], path: Path) -> IndexReport:
    """Build an index of `vectors` (N, D) with the recipe of the current snapshot.

    If too few vectors are left to train that recipe, another one is chosen.
    """
    recipe = current.manifest.recipe
    try:
        index = build_index(vectors, RecipeRequest(recipe["factory"]), path)
    except (InputError, RecipeImpossible):
        path.with_name(SKETCH).unlink(missing_ok=True)
        return build_index(vectors, RecipeRequest(), path)
    return dataclasses.replace(index, recipe=recipe["recipe"], why=recipe["why"], tried=list(recipe["tried"]))


def _republish(folder: IndexFolder, current: Snapshot) -> Snapshot:
    """Publish the current snapshot again, so that services load a new one and drop uploads from memory."""
    with folder.staging() as staged:
        link_unchanged(current, staged, changed=())
        return folder.publish(staged, current.manifest.derive(folder.staged_name(staged), "purge"))


def _write_vectors_without(path: Path, current: Snapshot, rows: Rows) -> np.memmap[Any, Any]:
    """Write the vectors of the current snapshot except those of `rows`."""
    remaining = np.setdiff1d(np.arange(len(current.table)), rows)
    shape = (len(remaining), current.vectors.shape[1])
    vectors = create_matrix(path, current.vectors.dtype, shape)
    for start in range(0, len(remaining), BLOCK_ROWS):
        vectors[start : start + BLOCK_ROWS] = current.vectors[remaining[start : start + BLOCK_ROWS]]
    vectors.flush()
    return vectors


def _remove_files(root: Path, digests: Sequence[str]) -> list[str]:
    """Remove every file below uploads/ and cache/ named after a digest; return their paths below `root`."""
    removed = []
    for folder in (root / "uploads", root / "cache"):
        for digest in digests:
            for path in folder.rglob(f"{digest}*"):
                path.unlink(missing_ok=True)
                removed.append(path.relative_to(root).as_posix())
    return sorted(removed)
