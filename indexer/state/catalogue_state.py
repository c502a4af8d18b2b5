"""What stands: the rows of a snapshot and of the uploads since, as the journal left them. Never changes.

Knows nothing of who asks, nor of how vectors are searched. Shape letters: n rows (see `segments`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vitrine.indexer.arrays import Codes, Mask, Rows
from vitrine.indexer.errors import InputError
from vitrine.indexer.journal.journal import Change
from vitrine.indexer.products.table import Product
from vitrine.indexer.snapshot.snapshot import IndexFolder, Snapshot
from vitrine.indexer.state.segments import Segments, Uploads

# What other changes tell, such as that a finding was dismissed, is nothing about a row.
_ABOUT_ROWS = frozenset({"delete", "restore", "upload", "purge", "move"})
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CatalogueState:
    """A snapshot after the changes up to `sequence`.

    live: (n,). tombstones: rows whose deleted_at differs from what the tables say. changed: the last change
    of every row that has one.
    """

    segments: Segments
    sequence: int
    live: Mask
    tombstones: Mapping[int, dt.datetime | None]
    changed: Mapping[int, int]

    @classmethod
    def of(cls, snapshot: Snapshot, changes: Iterable[Change] = ()) -> CatalogueState:
        """Return a snapshot after `changes`: all since its `uploads_sequence`, oldest first."""
        empty = Uploads([], np.zeros((0, snapshot.manifest.dimension), np.float32))
        bare = cls(
            Segments(snapshot, empty), snapshot.manifest.journal_sequence, ~snapshot.table.deleted, {}, {}
        )
        return bare.after(changes)

    def after(self, changes: Iterable[Change]) -> CatalogueState:
        """Return what stands after more changes, oldest first.

        Replaying the last of them again, in order, alters nothing.
        """
        changes = list(changes)
        if not changes:
            return self
        segments = _with_uploads(self.segments, changes)
        live = np.ones(segments.n, bool)
        live[: len(self.live)] = self.live
        tombstones, changed, moved = dict(self.tombstones), dict(self.changed), dict(segments.moved)
        for change in changes:
            row = segments.row_of(change.id)
            if row is None or change.kind not in _ABOUT_ROWS:
                continue
            changed[row] = change.sequence
            if change.kind == "move":
                moved[row] = change.category
            elif change.kind != "upload":
                live[row] = change.kind == "restore"
                tombstones[row] = None if live[row] else change.at
            elif row >= segments.base_rows:  # perhaps again, after it was purged
                live[row] = True
                tombstones.pop(row, None)
                moved.pop(row, None)
        if moved != segments.moved:
            elsewhere = {row: name for row, name in moved.items() if name != segments.stored_category(row)}
            segments = dataclasses.replace(segments, moved=elsewhere)
        return CatalogueState(segments, max(self.sequence, changes[-1].sequence), live, tombstones, changed)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot it stands on."""
        return self.segments.snapshot

    @property
    def tag(self) -> str:
        """The snapshot and the change, NAME@SEQUENCE: what `read_state` opens again."""
        return f"{self.snapshot.name}@{self.sequence}"

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) names, sorted; also of categories whose products are all deleted."""
        return self.segments.categories

    @property
    def category_codes(self) -> Codes:
        """(n,) index of each row's category in `categories`."""
        return self.segments.category_codes

    @cached_property
    def live_rows(self) -> Rows:
        """The rows that are not deleted, in order of id."""
        rows = np.flatnonzero(self.live)
        ordered: Rows = rows[np.argsort(self.id_rank[rows])]
        return ordered

    @cached_property
    def id_rank(self) -> Rows:
        """(n,) the place of each row when sorted by id: how equal scores are ordered."""
        if not self.segments.uploads.products:
            return self.snapshot.table.id_rank
        ids = [name for _, table in self.segments.tables for name in table.ids()]
        rank = np.empty(len(ids), np.int64)
        rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        return rank

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of rows, in their order."""
        return [self.segments.id_at(int(row)) for row in rows]

    def product(self, row: int) -> Product:
        """Return one row as an object, its tombstone as of now."""
        product = self.segments.product(row)
        if row in self.tombstones:
            return dataclasses.replace(product, deleted_at=self.tombstones[row])
        return product


def read_state(folder: IndexFolder, state: str | None = None) -> CatalogueState:
    """Open what stands in an index folder. state: NAME, a snapshot as published, or NAME@SEQUENCE.

    By default the live snapshot after the whole journal. Raises SnapshotError, InputError.
    """
    name, _, sequence = (state or "").partition("@")
    if sequence and not sequence.isdecimal():
        raise InputError(f"{state!r} names no state: give NAME, or NAME@SEQUENCE as `export` printed it")
    snapshot = folder.open(name or None)
    manifest = snapshot.manifest
    until = max(int(sequence or 0), manifest.journal_sequence) if name else None
    with folder.journal() as journal:
        return CatalogueState.of(snapshot, journal.since(manifest.uploads_sequence, until=until))


def _with_uploads(segments: Segments, changes: Iterable[Change]) -> Segments:
    """Add what was uploaded. A product that the snapshot holds already is the snapshot's to tell."""
    snapshot, uploads = segments.snapshot, segments.uploads
    key = snapshot.manifest.model.key
    for change in changes:
        if change.upload is None or segments.snapshot.table.row_of(change.id) is not None:
            continue
        if change.id in uploads.rows:
            continue
        if change.upload.model != key:
            log.warning("upload %s is of another model: it is found again after the next build", change.id)
            continue
        vector = snapshot.transform.apply(change.upload.vector[np.newaxis])
        uploads = uploads.with_product(Product(**change.upload.product), vector)
    return segments if uploads is segments.uploads else dataclasses.replace(segments, uploads=uploads)
