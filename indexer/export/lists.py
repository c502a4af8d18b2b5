"""The best hits of every live product, as a search of the service would answer, but of all at once.

Shape letters: n rows, K hits, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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

_WIDER = 4
_NOT_FOUND = Hits(np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Filters:
    """What may be found, in the words of a search: every live product asks, filters are about its hits."""

    same_category: bool = False
    category: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    stages: Stages = field(default_factory=Stages)
    rules: Rules = NO_RULES

    def findable(self, state: CatalogueState) -> Rows:
        """Return the live rows that may be hits, in order of id. Raises QueryError for a bad condition."""
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
    state: CatalogueState, filters: Filters, top: int, *, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, Hits]]:
    """Yield every live row with its best hits, at most `top`, scores descending, then id; never itself.

    In order of category with `same_category`; those that the same rules of the shop hold for together, and
    those that may be found before the others. Raises QueryError, RulesError.
    """
    rules = compile_rules(filters.rules, RowSelector.from_state(state))
    for asking, findable in _parts(state, filters):
        for rows in rules.group_references(asking):
            yield from _lists(state, filters.stages, top, _Part.of(rules, rows, findable), block_rows)


def _parts(state: CatalogueState, filters: Filters) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows that ask with the rows that they may find."""
    findable = filters.findable(state)
    if not filters.same_category:
        yield state.live_rows, findable
        return
    codes = state.category_codes
    for code in np.unique(codes[state.live_rows]).tolist():
        asking = state.live_rows[codes[state.live_rows] == code]
        yield asking, findable[codes[findable] == code]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that ask, what they may find, and the pins that are in force for them all."""

    asking: Rows
    findable: Rows
    rules: CompiledRules
    pins: tuple[tuple[Pin, Mask, int], ...]

    @classmethod
    def of(cls, rules: CompiledRules, asking: Rows, findable: Rows) -> _Part:
        """Take rows for which the same rules hold."""
        looked_at = asking[:1].tolist()
        banned = rules.banned_rows(looked_at)
        findable = findable if banned is None else findable[~banned[findable]]
        return cls(asking, findable, rules, tuple(rules.pins_for(looked_at)))

    @property
    def most_pins(self) -> int:
        """How many hits may be pinned in one list."""
        return sum(pin.limit for pin, _, _ in self.pins)

    def ruled(self, state: CatalogueState, stages: Stages, block_rows: int) -> Callable[[int], RuleEffects]:
        """Return what says, of the list of an asking row, what the rules do."""
        found: list[tuple[Pin, dict[int, Hits]]] = []
        for pin, rows, k in self.pins:
            may = self.findable[rows[self.findable]]
            question = KnnQuery(self.asking, may, k, state.id_rank, stages.min_score)
            near = knn_join(state.segments.vectors, question, block_rows=block_rows)
            found.append(
                (
                    pin,
                    {row: stages.filter_by_thresholds(hits, None) for row, hits in near} if len(may) else {},
                )
            )
        return lambda row: self.rules.effects([(pin, by_row.get(row, _NOT_FOUND)) for pin, by_row in found])


def _lists(
    state: CatalogueState, stages: Stages, top: int, part: _Part, block_rows: int
) -> Iterator[tuple[int, Hits]]:
    """Search for all; for those that the stages leave too few hits, wider and wider."""
    segments, findable = state.segments, part.findable
    ruled_of = part.ruled(state, stages, block_rows)
    drop_some = stages.can_drop_hits or bool(part.rules.never_together)
    k = min(stages.hits_needed(top) + part.most_pins, len(findable))

    def answers(rows: Rows, k: int) -> Iterator[tuple[int, Hits, bool]]:
        question = KnnQuery(rows, findable, max(k, 1), state.id_rank, stages.min_score)
        for row, found in knn_join(segments.vectors, question, block_rows=block_rows):
            ruled = ruled_of(row)
            wanted = stages.hits_needed(top) + len(ruled.pins)
            hits, _ = stages.apply(found, segments.group_codes, segments.vectors, wanted, None, ruled)
            is_short = drop_some and len(hits) < wanted and len(found) == k < len(findable)
            yield row, hits.take(np.arange(min(top, len(hits)))), is_short

    first = answers(part.asking, k)
    while block := list(islice(first, block_rows)):
        width, wider = k, {row: hits for row, hits, _ in block}
        short = [row for row, _, is_short in block if is_short]
        while short:
            width = min(_WIDER * width, len(findable))
            found = list(answers(np.array(short, np.int64), width))
            wider.update((row, hits) for row, hits, _ in found)
            short = [row for row, _, is_short in found if is_short]
        yield from wider.items()
