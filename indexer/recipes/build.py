"""Building an index: choose a recipe, train it, add the rows in blocks, tune the search and measure it.

Never more than a block of vectors is held as float32. Shape letters: N rows, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import FloatMatrix, StoredVectors
from vitrine.indexer.progress import Progress, SilentProgress
from vitrine.indexer.recipes.choice import RecipeChoice, RecipeChooser, is_small
from vitrine.indexer.recipes.engine import Engine, add_rows, read_index, train_index, write_index
from vitrine.indexer.recipes.index import VectorIndex
from vitrine.indexer.recipes.recipe import Recipe, RecipeRequest
from vitrine.indexer.recipes.sketch import SKETCH, Sketch, choose_directions, write_sketch
from vitrine.indexer.recipes.tuning import (
    LONG_ANSWER_QUERIES,
    Benchmark,
    measure,
    tune,
    tune_candidate_counts,
)
from vitrine.indexer.vectors.scoring import to_float32

_BLOCK_VALUES = 2**25
_TRAINING_VALUES = 2**26
_TRAINING_ROWS = 200_000
# An index that has grown by this factor since its training is built anew.
_MAX_GROWTH = 2.0
# The name of the recipe for each family of index.
_FAMILY_RECIPES = {"flat": "flat", "graph": "hnsw", "lists": "ivf", "codes": "codes"}


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The index that was built and its measurements. A manifest stores these fields under their names.

    recipe: flat, hnsw, ivf, codes, or the requested factory string. factory: the recipe that was built, as
    text that can be requested. parameters: for VectorIndex.open. why: the reason for this recipe. p50_ms,
    p95_ms: of single queries. seconds: of the whole build. how: "built" or "appended". tried: the trials of
    candidates.

    parameters holds family, candidates (of the shortest answers), effort (efSearch or nprobe for each
    candidate), widths (the number of candidates for each of K_BUCKETS), costs (see Costs), learnt_rows (the
    number of rows when the index was trained) and sketched (the number of rows with a sketch).
    """

    recipe: str
    factory: str
    parameters: dict[str, Any]
    why: str
    recall_at_10: float
    p50_ms: float
    p95_ms: float
    memory_bytes: int
    seconds: float
    how: str = "built"
    tried: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PreviousIndex:
    """An index file whose rows are the first rows of the new vectors, unchanged and in the same order.

    recipe: its IndexReport, as stored in the manifest.
    """

    path: Path
    recipe: Mapping[str, Any]


