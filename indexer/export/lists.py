"""Recommendation lists: the best hits of every live product, the same as the service returns for each.

Shape letters: n rows, K hits, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from vitrine.indexer.arrays import BLOCK_ROWS, Mask, Rows
from vitrine.indexer.products.conditions import category_mask, condition_mask
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.state.compiled_rules import CompiledRules, RowSelector, compile_rules
from vitrine.indexer.state.rules import NO_RULES, Pin, Rules
from vitrine.indexer.vectors.knn import KnnQuery, knn_join
from vitrine.indexer.vectors.ranking import Hits, RuleEffects, Stages

# A search that returned too few hits is repeated for this many times as many.
_WIDENING_FACTOR = 4
_NO_HITS = Hits(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class ListFilters:
    """Filters of the hits, stages and shop rules of all lists, as in a search of the service.

    where: conditions on attributes. exclude: ids that are never hits.
    """

    same_category: bool = False
    category: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    stages: Stages = field(default_factory=Stages)
    rules: Rules = NO_RULES

    def candidate_rows(self, state: CatalogueState) -> Rows:
        """Return the live rows that may be hits, in order of id. Raises QueryError."""
        allowed = state.live.copy()
        if self.category:
            allowed &= category_mask(self.category, state.categories, state.category_codes)
        if self.where:
            allowed &= condition_mask(state.segments.tables, self.where)
        excluded = [state.segments.row_of(product_id) for product_id in self.exclude]
        allowed[[row for row in excluded if row is not None]] = False
        rows: Rows = state.live_rows[allowed[state.live_rows]]
        return rows


def product_lists(
    state: CatalogueState, filters: ListFilters, limit: int, *, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, Hits]]:
    """Yield every live row with its best hits, at most `limit`, by descending score, then id; never itself.

    With `same_category`, rows come in order of category. Within a category, those to which the same shop
    rules apply come together, and of these first those that may be hits themselves. Raises QueryError,
    RulesError.
    """
    rules = compile_rules(filters.rules, RowSelector.from_state(state))
    for queries, candidates in _by_category(state, filters):
        for group in rules.group_references(queries):
            part = _Part.from_group(rules, group, candidates)
            yield from _PartSearch(state, filters.stages, limit, part, block_rows).lists()


def _by_category(state: CatalogueState, filters: ListFilters) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs (query rows, their candidate rows): all, or one pair for each category."""
    candidates = filters.candidate_rows(state)
    if not filters.same_category:
        yield state.live_rows, candidates
        return
    codes = state.category_codes
    for code in np.unique(codes[state.live_rows]).tolist():
        queries = state.live_rows[codes[state.live_rows] == code]
        yield queries, candidates[codes[candidates] == code]


@dataclass(frozen=True, slots=True)
class _Part:
    """Query rows to which the same rules apply, their candidate rows and the pins for all of them.

    pins: (pin, (n,) rows to show, number of hits to search).
    """

    queries: Rows
    candidates: Rows
    rules: CompiledRules
    pins: tuple[tuple[Pin, Mask, int], ...]

    @classmethod
    def from_group(cls, rules: CompiledRules, queries: Rows, candidates: Rows) -> _Part:
        """Apply the rules of the first row, which are those of all."""
        reference = queries[:1].tolist()
        banned = rules.banned_rows(reference)
        candidates = candidates if banned is None else candidates[~banned[candidates]]
        return cls(queries, candidates, rules, tuple(rules.pins_for(reference)))

    @property
    def max_pins(self) -> int:
        """The largest number of pinned hits in one list."""
        return sum(pin.limit for pin, _, _ in self.pins)


class _PartSearch:
    """The search for the lists of one part; repeated for more hits where the stages leave too few."""

    def __init__(
        self, state: CatalogueState, stages: Stages, limit: int, part: _Part, block_rows: int
    ) -> None:
        self._state = state
        self._stages = stages
        self._limit = limit
        self._part = part
        self._block_rows = block_rows
        self._pin_hits = [self._search_pin(pin, rows, k) for pin, rows, k in part.pins]

    def lists(self) -> Iterator[tuple[int, Hits]]:
        """Yield every query row with its hits."""
        candidates = self._part.candidates
        k = min(self._stages.hits_needed(self._limit) + self._part.max_pins, len(candidates))
        lists = self._search(self._part.queries, k)
        while block := list(islice(lists, self._block_rows)):
            wider_k, by_row = k, {row: hits for row, hits, _ in block}
            short = [row for row, _, is_short in block if is_short]
            while short:
                wider_k = min(_WIDENING_FACTOR * wider_k, len(candidates))
                wider = list(self._search(np.array(short, np.int64), wider_k))
                by_row.update((row, hits) for row, hits, _ in wider)
                short = [row for row, _, is_short in wider if is_short]
            yield from by_row.items()

    def _search(self, queries: Rows, k: int) -> Iterator[tuple[int, Hits, bool]]:
        """Yield (row, its hits after all stages, True if a search for more than k may find further hits)."""
        segments, candidates = self._state.segments, self._part.candidates
        can_drop_hits = self._stages.can_drop_hits or bool(self._part.rules.never_together)
        for row, neighbours in self._knn_join(queries, candidates, max(k, 1)):
            effects = self._rule_effects(row)
            needed = self._stages.hits_needed(self._limit) + len(effects.pins)
            hits, _ = self._stages.apply(
                neighbours, segments.group_codes, segments.vectors, needed, None, effects
            )
            is_short = can_drop_hits and len(hits) < needed and len(neighbours) == k < len(candidates)
            yield row, hits.take(np.arange(min(self._limit, len(hits)))), is_short

    def _search_pin(self, pin: Pin, rows: Mask, k: int) -> tuple[Pin, dict[int, Hits]]:
        """Return the hits of a pin for each query row. rows: (n,), the rows to show."""
        candidates = self._part.candidates[rows[self._part.candidates]]
        if not len(candidates):
            return pin, {}
        neighbours = self._knn_join(self._part.queries, candidates, k)
        return pin, {row: self._stages.filter_by_thresholds(hits, None) for row, hits in neighbours}

    def _rule_effects(self, row: int) -> RuleEffects:
        """Return the effects of the rules on the list of a query row."""
        pin_hits = [(pin, by_row.get(row, _NO_HITS)) for pin, by_row in self._pin_hits]
        return self._part.rules.effects(pin_hits)

    def _knn_join(self, queries: Rows, candidates: Rows, k: int) -> Iterator[tuple[int, Hits]]:
        query = KnnQuery(queries, candidates, k, self._state.id_rank, self._stages.min_score)
        return knn_join(self._state.segments.vectors, query, block_rows=self._block_rows)
