"""Benchmarks with true scores, measurements of them, and the number of candidates for longer answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.indexer.recipes.builds import VECTORS
from vitrine.indexer.recipes import RecipeRequest, VectorIndex, build_index
from vitrine.indexer.recipes.index import K_BUCKETS
from vitrine.indexer.recipes.tuning import Benchmark, measure


def test_a_benchmark_holds_the_true_scores() -> None:
    benchmark = Benchmark.from_vectors(VECTORS, 40)
    scores = np.sort(benchmark.queries @ VECTORS.T, axis=1)[:, ::-1]
    np.testing.assert_allclose(benchmark.kth_scores, scores[:, [9, 15]].T, atol=1e-6)
    few = Benchmark.from_vectors(VECTORS[:4])
    np.testing.assert_allclose(few.kth_scores[0], (few.queries @ VECTORS[:4].T).min(axis=1), atol=1e-6)


def test_the_recall_counts_scores_and_not_rows(tmp_path: Path) -> None:
    """Thirty equal vectors: any ten of them are the true ten."""
    vectors = np.concatenate([np.repeat(VECTORS[:1], 30, axis=0), VECTORS[1:100]])
    report = build_index(vectors, RecipeRequest("flat"), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)
    measurement = measure(index, Benchmark.from_vectors(vectors))
    assert measurement.recall_at_10 == 1.0
    assert measurement.p95_ms >= measurement.p50_ms > 0


@pytest.mark.parametrize("recipe", ["hnsw", "ivf", "SVD32,HNSW16_SQ8"])
def test_a_longer_answer_needs_fewer_candidates_per_hit_and_keeps_the_recall(
    recipe: str, tmp_path: Path
) -> None:
    report = build_index(VECTORS, RecipeRequest(recipe, 0.9), tmp_path / "index.faiss")
    counts = report.parameters["widths"]
    per_hit = [count / size for count, size in zip(counts, K_BUCKETS, strict=True)]
    assert per_hit == sorted(per_hit, reverse=True)
    assert per_hit[-1] >= 1
    index = VectorIndex.open(tmp_path / "index.faiss", VECTORS, report.parameters)
    for k in K_BUCKETS[1:4]:
        answer = index.search(VECTORS[5::50], k)
        truth = index.search(VECTORS[5::50], k, exact=True)
        assert np.mean(answer.scores >= truth.scores[:, -1:] - 1e-6) >= 0.88


def test_a_recipe_without_candidate_counts_scales_the_first(tmp_path: Path) -> None:
    """Manifests of earlier versions have no `widths`."""
    report = build_index(VECTORS, RecipeRequest("hnsw", 0.9), tmp_path / "index.faiss")
    parameters = {name: value for name, value in report.parameters.items() if name != "widths"}
    index = VectorIndex.open(tmp_path / "index.faiss", VECTORS, parameters)
    assert index.search(VECTORS[:1], 900).rows.size == 900
