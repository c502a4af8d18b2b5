"""Candidate snapshots: the order of the rows, and every file that is derived from their vectors.

Nothing is embedded or published here. Shape letters: N products of the table, D dimension.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vitrine.indexer.arrays import BLOCK_ROWS, FloatMatrix, Rows
from vitrine.indexer.build.calibration import calibrate_confidence, is_calibration_current
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.run import EmbeddingRun
from vitrine.indexer.files import create_matrix
from vitrine.indexer.journal.fold import FoldedChanges
from vitrine.indexer.models import ModelSource
from vitrine.indexer.products.assembly import assemble_table, encode_column, sort_rows_by_id
from vitrine.indexer.products.failures import write_failures
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.progress import Progress
from vitrine.indexer.recipes import (
    IndexReport,
    PreviousIndex,
    RecipeRequest,
    VectorIndex,
    build_index,
)
from vitrine.indexer.snapshot.confidence import Confidence
from vitrine.indexer.snapshot.manifest import Manifest, ModelRecord
from vitrine.indexer.snapshot.snapshot import (
    CONFIDENCE,
    FAILURES,
    INDEX,
    TABLE,
    TEXT,
    TRANSFORM,
    VECTORS,
    Snapshot,
)
from vitrine.indexer.source.source import Source
from vitrine.indexer.transform.choice import choose_transform
from vitrine.indexer.transform.sample import TrainingSet
from vitrine.indexer.transform.transform import Transform

FLOAT32_MAX_BYTES = 2 * 2**30
_COPY_BYTES = 2**18


@dataclass(frozen=True)
class Candidate:
    """A plan of the next snapshot: the source row of each table row.

    rows: (N,) rows of the source, in the order of the table. base: the snapshot whose rows come first,
    unchanged, so that its index can be extended; None if the rows are ordered from scratch. pooling: as the
    previous snapshot of the same model recorded it.
    """

    source: Source
    model: ModelRecord
    model_key: str
    run: EmbeddingRun
    cache: EmbeddingCache
    rows: Rows
    base: Snapshot | None
    pooling: str = ""

    def model_vector_blocks(self, start_row: int = 0) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield (first row, (n, D) float32) for each block of the model's unit vectors, in row order."""
        for start in range(start_row, len(self.rows), BLOCK_ROWS):
            yield start, self._read_vectors(np.arange(start, min(start + BLOCK_ROWS, len(self.rows))))

    def _read_vectors(self, rows: Rows) -> FloatMatrix:
        digests = self.run.sha256[self.rows[rows]]
        return self.cache.vectors(self.model_key, [bytes(digest) for digest in digests])

    def training_set(self) -> TrainingSet:
        """Return the data to fit a transform to. A group, or a picture without a group, is one item."""
        names, codes = encode_column(self.source.products, "category", self.rows)
        groups, items = encode_column(self.source.products, "group", self.rows)
        digests = np.ascontiguousarray(self.run.sha256[self.rows]).view("V32").ravel()
        pictures = np.unique(digests, return_inverse=True)[1].astype(np.int32)
        return TrainingSet(
            self._read_vectors, names, codes, np.where(items < 0, len(groups) + pictures, items)
        )


def plan_candidate(
    source: Source, model: ModelSource, run: EmbeddingRun, cache: EmbeddingCache, previous: Snapshot | None
) -> Candidate:
    """Choose the order of the embedded products: after the rows of `previous`, or by id.

    If every product of `previous` is still there with the same picture, its rows come first. Otherwise all
    rows are ordered by id.
    """
    assert run.dimension is not None, "a candidate needs at least one product"
    record = ModelRecord(model.name, model.handle, model.digest, model.preprocessing, run.dimension)
    rows = sort_rows_by_id(source.products, np.flatnonzero(run.ok).astype(np.int64))
    base = None
    if previous is not None and previous.manifest.model == record:
        old_rows = previous.table.rows_of(source.products.column("id").take(rows).to_pylist())
        known = rows[old_rows >= 0][np.argsort(old_rows[old_rows >= 0])]
        if [bytes(digest).hex() for digest in run.sha256[known]] == previous.table.column("sha256"):
            rows, base = np.concatenate([known, rows[old_rows < 0]]), previous
    same_model = previous is not None and previous.manifest.model == record
    pooling = str(previous.manifest.build.get("pooling") or "") if previous and same_model else ""
    return Candidate(source, record, model.key, run, cache, rows, base, pooling)


