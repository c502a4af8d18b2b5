"""Consistent views of a catalogue: one state, its searcher and its rules. Immutable.

Every query takes one view and keeps it until it has answered. Shape letters: n rows (see `segments`),
D dimension, Q queries, K results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from vitrine.indexer.arrays import FloatMatrix, Mask
from vitrine.indexer.journal.journal import Change
from vitrine.indexer.snapshot.snapshot import Snapshot
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.state.compiled_rules import NO_COMPILED_RULES, CompiledRules, RowSelector, compile_rules
from vitrine.indexer.state.rules import NO_RULES, Rules
from vitrine.indexer.vectors.scoring import Neighbours
from vitrine.service.queries.memo import Memo
from vitrine.service.queries.searcher import Filters, Searcher

Value = TypeVar("Value")
# Values of `View.cached_recently` that one view holds at once.
RECENT_VALUES = 32


class View:
    """A catalogue state that can be searched, with the shop rules in force and a cache. Thread-safe.

    state: the snapshot with the journal applied up to one sequence. searcher: of the snapshot's vectors.
    """

    def __init__(
        self,
        state: CatalogueState,
        searcher: Searcher,
        snapshot_memo: Memo | None = None,
        rules: Rules = NO_RULES,
    ) -> None:
        """snapshot_memo: the cache of an earlier view of the same snapshot, to be shared."""
        self.state = state
        self.searcher = searcher
        self.rules = rules
        self._memo = Memo()
        self._recent_memo = Memo(RECENT_VALUES)
        self._snapshot_memo = snapshot_memo or Memo()

    @classmethod
    def from_snapshot(cls, snapshot: Snapshot, changes: Iterable[Change], searcher: Searcher) -> View:
        """Return the view of a snapshot after `changes`: all since its `uploads_sequence`, oldest first."""
        return cls(CatalogueState.from_snapshot(snapshot, changes), searcher)

    def after(self, changes: Iterable[Change]) -> View:
        """Return the view after more changes, oldest first; see CatalogueState.after."""
        state = self.state.after(changes)
        return self if state is self.state else self.with_state(state)

    def with_state(self, state: CatalogueState) -> View:
        """Return the view of another state of the same snapshot, under the same rules."""
        return View(state, self.searcher, self._snapshot_memo, self.rules)

    def with_rules(self, rules: Rules) -> View:
        """Return the view of the same state under other rules. Raises RulesError when they do not fit it."""
        view = View(self.state, self.searcher, self._snapshot_memo, rules)
        _ = view.compiled_rules
        return view

    @property
    def tag(self) -> str:
        """A short text that changes whenever an answer could change; the basis of an ETag."""
        rules = f"-{self.rules.digest}" if self.rules.digest else ""
        return f"{self.state.snapshot.name}-{self.state.sequence}{rules}"

    @property
    def compiled_rules(self) -> CompiledRules:
        """The shop rules resolved to the rows of this state."""
        if not self.rules.names:
            return NO_COMPILED_RULES
        selector = RowSelector.from_state(self.state)
        return self.cached("compiled rules", lambda: compile_rules(self.rules, selector))

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
        using the approximate index. filters: conditions that every allowed row meets, a hint for a store
        outside the process. Scores and rows as in Neighbours; equal scores are ordered by id. Raises
        StoreUnavailable.
        """
        allowed = self.state.live if allowed is None else allowed
        return self.searcher.search(self.state, queries, k, allowed=allowed, exact=exact, filters=filters)

    def cached(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of `compute`, computed once per view and key. For a fixed set of keys."""
        return self._memo.get(key, compute)

    def cached_recently(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of `compute`, kept for the RECENT_VALUES keys that were used last.

        For keys that contain values of a request.
        """
        return self._recent_memo.get(key, compute)

    def cached_for_snapshot(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of `compute`, computed once per snapshot and key.

        Only for values that no change of the journal alters.
        """
        return self._snapshot_memo.get(key, compute)
