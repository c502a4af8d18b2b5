"""Opened snapshots: the files of one immutable build, checked against the manifest and each other.

See `folder` for publishing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from vitrine.indexer.arrays import StoredVectors
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.recipes import VectorIndex
from vitrine.indexer.snapshot.confidence import Confidence
from vitrine.indexer.snapshot.manifest import Manifest, check_files
from vitrine.indexer.transform.transform import Transform

TABLE = "table.parquet"
VECTORS = "vectors.npy"
INDEX = "index.faiss"
FAILURES = "failures.parquet"
TRANSFORM = "transform.npz"
TEXT = "text.npz"
CONFIDENCE = "confidence.npz"


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot. Row i of the table, of the vectors and of the index is the same product.

    vectors: (N, D) unit rows. confidence: None for a snapshot written before scores were calibrated.
    """

    path: Path
    manifest: Manifest
    table: Table
    vectors: StoredVectors
    index: VectorIndex
    transform: Transform
    confidence: Confidence | None = None

    @property
    def name(self) -> str:
        """The name of the snapshot; names sort by time of publishing."""
        return self.manifest.snapshot

    @cached_property
    def text(self) -> TextIndex:
        """The text index over names, ids and categories."""
        return TextIndex.load(self.path / TEXT, self.table)


def open_snapshot(path: Path, *, full_check: bool = False) -> Snapshot:
    """Open a snapshot folder; check its files against the manifest and against each other.

    full_check: hash every byte of files of any size. Raises FormatUnsupported, SnapshotCorrupt.
    """
    manifest = Manifest.read(path)
    check_files(path, manifest.files, full=full_check)
    return load_snapshot(path, manifest)


def load_snapshot(path: Path, manifest: Manifest) -> Snapshot:
    """Load files whose checksums were verified; check that their shapes agree. Raises SnapshotCorrupt."""
    table = Table.read(path / TABLE)
    vectors = _open_vectors(path / VECTORS)
    index = VectorIndex.open(path / INDEX, vectors, manifest.recipe.get("parameters", {}))
    shapes = {
        "the manifest": (manifest.products, manifest.dimension),
        VECTORS: vectors.shape,
        INDEX: (index.ntotal, index.dimension),
        TABLE: (len(table), manifest.dimension),
    }
    if len(set(shapes.values())) > 1:
        listed = "; ".join(f"{name}: {shape[0]} x {shape[1]}" for name, shape in shapes.items())
        raise SnapshotCorrupt(f"the files of {path} disagree ({listed}): roll back or build again")
    confidence = Confidence.load(path / CONFIDENCE) if CONFIDENCE in manifest.files else None
    return Snapshot(path, manifest, table, vectors, index, Transform.load(path / TRANSFORM), confidence)


def _open_vectors(path: Path) -> StoredVectors:
    """Memory-map the vectors, (N, D) float16 or float32. Raises SnapshotCorrupt."""
    try:
        vectors: StoredVectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SnapshotCorrupt(f"{path} is not a readable array: {error}") from error
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32):
        raise SnapshotCorrupt(f"{path} is not a float16 or float32 matrix")
    return cast(StoredVectors, np.asarray(vectors))  # the same memory; a memmap costs more at each access