def write_candidate(
    staged: Path,
    candidate: Candidate,
    changes: FoldedChanges,
    *,
    transform_name: str,
    recipe: RecipeRequest,
    progress: Progress,
) -> Manifest:
    """Write all files of a snapshot except its manifest; return the manifest, still without a name.

    staged: an empty staging folder.
    """
    run, rows = candidate.run, candidate.rows
    transform = _choose_transform(candidate, transform_name)
    progress.note(f"transform {transform.name}: {transform.reason}")
    transform.save(staged / TRANSFORM)
    with ThreadPoolExecutor(1) as executor:  # mostly input and output
        vectors_written = executor.submit(_write_vectors, staged / VECTORS, candidate, transform)
        table = assemble_table(
            candidate.source.products,
            rows,
            images=[candidate.source.resolve_image(int(row)) for row in rows],
            sha256=run.sha256[rows],
            sizes_px=run.sizes_px[rows],
            deleted_at=changes.deleted_at,
        )
        table.write(staged / TABLE)
        TextIndex.build(table).save(staged / TEXT)
        write_failures(
            staged / FAILURES, [(failure.id, failure.image, failure.reason) for failure in run.failures]
        )
        vectors = vectors_written.result()
        vectors_flushed = executor.submit(vectors.flush)
        previous = _index_to_extend(candidate, transform)
        index = build_index(vectors, recipe, staged / INDEX, previous=previous, progress=progress)
        vectors_flushed.result()
    opened = VectorIndex.open(staged / INDEX, vectors, index.parameters)
    confidence = _reusable_confidence(candidate, transform, table)
    (confidence or calibrate_confidence(vectors, table, opened)).save(staged / CONFIDENCE)
    return _manifest(candidate, table, transform, index, changes, str(vectors.dtype))


def _choose_transform(candidate: Candidate, name: str) -> Transform:
    """Fit the transform, or keep that of the base snapshot while it still fits."""
    base = candidate.base
    return choose_transform(name, candidate.training_set(), base.transform if base is not None else None)


def _index_to_extend(candidate: Candidate, transform: Transform) -> PreviousIndex | None:
    base = candidate.base
    if base is None or transform is not base.transform:
        return None
    return PreviousIndex(base.path / INDEX, base.manifest.recipe)


def _reusable_confidence(candidate: Candidate, transform: Transform, table: Table) -> Confidence | None:
    """Return the calibration of the base snapshot if it is still current."""
    base = candidate.base
    if base is None or transform is not base.transform or base.confidence is None:
        return None
    return base.confidence if is_calibration_current(base.confidence, table) else None


def _write_vectors(path: Path, candidate: Candidate, transform: Transform) -> np.memmap[Any, Any]:
    """Write the vectors (N, D) block by block: float32, or float16 if float32 would exceed 2 GiB."""
    shape = (len(candidate.rows), candidate.model.dimension)
    dtype = np.float32 if shape[0] * shape[1] * 4 <= FLOAT32_MAX_BYTES else np.float16
    vectors = create_matrix(path, dtype, shape)
    copied = _copy_base_vectors(path, vectors, candidate, transform)
    for start, block in candidate.model_vector_blocks(start_row=copied):
        vectors[start : start + len(block)] = transform.apply(block)
    return vectors


def _copy_base_vectors(
    path: Path, vectors: np.memmap[Any, Any], candidate: Candidate, transform: Transform
) -> int:
    """Copy the vectors of the base snapshot, if they are in the same space; return their number."""
    base = candidate.base
    if base is None or transform is not base.transform or base.vectors.dtype != vectors.dtype:
        return 0
    # Copied from file to file: writing through the mapping costs a page fault for each page.
    with (base.path / VECTORS).open("rb", 0) as source, path.open("r+b") as target:
        source.seek(-base.vectors.nbytes, os.SEEK_END)
        target.seek(vectors.offset)
        buffer = memoryview(bytearray(_COPY_BYTES))
        while size := source.readinto(buffer):
            target.write(buffer[:size])
    return len(base.vectors)


def _manifest(
    candidate: Candidate,
    table: Table,
    transform: Transform,
    index: IndexReport,
    changes: FoldedChanges,
    vector_dtype: str,
) -> Manifest:
    run = candidate.run
    return Manifest(
        snapshot="",
        built_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        vitrine=version("vitrine"),
        source=candidate.source.location,
        products=len(table),
        deleted=int(table.deleted.sum()),
        failed=len(run.failures),
        categories=table.category_count,
        model=candidate.model,
        dimension=candidate.model.dimension,
        vector_dtype=vector_dtype,
        transform={"name": transform.name, "why": transform.reason, **transform.metrics},
        recipe=dataclasses.asdict(index),
        recall_at_10=index.recall_at_10,
        latency={"p50_ms": index.p50_ms, "p95_ms": index.p95_ms},
        journal_sequence=changes.sequence,
        uploads_sequence=changes.sequence,
        build={
            "embedded": run.embedded,
            "from_cache": run.from_cache,
            "batch_size": run.batch_size,
            "decode_threads": run.decode_threads,
            "net_wait_share": run.net_wait_share,
            "device": run.device,
            "pooling": candidate.pooling if run.pooling is None else run.pooling,
        },
    )
