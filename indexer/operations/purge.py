"""Purging: everything stored of some products goes, for good, with a list of what was removed.

Deleting hides a product and can be taken back; purging is for what must not be kept. The source is not
ours to change: a purged id that is still there is left out of later builds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Rows
from vitrine.indexer.build.calibration import calibrate_rows
from vitrine.indexer.build.candidate import BLOCK_ROWS
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import InputError, RecipeImpossible, SnapshotCorrupt
from vitrine.indexer.files import create_matrix
from vitrine.indexer.operations.compact import link_unchanged
from vitrine.indexer.products.table import Table, read_failures, write_failures
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.quality.pictures import MeasureCache
from vitrine.indexer.quality.store import forget_analyses
from vitrine.indexer.recipes import SKETCH, IndexReport, RecipeRequest, VectorIndex, build_index
from vitrine.indexer.snapshot.snapshot import (
    CONFIDENCE,
    FAILURES,
    INDEX,
    TABLE,
    TEXT,
    VECTORS,
    IndexFolder,
    Snapshot,
)


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What was removed. `snapshot` is the live one afterwards."""

    snapshot: str
    ids: list[str]
    vectors: int
    cache_entries: int
    files: list[str]
    snapshots: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `purge --json` prints them."""
        return dataclasses.asdict(self)


def purge(folder: IndexFolder, ids: Sequence[str]) -> PurgeReport:
    """Remove what is stored of these products.

    The live snapshot is written anew without them first, then the files go, and last the records that tell
    which files those are: after a kill in between, the same command finishes the work.
    Raises InputError for an id that nothing is stored of, SnapshotError.
    """
    folder.current()
    with folder.publishing(), EmbeddingCache.open(folder.layout.cache) as cache, folder.journal() as journal:
        live = folder.open()
        rows = live.table.rows_of(ids)
        uploaded = [change for change in journal.since(0) if change.id in ids]
        known = {change.id for change in uploaded}
        known |= {name for name, row in zip(ids, rows, strict=True) if row >= 0}
        if unknown := [repr(name) for name in ids if name not in known]:
            raise InputError(f"nothing is stored of {', '.join(unknown)}")
        if (rows >= 0).sum() == len(live.table):
            raise InputError("these are all the products there are: remove the index folder instead")
        older = [name for name in folder.names() if _holds(folder, name, ids)]
        contents = {str(change.upload.product["sha256"]) for change in uploaded if change.upload}
        for name in older:
            contents |= _contents(folder, name, ids)
        journal.append("purge", ids)
        snapshot = _rewrite(folder, live, rows[rows >= 0], ids)
        if snapshot is live and any(change.upload for change in uploaded):
            snapshot = _republish(folder, live)
        gone = sorted(contents - set(snapshot.table.column("sha256")) - {""})
        forgotten = cache.forget([bytes.fromhex(digest) for digest in gone])
        MeasureCache(folder.layout.cache).forget(gone)
        forget_analyses(folder)
        files = _remove_files(folder.root, gone)
        journal.scrub(ids)
        folder.remove(older)
    return PurgeReport(snapshot.name, list(ids), int((rows >= 0).sum()), forgotten, files, older)


def _holds(folder: IndexFolder, name: str, ids: Sequence[str]) -> bool:
    """True when a snapshot holds any of the ids, or cannot be read and might."""
    try:
        return bool((Table.read(folder.path_of(name) / TABLE).rows_of(ids) >= 0).any())
    except SnapshotCorrupt:
        return True


def _contents(folder: IndexFolder, name: str, ids: Sequence[str]) -> set[str]:
    try:
        table = Table.read(folder.path_of(name) / TABLE)
    except SnapshotCorrupt:
        return set()
    return {table.product(int(row)).sha256 for row in table.rows_of(ids) if row >= 0}


def _rewrite(folder: IndexFolder, live: Snapshot, rows: Rows, ids: Sequence[str]) -> Snapshot:
    """Publish the live snapshot without some rows; return it as it is when it has none of them."""
    if not len(rows):
        return live
    table = live.table.without(rows)
    with folder.staging() as staged:
        changed = (TABLE, VECTORS, INDEX, SKETCH, TEXT, FAILURES, CONFIDENCE)
        link_unchanged(live, staged, changed=changed)
        table.write(staged / TABLE)
        TextIndex.build(table).save(staged / TEXT)
        failures = [row for row in read_failures(live.path / FAILURES) if row["id"] not in ids]
        write_failures(staged / FAILURES, [(row["id"], row["image"], row["reason"]) for row in failures])
        vectors = _write_without(staged / VECTORS, live, rows)
        index = _index_again(live, vectors, staged / INDEX)
        opened = VectorIndex.open(staged / INDEX, vectors, index.parameters)
        calibrate_rows(vectors, table, opened).save(staged / CONFIDENCE)
        manifest = live.manifest.followed_by(
            folder.name_of(staged),
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


def _index_again(live: Snapshot, vectors: np.memmap[Any, Any], path: Path) -> IndexReport:
    """Make the live snapshot's index of other vectors (N, D): of the same recipe, for the same reason.

    What is left may be too little for that recipe to learn from; then another one is chosen.
    """
    old = live.manifest.recipe
    try:
        index = build_index(vectors, RecipeRequest(old["factory"]), path)
    except (InputError, RecipeImpossible):
        path.with_name(SKETCH).unlink(missing_ok=True)
        return build_index(vectors, RecipeRequest(), path)
    return dataclasses.replace(index, recipe=old["recipe"], why=old["why"], tried=list(old["tried"]))


def _republish(folder: IndexFolder, live: Snapshot) -> Snapshot:
    """Publish the live snapshot again: with a new one, services forget what they have read of uploads."""
    with folder.staging() as staged:
        link_unchanged(live, staged, changed=())
        return folder.publish(staged, live.manifest.followed_by(folder.name_of(staged), "purge"))


def _write_without(path: Path, live: Snapshot, rows: Rows) -> np.memmap[Any, Any]:
    kept = np.setdiff1d(np.arange(len(live.table)), rows)
    shape = (len(kept), live.vectors.shape[1])
    vectors = create_matrix(path, live.vectors.dtype, shape)
    for start in range(0, len(kept), BLOCK_ROWS):
        vectors[start : start + BLOCK_ROWS] = live.vectors[kept[start : start + BLOCK_ROWS]]
    vectors.flush()
    return vectors


def _remove_files(root: Path, digests: Sequence[str]) -> list[str]:
    """Remove every file below uploads/ and cache/ that is named after a content."""
    removed = []
    for folder in (root / "uploads", root / "cache"):
        for digest in digests:
            for path in folder.rglob(f"{digest}*"):
                path.unlink(missing_ok=True)
                removed.append(path.relative_to(root).as_posix())
    return sorted(removed)
