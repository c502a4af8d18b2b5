"""faiss itself, behind functions with types: its stubs describe C++ signatures, not what Python may pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss as _faiss
import numpy as np

from indexer.errors import InputError, SnapshotCorrupt

faiss: Any = _faiss


def open_index(path: Path) -> Any:
    """Open an index file, memory-mapped where faiss can. Raises SnapshotCorrupt."""
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise SnapshotCorrupt(f"{path} is not a readable faiss index: {error}") from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise SnapshotCorrupt(f"{path} does not compare by inner product: build again")
    return index


def make_index(dimension: int, factory: str) -> Any:
    """Return an empty inner-product index. Raises InputError for a string that is not a faiss factory's."""
    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).splitlines()[0].rsplit("Error: ", 1)[-1]
        raise InputError(f"recipe {factory!r} cannot be made for {dimension} dimensions: {reason}") from error


def select(allowed: np.ndarray[Any, Any] | None) -> Any:
    """Return a selector of the rows allowed, (N,) bool, or None for all. Keeps its bits alive itself."""
    return None if allowed is None else faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
