"""Comparison of the lists of two states of a catalogue. Shape letters: K hits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.export.lists import ListFilters, product_lists
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.ranking import Hits

# Smaller changes of a score are ignored: when a transform is fitted again, all scores change a little.
SCORE_CHANGE = 1e-3


class PreviousLists:
    """The lists of an earlier state, compared with later ones.

    If the shop rules have changed since, the earlier rules are not available and every list counts as
    changed.
    """

    def __init__(
        self, state: CatalogueState, filters: ListFilters, limit: int, *, has_same_rules: bool = True
    ) -> None:
        """Compute all lists, of at most `limit` hits; each hit takes 12 bytes of memory."""
        self._state = state
        self._has_same_rules = has_same_rules
        self._lists: dict[int, Hits] = {}
        if has_same_rules:
            self._lists = {row: hits for row, hits in product_lists(state, filters, limit) if len(hits)}

    def is_changed(self, state: CatalogueState, row: int, hits: Hits) -> bool:
        """Return True if the list of a row of another state has other hits, another order or other scores."""
        if not self._has_same_rules:
            return True
        previous = self._list_of(state.segments.id_at(row))
        if previous is None or len(previous) != len(hits):
            return len(hits) > 0 or previous is not None
        if self._state.ids(previous.rows) != state.ids(hits.rows):
            return True
        return bool((np.abs(previous.scores - hits.scores) >= SCORE_CHANGE).any())

    def removed_products(self, state: CatalogueState) -> Iterator[str]:
        """Yield the ids, in order, of products that had a list and are not live in another state."""
        for row in self._state.live_rows.tolist():
            product_id = self._state.segments.id_at(row)
            new_row = state.segments.row_of(product_id)
            had_list = row in self._lists or not self._has_same_rules
            if had_list and (new_row is None or not state.live[new_row]):
                yield product_id

    def _list_of(self, product_id: str) -> Hits | None:
        row = self._state.segments.row_of(product_id)
        return None if row is None else self._lists.get(row)
