"""A view: one consistent state of a catalogue, a snapshot plus the journal up to one sequence. Never changes.

Every query takes one view and keeps it to its end. Shape letters: n rows (see `segments`), D dimension,
Q queries, K results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from vitrine.indexer.arrays import Codes, FloatMatrix, Mask, Rows
from vitrine.indexer.journal.journal import Change
from vitrine.indexer.products.table import Product, Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.snapshot.confidence import Confidence
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.state.compiled_rules import NO_RULINGS, Rowed, Rulings
from vitrine.indexer.state.rules import NO_RULES, Rules
from vitrine.indexer.vectors.scoring import Neighbours
from vitrine.service.queries.memo import Memo
from vitrine.service.queries.searcher import Filters, Searcher

Made = TypeVar("Made")


class View:
    """The rows of a catalogue and which of them are live. Thread-safe: nothing changes after construction."""

    def __init__(
        self,
        standing: CatalogueState,
        searcher: Searcher,
        snapshot_memo: Memo | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        """searcher: of the snapshot's vectors. snapshot_memo: of an earlier view of the same snapshot."""
        self.state = standing
        self.segments = standing.segments
        self.sequence = standing.sequence
        self.live = standing.live
        self.changed = standing.changed
        self.searcher = searcher
        self.rules = rules
        self._memo = Memo()
        self._snapshot_memo = snapshot_memo or Memo()

    @classmethod
    def of(cls, snapshot: Snapshot, changes: Iterable[Change], searcher: Searcher) -> View:
        """Return the view of a snapshot after `changes`: all since its `uploads_sequence`, oldest first."""
        return cls(CatalogueState.of(snapshot, changes), searcher)

    def after(self, changes: Iterable[Change]) -> View:
        """Return the view after more changes, oldest first; see CatalogueState.after."""
        standing = self.state.after(changes)
        if standing is self.state:
            return self
        return View(standing, self.searcher, self._snapshot_memo, self.rules)

    def under(self, rules: Rules) -> View:
        """Return the same state under other rules. Raises RulesError for rules that do not fit it."""
        view = View(self.state, self.searcher, self._snapshot_memo, rules)
        _ = view.rulings
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
        rules = f"-{self.rules.digest}" if self.rules.digest else ""
        return f"{self.snapshot.name}-{self.sequence}{rules}"

    @property
    def rulings(self) -> Rulings:
        """What the rules of the shop say of the rows."""
        if not self.rules.names:
            return NO_RULINGS
        return self.cached(
            "rulings",
            lambda: Rulings.of(self.rules, Rowed(self.tables, self.categories, self.category_codes)),
        )

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
        return self.state.categories

    @property
    def category_codes(self) -> Codes:
        """(n,) index of each row's category in `categories`."""
        return self.state.category_codes

    @property
    def group_codes(self) -> Codes:
        """(n,) number of each row's group, -1 where a product has none."""
        return self.segments.group_codes

    @property
    def moved(self) -> Mapping[int, str]:
        """The category of each row that has another one than its table says."""
        return self.segments.moved

    @property
    def moved_text(self) -> tuple[Rows, TextIndex]:
        """The rows that were moved, and the words they have now; `texts` has their words of before."""
        return self.segments.moved_text

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
        return self.state.product(row)

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
        outside the process. Scores and rows as in recipes.Neighbours; equal scores by id. Raises
        StoreUnavailable.
        """
        allowed = self.live if allowed is None else allowed
        return self.searcher.search(self.state, queries, k, allowed=allowed, exact=exact, filters=filters)

    def cached(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, made once per view and key."""
        return self._memo.get(key, make)

    def cached_for_snapshot(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` returns, made once per snapshot and key: only for what no change alters."""
        return self._snapshot_memo.get(key, make)
