"""What each way of answering costs on one index, measured when it is built, and the choice between them.

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

Way = Literal["walk", "codes", "rows", "all", "sketch"]
ExactWay = Literal["rows", "all", "sketch"]
# A walk has to pass enough rows that are not allowed; this many more than expected, so that it seldom falls
# short.
SLACK = 1.3
_REPEATS = 7
_MEASURED_ROWS = 16_384
_FEW = 64
_NEAREST = 16
_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds, one query at a time, on the machine that built the index.

    row: to read and score one row. every: to score one row in a pass over all. skip: to pass one row that is
    not allowed while reading codes. code: to score one code; keep: to rank one of those proposed. step: of a
    walk, for one more unit of effort (a place of efSearch, a list). call: of a walk, whatever its effort.
    most: the effort a walk can take at all, such as all lists. bound: to read one sketch in a pass over all;
    pick: to read that of one allowed row; sift: of either, whatever the number of rows. left: the share of
    the allowed rows, 0..1, that sketches leave to be read and scored.
    """

    row: float
    every: float
    skip: float = math.inf
    code: float = math.inf
    step: float = math.inf
    call: float = 0.0
    bound: float = math.inf
    pick: float = math.inf
    sift: float = 0.0
    left: float = 1.0
    most: float = math.inf
    keep: float = 0.0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Costs:
        """Read them back from a recipe's parameters; None stands for infinity, which JSON lacks."""
        given = parameters["costs"]
        return cls(**{name: math.inf if cost is None else float(cost) for name, cost in given.items()})

    def as_json(self) -> dict[str, float | None]:
        """Return them for a recipe's parameters."""
        costs = {name: getattr(self, name) for name in self.__slots__}
        return {name: None if math.isinf(cost) else round(cost, 6) for name, cost in costs.items()}

    def cheapest(self, rows: int, allowed: int, candidates: int, effort: float | None) -> Way:
        """Return the cheapest way to the best of `allowed` among N `rows`, if `candidates` are to be scored.

        effort: of a walk, for each row it proposes; None where no walk may be tried.
        """
        ways: dict[Way, float] = dict(self._exact_ways(rows, allowed, 1, candidates).items())
        ways["codes"] = rows * self.skip + allowed * self.code + candidates * (self.keep + self.row)
        if effort is not None:
            width = walk_width(rows, allowed, candidates)
            steps = min(width * effort, self.most)
            ways["walk"] = self.call + steps * self.step + candidates * self.row
        return min(ways, key=lambda way: ways[way])

    def cheapest_exact(self, rows: int, allowed: int, queries: int, k: int) -> ExactWay:
        """Return the cheapest way to the very k best of `allowed` among N `rows`, for so many queries."""
        ways = self._exact_ways(rows, allowed, queries, k)
        return min(ways, key=lambda way: ways[way])

    def picks(self, rows: int, allowed: int) -> bool:
        """Whether to read the sketches of the allowed rows only, rather than all."""
        return allowed * self.pick < rows * self.bound

    def _exact_ways(self, rows: int, allowed: int, queries: int, k: int) -> dict[ExactWay, float]:
        sketches = self.sift + min(rows * self.bound, allowed * self.pick) + 2 * k * self.row
        return {
            "rows": queries * allowed * self.row,
            "all": rows * self.every,
            "sketch": queries * (sketches + self.left * allowed * self.row),
        }


def walk_width(rows: int, allowed: int, candidates: int) -> int:
    """Return how many rows a walk must propose so that `candidates` of them are likely to be allowed."""
    expected = math.ceil(SLACK * candidates * rows / max(allowed, 1)) if allowed < rows else candidates
    return min(expected, candidates + rows - allowed, rows)


def measure_costs(
    engine: Engine, vectors: StoredVectors, queries: FloatMatrix, effort: float, sketch: Sketch | None = None
) -> Costs:
    """Time each way on the index. effort: of a walk, for each row it proposes.

    Takes the least of a few tries: what else the machine does only ever adds.
    """
    count = len(vectors)
    random = np.random.default_rng(0)
    some = random.permutation(count)[: min(count, 256)].astype(np.int64)
    part = vectors[: min(count, _MEASURED_ROWS)]
    query = queries[:1]
    row = _least(partial(search_rows, vectors, some, query, 1)) / len(some)
    every = _least(partial(search_all, part, query, 1)) / len(part)
    # A pass reads in order, so that it costs no more a row; a busy machine may have measured otherwise.
    every = min(every, row)
    costs = Costs(row, every)
    if sketch is not None:
        costs = _with_sketch(costs, sketch, vectors, queries)
    if engine.family == "flat":
        return costs
    near, far = 32, min(512, max(count // 2, 33))
    steps = [_least(partial(engine.walk, query, width, int(width * effort) + 1)) for width in (near, far)]
    step = max(steps[1] - steps[0], 0.01) / ((far - near) * effort)
    call = max(steps[0] - near * effort * step, 0.0)
    most = float(engine.lists or math.inf)
    if not engine.selects:
        return replace(costs, step=step, call=call, most=most)
    few, half = random.random(count) < 0.01, random.random(count) < 0.5
    few[0] = half[0] = True
    reads = [_least(partial(engine.read_codes, query, 1, mask)) for mask in (few, half)]
    more = max(int(half.sum()) - int(few.sum()), 1)
    code = min(max(reads[1] - reads[0], 0.001) / more, row)
    skip = max(reads[0] - int(few.sum()) * code, 0.001) / count
    kept = max(min(_KEPT, int(half.sum()) // 2), 1)
    keep = max(_least(partial(engine.read_codes, query, kept, half)) - reads[1], 0.0) / kept
    return replace(costs, skip=skip, code=code, keep=keep, step=step, call=call, most=most)


def _with_sketch(costs: Costs, sketch: Sketch, vectors: StoredVectors, queries: FloatMatrix) -> Costs:
    """Time sketches: all of them, those of a tenth and of a few; count what they leave of a tenth."""
    count = len(vectors)
    random = np.random.default_rng(0)
    tenth = random.random(count) < 0.1
    tenth[:_FEW] = True
    allowed = int(tenth.sum())
    few = np.zeros(count, bool)
    few[:_FEW] = True
    query = queries[0]
    bound = _least(partial(sketch.bounds, query)) / count
    kept = [len(sketch.candidates(vectors, each, _NEAREST, tenth, True)) for each in queries[:_REPEATS]]
    sift = _least(partial(sketch.candidates, vectors, query, _NEAREST, few, True))
    pick = _least(partial(sketch.bounds, query, np.flatnonzero(tenth))) / allowed
    return replace(costs, bound=bound, pick=pick, sift=sift, left=float(np.mean(kept)) / allowed)


def _least(work: Callable[[], object]) -> float:
    """Return the microseconds of the quickest of a few tries."""
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times) * 1e6
