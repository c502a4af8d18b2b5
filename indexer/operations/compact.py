"""Compaction: the journal's tombstones and moves go into a new snapshot's table. Embeds nothing, copies no
vector.

Files that do not change are hard-linked, so a compaction costs one table and, after moves, its words.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitrine.indexer.journal.fold import LiveState, fold_changes
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.snapshot import TABLE, TEXT, IndexFolder, Snapshot


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did. `snapshot` is the live one afterwards; unchanged when nothing was new."""

    snapshot: str
    products: int
    deleted: int
    changes: int
    uploads_waiting: int
    pruned: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `compact --json` prints them."""
        return dataclasses.asdict(self)


def compact(folder: IndexFolder, *, keep: int) -> CompactReport:
    """Write what the journal says is deleted or moved into a new live snapshot.

    Uploads stay in the journal until the next build gives them a row; the manifest says from where.
    Raises SnapshotError; the earlier snapshot stays live then.
    """
    folder.current()
    with folder.publishing():
        live = folder.open()
        with folder.journal() as journal:
            sequence = journal.last_sequence()
            changes = journal.since(live.manifest.uploads_sequence, until=sequence)
        state = fold_changes(changes, sequence, live.table)
        waiting = [name for name in state.uploads if live.table.row_of(name) is None]
        new = sum(change.sequence > live.manifest.journal_sequence for change in changes)
        if not new:
            manifest = live.manifest
            return CompactReport(live.name, manifest.products, manifest.deleted, 0, len(waiting), [])
        table = _compacted(live.table, state)
        with folder.staging() as staged:
            link_unchanged(live, staged, changed=(TABLE, TEXT) if state.moves else (TABLE,))
            table.write(staged / TABLE)
            if state.moves:
                TextIndex.build(table).save(staged / TEXT)
            manifest = live.manifest.followed_by(
                folder.name_of(staged),
                "compact",
                deleted=int(table.deleted.sum()),
                categories=table.category_count,
                journal_sequence=sequence,
                uploads_sequence=live.manifest.uploads_sequence if waiting else sequence,
            )
            snapshot = folder.publish(staged, manifest)
        pruned = folder.prune(keep)
    return CompactReport(
        snapshot.name, snapshot.manifest.products, snapshot.manifest.deleted, new, len(waiting), pruned
    )


def _compacted(table: Table, state: LiveState) -> Table:
    """Return the table as the journal leaves it."""
    stamps = table.tombstones()
    changed = {product_id for product_id in stamps.keys() | state.deleted_at.keys()
               if stamps.get(product_id) != state.deleted_at.get(product_id)}  # fmt: skip
    deleted_at = {table.row_of(product_id): state.deleted_at.get(product_id) for product_id in changed}
    moved = {table.row_of(product_id): move.now for product_id, move in state.moves.items()}
    return table.with_deletions(
        {row: at for row, at in deleted_at.items() if row is not None}
    ).with_categories({row: name for row, name in moved.items() if row is not None})


def link_unchanged(snapshot: Snapshot, staged: Path, *, changed: tuple[str, ...]) -> None:
    """Hard-link the files of a snapshot into a staged folder; copy where links are not possible."""
    for name in snapshot.manifest.files:
        if name in changed:
            continue
        try:
            os.link(snapshot.path / name, staged / name)
        except OSError:
            shutil.copyfile(snapshot.path / name, staged / name)
