"""How an index is made: chosen, trained, filled block by block, tuned and measured.

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
from vitrine.indexer.progress import Progress, Silent
from vitrine.indexer.recipes.choice import Choice, Chooser, Recipe, RecipeRequest, is_small
from vitrine.indexer.recipes.engine import Engine, add_rows, read_whole, train_index, write_index
from vitrine.indexer.recipes.index import VectorIndex
from vitrine.indexer.recipes.sketch import FILE as SKETCH
from vitrine.indexer.recipes.sketch import Sketch, choose_directions, write_sketch
from vitrine.indexer.recipes.tuning import WIDE_QUESTIONS, Examination, examine, tune, tune_widths
from vitrine.indexer.vectors.scoring import to_float32

_BLOCK_NUMBERS = 2**25
_TRAINING_NUMBERS = 2**26
_TRAINING_ROWS = 200_000
# An index is learnt anew once what it holds has grown by this much.
_MOST_GROWTH = 2.0
_FAMILY_NAMES = {"flat": "flat", "graph": "hnsw", "lists": "ivf", "codes": "codes"}


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was built and what it measures.

    recipe: flat, hnsw, ivf, codes, or the factory string asked for. factory: what was built, as text that can
    be asked for. parameters: what VectorIndex.open wants to know again. how: built or appended. tried: an
    entry for each candidate. Milliseconds are of one query at a time, memory in bytes, seconds of the whole
    work.
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

    recipe: the IndexReport of its build as the manifest keeps it.
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
    """Make the index of vectors (N, D) and write it to `path`, row i for row i.

    With `previous`, its rows are kept and the others appended, as long as the recipe asked for is still the
    right one and the recall holds; otherwise the index is made anew, and `how` says so. Raises InputError for
    a recipe faiss does not know, RecipeImpossible where nothing holds the recall within the memory.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    examination = Examination.of(vectors)
    report = None
    if previous is not None and _may_grow(previous, vectors, request):
        report = _append(vectors, request, path, previous, examination, progress)
    if report is None:
        report = _build(vectors, request, path, examination, progress)
    return replace(report, seconds=round(time.perf_counter() - began, 3))


def _may_grow(previous: PreviousIndex, vectors: StoredVectors, request: RecipeRequest) -> bool:
    """Whether the recipe of an earlier index is what would be chosen for the vectors, (N, D), now."""
    old = previous.recipe
    grown = len(vectors) / max(int(old["parameters"]["learnt_rows"]), 1)
    if grown > _MOST_GROWTH and old["recipe"] != "flat":
        return False
    if request.memory_bytes is not None and old["memory_bytes"] * grown > request.memory_bytes:
        return False
    if request.recipe == "auto":
        return bool((old["recipe"] == "flat") == is_small(vectors))
    return request.recipe in (old["recipe"], old["factory"])


def _append(
    vectors: StoredVectors,
    request: RecipeRequest,
    path: Path,
    previous: PreviousIndex,
    examination: Examination,
    progress: Progress,
) -> IndexReport | None:
    """Add the new rows to an earlier index; None when that one does not fit or the recall suffers."""
    old = previous.recipe
    index = read_whole(previous.path)
    if index.d != vectors.shape[1] or index.ntotal > len(vectors):
        return None
    choice = Choice(Recipe.parse(old["factory"]), str(old["why"]), list(old["tried"]))
    _fill(index, vectors, choice.recipe, progress)
    write_index(index, path)
    sketch = None
    if old["parameters"].get("sketched"):
        known = Sketch.open(previous.path.with_name(SKETCH), (int(old["parameters"]["sketched"]), index.d))
        sketch = write_sketch(path.with_name(SKETCH), vectors, known.directions, known)
    parameters = old["parameters"] | {"sketched": len(vectors) if sketch else 0}
    report = _report(path, VectorIndex(Engine(index), vectors, parameters, sketch), choice, examination)
    if report.recall_at_10 < min(request.target_recall, float(old["recall_at_10"])):
        progress.note(f"appending brings the recall to {report.recall_at_10:.3f}: the index is made anew")
        path.with_name(SKETCH).unlink(missing_ok=True)
        return None
    return replace(report, recipe=str(old["recipe"]), how="appended")


