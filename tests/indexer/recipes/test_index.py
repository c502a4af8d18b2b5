"""Searches of every recipe compared with brute force: recall, filters, full answers, order and prefixes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import clustered
from vitrine.indexer.errors import QueryError, SnapshotCorrupt
from vitrine.indexer.recipes import RecipeRequest, VectorIndex, build_index
from vitrine.indexer.recipes.costs import Costs
from vitrine.indexer.vectors.scoring import score_rows

N, D = 3000, 160
VECTORS = clustered(N, D, seed=3)
RECIPES = ("flat", "hnsw", "ivf", "SQ8", "IVF32,Flat", "HNSW16", "PQ8", "SVD32,SQ8", "IVF16,PQ16x4fs")
# Costs that make every search use one strategy, if the index has it.
CHEAP, DEAR = 1e-9, 1e6
STRATEGIES = {
    "index": Costs(
        read_row_us=1e-3,
        scan_row_us=DEAR,
        skip_code_us=1.0,
        score_code_us=1.0,
        effort_us=CHEAP,
        search_overhead_us=CHEAP,
    ),
    "codes": Costs(
        read_row_us=1e-3,
        scan_row_us=DEAR,
        skip_code_us=CHEAP,
        score_code_us=CHEAP,
        effort_us=DEAR,
        search_overhead_us=DEAR,
    ),
    "rows": Costs(read_row_us=CHEAP, scan_row_us=DEAR, search_overhead_us=DEAR),
    "scan": Costs(read_row_us=DEAR, scan_row_us=CHEAP, search_overhead_us=DEAR),
}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VectorIndex]:
    folder = tmp_path_factory.mktemp("recipes")
    opened = {}
    for number, recipe in enumerate(RECIPES):
        path = folder / f"{number}.faiss"
        report = build_index(VECTORS, RecipeRequest(recipe), path)
        opened[recipe] = VectorIndex.open(path, VECTORS, report.parameters)
    return opened


def with_strategy(index: VectorIndex, strategy: str) -> VectorIndex:
    """Return the index with costs that leave one strategy; scoring rows, if its codes cannot be filtered."""
    costs = STRATEGIES[strategy]
    if strategy == "codes" and not index.engine.has_selectors:
        costs = STRATEGIES["rows"]
    return VectorIndex(index.engine, VECTORS, {**index.parameters, "costs": costs.as_json()})


def oracle(query: np.ndarray, k: int, allowed: Any = None) -> tuple[np.ndarray, np.ndarray]:
    scores = np.clip(np.vecdot(VECTORS, query), -1, 1)
    rows = np.arange(N) if allowed is None else np.flatnonzero(allowed)
    order = rows[np.lexsort((rows, -scores[rows]))][:k]
    return order, scores[order]


def recall(scores: np.ndarray, true_scores: np.ndarray) -> float:
    return float(np.mean(scores >= true_scores.min() - 1e-6)) if len(true_scores) else 1.0


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_finds_what_brute_force_finds(indexes: dict[str, VectorIndex], recipe: str) -> None:
    recalls = [recall(indexes[recipe].search(q[None], 10).scores[0], oracle(q, 10)[1]) for q in VECTORS[::60]]
    assert np.mean(recalls) >= 0.97


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.002])
def test_filters_of_any_size_give_full_answers_by_every_strategy(
    indexes: dict[str, VectorIndex], recipe: str, strategy: str, share: float
) -> None:
    index = with_strategy(indexes[recipe], strategy)
    random = np.random.default_rng(int(1000 * share))
    recalls = []
    for query in VECTORS[random.integers(0, N, 8)]:
        allowed = random.random(N) < share
        k = min(10, int(allowed.sum()))
        answer = index.search(query[None], 10, allowed=allowed)
        assert answer.rows.shape == (1, k)
        assert allowed[answer.rows[0]].all()
        assert len(set(answer.rows[0].tolist())) == k
        assert (np.diff(answer.scores[0]) <= 0).all()
        np.testing.assert_array_equal(answer.scores[0], score_rows(VECTORS[answer.rows[0]], query))
        recalls.append(recall(answer.scores[0], oracle(query, 10, allowed)[1]))
    assert np.mean(recalls) >= 0.97


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_filter_that_removes_the_whole_neighbourhood_keeps_its_recall(
    indexes: dict[str, VectorIndex], recipe: str
) -> None:
    """The hard case for graphs and lists: the allowed rows are far from the query."""
    index = with_strategy(indexes[recipe], "index")
    recalls = []
    for query in VECTORS[::200]:
        allowed = VECTORS @ query < np.quantile(VECTORS @ query, 0.4)
        answer = index.search(query[None], 10, allowed=allowed)
        recalls.append(recall(answer.scores[0], oracle(query, 10, allowed)[1]))
    assert np.mean(recalls) >= 0.98


@settings(max_examples=60)
@given(
    recipe=st.sampled_from(RECIPES),
    seed=st.integers(0, 10_000),
    share=st.floats(0.0, 1.0),
    k=st.integers(1, 1200),
)
def test_k_hits_come_whenever_k_rows_are_allowed(
    indexes: dict[str, VectorIndex], recipe: str, seed: int, share: float, k: int
) -> None:
    random = np.random.default_rng(seed)
    allowed = random.random(N) < share
    queries = VECTORS[random.integers(0, N, 3)]
    answer = indexes[recipe].search(queries, k, allowed=allowed)
    expected = min(k, int(allowed.sum()))
    assert answer.rows.shape == answer.scores.shape == (3, expected)
    for query, rows, scores in zip(queries, answer.rows, answer.scores, strict=True):
        assert allowed[rows].all()
        assert len(set(rows.tolist())) == expected
        assert (np.diff(scores) <= 0).all()
        assert expected == 0 or (np.abs(scores) <= 1).all()
        if expected:
            assert recall(scores, oracle(query, k, allowed)[1]) >= 0.8


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_exact_search_is_exact_for_every_recipe(indexes: dict[str, VectorIndex], recipe: str) -> None:
    for query in VECTORS[::500]:
        answer = indexes[recipe].search(query[None], 25, exact=True)
        rows, scores = oracle(query, 25)
        np.testing.assert_array_equal(answer.rows[0], rows)
        np.testing.assert_array_equal(answer.scores[0], scores)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_short_answer_begins_a_longer_one(
    indexes: dict[str, VectorIndex], recipe: str, strategy: str
) -> None:
    index = with_strategy(indexes[recipe], strategy)
    allowed = np.random.default_rng(1).random(N) < 0.6
    for query in VECTORS[::700]:
        five, fifteen = (index.search(query[None], k, allowed=allowed).rows[0].tolist() for k in (5, 15))
        assert fifteen[:5] == five


@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "SQ8"])
def test_equal_vectors_tie_to_the_last_bit_and_come_in_the_order_asked_for(
    recipe: str, tmp_path: Path
) -> None:
    vectors = np.concatenate([VECTORS[:700], np.repeat(VECTORS[100:101], 9, axis=0), VECTORS[700:1400]])
    report = build_index(vectors, RecipeRequest(recipe), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)
    tie_ranks = np.arange(len(vectors))[::-1].copy()
    for exact in (False, True):
        answer = index.search(vectors[100:101], 12, exact=exact)
        assert answer.rows[0, :10].tolist() == [100, *range(700, 709)]
        assert len(set(answer.scores[0, :10].tolist())) == 1
        answer = index.search(vectors[100:101], 12, exact=exact, tie_ranks=tie_ranks)
        assert answer.rows[0, :10].tolist() == [*range(708, 699, -1), 100]


def test_a_batch_answers_like_its_queries_one_by_one(indexes: dict[str, VectorIndex]) -> None:
    for index in indexes.values():
        allowed = np.random.default_rng(2).random(N) < 0.5
        together = index.search(VECTORS[:20], 10, allowed=allowed)
        alone = [index.search(query[None], 10, allowed=allowed).rows[0] for query in VECTORS[:20]]
        same = np.mean([np.isin(a, b).mean() for a, b in zip(together.rows, alone, strict=True)])
        assert same >= 0.98


def test_no_row_allowed_is_an_empty_answer(indexes: dict[str, VectorIndex]) -> None:
    for index in indexes.values():
        for exact in (False, True):
            answer = index.search(VECTORS[:2], 5, allowed=np.zeros(N, bool), exact=exact)
            assert answer.rows.shape == answer.scores.shape == (2, 0)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (np.ones((1, D + 1), np.float32), "160 numbers"),
        (np.ones(D, np.float32), "160 numbers"),
        (np.full((1, D), np.nan, np.float32), "NaN"),
        (np.full((1, D), np.inf, np.float32), "NaN or infinity"),
        (np.full((1, D), 3e38, np.float32), "unit length"),
        (np.zeros((1, D), np.float32), "unit length"),
        (np.ones((1, D), np.float32), "unit length"),
    ],
)
def test_a_query_that_is_not_a_unit_vector_is_refused(
    indexes: dict[str, VectorIndex], query: np.ndarray, message: str
) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        indexes["flat"].search(query, 5)
    assert caught.value.field == "vector"


@pytest.mark.parametrize("recipe", ["flat", "hnsw", "ivf", "SQ8"])
def test_half_float_vectors_are_searched_as_they_are_stored(recipe: str, tmp_path: Path) -> None:
    halves = VECTORS.astype(np.float16)
    report = build_index(halves, RecipeRequest(recipe), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", halves, report.parameters)
    for exact in (False, True):
        answer = index.search(VECTORS[:5], 10, exact=exact)
        stored = halves.astype(np.float32)
        for query, rows, scores in zip(VECTORS[:5], answer.rows, answer.scores, strict=True):
            np.testing.assert_array_equal(scores, score_rows(stored[rows], query))
            best = np.sort(score_rows(stored, query))[::-1][:10]
            np.testing.assert_array_equal(scores, best)


def test_a_corrupt_index_file_and_missing_parameters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    path.write_bytes(b"not an index")
    with pytest.raises(SnapshotCorrupt, match="not a readable faiss index"):
        VectorIndex.open(path, VECTORS, {})
    report = build_index(VECTORS[:100], RecipeRequest("flat"), path)
    with pytest.raises(SnapshotCorrupt, match=r"lacks a search parameter \(KeyError\('family'\)\)"):
        VectorIndex.open(path, VECTORS[:100], {})
    for costs in ({}, {"row": 1.0}, report.parameters["costs"] | {"other": 1.0}):
        with pytest.raises(SnapshotCorrupt, match="lacks a search parameter"):
            VectorIndex.open(path, VECTORS[:100], report.parameters | {"costs": costs})
