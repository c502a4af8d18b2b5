"""What live changes mean for the next snapshot: which ids are deleted, uploaded, or purged for good."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from indexer.journal import Change, Journal, Upload
from indexer.table import Table


@dataclass(frozen=True)
class LiveState:
    """What the journal says up to `sequence`, over what the previous snapshot's table said."""

    sequence: int
    deleted_at: dict[str, dt.datetime]
    uploads: dict[str, Upload]
    purged: frozenset[str]


def fold_journal(journal: Journal, previous: Table | None) -> LiveState:
    """Return the tombstones by id and the uploads in force now.

    The whole journal is read, not only what is newer than the previous snapshot: a product that was deleted,
    left the source and comes back is still deleted. Tombstones that only the previous table knows are kept.
    """
    sequence = journal.last_sequence()
    return fold_changes(journal.since(0, until=sequence), sequence, previous)


def fold_changes(changes: Sequence[Change], sequence: int, previous: Table | None) -> LiveState:
    """Apply changes, oldest first, over the tombstones of the previous table."""
    deleted_at = {} if previous is None else previous.tombstones()
    uploads: dict[str, Upload] = {}
    purged: set[str] = set()
    for change in changes:
        if change.kind == "delete":
            deleted_at[change.id] = change.at
        elif change.kind == "restore":
            deleted_at.pop(change.id, None)
        elif change.kind == "purge":
            purged.add(change.id)
            deleted_at.pop(change.id, None)
            uploads.pop(change.id, None)
        elif change.upload is not None:
            uploads[change.id] = change.upload
            purged.discard(change.id)
            deleted_at.pop(change.id, None)
    return LiveState(sequence, deleted_at, uploads, frozenset(purged))
