"""Tests of vitrine.indexer.vectors.knn against a brute-force search of one row after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import clustered
from vitrine.indexer.vectors import knn
from vitrine.indexer.vectors.knn import KnnQuery, knn_join
from vitrine.indexer.vectors.ranking import Hits
from vitrine.indexer.vectors.scoring import score_rows


def brute_force(vectors: Any, query: KnnQuery, row: int) -> tuple[list[int], list[float]]:
    candidates = [other for other in query.candidates.tolist() if other != row]
    scores = score_rows(vectors[candidates], vectors[row]) if candidates else np.empty(0, np.float32)
    order = sorted(range(len(candidates)), key=lambda i: (-scores[i], query.tie_ranks[candidates[i]]))
    best = order[: query.k]
    return [candidates[i] for i in best], [float(scores[i]) for i in best]


def assert_exact(vectors: Any, query: KnnQuery, results: dict[int, Hits], min_score: float = -2.0) -> None:
    assert sorted(results) == sorted(query.queries.tolist())
    for row, hits in results.items():
        rows, scores = brute_force(vectors, query, row)
        expected = [i for i, score in enumerate(scores) if score >= min_score]
        actual = [i for i, score in enumerate(hits.scores.tolist()) if score >= min_score]
        assert hits.rows[actual].tolist() == [rows[i] for i in expected]
        assert hits.scores[actual].tolist() == [scores[i] for i in expected]


@settings(max_examples=60)
@given(seed=st.integers(0, 1000), n=st.integers(1, 60), k=st.integers(1, 12), data=st.data())
def test_neighbours_are_those_of_brute_force(seed: int, n: int, k: int, data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    vectors = clustered(n, 16, seed)
    copies = random.integers(0, n, n // 3)
    vectors[random.integers(0, n, n // 3)] = vectors[copies]
    queries = random.permutation(n)[: data.draw(st.integers(0, n))]
    candidates = random.permutation(n)[: data.draw(st.integers(0, n))]
    min_score = data.draw(st.sampled_from([None, 0.5, 0.95]))
    query = KnnQuery(queries, candidates, k, random.permutation(n), min_score)
    results = dict(knn_join(lambda rows: vectors[rows], query, block_rows=7))
    assert_exact(vectors, query, results, -2.0 if min_score is None else min_score)


@pytest.mark.parametrize("entries_max", [0, knn.POOL_ENTRIES_MAX])
def test_results_do_not_depend_on_the_sharing_of_products(
    entries_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(knn, "POOL_ENTRIES_MAX", entries_max)
    vectors, rows = clustered(300, 24, 3), np.arange(300)
    query = KnnQuery(rows, rows, 9, rows[::-1].copy())
    assert_exact(vectors, query, dict(knn_join(lambda rows: vectors[rows], query, block_rows=64)))


def test_hundreds_of_equal_vectors_are_ordered_by_tie_ranks() -> None:
    """More rows tie than a pool holds, as with a placeholder picture that half a shop has."""
    vectors = clustered(900, 12, 1)
    vectors[200:800] = vectors[200]
    tie_ranks = np.random.default_rng(5).permutation(900)
    query = KnnQuery(np.arange(900), np.arange(900), 4, tie_ranks)
    results = dict(knn_join(lambda rows: vectors[rows], query, block_rows=256))
    assert_exact(vectors, query, results)
    tied = sorted((int(tie_ranks[row]), row) for row in range(200, 800))
    assert results[tied[9][1]].rows.tolist() == [row for _, row in tied[:4]]
