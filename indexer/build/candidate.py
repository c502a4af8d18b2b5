"""The files of a snapshot to be: which products become which rows, and everything derived from their vectors.

Embeds nothing and moves no pointer. Shape letters: N products of the table, D dimension.
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

from vitrine.indexer.arrays import FloatMatrix, Rows
from vitrine.indexer.build.calibration import calibrate_rows, still_holds
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import EmbeddingRun
from vitrine.indexer.files import create_matrix
from vitrine.indexer.journal.fold import LiveState
from vitrine.indexer.models import ModelSource
from vitrine.indexer.products.table import (
    Table,
    assemble_table,
    encode_column,
    sort_rows_by_id,
    write_failures,
)
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
BLOCK_ROWS = 4096
_COPY_BYTES = 2**18


@dataclass(frozen=True)
class Candidate:
    """Where each row of the next table comes from.

    rows: (N,) rows of the source, in the order of the table. extends: the snapshot whose rows come first,
    unchanged, so that its index can be appended to; None when the order begins anew.
    """

    source: Source
    model: ModelRecord
    model_key: str
    run: EmbeddingRun
    cache: EmbeddingCache
    rows: Rows
    extends: Snapshot | None

    def raw_blocks(self, since: int = 0) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield (first row, (b, D) float32) of the model's unit vectors from row `since` on, in order."""
        for start in range(since, len(self.rows), BLOCK_ROWS):
            yield start, self._read(np.arange(start, min(start + BLOCK_ROWS, len(self.rows))))

    def _read(self, rows: Rows) -> FloatMatrix:
        digests = self.run.sha256[self.rows[rows]]
        return self.cache.vectors(self.model_key, [bytes(digest) for digest in digests])

    def as_catalogue(self) -> TrainingSet:
        """Return what a transform may be learnt from. One group, or one picture, is one item."""
        names, codes = encode_column(self.source.products, "category", self.rows)
        groups, items = encode_column(self.source.products, "group", self.rows)
        digests = np.ascontiguousarray(self.run.sha256[self.rows]).view("V32").ravel()
        pictures = np.unique(digests, return_inverse=True)[1].astype(np.int32)
        return TrainingSet(self._read, names, codes, np.where(items < 0, len(groups) + pictures, items))


def plan_candidate(
    source: Source, model: ModelSource, run: EmbeddingRun, cache: EmbeddingCache, previous: Snapshot | None
) -> Candidate:
    """Order the products that were embedded: by id, or behind the rows of `previous` while all of those stay.

    As soon as one of them left or has another picture, the order is by id and begins anew.
    """
    assert run.dimension is not None, "a candidate needs at least one product"
    record = ModelRecord(model.name, model.handle, model.digest, model.preprocessing, run.dimension)
    rows = sort_rows_by_id(source.products, np.flatnonzero(run.ok).astype(np.int64))
    extends = None
    if previous is not None and previous.manifest.model == record:
        old = previous.table.rows_of(source.products.column("id").take(rows).to_pylist())
        kept = rows[old >= 0][np.argsort(old[old >= 0])]
        if [bytes(digest).hex() for digest in run.sha256[kept]] == previous.table.column("sha256"):
            rows, extends = np.concatenate([kept, rows[old < 0]]), previous
    return Candidate(source, record, model.key, run, cache, rows, extends)


def write_candidate(
    staged: Path,
    candidate: Candidate,
    state: LiveState,
    *,
    transform_name: str,
    recipe: RecipeRequest,
    progress: Progress,
) -> Manifest:
    """Write every file but the manifest into a staged folder; return the manifest, not yet named."""
    run, rows = candidate.run, candidate.rows
    transform = _choose_transform(candidate, transform_name)
    progress.note(f"transform {transform.name}: {transform.reason}")
    transform.save(staged / TRANSFORM)
    with ThreadPoolExecutor(1) as beside:  # moving bytes for the most part
        writing = beside.submit(_write_vectors, staged / VECTORS, candidate, transform)
        table = assemble_table(
            candidate.source.products,
            rows,
            images=[candidate.source.absolute(int(row)) for row in rows],
            sha256=run.sha256[rows],
            sizes_px=run.sizes_px[rows],
            deleted_at=state.deleted_at,
        )
        table.write(staged / TABLE)
        TextIndex.build(table).save(staged / TEXT)
        write_failures(staged / FAILURES, [(bad.id, bad.image, bad.reason) for bad in run.failures])
        vectors = writing.result()
        flushing = beside.submit(vectors.flush)
        previous = _index_to_extend(candidate, transform)
        index = build_index(vectors, recipe, staged / INDEX, previous=previous, progress=progress)
        flushing.result()
    opened = VectorIndex.open(staged / INDEX, vectors, index.parameters)
    kept = _confidence_to_keep(candidate, transform, table)
    (kept or calibrate_rows(vectors, table, opened)).save(staged / CONFIDENCE)
    return _manifest(candidate, table, transform, index, state, str(vectors.dtype))


def _choose_transform(candidate: Candidate, name: str) -> Transform:
    """Fit the transform, or keep that of the snapshot which is extended, while it still fits."""
    base = candidate.extends
    return choose_transform(name, candidate.as_catalogue(), base.transform if base is not None else None)


def _index_to_extend(candidate: Candidate, transform: Transform) -> PreviousIndex | None:
    base = candidate.extends
    if base is None or transform is not base.transform:
        return None
    return PreviousIndex(base.path / INDEX, base.manifest.recipe)


def _confidence_to_keep(candidate: Candidate, transform: Transform, table: Table) -> Confidence | None:
    """Return the calibration of the snapshot which is extended, while it still holds."""
    base = candidate.extends
    if base is None or transform is not base.transform or base.confidence is None:
        return None
    return base.confidence if still_holds(base.confidence, table) else None


def _write_vectors(path: Path, candidate: Candidate, transform: Transform) -> np.memmap[Any, Any]:
    """Write (N, D) rows block by block: float32, or float16 where float32 would pass 2 GiB."""
    shape = (len(candidate.rows), candidate.model.dimension)
    dtype = np.float32 if shape[0] * shape[1] * 4 <= FLOAT32_MAX_BYTES else np.float16
    vectors = create_matrix(path, dtype, shape)
    for start, block in candidate.raw_blocks(since=_copy_known(path, vectors, candidate, transform)):
        vectors[start : start + len(block)] = transform.apply(block)
    return vectors


def _copy_known(path: Path, vectors: np.memmap[Any, Any], candidate: Candidate, transform: Transform) -> int:
    """Copy the rows that are already in the snapshot which is extended; return how many that were."""
    base = candidate.extends
    if base is None or transform is not base.transform or base.vectors.dtype != vectors.dtype:
        return 0
    # From file to file: through the mapping, each page of the new one would be a page fault.
    with (base.path / VECTORS).open("rb", 0) as known, path.open("r+b") as file:
        known.seek(-base.vectors.nbytes, os.SEEK_END)
        file.seek(vectors.offset)
        buffer = memoryview(bytearray(_COPY_BYTES))
        while size := known.readinto(buffer):
            file.write(buffer[:size])
    return len(base.vectors)


def _manifest(
    candidate: Candidate,
    table: Table,
    transform: Transform,
    index: IndexReport,
    state: LiveState,
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
        journal_sequence=state.sequence,
        uploads_sequence=state.sequence,
        build={
            "embedded": run.embedded,
            "from_cache": run.from_cache,
            "batch_size": run.batch_size,
            "decode_threads": run.decode_threads,
            "net_wait_share": run.net_wait_share,
            "device": run.device,
        },
    )
