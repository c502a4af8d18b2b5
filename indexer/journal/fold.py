"""Effects of journal changes, and the changes folded by product for the next snapshot.

EFFECTS is the one definition of what a change does to a product. `fold_changes` applies it by id, and
`vitrine.indexer.state.catalogue_state` by row.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vitrine.indexer.journal.journal import Change, ChangeKind, Journal, Upload
from vitrine.indexer.products.table import Table


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of a change on its product.

    is_live: True if the product is live afterwards, False if it is not, None if that does not change.
    is_reset: the product's earlier upload, moves, tombstone and purge have no effect any more.
    """

    is_live: bool | None = None
    is_reset: bool = False


# Other kinds of change, "dismiss" and "reopen", are about findings and have no effect on products.
EFFECTS: Mapping[ChangeKind, Effect] = {
    "delete": Effect(is_live=False),
    "restore": Effect(is_live=True),
    "move": Effect(),
    "upload": Effect(is_live=True, is_reset=True),
    "purge": Effect(is_live=False, is_reset=True),
}


def effect_of(change: Change) -> Effect | None:
    """Return the effect of a change, None if it has none. An upload whose content was erased has none."""
    if change.kind == "upload" and change.upload is None:
        return None
    return EFFECTS.get(change.kind)


@dataclass(frozen=True, slots=True)
class Move:
    """The moves of a product to other categories.

    previous: the categories it was moved out of, oldest first. category: the one it is in now.
    """

    previous: tuple[str, ...]
    category: str

    def overrides(self, source_category: str) -> bool:
        """Return whether the move holds for a product that its source has in this category.

        It does not if the source has changed the category since, or if the product was moved back.
        """
        return source_category in self.previous and self.category != self.previous[0]


@dataclass(frozen=True)
class FoldedChanges:
    """The net effect of all changes up to `sequence`, by product id.

    deleted_at: the tombstones, those of the previous snapshot's table included. uploads: the last upload of
    each product. purged: products to leave out of every build. moves: products moved to another category.
    """

    sequence: int
    deleted_at: dict[str, dt.datetime]
    uploads: dict[str, Upload]
    purged: frozenset[str]
    moves: dict[str, Move]


def fold_journal(journal: Journal, previous: Table | None) -> FoldedChanges:
    """Fold the whole journal over the tombstones of the previous table.

    All changes are read, not only those since the previous snapshot, so that a product that was deleted, left
    the source and comes back is still deleted. Tombstones that only the previous table has are kept.
    """
    sequence = journal.last_sequence()
    return fold_changes(journal.changes_since(0, until=sequence), sequence, previous)


def fold_changes(changes: Iterable[Change], sequence: int, previous: Table | None) -> FoldedChanges:
    """Fold changes, oldest first, over the tombstones of the previous table."""
    deleted_at = {} if previous is None else previous.tombstones()
    uploads: dict[str, Upload] = {}
    purged: set[str] = set()
    moves: dict[str, Move] = {}
    for change in changes:
        effect = effect_of(change)
        if effect is None:
            continue
        if effect.is_reset:
            uploads.pop(change.id, None)
            moves.pop(change.id, None)
            purged.discard(change.id)
        if effect.is_live is False and not effect.is_reset:
            deleted_at[change.id] = change.at
        elif effect.is_live is not None:
            deleted_at.pop(change.id, None)
        if change.kind == "purge":
            purged.add(change.id)
        elif change.kind == "move":
            moves[change.id] = _extend_move(moves.get(change.id), change)
        elif change.upload is not None:
            uploads[change.id] = change.upload
    return FoldedChanges(sequence, deleted_at, uploads, frozenset(purged), moves)


def _extend_move(earlier: Move | None, change: Change) -> Move:
    """Return the moves of a product with one more.

    If the source has changed the category since the earlier move, that move is dropped.
    """
    origin = str(change.details.get("from", ""))
    previous = earlier.previous if earlier is not None and earlier.category == origin else ()
    return Move((*previous, origin), change.target_category)
