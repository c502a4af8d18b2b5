"""How an index is made: which recipe, from which vectors, and what it measures once made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from indexer.progress import Progress, Silent
from indexer.recipes.engine import faiss, make_index
from indexer.recipes.index import VectorIndex
from indexer.recipes.scoring import Rows, Vectors, search_all, to_float32

FLAT_UP_TO = 20_000
_BLOCK_ROWS = 8192


@dataclass(frozen=True, slots=True)
class RecipeRequest:
    """What the caller asks for.

    recipe: auto, flat, hnsw, ivf or a faiss factory string. target_recall: recall@10 in (0, 1].
    memory_bytes: what the index may take in memory; None means no limit.
    """

    recipe: str = "auto"
    target_recall: float = 0.99
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was built and what it measures.

    parameters: what VectorIndex.open wants to know again. how: built or appended. tried: one entry a
    candidate.
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
    vectors: Vectors,
    request: RecipeRequest,
    path: Path,
    *,
    previous: PreviousIndex | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Make the index of vectors (N, D) and write it to `path`, row i for row i.

    Raises InputError for a recipe faiss does not know, RecipeImpossible where the memory is too small.
    """
    began = time.perf_counter()
    progress = progress or Silent()
    recipe, why = _choose(len(vectors), request)
    factory = {"flat": "Flat", "hnsw": "HNSW32_SQ8"}.get(recipe, recipe)
    index, how = _begin_index(vectors, recipe, factory, previous)
    progress.start(len(vectors) - index.ntotal, "products indexed")
    for start in range(index.ntotal, len(vectors), _BLOCK_ROWS):
        block = to_float32(vectors[start : start + _BLOCK_ROWS])
        index.add(block)
        progress.advance(len(block))
    progress.done()
    faiss.write_index(index, str(path))
    parameters: dict[str, Any] = {"family": recipe, "rerank": 64, "efSearch": 96, "exact_below": 2000}
    opened = VectorIndex.open(path, vectors, parameters)
    recall, p50, p95 = _measure(opened, vectors)
    memory = path.stat().st_size
    seconds = time.perf_counter() - began
    return IndexReport(recipe, factory, parameters, why, recall, p50, p95, memory, seconds, how)


def _begin_index(
    vectors: Vectors, recipe: str, factory: str, previous: PreviousIndex | None
) -> tuple[Any, str]:
    """Return the index to add to: the earlier one where it is of the same recipe, else an empty one."""
    if previous is not None and (previous.recipe["recipe"], previous.recipe["factory"]) == (recipe, factory):
        return faiss.read_index(str(previous.path)), "appended"
    index = make_index(vectors.shape[1], factory)
    index.train(to_float32(vectors[:: max(len(vectors) // 50_000, 1)]))
    return index, "built"


def _choose(count: int, request: RecipeRequest) -> tuple[str, str]:
    if request.recipe != "auto":
        return request.recipe, "asked for"
    if count <= FLAT_UP_TO:
        return "flat", f"{count} products are scanned exactly in a few milliseconds"
    return "hnsw", f"{count} products are too many for a scan of each"


def _measure(index: VectorIndex, vectors: Vectors) -> tuple[float, float, float]:
    sample: Rows = np.unique(np.linspace(0, len(vectors) - 1, 100).astype(np.int64))
    queries = to_float32(vectors[sample])
    truth = search_all(vectors, queries, 10).rows
    times, found = [], 0
    for query, expected in zip(queries, truth, strict=True):
        began = time.perf_counter()
        rows = index.search(query[None], 10).rows[0]
        times.append(1e3 * (time.perf_counter() - began))
        found += len(np.intersect1d(rows, expected))
    return found / truth.size, float(np.percentile(times, 50)), float(np.percentile(times, 95))
