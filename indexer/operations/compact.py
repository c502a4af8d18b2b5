"""Compaction: a new snapshot whose table contains the deletions and moves of the journal.

Nothing is embedded and no vector is copied: unchanged files are hard-linked. The cost is one table and, if
products were moved, its text index.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrine.indexer.journal.fold import FoldedChanges, fold_changes
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import TABLE, TEXT, Snapshot


@dataclass(frozen=True, slots=True)
class CompactReport:
    """Result of a compaction. snapshot: the current one afterwards, unchanged if there was nothing to write.

    The field names are those of `compact --json`.
    """

    snapshot: str
    products: int
    deleted: int
    changes: int
    uploads_waiting: int
    pruned: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `compact --json` prints."""
        return dataclasses.asdict(self)


def compact_snapshot(folder: IndexFolder, *, keep: int) -> CompactReport:
    """Publish a snapshot whose table contains the deletions and moves of the journal.

    Uploads stay in the journal until the next build gives them a row; `uploads_sequence` in the manifest is
    where they begin. keep: number of snapshots to keep. Raises SnapshotError; the previous snapshot then
    stays current.
    """
    folder.current_name()
    with folder.publishing():
        current = folder.open()
        with folder.journal() as journal:
            sequence = journal.last_sequence()
            changes = journal.changes_since(current.manifest.uploads_sequence, until=sequence)
        folded = fold_changes(changes, sequence, current.table)
        waiting = [name for name in folded.uploads if current.table.row_of(name) is None]
        new_changes = sum(change.sequence > current.manifest.journal_sequence for change in changes)
        if not new_changes:
            manifest = current.manifest
            return CompactReport(current.name, manifest.products, manifest.deleted, 0, len(waiting), [])
        table = _apply_changes(current.table, folded)
        with folder.staging() as staged:
            link_unchanged(current, staged, changed=(TABLE, TEXT) if folded.moves else (TABLE,))
            table.write(staged / TABLE)
            if folded.moves:
                TextIndex.build(table).save(staged / TEXT)
            manifest = current.manifest.derive(
                folder.staged_name(staged),
                "compact",
                deleted=int(table.deleted.sum()),
                categories=table.category_count,
                journal_sequence=sequence,
                uploads_sequence=current.manifest.uploads_sequence if waiting else sequence,
            )
            snapshot = folder.publish(staged, manifest)
        pruned = folder.prune(keep)
    return CompactReport(
        snapshot.name,
        snapshot.manifest.products,
        snapshot.manifest.deleted,
        new_changes,
        len(waiting),
        pruned,
    )


def _apply_changes(table: Table, folded: FoldedChanges) -> Table:
    """Return the table with the deletions, restorations and moves of the journal."""
    before, after = table.tombstones(), folded.deleted_at
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    deleted_at = {row: after.get(name) for name in changed if (row := table.row_of(name)) is not None}
    categories = {
        row: move.category for name, move in folded.moves.items() if (row := table.row_of(name)) is not None
    }
    return table.with_deletions(deleted_at).with_categories(categories)


def link_unchanged(snapshot: Snapshot, staged: Path, *, changed: tuple[str, ...]) -> None:
    """Hard-link the unchanged files of a snapshot into a staging folder, or copy them if linking fails.

    changed: names of the files to leave out.
    """
    for name in snapshot.manifest.files:
        if name in changed:
            continue
        try:
            os.link(snapshot.path / name, staged / name)
        except OSError:
            shutil.copyfile(snapshot.path / name, staged / name)
