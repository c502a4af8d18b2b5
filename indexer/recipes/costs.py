"""Measured costs of the search strategies of one index, and the choice of the cheapest strategy.

Shape letters: N rows, D dimension.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, StoredVectors
from vitrine.indexer.recipes.engine import Engine
from vitrine.indexer.recipes.sketch import Sketch
from vitrine.indexer.vectors.scoring import search_all, search_rows

# index: approximate search of the index; codes: exhaustive search of the codes of the allowed rows. The
# others are exact. rows: score each allowed row; scan: a pass over all vectors; sketch: score the rows that
# sketches cannot exclude.
ExactStrategy = Literal["rows", "scan", "sketch"]
Strategy = Literal["index", "codes", "rows", "scan", "sketch"]
# A filtered index search asks for this many times the expected number of rows, so that it seldom returns too
# few allowed ones.
OVERFETCH_MARGIN = 1.3
_REPEATS = 7
_MEASURED_ROWS = 16_384
_FEW_ROWS = 64
_SKETCH_RESULTS = 16
_RANKED_CODES = 1024
# The names under which a manifest stores the costs: see IndexReport.parameters.
STORED_NAMES = {
    "read_row_us": "row",
    "scan_row_us": "every",
    "skip_code_us": "skip",
    "score_code_us": "code",
    "effort_us": "step",
    "search_overhead_us": "call",
    "scan_sketch_us": "bound",
    "read_sketch_us": "pick",
    "sketch_overhead_us": "sift",
    "sketch_pass_rate": "left",
    "max_effort": "most",
    "rank_code_us": "keep",
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one query in microseconds, on the machine that built the index; infinite if not available.

    read_row_us: reading and scoring one row at its place. scan_row_us: scoring one row in a pass over all.
    skip_code_us: passing one row that is not allowed in a search of the codes. score_code_us: scoring one
    code. rank_code_us: ranking one of the rows that such a search returns. effort_us: one unit of effort of
    an index search (one of efSearch, one list). search_overhead_us: an index search, apart from its effort.
    scan_sketch_us: reading one sketch in a pass over all. read_sketch_us: reading the sketch of one allowed
    row. sketch_overhead_us: either, apart from the rows. sketch_pass_rate: the share of the allowed rows, 0
    to 1, that sketches cannot exclude. max_effort: the largest effort that makes a difference, such as the
    number of lists.
    """

    read_row_us: float
    scan_row_us: float
    skip_code_us: float = math.inf
    score_code_us: float = math.inf
    effort_us: float = math.inf
    search_overhead_us: float = 0.0
    scan_sketch_us: float = math.inf
    read_sketch_us: float = math.inf
    sketch_overhead_us: float = 0.0
    sketch_pass_rate: float = 1.0
    max_effort: float = math.inf
    rank_code_us: float = 0.0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> Costs:
        """Read the costs from the parameters of a recipe; None stands for infinity, which JSON lacks.

        Raises KeyError, TypeError or ValueError if they hold no costs.
        """
        names = {stored: name for name, stored in STORED_NAMES.items()}
        stored_costs = parameters["costs"].items()
        return cls(**{names[name]: math.inf if cost is None else float(cost) for name, cost in stored_costs})

    def as_json(self) -> dict[str, float | None]:
        """Return the costs for the parameters of a recipe, under their stored names."""
        costs = {stored: getattr(self, name) for name, stored in STORED_NAMES.items()}
        return {stored: None if math.isinf(cost) else round(cost, 6) for stored, cost in costs.items()}

    def cheapest(self, total: int, allowed: int, candidates: int, effort: float | None) -> Strategy:
        """Return the cheapest strategy for the best of `allowed` rows of `total`.

        candidates: the number of rows to score with their vectors. effort: the effort of an index search for
        each row that it returns; None to exclude an index search.
        """
        costs: dict[Strategy, float] = dict(self._exact_costs(total, allowed, 1, candidates).items())
        costs["codes"] = (
            total * self.skip_code_us
            + allowed * self.score_code_us
            + candidates * (self.rank_code_us + self.read_row_us)
        )
        if effort is not None:
            search_effort = min(overfetch_count(total, allowed, candidates) * effort, self.max_effort)
            costs["index"] = (
                self.search_overhead_us + search_effort * self.effort_us + candidates * self.read_row_us
            )
        return min(costs, key=lambda strategy: costs[strategy])

    def cheapest_exact(self, total: int, allowed: int, queries: int, k: int) -> ExactStrategy:
        """Return the cheapest exact strategy for the k best of `allowed` rows of `total`, for all queries."""
        costs = self._exact_costs(total, allowed, queries, k)
        return min(costs, key=lambda strategy: costs[strategy])

    def prefers_allowed_sketches(self, total: int, allowed: int) -> bool:
        """Return True if reading the sketches of the allowed rows only is cheaper than a pass over all."""
        return allowed * self.read_sketch_us < total * self.scan_sketch_us

    def _exact_costs(self, total: int, allowed: int, queries: int, k: int) -> dict[ExactStrategy, float]:
        sketch_us = (
            self.sketch_overhead_us
            + min(total * self.scan_sketch_us, allowed * self.read_sketch_us)
            + 2 * k * self.read_row_us
        )
        return {
            "rows": queries * allowed * self.read_row_us,
            "scan": total * self.scan_row_us,
            "sketch": queries * (sketch_us + self.sketch_pass_rate * allowed * self.read_row_us),
        }


