"""What changed between the lists of two states of a catalogue. Shape letters: K hits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vitrine.indexer.export.lists import Filters, product_lists
from vitrine.indexer.state.catalogue_state import CatalogueState
from vitrine.indexer.vectors.ranking import Hits

# A score that moved by less says nothing new: a transform that is fitted again moves all a little.
SCORE_CHANGE = 1e-3


class EarlierLists:
    """The lists of an earlier state, K hits and scores a product, to hold later ones against.

    Under other rules of the shop, which nobody knows any more, every list is taken to differ.
    """

    def __init__(self, state: CatalogueState, filters: Filters, top: int, *, same_rules: bool = True) -> None:
        """Compute them all: 12 bytes a hit are kept."""
        self._state = state
        self._same_rules = same_rules
        if not same_rules:
            self._lists: dict[int, Hits] = {}
            return
        self._lists = {row: hits for row, hits in product_lists(state, filters, top) if len(hits)}

    def differs(self, state: CatalogueState, row: int, hits: Hits) -> bool:
        """Return whether the list of a row of another state has other hits, another order or other scores."""
        if not self._same_rules:
            return True
        earlier = self._of(state.segments.id_at(row))
        if earlier is None or len(earlier) != len(hits):
            return len(hits) > 0 or earlier is not None
        if self._state.ids(earlier.rows) != state.ids(hits.rows):
            return True
        return bool((np.abs(earlier.scores - hits.scores) >= SCORE_CHANGE).any())

    def gone(self, state: CatalogueState) -> Iterator[str]:
        """Yield the ids that had a list and are not live in another state, in order."""
        for row in self._state.live_rows.tolist():
            product_id = self._state.segments.id_at(row)
            now = state.segments.row_of(product_id)
            if (row in self._lists or not self._same_rules) and (now is None or not state.live[now]):
                yield product_id

    def _of(self, product_id: str) -> Hits | None:
        row = self._state.segments.row_of(product_id)
        return None if row is None else self._lists.get(row)
