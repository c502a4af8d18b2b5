"""Merging of candidate lists into the k best."""

from __future__ import annotations

import numpy as np

from tests.queries_view import product, view_from_products
from vitrine.service.queries.searcher import merge_top_k


def test_the_best_candidates_come_first_and_equal_scores_by_id() -> None:
    state = view_from_products([product("c"), product("a"), product("b")], np.eye(3)).state
    rows = np.array([0, 1, 2])
    lists = [(rows, np.array(scores, np.float32)) for scores in ([0.5, 0.5, 0.9], [0.1, 0.2, 0.2])]
    merged = merge_top_k(state, lists, 2)
    assert merged.rows.tolist() == [[2, 1], [1, 2]]
    np.testing.assert_allclose(merged.scores, [[0.9, 0.5], [0.2, 0.2]])
