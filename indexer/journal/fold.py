"""What live changes mean for the next snapshot: which ids are deleted, uploaded, moved or purged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from vitrine.indexer.journal.journal import Change, Journal, Upload
from vitrine.indexer.products.table import Table


@dataclass(frozen=True, slots=True)
class Move:
    """Where people put a product: the categories it was moved away from, the first one first, and now."""

    away_from: tuple[str, ...]
    now: str

    def overrules(self, category: str) -> bool:
        """Whether the product is moved when its source says this category.

        A source that says what nobody moved it away from has the last word, and so has it on a product that
        was brought back.
        """
        return category in self.away_from and self.now != self.away_from[0]


@dataclass(frozen=True)
class LiveState:
    """What the journal says up to `sequence`, over what the previous snapshot's table said."""

    sequence: int
    deleted_at: dict[str, dt.datetime]
    uploads: dict[str, Upload]
    purged: frozenset[str]
    moves: dict[str, Move]


def fold_journal(journal: Journal, previous: Table | None) -> LiveState:
    """Return the tombstones by id, the uploads and the moves in force now.

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
    moves: dict[str, Move] = {}
    for change in changes:
        if change.kind == "delete":
            deleted_at[change.id] = change.at
        elif change.kind == "restore":
            deleted_at.pop(change.id, None)
        elif change.kind == "purge":
            purged.add(change.id)
            deleted_at.pop(change.id, None)
            uploads.pop(change.id, None)
            moves.pop(change.id, None)
        elif change.kind == "move":
            moves[change.id] = _moved_on(moves.get(change.id), change)
        elif change.upload is not None:
            uploads[change.id] = change.upload
            purged.discard(change.id)
            deleted_at.pop(change.id, None)
            moves.pop(change.id, None)
    return LiveState(sequence, deleted_at, uploads, frozenset(purged), moves)


def _moved_on(before: Move | None, change: Change) -> Move:
    """Return a move after one more; where the source has put the product meanwhile, it begins anew."""
    origin = str(change.details.get("from", ""))
    known = before.away_from if before is not None and before.now == origin else ()
    return Move((*known, origin), change.category)