def overfetch_count(total: int, allowed: int, candidates: int) -> int:
    """Return how many rows to request so that `candidates` of them are likely to be allowed."""
    expected = math.ceil(OVERFETCH_MARGIN * candidates * total / max(allowed, 1))
    return min(expected if allowed < total else candidates, candidates + total - allowed, total)


def measure_costs(
    engine: Engine, vectors: StoredVectors, queries: FloatMatrix, effort: float, sketch: Sketch | None = None
) -> Costs:
    """Measure the costs on an index and its vectors (N, D).

    effort: of an index search, for each row that it returns. Each cost is the shortest of a few timings,
    since other work on the machine only adds to them.
    """
    count = len(vectors)
    random = np.random.default_rng(0)
    rows = random.permutation(count)[: min(count, 256)].astype(np.int64)
    head = vectors[: min(count, _MEASURED_ROWS)]
    query = queries[:1]
    read_row_us = _shortest_us(partial(search_rows, vectors, rows, query, 1)) / len(rows)
    scan_row_us = _shortest_us(partial(search_all, head, query, 1)) / len(head)
    # A pass reads in order and so costs no more per row; on a busy machine, the timings may say otherwise.
    costs = Costs(read_row_us, min(scan_row_us, read_row_us))
    if sketch is not None:
        costs = _measure_sketch(costs, sketch, vectors, queries)
    if engine.family == "flat":
        return costs
    costs = _measure_index(costs, engine, query, count, effort)
    return _measure_codes(costs, engine, query, random) if engine.has_selectors else costs


def _measure_index(costs: Costs, engine: Engine, query: FloatMatrix, count: int, effort: float) -> Costs:
    """Add the costs of an index search, from searches for a few and for many of N = `count` rows."""
    few, many = 32, min(512, max(count // 2, 33))
    timings = [
        _shortest_us(partial(engine.search, query, size, int(size * effort) + 1)) for size in (few, many)
    ]
    effort_us = max(timings[1] - timings[0], 0.01) / ((many - few) * effort)
    overhead_us = max(timings[0] - few * effort * effort_us, 0.0)
    max_effort = float(engine.nlist or math.inf)
    return replace(costs, effort_us=effort_us, search_overhead_us=overhead_us, max_effort=max_effort)


def _measure_codes(costs: Costs, engine: Engine, query: FloatMatrix, random: np.random.Generator) -> Costs:
    """Add the costs of a search of the codes, from searches of a hundredth and of half of the rows."""
    count = engine.ntotal
    few, half = random.random(count) < 0.01, random.random(count) < 0.5
    few[0] = half[0] = True
    few_count, half_count = int(few.sum()), int(half.sum())
    timings = [_shortest_us(partial(engine.search_codes, query, 1, mask)) for mask in (few, half)]
    score_us = min(max(timings[1] - timings[0], 0.001) / max(half_count - few_count, 1), costs.read_row_us)
    skip_us = max(timings[0] - few_count * score_us, 0.001) / count
    ranked = max(min(_RANKED_CODES, half_count // 2), 1)
    rank_us = max(_shortest_us(partial(engine.search_codes, query, ranked, half)) - timings[1], 0.0) / ranked
    return replace(costs, skip_code_us=skip_us, score_code_us=score_us, rank_code_us=rank_us)


def _measure_sketch(costs: Costs, sketch: Sketch, vectors: StoredVectors, queries: FloatMatrix) -> Costs:
    """Add the costs of sketches, for all rows, a tenth and a few; count the candidates among the tenth."""
    count = len(vectors)
    random = np.random.default_rng(0)
    tenth = random.random(count) < 0.1
    tenth[:_FEW_ROWS] = True
    allowed = int(tenth.sum())
    few = np.zeros(count, bool)
    few[:_FEW_ROWS] = True
    query = queries[0]
    scan_us = _shortest_us(partial(sketch.upper_bounds, query)) / count
    candidate_counts = [
        len(sketch.select_candidates(vectors, query, _SKETCH_RESULTS, tenth, True))
        for query in queries[:_REPEATS]
    ]
    overhead_us = _shortest_us(partial(sketch.select_candidates, vectors, query, _SKETCH_RESULTS, few, True))
    read_us = _shortest_us(partial(sketch.upper_bounds, query, np.flatnonzero(tenth))) / allowed
    return replace(
        costs,
        scan_sketch_us=scan_us,
        read_sketch_us=read_us,
        sketch_overhead_us=overhead_us,
        sketch_pass_rate=float(np.mean(candidate_counts)) / allowed,
    )


def _shortest_us(work: Callable[[], object]) -> float:
    """Return the microseconds of the shortest of a few runs."""
    timings = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        work()
        timings.append(time.perf_counter() - start)
    return min(timings) * 1e6
