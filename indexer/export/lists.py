"""The best hits of every live product, as a search of the service would answer, but of all at once.

Shape letters: n rows, K hits, D dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from indexer.neighbourhood import BLOCK_ROWS, Question, nearest_to_each
from indexer.ranking import Hits, Stages
from indexer.standing import Standing
from indexer.table import Rows
from indexer.where import matching_rows

_WIDER = 4


@dataclass(frozen=True, slots=True)
class Filters:
    """What may be found, in the words of a search: every live product asks, filters are about its hits."""

    same_category: bool = False
    category: tuple[str, ...] = ()
    where: Mapping[str, Any] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    stages: Stages = field(default_factory=Stages)

    def findable(self, standing: Standing) -> Rows:
        """Return the live rows that may be hits, in order of id. Raises QueryError for a bad condition."""
        allowed = standing.live.copy()
        if self.category:
            wanted = np.isin(np.array(standing.categories, object), np.array(self.category, object))
            allowed &= wanted[standing.category_codes]
        if self.where:
            allowed &= matching_rows(standing.segments.tables, self.where)
        excluded = [standing.segments.row_of(product_id) for product_id in self.exclude]
        allowed[[row for row in excluded if row is not None]] = False
        rows: Rows = standing.live_rows[allowed[standing.live_rows]]
        return rows


def product_lists(
    standing: Standing, filters: Filters, top: int, *, block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, Hits]]:
    """Yield every live row with its best hits, at most `top`, scores descending, then id; never itself.

    In order of category with `same_category`, and those that may be found before the others.
    """
    findable = filters.findable(standing)
    if not filters.same_category:
        yield from _lists(standing, filters, top, standing.live_rows, findable, block_rows)
        return
    codes = standing.category_codes
    for code in np.unique(codes[standing.live_rows]).tolist():
        asking = standing.live_rows[codes[standing.live_rows] == code]
        yield from _lists(standing, filters, top, asking, findable[codes[findable] == code], block_rows)


def _lists(
    standing: Standing, filters: Filters, top: int, asking: Rows, findable: Rows, block_rows: int
) -> Iterator[tuple[int, Hits]]:
    """Search for all; for those that the stages leave too few hits, wider and wider."""
    stages, segments = filters.stages, standing.segments
    wanted = stages.reach(top)
    k = min(wanted, len(findable))

    def answers(rows: Rows, k: int) -> Iterator[tuple[int, Hits, bool]]:
        question = Question(rows, findable, max(k, 1), standing.id_rank, stages.min_score)
        for row, found in nearest_to_each(segments.vectors, question, block_rows=block_rows):
            hits, _ = stages.applied(found, segments.group_codes, segments.vectors, wanted)
            is_short = stages.drop_some and len(hits) < wanted and len(found) == k < len(findable)
            yield row, hits.take(np.arange(min(top, len(hits)))), is_short

    first = answers(asking, k)
    while block := list(islice(first, block_rows)):
        width, wider = k, {row: hits for row, hits, _ in block}
        short = [row for row, _, is_short in block if is_short]
        while short:
            width = min(_WIDER * width, len(findable))
            found = list(answers(np.array(short, np.int64), width))
            wider.update((row, hits) for row, hits, _ in found)
            short = [row for row, _, is_short in found if is_short]
        yield from wider.items()