def build_index(
    vectors: StoredVectors,
    request: RecipeRequest,
    path: Path,
    *,
    previous: PreviousIndex | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Build the index of vectors (N, D), row i for row i, and write it to `path`.

    With `previous`, new rows are appended to it, provided that its recipe is still the right one and the
    recall does not fall; else the index is built anew. `how` in the report tells which. Raises InputError for
    a recipe that faiss does not support, RecipeImpossible if no recipe keeps the recall within the memory.
    """
    start = time.perf_counter()
    progress = progress or SilentProgress()
    benchmark = Benchmark.from_vectors(vectors)
    report = None
    if previous is not None and _can_append(previous, vectors, request):
        report = _append(vectors, request, path, previous, benchmark, progress)
    if report is None:
        report = _build(vectors, request, path, benchmark, progress)
    return replace(report, seconds=round(time.perf_counter() - start, 3))


def _can_append(previous: PreviousIndex, vectors: StoredVectors, request: RecipeRequest) -> bool:
    """Return True if the recipe of a previous index would be chosen for vectors (N, D) as well."""
    old = previous.recipe
    growth = len(vectors) / max(int(old["parameters"]["learnt_rows"]), 1)
    if growth > _MAX_GROWTH and old["recipe"] != "flat":
        return False
    if request.memory_bytes is not None and old["memory_bytes"] * growth > request.memory_bytes:
        return False
    if request.recipe == "auto":
        return bool((old["recipe"] == "flat") == is_small(vectors))
    return request.recipe in (old["recipe"], old["factory"])


def _append(
    vectors: StoredVectors,
    request: RecipeRequest,
    path: Path,
    previous: PreviousIndex,
    benchmark: Benchmark,
    progress: Progress,
) -> IndexReport | None:
    """Append the new rows to a previous index; return None if it does not fit or the recall falls."""
    old = previous.recipe
    index = read_index(previous.path)
    if index.d != vectors.shape[1] or index.ntotal > len(vectors):
        return None
    choice = RecipeChoice(Recipe.parse(old["factory"]), str(old["why"]), list(old["tried"]))
    _add_missing_rows(index, vectors, choice.recipe, progress)
    write_index(index, path)
    sketch = None
    if old["parameters"].get("sketched"):
        shape = (int(old["parameters"]["sketched"]), index.d)
        previous_sketch = Sketch.open(previous.path.with_name(SKETCH), shape)
        sketch = write_sketch(path.with_name(SKETCH), vectors, previous_sketch.directions, previous_sketch)
    parameters = old["parameters"] | {"sketched": len(vectors) if sketch else 0}
    report = _report(path, VectorIndex(Engine(index), vectors, parameters, sketch), choice, benchmark)
    if report.recall_at_10 < min(request.target_recall, float(old["recall_at_10"])):
        progress.note(f"recall {report.recall_at_10:.3f} after appending is too low: building the index anew")
        path.with_name(SKETCH).unlink(missing_ok=True)
        return None
    return replace(report, recipe=str(old["recipe"]), how="appended")


def _build(
    vectors: StoredVectors, request: RecipeRequest, path: Path, benchmark: Benchmark, progress: Progress
) -> IndexReport:
    """Build the chosen recipe; if its recall on all vectors is too low, build the next choice."""
    chooser = RecipeChooser(vectors, request, progress)
    sketch = _write_sketch_if_useful(vectors, request, path, benchmark)
    while True:
        choice = chooser.choose()
        progress.note(f"index {choice.recipe}: {choice.why}")
        index = choice.recipe.make_empty_index(vectors.shape[1], choice.directions)
        train_index(index, _training_rows(vectors, choice), str(choice.recipe))
        _add_missing_rows(index, vectors, choice.recipe, progress)
        write_index(index, path)
        engine = Engine(index)
        parameters = tune(engine, vectors, benchmark, request.target_recall, sketch)
        if choice.recipe.is_exact:
            parameters["family"] = "flat"
        queries = benchmark.queries[:: max(len(benchmark.queries) // LONG_ANSWER_QUERIES, 1)]
        counts = tune_candidate_counts(engine, vectors, parameters, queries, request.target_recall)
        parameters |= {
            "widths": counts,
            "learnt_rows": len(vectors),
            "sketched": len(vectors) if sketch else 0,
        }
        report = _report(path, VectorIndex(engine, vectors, parameters, sketch), choice, benchmark)
        if report.recall_at_10 >= request.target_recall or not chooser.has_more:
            break
        progress.note(
            f"index {choice.recipe}: recall {report.recall_at_10:.3f} on all products is below "
            f"{request.target_recall}"
        )
    is_named = request.recipe in ("auto", *_FAMILY_RECIPES.values())
    return report if is_named else replace(report, recipe=request.recipe)


def _write_sketch_if_useful(
    vectors: StoredVectors, request: RecipeRequest, path: Path, benchmark: Benchmark
) -> Sketch | None:
    """Write the sketches of all vectors beside the index if they pay and the memory has no limit."""
    if request.memory_bytes is not None:
        return None
    directions = choose_directions(vectors, benchmark.queries, benchmark.kth_scores[1])
    return None if directions is None else write_sketch(path.with_name(SKETCH), vectors, directions)


def _report(path: Path, index: VectorIndex, choice: RecipeChoice, benchmark: Benchmark) -> IndexReport:
    measurement = measure(index, benchmark)
    return IndexReport(
        recipe=_FAMILY_RECIPES[index.parameters["family"]],
        factory=str(choice.recipe),
        parameters=index.parameters,
        why=choice.why,
        recall_at_10=round(measurement.recall_at_10, 6),
        p50_ms=round(measurement.p50_ms, 4),
        p95_ms=round(measurement.p95_ms, 4),
        memory_bytes=path.stat().st_size + index.sketch_bytes,
        seconds=0.0,
        tried=choice.tried,
    )


def _training_rows(vectors: StoredVectors, choice: RecipeChoice) -> FloatMatrix:
    """Return evenly spaced rows to train on, projected if the recipe has a projection."""
    width = choice.recipe.reduced_dimension or vectors.shape[1]
    size = min(len(vectors), _TRAINING_ROWS, _TRAINING_VALUES // width)
    rows = np.unique(np.linspace(0, len(vectors) - 1, size).astype(np.int64))
    if not choice.recipe.reduced_dimension or choice.directions is None:
        return to_float32(vectors[rows])
    projected = np.empty((len(rows), width), np.float32)
    step = max(_BLOCK_VALUES // vectors.shape[1], 1)
    for start in range(0, len(rows), step):
        block = to_float32(vectors[rows[start : start + step]])
        projected[start : start + step] = block @ choice.directions[:width].T
    return projected


def _add_missing_rows(index: Any, vectors: StoredVectors, recipe: Recipe, progress: Progress) -> None:
    """Add the rows that the index does not hold yet, block by block."""
    progress.start(len(vectors) - int(index.ntotal), "products indexed")
    step = max(_BLOCK_VALUES // vectors.shape[1], 1)
    for start in range(int(index.ntotal), len(vectors), step):
        block = to_float32(vectors[start : start + step])
        add_rows(index, block, str(recipe))
        progress.advance(len(block))
    progress.done()
