"""A view: one consistent state of a catalogue, a snapshot plus the journal up to one sequence. Never changes.

Every query takes one view and keeps it to its end. Shape letters: n rows (see `segments`), D dimension,
Q queries, K results.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from indexer.confidence import Confidence
from indexer.journal import Change
from indexer.recipes import Neighbours
from indexer.snapshot import Snapshot
from indexer.table import Codes, Mask, Product, Table
from indexer.text_index import TextIndex
from indexer.transform import FloatMatrix
from service.queries.filters import Filters
from service.segments import Memo, Segments, Uploads
from service.stores import Searcher
from service.stores.embedded import EMBEDDED

log = logging.getLogger(__name__)
Made = TypeVar("Made")


@dataclasses.dataclass(frozen=True, slots=True)
class RowState:
    """What the journal did to rows.

    live: (n,). tombstones: rows whose deleted_at differs from what the tables say. changed: the last change
    of every row that has one.
    """

    live: Mask
    tombstones: Mapping[int, dt.datetime | None]
    changed: Mapping[int, int]


class View:
    """The rows of a catalogue and which of them are live. Thread-safe: nothing changes after construction."""

    def __init__(self, segments: Segments, sequence: int, state: RowState, searcher: Searcher) -> None:
        """state: of the rows of `segments`. searcher: of the snapshot's vectors."""
        self.segments = segments
        self.sequence = sequence
        self.live = state.live
        self.changed = state.changed
        self.searcher = searcher
        self._tombstones = state.tombstones
        self._memo = Memo()
        self._snapshot_memo = Memo()

    @classmethod
    def of(cls, snapshot: Snapshot, changes: Iterable[Change], searcher: Searcher = EMBEDDED) -> View:
        """Return the view of a snapshot after `changes`: all since its `uploads_sequence`, oldest first."""
        empty = Uploads([], np.zeros((0, snapshot.manifest.dimension), np.float32))
        state = RowState(~snapshot.table.deleted, {}, {})
        bare = cls(Segments(snapshot, empty), snapshot.manifest.journal_sequence, state, searcher)
        return bare.after(changes)

    def after(self, changes: Iterable[Change]) -> View:
        """Return the view after more changes, oldest first. Replaying a change again alters nothing."""
        changes = list(changes)
        if not changes:
            return self
        segments = _with_uploads(self.segments, changes)
        live = np.ones(segments.n, bool)
        live[: self.n] = self.live
        tombstones, changed = dict(self._tombstones), dict(self.changed)
        for change in changes:
            row = segments.row_of(change.id)
            if row is None:
                continue
            changed[row] = change.sequence
            if change.kind != "upload":
                live[row] = change.kind == "restore"
                tombstones[row] = None if live[row] else change.at
        sequence = max(self.sequence, changes[-1].sequence)
        view = View(segments, sequence, RowState(live, tombstones, changed), self.searcher)
        view._snapshot_memo = self._snapshot_memo
        return view

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot this view stands on."""
        return self.segments.snapshot

    @property
    def confidence(self) -> Confidence | None:
        """What scores mean here; None for a snapshot of before they were calibrated."""
        return self.snapshot.confidence

    @property
    def tag(self) -> str:
        """A short text that changes whenever an answer could."""
        return f"{self.snapshot.name}-{self.sequence}"

    @property
    def dimension(self) -> int:
        """D."""
        return self.segments.dimension

    @property
    def n(self) -> int:
        """All rows, deleted ones included."""
        return len(self.live)

    @property
    def tables(self) -> tuple[tuple[int, Table], ...]:
        """The tables with the row each begins at."""
        return self.segments.tables

    @property
    def texts(self) -> tuple[tuple[int, TextIndex], ...]:
        """The text indexes with the row each begins at."""
        return self.segments.texts

    @property
    def categories(self) -> tuple[str, ...]:
        """(C,) names, sorted; also of categories whose products are all deleted."""
        return self.segments.categories

    @property
    def category_codes(self) -> Codes:
        """(n,) index of each row's category in `categories`."""
        return self.segments.category_codes

    @property
    def group_codes(self) -> Codes:
        """(n,) number of each row's group, -1 where a product has none."""
        return self.segments.group_codes

    def row_of(self, product_id: str) -> int | None:
        """Return the row of an id, deleted or not; None for an unknown id."""
        return self.segments.row_of(product_id)

    def id_at(self, row: int) -> str:
        """Return the id of a row."""
        return self.segments.id_at(row)

    def ids(self, rows: Iterable[int]) -> list[str]:
        """Return the ids of rows, in their order."""
        return [self.segments.id_at(int(row)) for row in rows]

    def product(self, row: int) -> Product:
        """Return one row as an object, its tombstone as of this view."""
        product = self.segments.product(row)
        if row in self._tombstones:
            return dataclasses.replace(product, deleted_at=self._tombstones[row])
        return product

    def vectors(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> FloatMatrix:
        """Return the vectors of rows: (len(rows), D) float32, unit rows, in the snapshot's space."""
        return self.segments.vectors(rows)

    def blocks(self, size: int = 8192) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield (first row, (b, D) float32) over all rows, in order; b <= size."""
        return self.segments.blocks(size)

    def search(
        self,
        queries: FloatMatrix,
        k: int,
        *,
        allowed: Mask | None = None,
        exact: bool = False,
        filters: Filters | None = None,
    ) -> Neighbours:
        """Return the k most similar allowed rows of the snapshot and the uploads.

        queries: (Q, D) float32, unit rows. allowed: (n,) bool, default the live rows. exact: scan instead of
        using the approximate index. filters: what is known of how `allowed` came about, a hint for a store
        outside the process. Scores and rows as in indexer.recipes.Neighbours; equal scores by id. Raises
        StoreUnavailable.
        """
        allowed = self.live if allowed is None else allowed
        return self.searcher.search(self, queries, k, allowed=allowed, exact=exact, filters=filters)

    def cached(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, made once per view and key."""
        return self._memo.get(key, make)

    def cached_for_snapshot(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, made once per snapshot and key: only for what no change alters."""
        return self._snapshot_memo.get(key, make)


def _with_uploads(segments: Segments, changes: Iterable[Change]) -> Segments:
    """Add what was uploaded. A product that the snapshot holds already is the snapshot's to tell."""
    snapshot, uploads = segments.snapshot, segments.uploads
    model = snapshot.manifest.model
    key = f"{model.name}|{model.digest}|{model.preprocessing}"
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
    return segments if uploads is segments.uploads else Segments(snapshot, uploads)
