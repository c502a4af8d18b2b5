"""The choice of a recipe: candidates are tried on a sample, and the fastest that keeps the recall wins.

An approximate index holds each vector in few dimensions, about a byte each, and its best candidates are
scored again with the vectors themselves. So recipes differ in how much of a vector they keep and in how they
search. Shape letters: N rows, D dimension, p reduced dimension.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, StoredVectors
from vitrine.indexer.errors import RecipeImpossible
from vitrine.indexer.progress import Progress
from vitrine.indexer.recipes.engine import Engine, train_index
from vitrine.indexer.recipes.index import VectorIndex
from vitrine.indexer.recipes.recipe import NAMED_RECIPES, Recipe, RecipeRequest
from vitrine.indexer.recipes.reduction import leading_directions
from vitrine.indexer.recipes.tuning import Benchmark, measure, tune
from vitrine.indexer.vectors.scoring import to_float32

# With no more values and rows than these, a pass over all vectors takes a few milliseconds.
MAX_FLAT_VALUES = 40_000_000
MAX_FLAT_ROWS = 20_000
MAX_BUILD_S = 3600.0
_SAMPLE_VALUES = 40_000_000
_SAMPLE_ROWS = 20_000
_REDUCED_DIMENSIONS = (64, 128, 256)
_HOLDS = "holds"
_FEW_CANDIDATES = 64
# Product quantizers are trained on at least this many products.
_MIN_PACKED_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Trial:
    """Measurements of one recipe on a sample, extrapolated to the whole catalogue.

    p50_ms: of single queries. build_s: time to train the index and add all rows. candidates: the number of
    rows that are scored with their vectors for one answer. verdict: "holds", or why the recipe is not taken.
    A manifest stores trials under these names.
    """

    recipe: str
    recall_at_10: float
    p50_ms: float
    memory_bytes: int
    build_s: float
    candidates: int
    verdict: str = ""


@dataclass(frozen=True)
class RecipeChoice:
    """The recipe to build, the reason, and the trials as JSON. directions: (p, D), for a projection."""

    recipe: Recipe
    why: str
    tried: list[dict[str, Any]] = field(default_factory=list)
    directions: FloatMatrix | None = None


class RecipeChooser:
    """Recipes for one catalogue, one choice after another: each later one keeps more of each vector."""

    def __init__(self, vectors: StoredVectors, request: RecipeRequest, progress: Progress) -> None:
        """Prepare a choice for vectors (N, D)."""
        self._vectors = vectors
        self._request = request
        self._progress = progress
        self._count, self._dimension = vectors.shape
        self._trials: list[Trial] = []
        self._chose_flat = False
        self._untried_dimensions = [size for size in _REDUCED_DIMENSIONS if 2 * size <= min(vectors.shape)]
        self._untried_dimensions.append(0)

    def choose(self) -> RecipeChoice:
        """Return the next choice. Raises RecipeImpossible if the requested recipe needs more memory."""
        name = self._request.recipe
        prefers_flat = is_small(self._vectors) and self._fits_memory(self._flat_bytes)
        if name == "flat" or (name == "auto" and prefers_flat):
            return self._choose_flat("so few products that comparing all of them takes milliseconds")
        if name not in NAMED_RECIPES:
            return self._choose_factory(Recipe.parse(name))
        if self._untried_dimensions:
            holding = self._try_candidates()
            if holding:
                best = min(holding, key=lambda trial: trial.p50_ms)
                return self._choose_trial(best, self._reason())
        if name == "auto":
            return self._choose_flat("no approximate recipe reaches the target recall")
        fitting = [trial for trial in self._trials if self._fits_memory(trial.memory_bytes)]
        if not fitting:
            raise self._memory_error(min(trial.memory_bytes for trial in self._trials))
        best = max(fitting, key=lambda trial: trial.recall_at_10)
        return self._choose_trial(best, "as requested; no candidate reached the target recall on a sample")

    @property
    def has_more(self) -> bool:
        """True if another choice is left; the last one for auto is flat."""
        if self._request.recipe not in NAMED_RECIPES or self._chose_flat:
            return False
        can_be_flat = self._request.recipe == "auto" and self._fits_memory(self._flat_bytes)
        return bool(self._untried_dimensions) or can_be_flat

    @cached_property
    def _sample(self) -> FloatMatrix:
        size = min(self._count, max(min(_SAMPLE_ROWS, _SAMPLE_VALUES // self._dimension), 1000))
        return to_float32(self._vectors[np.unique(np.linspace(0, self._count - 1, size).astype(np.int64))])

    @cached_property
    def _benchmark(self) -> Benchmark:
        return Benchmark.from_vectors(self._sample)

    @cached_property
    def _directions(self) -> FloatMatrix:
        requested = Recipe.parse(self._request.recipe).reduced_dimension
        return leading_directions(self._sample, max([*_REDUCED_DIMENSIONS, requested]))

    @property
    def _flat_bytes(self) -> int:
        return self._count * self._dimension * self._vectors.dtype.itemsize

    def _fits_memory(self, size_bytes: float) -> bool:
        return self._request.memory_bytes is None or size_bytes <= self._request.memory_bytes

    def _choose_flat(self, reason: str) -> RecipeChoice:
        if not self._fits_memory(self._flat_bytes):
            sizes = [t.memory_bytes for t in self._trials if t.recall_at_10 >= self._request.target_recall]
            raise self._memory_error(min([*sizes, self._flat_bytes]))
        self._untried_dimensions.clear()
        self._chose_flat = True
        factory = "Flat" if self._vectors.dtype == np.float32 else "SQfp16"
        tried = [asdict(trial) for trial in self._trials]
        return RecipeChoice(
            Recipe(factory), "as requested" if self._request.recipe == "flat" else reason, tried
        )

    def _choose_factory(self, recipe: Recipe) -> RecipeChoice:
        directions = self._directions if recipe.reduced_dimension else None
        return RecipeChoice(recipe, "as requested", directions=directions)

    def _choose_trial(self, trial: Trial, reason: str) -> RecipeChoice:
        tried = [asdict(trial) for trial in self._trials]
        return RecipeChoice(Recipe.parse(trial.recipe), reason, tried, self._directions)

    def _reason(self) -> str:
        """Return the reason for the fastest recipe that holds."""
        target, count, products = self._request.target_recall, len(self._trials), len(self._sample)
        recall = f"recall of at least {target} on a sample of {products} products"
        reason = recall if count == 1 else f"the fastest of {count} recipes with {recall}"
        return reason if self._request.recipe == "auto" else f"as requested; {reason}"

    def _try_candidates(self) -> list[Trial]:
        """Try recipes that keep ever more of a vector until one holds; return those that hold.

        A recipe that keeps little may hold by scoring many rows; those that keep more are then tried as long
        as they are faster.
        """
        holding: list[Trial] = []
        self._progress.start(None, "recipes tried")
        while self._untried_dimensions:
            recipes = self._candidates(self._untried_dimensions.pop(0))
            trials = [self._try_one(recipe) for recipe in recipes]
            previous, holding = holding, holding + [trial for trial in trials if trial.verdict == _HOLDS]
            best = min(holding, key=lambda trial: trial.p50_ms, default=None)
            if best is not None and (best.candidates <= _FEW_CANDIDATES or best in previous):
                break
        self._progress.done()
        return holding

    def _try_one(self, recipe: Recipe) -> Trial:
        trial = self._with_verdict(self._measure_on_sample(recipe))
        self._trials.append(trial)
        self._progress.advance(1)
        self._progress.note(f"recipe {trial.recipe}: {trial.verdict}")
        return trial

    def _candidates(self, reduced_dimension: int) -> Iterable[Recipe]:
        """Return the recipes to try at one reduced dimension; 0 for no reduction."""
        dimension = reduced_dimension or self._dimension
        factories = {
            "graph": "HNSW32_SQ8",
            "codes": "SQ8",
            "lists": "IVF{},SQ8",
            "packed": f"IVF{{}},PQ{dimension // 2}x4fsr",
        }
        can_pack = dimension % 2 == 0 and self._count >= _MIN_PACKED_ROWS
        structures = NAMED_RECIPES[self._request.recipe]
        return [
            Recipe(factories[structure], reduced_dimension)
            for structure in structures
            if can_pack or structure != "packed"
        ]

    def _measure_on_sample(self, recipe: Recipe) -> Trial:
        """Build a recipe on the sample, measure it and extrapolate to the whole catalogue.

        A search of a graph grows with log N, one of lists with sqrt(N), one of codes with N; building grows
        with N log N.
        """
        start = time.perf_counter()
        sample_recipe = recipe.with_list_count(len(self._sample))
        index = sample_recipe.make_empty_index(self._dimension, self._directions)
        train_index(index, self._sample, str(sample_recipe))
        index.add(self._sample)
        elapsed_s = time.perf_counter() - start
        engine = Engine(index)
        parameters = tune(engine, self._sample, self._benchmark, self._request.target_recall)
        measurement = measure(VectorIndex(engine, self._sample, parameters), self._benchmark)
        growth = self._count / len(self._sample)
        log_growth = math.log(self._count + 1) / math.log(len(self._sample) + 1)
        slowdown = {"graph": log_growth, "lists": math.sqrt(growth)}.get(engine.family, growth)
        projection_bytes = 4 * self._dimension * recipe.reduced_dimension
        return Trial(
            recipe=str(recipe.with_list_count(self._count)),
            recall_at_10=measurement.recall_at_10,
            p50_ms=round(measurement.p50_ms * slowdown, 4),
            memory_bytes=int(projection_bytes + (engine.byte_size - projection_bytes) * growth),
            build_s=round(elapsed_s * growth * log_growth, 1),
            candidates=int(parameters["candidates"]),
        )

    def _with_verdict(self, trial: Trial) -> Trial:
        target = self._request.target_recall
        verdict = _HOLDS
        if trial.recall_at_10 < target:
            verdict = f"recall {trial.recall_at_10:.3f} on the sample is below {target}"
        elif not self._fits_memory(trial.memory_bytes):
            verdict = f"{trial.memory_bytes:,} bytes are more than allowed"
        elif trial.build_s > MAX_BUILD_S:
            verdict = f"building it would take {trial.build_s / 60:.0f} minutes"
        return replace(trial, verdict=verdict)

    def _memory_error(self, needed_bytes: int) -> RecipeImpossible:
        allowed_bytes = self._request.memory_bytes or 0
        return RecipeImpossible(
            f"recall {self._request.target_recall} on {self._count} products needs {needed_bytes:,} bytes of "
            f"index ({needed_bytes / 2**20:.1f} MiB), but --memory allows {allowed_bytes:,}: allow more, or "
            "lower --target-recall"
        )


def is_small(vectors: StoredVectors) -> bool:
    """Return True if a pass over all vectors, (N, D), is fast enough without an approximate index."""
    count, dimension = vectors.shape
    return count <= MAX_FLAT_ROWS and count * dimension <= MAX_FLAT_VALUES
