"""Tests of vitrine.indexer.vectors.scoring: exact search against reading the allowed rows, and float16."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import clustered
from vitrine.indexer.vectors.scoring import score_rows, score_subset, search_all, search_rows, to_float32


def test_every_finite_float16_is_decoded_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)].reshape(-1, 2)
    decoded = to_float32(finite)
    np.testing.assert_array_equal(decoded.view(np.uint32), finite.astype(np.float32).view(np.uint32))


@given(seed=st.integers(0, 1000), k=st.integers(1, 60), copies=st.integers(1, 40), share=st.floats(0.05, 1))
@settings(max_examples=50)
def test_search_all_equals_search_rows_of_the_allowed_rows(
    seed: int, k: int, copies: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    vectors = np.repeat(clustered(60, 24, seed), copies, axis=0)
    allowed = random.random(len(vectors)) < share
    tie_ranks = random.permutation(len(vectors))
    for queries in (vectors[:1], vectors[:: max(len(vectors) // 3, 1)]):
        one = search_all(vectors, queries, k, allowed, tie_ranks)
        two = search_rows(vectors, np.flatnonzero(allowed), queries, k, tie_ranks)
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.scores, two.scores)


def test_a_subset_scored_in_threads_has_the_scores_of_its_rows() -> None:
    vectors = clustered(900, 24, seed=4).astype(np.float16)
    rows = np.random.default_rng(0).permutation(900)[:700]
    expected = score_rows(vectors.astype(np.float32)[rows], vectors[3].astype(np.float32))
    np.testing.assert_array_equal(score_subset(vectors, rows, vectors[3].astype(np.float32)), expected)


def test_scores_lie_between_minus_one_and_one() -> None:
    vectors = clustered(50, 700, seed=9)
    scores = np.concatenate([score_rows(vectors, vectors[0]), score_rows(-vectors, vectors[0])])
    assert scores.max() <= 1
    assert scores.min() >= -1
    assert np.isclose(scores.max(), 1)
