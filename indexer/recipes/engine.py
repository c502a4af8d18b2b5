"""Typed access to faiss, whose stubs describe C++ signatures and not what Python may pass.

A search returns candidate rows without scores. Shape letters: N rows, n rows of a block or sample, Q queries,
D dimension, p reduced dimension.
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
# graph: HNSW; lists: inverted lists, of which a search reads some; codes: compressed vectors, all of which a
# search reads; flat: the vectors themselves.
Family = Literal["graph", "lists", "codes", "flat"]
_ALL_THREADS = faiss.omp_get_max_threads()
# Above faiss's default of 40: a graph is searched far more often than it is built, and one that is built with
# more effort needs less effort in a search.
_EF_CONSTRUCTION = 100
# With fewer values, waking and waiting for other threads takes longer than the work.
_MIN_THREADED_VALUES = 2**22


class Engine:
    """A faiss index split into its parts: the projection in front, the index behind it and its codes."""

    def __init__(self, index: Any) -> None:
        """Take any trained inner-product index."""
        self.index = index
        self._inner = faiss.downcast_index(index)
        self._chain: list[Any] = []
        if isinstance(self._inner, faiss.IndexPreTransform):
            chain = self._inner.chain
            self._chain = [faiss.downcast_VectorTransform(chain.at(i)) for i in range(chain.size())]
            self._inner = faiss.downcast_index(self._inner.index)

    @property
    def ntotal(self) -> int:
        """The number of rows, N."""
        return int(self.index.ntotal)

    @property
    def dimension(self) -> int:
        """The dimension of the vectors, D."""
        return int(self.index.d)

    @cached_property
    def family(self) -> Family:
        """The kind of index, by how a search reads it."""
        if isinstance(self._inner, faiss.IndexHNSW):
            return "graph"
        if isinstance(self._inner, faiss.IndexIVF):
            return "lists"
        return "flat" if isinstance(self._inner, faiss.IndexFlat) and not self._chain else "codes"

    @cached_property
    def byte_size(self) -> int:
        """The size of the index in bytes."""
        return len(faiss.serialize_index(self.index))

    @cached_property
    def nlist(self) -> int:
        """The number of inverted lists; 0 for an index without."""
        return int(self._inner.nlist) if self.family == "lists" else 0

    @cached_property
    def has_selectors(self) -> bool:
        """True if its codes can be searched for selected rows only; a few kinds of index cannot do that."""
        probe = np.zeros((1, self.dimension), np.float32)
        probe[0, 0] = 1.0
        try:
            self.search_codes(probe, 1, np.ones(self.ntotal, bool))
        except RuntimeError:
            return False
        return True

    def search(self, queries: FloatMatrix, count: int, effort: int) -> list[Rows]:
        """Return up to `count` rows for each query, best first. effort: efSearch or nprobe."""
        if self.family == "graph":
            return self._search(self._inner, queries, count, _graph_parameters(max(effort, count)))
        if self.family == "lists":
            return self._search(self._inner, queries, count, _list_parameters(min(effort, self.nlist)))
        return self._search(self._inner, queries, count, None)

    def search_codes(self, queries: FloatMatrix, count: int, allowed: Mask) -> list[Rows]:
        """Return up to `count` allowed rows for each query, by an exhaustive search of their codes.

        allowed: (N,) bool. faiss gets it as a bitmap selector, so that the search itself skips the other
        rows.
        """
        selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
        if self.family == "lists":
            parameters = faiss.SearchParametersIVF(nprobe=self.nlist, sel=selector)
        else:
            parameters = faiss.SearchParameters(sel=selector)
        return self._search(self._codes, queries, count, parameters)

    @cached_property
    def _codes(self) -> Any:
        return faiss.downcast_index(self._inner.storage) if self.family == "graph" else self._inner

    def _search(self, index: Any, queries: FloatMatrix, count: int, parameters: Any) -> list[Rows]:
        """Search with per-call parameters. The one place that drops faiss's -1, its mark for no result."""
        _use_threads(0 if len(queries) == 1 else queries.size * self.ntotal // 100)
        for transform in self._chain:
            queries = transform.apply(queries)
        results = index.search(queries, count, params=parameters)[1]
        return [rows[rows >= 0] for rows in results]


@lru_cache(maxsize=256)
def _graph_parameters(ef_search: int) -> Any:
    """Return the parameters of one call, which are shared between calls and never changed."""
    return faiss.SearchParametersHNSW(efSearch=ef_search)


@lru_cache(maxsize=256)
def _list_parameters(nprobe: int) -> Any:
    return faiss.SearchParametersIVF(nprobe=nprobe)


def open_index(path: Path) -> Any:
    """Open an index file, memory-mapped if faiss supports that for it. Raises SnapshotCorrupt."""
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise SnapshotCorrupt(f"{path} is not a readable faiss index: {_reason(error)}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise SnapshotCorrupt(f"{path} does not compare by inner product: build again")
    return index


def make_index(dimension: int, factory: str, directions: FloatMatrix | None = None) -> Any:
    """Return an empty inner-product index, behind a projection onto directions (p, D) if these are given.

    Raises InputError if the string is not a FAISS factory string, or its index cannot hold a catalogue.
    """
    inner_dimension = dimension if directions is None else len(directions)
    try:
        index = faiss.index_factory(inner_dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(f"recipe {factory!r} {_refusal(error, inner_dimension)}") from error
    if isinstance(faiss.downcast_index(index), faiss.IndexIDMap):
        raise InputError(f"recipe {factory!r} cannot hold a catalogue: its rows are not numbered in order")
    if directions is None:
        return index
    projection = faiss.LinearTransform(dimension, inner_dimension, False)
    faiss.copy_array_to_vector(np.ascontiguousarray(directions, np.float32).ravel(), projection.A)
    projection.is_trained = True
    return faiss.IndexPreTransform(projection, index)


def train_index(index: Any, sample: FloatMatrix, factory: str) -> None:
    """Train an index on a sample: (n, D), or (n, p) projected rows for an index behind a projection.

    Raises RecipeImpossible if the sample is too small for the recipe.
    """
    _use_threads(sample.size)
    trained = index if sample.shape[1] == index.d else faiss.downcast_index(index.index)
    quantizers = _prepare_training(trained)
    try:
        trained.train(sample)
        del quantizers
    except RuntimeError as error:
        count = len(sample)
        raise RecipeImpossible(
            f"recipe {factory!r} cannot learn from {count} products: {_reason(error)}"
        ) from error
    index.is_trained = True


def add_rows(index: Any, rows: FloatMatrix, factory: str) -> None:
    """Append rows (n, D). Raises InputError if the index cannot number its rows in order."""
    _use_threads(rows.size)
    try:
        index.add(rows)
    except RuntimeError as error:
        raise InputError(f"recipe {factory!r} cannot hold a catalogue: {_reason(error)}") from error


def read_index(path: Path) -> Any:
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


def _use_threads(value_count: int) -> None:
    """Set the number of threads that faiss uses for work on so many values: all or one.

    OpenMP keeps this setting for each calling thread, so requests do not disturb each other.
    """
    faiss.omp_set_num_threads(_ALL_THREADS if value_count >= _MIN_THREADED_VALUES else 1)


def _prepare_training(index: Any) -> list[Any]:
    """Set the training parameters of an index: accept small samples and skip what no search uses.

    This keeps faiss from warning on stderr that a sample is small; the recall is measured in any case.
    Returns the quantizers, which must live until the training is over.
    """
    quantizers = []
    parts = [faiss.downcast_index(index)]
    if isinstance(parts[0], faiss.IndexPreTransform):
        chain = parts[0].chain
        for transform in (faiss.downcast_VectorTransform(chain.at(i)) for i in range(chain.size())):
            if isinstance(transform, faiss.OPQMatrix):
                transform.pq = faiss.ProductQuantizer(transform.d_out, transform.M, 8)
                transform.pq.cp.min_points_per_centroid = 1
                quantizers.append(transform.pq)
        parts.append(faiss.downcast_index(parts[0].index))
    for part in list(parts):
        parts += [getattr(part, name) for name in ("pq", "quantizer") if hasattr(part, name)]
        if hasattr(part, "do_polysemous_training"):
            part.do_polysemous_training = False
    for part in parts:
        if isinstance(part, faiss.IndexHNSW):
            part.hnsw.efConstruction = _EF_CONSTRUCTION
        if hasattr(part, "cp"):
            part.cp.min_points_per_centroid = 1
    return quantizers


def _refusal(error: RuntimeError, dimension: int) -> str:
    """Return the reason why a factory string is refused: faiss's own sentence if it gives one."""
    explanation = re.search(r"failed: (.+)", _one_line(error))
    if explanation is None:
        return "is not auto, flat, hnsw, ivf or a FAISS factory string for inner products, such as IVF256,SQ8"
    return f"cannot be made for {dimension} dimensions: {explanation[1]}"


def _reason(error: RuntimeError) -> str:
    """Return the message of a faiss error without the source location."""
    text = re.sub(r"^Error in .* at \S+:\d+: ", "", _one_line(error))
    return text.rsplit("Error: ", 1)[-1].rsplit("failed: ", 1)[-1]


def _one_line(error: RuntimeError) -> str:
    return " ".join(str(error).split())
