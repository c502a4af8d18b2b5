"""How well and how fast an index answers, and the least effort at which it answers well enough.

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
from vitrine.indexer.recipes.index import BUCKETS, VectorIndex, untuned_widths
from vitrine.indexer.recipes.sketch import Sketch
from vitrine.indexer.vectors.scoring import search_all, to_float32

RECALL_AT = 10
QUESTIONS = 200
_EQUAL = 1e-6
# Of the misses that the target allows, tuning uses so much: other questions may be harder than these.
_MISSES_USED = 0.7
_CANDIDATES = (16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)
_WALK_EFFORTS = (1.0, 2.0, 4.0)
# How many candidates a hit of a long answer may need.
_SHARES = (1.25, 1.5, 2.0, 3.0)
WIDE_QUESTIONS = 32


@dataclass(frozen=True)
class Examination:
    """Questions with known answers.

    queries: (Q, D) unit rows. floors: (2, Q), the 10th and the 16th best score of each.
    """

    queries: FloatMatrix
    floors: np.ndarray[tuple[int, int], np.dtype[np.float32]]

    @classmethod
    def of(cls, vectors: StoredVectors, count: int = QUESTIONS) -> Examination:
        """Take `count` rows spread over the vectors as questions, and answer them by brute force."""
        rows = np.unique(np.linspace(0, len(vectors) - 1, min(count, len(vectors))).astype(np.int64))
        queries = to_float32(vectors[rows])
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        scores = search_all(vectors, queries, BUCKETS[0]).scores
        places = [min(RECALL_AT, scores.shape[1]) - 1, scores.shape[1] - 1]
        return cls(queries, np.ascontiguousarray(scores[:, places].T))


@dataclass(frozen=True, slots=True)
class Marks:
    """recall_at_10: the share of the true ten that was found. p50_ms, p95_ms: of one query at a time."""

    recall_at_10: float
    p50_ms: float
    p95_ms: float


def examine(index: VectorIndex, examination: Examination) -> Marks:
    """Ask every question by itself. A row counts as found when it scores as much as the true last one."""
    times, answers = [], []
    index.search(examination.queries[:1], RECALL_AT)
    for query in examination.queries:
        began = time.perf_counter()
        answers.append(index.search(query[None], RECALL_AT).scores[0])
        times.append(1e3 * (time.perf_counter() - began))
    p50, p95 = np.percentile(times, [50, 95])
    return Marks(_share_found(np.array(answers), examination.floors[0]), float(p50), float(p95))


def tune(
    engine: Engine,
    vectors: StoredVectors,
    examination: Examination,
    target: float,
    sketch: Sketch | None = None,
) -> dict[str, Any]:
    """Return the parameters at which the index holds the target recall at the least cost.

    The recall is asked for at 16, all that the first bucket of answers may have. Where no setting holds it,
    the one with the greatest recall.
    """
    efforts = _efforts(engine)
    costs = measure_costs(engine, vectors, examination.queries, efforts[0], sketch)
    if engine.family == "flat":
        return _parameters(engine, 1, 1.0, costs)
    best, best_recall = _parameters(engine, _CANDIDATES[0], 1.0, costs), -1.0
    for candidates, effort in sorted(_settings(engine, efforts), key=lambda setting: _cost(setting, costs)):
        parameters = _parameters(engine, candidates, effort, costs)
        scores = VectorIndex(engine, vectors, parameters).search(examination.queries, BUCKETS[0]).scores
        recall = _share_found(scores, examination.floors[1])
        if recall > best_recall:
            best, best_recall = parameters, recall
        if recall >= _least(target):
            break
    if best["effort"] != efforts[0]:
        costs = measure_costs(engine, vectors, examination.queries, best["effort"], sketch)
        best = _parameters(engine, best["candidates"], best["effort"], costs)
    return best


def tune_widths(
    engine: Engine, vectors: StoredVectors, parameters: dict[str, Any], queries: FloatMatrix, target: float
) -> list[int]:
    """Return how many candidates an answer of each of BUCKETS needs: a longer one, fewer for each hit.

    parameters: as tuned for the first. queries: (Q, D), with the target recall asked of each bucket.
    """
    if engine.family == "flat":
        return untuned_widths(parameters)
    widths = [int(parameters["candidates"])]
    best = search_all(vectors, queries, BUCKETS[-1]).scores
    for before, size in pairwise(BUCKETS):
        widest = widths[-1] * size // before
        narrower = [int(share * size) for share in _SHARES if share * size < widest]
        for width in narrower if size <= best.shape[1] else []:
            index = VectorIndex(engine, vectors, parameters | {"widths": [width] * len(BUCKETS)})
            if _share_found(index.search(queries, size).scores, best[:, size - 1]) >= _least(target):
                widest = width
                break
        widths.append(max(widest, widths[-1]))
    return widths


def _least(target: float) -> float:
    return 1.0 - _MISSES_USED * (1.0 - target)


def _share_found(scores: FloatMatrix, floors: FloatVector) -> float:
    return float(np.mean(scores >= floors[:, None] - _EQUAL))


def _settings(engine: Engine, efforts: list[float]) -> Iterator[tuple[int, float]]:
    for candidates in _CANDIDATES:
        if candidates <= max(engine.ntotal, _CANDIDATES[0]):
            yield from ((candidates, effort) for effort in efforts)


def _efforts(engine: Engine) -> list[float]:
    """Return the efforts of a walk to try, for each candidate: efSearch, or lists to read."""
    if engine.family == "graph":
        return list(_WALK_EFFORTS)
    if engine.family == "lists":
        return [2.0**power / _CANDIDATES[0] for power in range(engine.lists.bit_length())]
    return [1.0]


def _cost(setting: tuple[int, float], costs: Costs) -> float:
    candidates, effort = setting
    return candidates * (costs.row + effort * costs.step)


def _parameters(engine: Engine, candidates: int, effort: float, costs: Costs) -> dict[str, Any]:
    return {"family": engine.family, "candidates": candidates, "effort": effort, "costs": costs.as_json()}
