"""Recall and latency of an index, and the cheapest search parameters that reach a target recall.

Shape letters: N rows, D dimension, Q queries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, FloatVector, StoredVectors
from vitrine.indexer.recipes.costs import Costs, measure_costs
from vitrine.indexer.recipes.engine import Engine
from vitrine.indexer.recipes.index import K_BUCKETS, VectorIndex, default_candidate_counts
from vitrine.indexer.recipes.sketch import Sketch
from vitrine.indexer.vectors.scoring import search_all, to_float32

RECALL_K = 10
BENCHMARK_QUERIES = 200
# Long answers are tuned on fewer queries.
LONG_ANSWER_QUERIES = 32
_SCORE_TOLERANCE = 1e-6
# Tuning uses this share of the misses that the target allows, as later queries may be harder.
_MISSES_USED = 0.7
_CANDIDATE_COUNTS = (16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)
_GRAPH_EFFORTS = (1.0, 2.0, 4.0)
# Candidates for each hit of a long answer.
_CANDIDATES_PER_HIT = (1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Benchmark:
    """Queries and the true scores that their answers must reach.

    queries: (Q, D) unit rows. kth_scores: (2, Q), the 10th and the 16th best score of each query.
    """

    queries: FloatMatrix
    kth_scores: FloatMatrix

    @classmethod
    def from_vectors(cls, vectors: StoredVectors, query_count: int = BENCHMARK_QUERIES) -> Benchmark:
        """Take evenly spaced vectors as queries and compute the true scores by brute force."""
        rows = np.unique(np.linspace(0, len(vectors) - 1, min(query_count, len(vectors))).astype(np.int64))
        queries = to_float32(vectors[rows])
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        scores = search_all(vectors, queries, K_BUCKETS[0]).scores
        last_columns = [min(RECALL_K, scores.shape[1]) - 1, scores.shape[1] - 1]
        return cls(queries, np.ascontiguousarray(scores[:, last_columns].T))


@dataclass(frozen=True, slots=True)
class Measurement:
    """Recall@10, 0 to 1, and the median and 95th percentile of the latency of single queries, in ms."""

    recall_at_10: float
    p50_ms: float
    p95_ms: float


def measure(index: VectorIndex, benchmark: Benchmark) -> Measurement:
    """Search for each query of a benchmark by itself.

    A result counts for the recall if its score reaches that of the true 10th, so that any of several rows
    with equal scores may be returned.
    """
    times_ms, scores = [], []
    index.search(benchmark.queries[:1], RECALL_K)
    for query in benchmark.queries:
        start = time.perf_counter()
        scores.append(index.search(query[None], RECALL_K).scores[0])
        times_ms.append(1e3 * (time.perf_counter() - start))
    p50, p95 = np.percentile(times_ms, [50, 95])
    return Measurement(_recall(np.array(scores), benchmark.kth_scores[0]), float(p50), float(p95))


def tune(
    engine: Engine,
    vectors: StoredVectors,
    benchmark: Benchmark,
    target_recall: float,
    sketch: Sketch | None = None,
) -> dict[str, Any]:
    """Return the cheapest search parameters that reach the target recall; else those of the greatest recall.

    The recall is measured at 16 hits, the longest answer of the first bucket.
    """
    efforts = _efforts(engine)
    costs = measure_costs(engine, vectors, benchmark.queries, efforts[0], sketch)
    if engine.family == "flat":
        return _parameters(engine, 1, 1.0, costs)
    best, best_recall = _parameters(engine, _CANDIDATE_COUNTS[0], 1.0, costs), -1.0
    settings = sorted(_settings(engine, efforts), key=lambda setting: _search_us(setting, costs))
    for candidates, effort in settings:
        parameters = _parameters(engine, candidates, effort, costs)
        scores = VectorIndex(engine, vectors, parameters).search(benchmark.queries, K_BUCKETS[0]).scores
        recall = _recall(scores, benchmark.kth_scores[1])
        if recall > best_recall:
            best, best_recall = parameters, recall
        if recall >= _required_recall(target_recall):
            break
    if best["effort"] != efforts[0]:
        costs = measure_costs(engine, vectors, benchmark.queries, best["effort"], sketch)
        best = _parameters(engine, best["candidates"], best["effort"], costs)
    return best


def tune_candidate_counts(
    engine: Engine,
    vectors: StoredVectors,
    parameters: dict[str, Any],
    queries: FloatMatrix,
    target_recall: float,
) -> list[int]:
    """Return the number of candidates for an answer of each of K_BUCKETS; longer ones need fewer per hit.

    parameters: as tuned for the first bucket. queries: (Q, D), on which each bucket must reach the target.
    """
    if engine.family == "flat":
        return default_candidate_counts(parameters)
    counts = [int(parameters["candidates"])]
    best_scores = search_all(vectors, queries, K_BUCKETS[-1]).scores
    for previous_size, size in pairwise(K_BUCKETS):
        count = counts[-1] * size // previous_size
        fewer = [int(factor * size) for factor in _CANDIDATES_PER_HIT if factor * size < count]
        for candidates in fewer if size <= best_scores.shape[1] else []:
            index = VectorIndex(engine, vectors, parameters | {"widths": [candidates] * len(K_BUCKETS)})
            recall = _recall(index.search(queries, size).scores, best_scores[:, size - 1])
            if recall >= _required_recall(target_recall):
                count = candidates
                break
        counts.append(max(count, counts[-1]))
    return counts


def _required_recall(target_recall: float) -> float:
    return 1.0 - _MISSES_USED * (1.0 - target_recall)


def _recall(scores: FloatMatrix, kth_scores: FloatVector) -> float:
    """Return the share of scores (Q, K) that reach the true k-th best score of their query, (Q,)."""
    return float(np.mean(scores >= kth_scores[:, None] - _SCORE_TOLERANCE))


def _settings(engine: Engine, efforts: list[float]) -> Iterator[tuple[int, float]]:
    """Yield pairs (number of candidates, effort) to try."""
    for candidates in _CANDIDATE_COUNTS:
        if candidates <= max(engine.ntotal, _CANDIDATE_COUNTS[0]):
            yield from ((candidates, effort) for effort in efforts)


def _efforts(engine: Engine) -> list[float]:
    """Return the search efforts to try: efSearch or nprobe for each candidate."""
    if engine.family == "graph":
        return list(_GRAPH_EFFORTS)
    if engine.family == "lists":
        return [2.0**power / _CANDIDATE_COUNTS[0] for power in range(engine.nlist.bit_length())]
    return [1.0]


def _search_us(setting: tuple[int, float], costs: Costs) -> float:
    """Return the expected time of an index search with these settings, less what all have in common."""
    candidates, effort = setting
    return candidates * (costs.read_row_us + effort * costs.effort_us)


def _parameters(engine: Engine, candidates: int, effort: float, costs: Costs) -> dict[str, Any]:
    return {"family": engine.family, "candidates": candidates, "effort": effort, "costs": costs.as_json()}
