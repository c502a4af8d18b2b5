"""faiss itself, behind functions with types: its stubs describe C++ signatures, not what Python may pass.

An index proposes rows; nothing here says how good they are. Shape letters: N rows, Q queries, D dimension, p
reduced dimension.
"""

from __future__ import annotations

import errno
import os
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

import faiss as _faiss
import numpy as np

from vitrine.indexer.arrays import FloatMatrix, Mask, Rows
from vitrine.indexer.errors import InputError, RecipeImpossible, SnapshotCorrupt

faiss: Any = _faiss
# graph: walked; lists: some of its parts are read; codes: all of it is read; flat: the vectors themselves.
Family = Literal["graph", "lists", "codes", "flat"]
_ALL_THREADS = faiss.omp_get_max_threads()
# A graph is walked far more often than it is built: linked with more care, it takes less effort to walk.
_LINKING_EFFORT = 100
# Below so many numbers, waking and waiting for other threads takes longer than the work.
_THREADED_NUMBERS = 2**22


class Engine:
    """A faiss index taken apart: a projection in front, the part that is searched, the codes below it."""

    def __init__(self, index: Any) -> None:
        """index: any trained inner-product index."""
        self.index = index
        self._inner = faiss.downcast_index(index)
        self._chain: list[Any] = []
        if isinstance(self._inner, faiss.IndexPreTransform):
            links = self._inner.chain
            self._chain = [faiss.downcast_VectorTransform(links.at(i)) for i in range(links.size())]
            self._inner = faiss.downcast_index(self._inner.index)

    @property
    def ntotal(self) -> int:
        """N."""
        return int(self.index.ntotal)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.index.d)

    @cached_property
    def family(self) -> Family:
        """How a search goes through this index."""
        if isinstance(self._inner, faiss.IndexHNSW):
            return "graph"
        if isinstance(self._inner, faiss.IndexIVF):
            return "lists"
        return "flat" if isinstance(self._inner, faiss.IndexFlat) and not self._chain else "codes"

    @cached_property
    def byte_size(self) -> int:
        """How many bytes the index takes."""
        return len(faiss.serialize_index(self.index))

    @cached_property
    def lists(self) -> int:
        """How many lists there are to read; 0 for an index without."""
        return int(self._inner.nlist) if self.family == "lists" else 0

    @cached_property
    def selects(self) -> bool:
        """Whether its codes can be read for chosen rows only; a few kinds of index know no selectors."""
        probe = np.zeros((1, self.dimension), np.float32)
        probe[0, 0] = 1.0
        try:
            self.read_codes(probe, 1, np.ones(self.ntotal, bool))
        except RuntimeError:
            return False
        return True

    def walk(self, queries: FloatMatrix, count: int, effort: int) -> list[Rows]:
        """Return up to `count` rows for each query, best first. effort: efSearch or nprobe."""
        if self.family == "graph":
            return self._search(self._inner, queries, count, _graph_parameters(max(effort, count)))
        if self.family == "lists":
            return self._search(self._inner, queries, count, _list_parameters(min(effort, self.lists)))
        return self._search(self._inner, queries, count, None)

    def read_codes(self, queries: FloatMatrix, count: int, allowed: Mask) -> list[Rows]:
        """Return up to `count` allowed rows for each query, by reading the codes of all that are allowed.

        allowed: (N,) bool, handed to faiss as a bitmap selector, so that the search itself skips the others.
        """
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.family == "lists":
            parameters = faiss.SearchParametersIVF(nprobe=self.lists, sel=selector)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        return self._search(self._codes, queries, count, parameters)

    @cached_property
    def _codes(self) -> Any:
        return faiss.downcast_index(self._inner.storage) if self.family == "graph" else self._inner

    def _search(self, index: Any, queries: FloatMatrix, count: int, parameters: Any) -> list[Rows]:
        """Search with per-call parameters. The one place that drops faiss's -1, "no more found"."""
        _use_threads(0 if len(queries) == 1 else queries.size * self.ntotal // 100)
        for transform in self._chain:
            queries = transform.apply(queries)
        found = index.search(queries, count, params=parameters)[1]
        return [rows[rows >= 0] for rows in found]


@lru_cache(maxsize=256)
def _graph_parameters(effort: int) -> Any:
    """Return parameters that are handed over with a call and never changed."""
    return faiss.SearchParametersHNSW(efSearch=effort)


@lru_cache(maxsize=256)
def _list_parameters(effort: int) -> Any:
    return faiss.SearchParametersIVF(nprobe=effort)


def open_index(path: Path) -> Any:
    """Open an index file, memory-mapped where faiss can. Raises SnapshotCorrupt."""
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise SnapshotCorrupt(f"{path} is not a readable faiss index: {_reason(error)}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise SnapshotCorrupt(f"{path} does not compare by inner product: build again")
    return index


def make_index(dimension: int, factory: str, directions: FloatMatrix | None = None) -> Any:
    """Return an empty inner-product index, behind a projection onto directions (p, dimension) if given.

    Raises InputError for a string that is not a faiss factory's, or makes what cannot hold a catalogue.
    """
    inside = dimension if directions is None else len(directions)
    try:
        index = faiss.index_factory(inside, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(f"recipe {factory!r} {_refusal(error, inside)}") from error
    if isinstance(faiss.downcast_index(index), faiss.IndexIDMap):
        raise InputError(f"recipe {factory!r} cannot hold a catalogue: its rows have numbers of their own")
    if directions is None:
        return index
    projection = faiss.LinearTransform(dimension, inside, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(directions, np.float32).ravel(), projection.A)
    projection.is_trained = True
    return faiss.IndexPreTransform(projection, index)


def train_index(index: Any, sample: FloatMatrix, factory: str) -> None:
    """Train on a sample: (n, D), or (n, p) of projected rows for an index behind a projection.

    Raises RecipeImpossible when the sample is too small for the recipe.
    """
    _use_threads(sample.size)
    learner = index if sample.shape[1] == index.d else faiss.downcast_index(index.index)
    kept = _prepare(learner)
    try:
        learner.train(sample)
        del kept
    except RuntimeError as error:
        count = len(sample)
        raise RecipeImpossible(
            f"recipe {factory!r} cannot learn from {count} products: {_reason(error)}"
        ) from error
    index.is_trained = True


def add_rows(index: Any, rows: FloatMatrix, factory: str) -> None:
    """Append rows (n, D). Raises InputError for a kind of index whose rows cannot be numbered in order."""
    _use_threads(rows.size)
    try:
        index.add(rows)
    except RuntimeError as error:
        raise InputError(f"recipe {factory!r} cannot hold a catalogue: {_reason(error)}") from error


def read_whole(path: Path) -> Any:
    """Read an index file into memory, so that rows can be added. Raises SnapshotCorrupt."""
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise SnapshotCorrupt(f"{path} is not a readable faiss index: {_reason(error)}") from error


def write_index(index: Any, path: Path) -> None:
    """Write an index file. Raises OSError."""
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        code = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def _use_threads(numbers: int) -> None:
    """Set how many threads faiss uses for work on so many numbers: all or one.

    OpenMP keeps the setting for each calling thread by itself, so that requests do not disturb each other.
    """
    faiss.omp_set_num_threads(_ALL_THREADS if numbers >= _THREADED_NUMBERS else 1)


def _prepare(index: Any) -> list[Any]:
    """Set an untrained index to learn from what there is, and no more than searches need.

    Keeps faiss from writing on stderr that a catalogue is small for a recipe: its recall is measured. Returns
    what has to outlive the training.
    """
    kept = []
    parts = [faiss.downcast_index(index)]
    if isinstance(parts[0], faiss.IndexPreTransform):
        links = parts[0].chain
        for link in (faiss.downcast_VectorTransform(links.at(i)) for i in range(links.size())):
            if isinstance(link, faiss.OPQMatrix):
                link.pq = faiss.ProductQuantizer(link.d_out, link.M, 8)
                link.pq.cp.min_points_per_centroid = 1
                kept.append(link.pq)
        parts.append(faiss.downcast_index(parts[0].index))
    for part in list(parts):
        parts += [getattr(part, name) for name in ("pq", "quantizer") if hasattr(part, name)]
        if hasattr(part, "do_polysemous_training"):
            part.do_polysemous_training = False
    for part in parts:
        if isinstance(part, faiss.IndexHNSW):
            part.hnsw.efConstruction = _LINKING_EFFORT
        if hasattr(part, "cp"):
            part.cp.min_points_per_centroid = 1
    return kept


def _refusal(error: RuntimeError, dimension: int) -> str:
    """Say what is wrong with a factory string: what faiss explains in a sentence, or that it is none."""
    explained = re.search(r"failed: (.+)", _one_line(error))
    if explained is None:
        return "is not auto, flat, hnsw, ivf or a FAISS factory string for inner products, such as IVF256,SQ8"
    return f"cannot be made for {dimension} dimensions: {explained[1]}"


def _reason(error: RuntimeError) -> str:
    """Return what faiss says without the source line that says it."""
    text = re.sub(r"^Error in .* at \S+:\d+: ", "", _one_line(error))
    return text.rsplit("Error: ", 1)[-1].rsplit("failed: ", 1)[-1]


def _one_line(error: RuntimeError) -> str:
    return " ".join(str(error).split())