def _build(
    vectors: StoredVectors, request: RecipeRequest, path: Path, examination: Examination, progress: Progress
) -> IndexReport:
    """Build what is chosen; where the whole needs more than its sample did, what is chosen next."""
    chooser = Chooser(vectors, request, progress)
    sketch = _sketch(vectors, request, path, examination)
    while True:
        choice = chooser.choose()
        progress.note(f"index {choice.recipe}: {choice.why}")
        index = choice.recipe.empty(vectors.shape[1], choice.directions)
        train_index(index, _training_rows(vectors, choice), str(choice.recipe))
        _fill(index, vectors, choice.recipe, progress)
        write_index(index, path)
        engine = Engine(index)
        parameters = tune(engine, vectors, examination, request.target_recall, sketch)
        if choice.recipe.is_exact:
            parameters["family"] = "flat"
        questions = examination.queries[:: max(len(examination.queries) // WIDE_QUESTIONS, 1)]
        parameters["widths"] = tune_widths(engine, vectors, parameters, questions, request.target_recall)
        parameters |= {"learnt_rows": len(vectors), "sketched": len(vectors) if sketch else 0}
        report = _report(path, VectorIndex(engine, vectors, parameters, sketch), choice, examination)
        if report.recall_at_10 >= request.target_recall or not chooser.has_more:
            break
        progress.note(f"index {choice.recipe}: recall {report.recall_at_10:.3f} of the whole is too little")
    named = request.recipe in ("auto", *_FAMILY_NAMES.values())
    return report if named else replace(report, recipe=request.recipe)


def _sketch(
    vectors: StoredVectors, request: RecipeRequest, path: Path, examination: Examination
) -> Sketch | None:
    """Write the sketch of all vectors beside the index, where it pays; with a bound on memory, none."""
    if request.memory_bytes is not None:
        return None
    directions = choose_directions(vectors, examination.queries, examination.floors[1])
    return None if directions is None else write_sketch(path.with_name(SKETCH), vectors, directions)


def _report(path: Path, index: VectorIndex, choice: Choice, examination: Examination) -> IndexReport:
    marks = examine(index, examination)
    return IndexReport(
        recipe=_FAMILY_NAMES[index.parameters["family"]],
        factory=str(choice.recipe),
        parameters=index.parameters,
        why=choice.why,
        recall_at_10=round(marks.recall_at_10, 6),
        p50_ms=round(marks.p50_ms, 4),
        p95_ms=round(marks.p95_ms, 4),
        memory_bytes=path.stat().st_size + index.sketch_bytes,
        seconds=0.0,
        tried=choice.tried,
    )


def _training_rows(vectors: StoredVectors, choice: Choice) -> FloatMatrix:
    """Return rows spread over the vectors to learn from, projected where the recipe reduces."""
    width = choice.recipe.reduced or vectors.shape[1]
    size = min(len(vectors), _TRAINING_ROWS, _TRAINING_NUMBERS // width)
    rows = np.unique(np.linspace(0, len(vectors) - 1, size).astype(np.int64))
    if not choice.recipe.reduced or choice.directions is None:
        return to_float32(vectors[rows])
    learnt = np.empty((len(rows), width), np.float32)
    step = max(_BLOCK_NUMBERS // vectors.shape[1], 1)
    for start in range(0, len(rows), step):
        block = to_float32(vectors[rows[start : start + step]])
        learnt[start : start + step] = block @ choice.directions[:width].T
    return learnt


def _fill(index: Any, vectors: StoredVectors, recipe: Recipe, progress: Progress) -> None:
    """Add the rows that the index does not hold yet."""
    progress.start(len(vectors) - int(index.ntotal), "products indexed")
    step = max(_BLOCK_NUMBERS // vectors.shape[1], 1)
    for start in range(int(index.ntotal), len(vectors), step):
        block = to_float32(vectors[start : start + step])
        add_rows(index, block, str(recipe))
        progress.advance(len(block))
    progress.done()
