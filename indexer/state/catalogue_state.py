"""Catalogue states: a snapshot with the journal applied up to one sequence. Immutable.

A state does not search; see `vitrine.service.queries`. Shape letters: n rows (see `segments`), C categories.
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
from vitrine.indexer.journal.fold import effect_of
from vitrine.indexer.journal.journal import Change
from vitrine.indexer.products.schema import Product
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.state.segments import Segments, Uploads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CatalogueState:
    """A snapshot after the changes up to `sequence`.

    live: (n,) True for rows that are not deleted. tombstones: deleted_at of the rows where it differs from
    the tables. last_changes: the sequence of the last change of each changed row.
    """

    segments: Segments
    sequence: int
    live: Mask
    tombstones: Mapping[int, dt.datetime | None]
    last_changes: Mapping[int, int]

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, changes: Iterable[Change] = ()) -> CatalogueState:
        """Return a snapshot after `changes`: all since its `uploads_sequence`, oldest first."""
        no_uploads = Uploads([], np.zeros((0, snapshot.manifest.dimension), np.float32))
        published = cls(
            Segments(snapshot, no_uploads),
            snapshot.manifest.journal_sequence,
            ~snapshot.table.deleted,
            {},
            {},
        )
        return published.after(changes)

    def after(self, changes: Iterable[Change]) -> CatalogueState:
        """Return the state after more changes, oldest first.

        Applying the last changes a second time, in the same order, has no effect.
        """
        changes = list(changes)
        if not changes:
            return self
        segments = _with_uploads(self.segments, changes)
        live = np.ones(segments.n, bool)
        live[: len(self.live)] = self.live
        tombstones, last_changes = dict(self.tombstones), dict(self.last_changes)
        moved = dict(segments.moved)
        for change in changes:
            row, effect = segments.row_of(change.id), effect_of(change)
            if row is None or effect is None:
                continue
            last_changes[row] = change.sequence
            if change.kind == "upload" and row < segments.base_rows:
                continue  # the snapshot has the product; the next build takes the upload's data
            if effect.is_reset:
                moved.pop(row, None)
            if effect.is_live is not None:
                live[row] = effect.is_live
                tombstones[row] = None if effect.is_live else change.at
            if change.kind == "move":
                moved[row] = change.target_category
        if moved != segments.moved:
            moved = {row: name for row, name in moved.items() if name != segments.stored_category(row)}
            segments = dataclasses.replace(segments, moved=moved)
        sequence = max(self.sequence, changes[-1].sequence)
        return CatalogueState(segments, sequence, live, tombstones, last_changes)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot to which the changes are applied."""
        return self.segments.snapshot

    @property
    def tag(self) -> str:
        """The name NAME@SEQUENCE of the state, which `read_state` opens again."""
        return f"{self.snapshot.name}@{self.sequence}"

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) category names, sorted, including categories whose products are all deleted."""
        return self.segments.categories

    @property
    def category_codes(self) -> Codes:
        """(n,) the category of each row, an index into `categories`."""
        return self.segments.category_codes

    @cached_property
    def live_rows(self) -> Rows:
        """The rows that are not deleted, in order of id."""
        rows = np.flatnonzero(self.live)
        ordered: Rows = rows[np.argsort(self.id_rank[rows])]
        return ordered

    @cached_property
    def id_rank(self) -> Rows:
        """(n,) the rank of each row in order of id, by which equal scores are ordered."""
        if not self.segments.uploads.products:
            return self.snapshot.table.id_rank
        ids = [product_id for _, table in self.segments.tables for product_id in table.ids()]
        rank = np.empty(len(ids), np.int64)
        rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        return rank

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of rows, in their order."""
        return [self.segments.id_at(int(row)) for row in rows]

    def product(self, row: int) -> Product:
        """Return the product of a row, with its category and deleted_at in this state."""
        product = self.segments.product(row)
        if row in self.tombstones:
            return dataclasses.replace(product, deleted_at=self.tombstones[row])
        return product


def read_state(folder: IndexFolder, state: str | None = None) -> CatalogueState:
    """Read a state of an index folder.

    state: NAME, a snapshot as published, or NAME@SEQUENCE; default the current snapshot after the whole
    journal. Raises SnapshotError, InputError.
    """
    name, _, sequence = (state or "").partition("@")
    if sequence and not sequence.isdecimal():
        raise InputError(f"{state!r} is not a state: give NAME or NAME@SEQUENCE, as `export` prints it")
    snapshot = folder.open(name or None)
    manifest = snapshot.manifest
    until = max(int(sequence or 0), manifest.journal_sequence) if name else None
    with folder.journal() as journal:
        changes = journal.changes_since(manifest.uploads_sequence, until=until)
    return CatalogueState.from_snapshot(snapshot, changes)


def _with_uploads(segments: Segments, changes: Iterable[Change]) -> Segments:
    """Return the segments with the new uploads, except those of products that the snapshot has."""
    snapshot, uploads = segments.snapshot, segments.uploads
    for change in changes:
        if change.upload is None or segments.row_of(change.id) is not None or change.id in uploads.row_by_id:
            continue
        if change.upload.model != snapshot.manifest.model.key:
            log.warning("upload %s has vectors of another model: ignored until the next build", change.id)
            continue
        vector = snapshot.transform.apply(change.upload.vector[np.newaxis])
        uploads = uploads.with_product(Product(**change.upload.product), vector)
    return segments if uploads is segments.uploads else dataclasses.replace(segments, uploads=uploads)
