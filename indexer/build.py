"""Building a snapshot: source, vectors, index and table, then the gate, then one rename.

Reads pictures and the network only through `embedding`; everything durable goes through `snapshot`.
Shape letters: N products, D dimension.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from indexer.cache import EmbeddingCache
from indexer.embedding import EmbeddingOptions, EmbeddingRun, embed_source
from indexer.errors import SnapshotCorrupt, SourceError
from indexer.gate import Thresholds, check_publishable, compare_with_live
from indexer.live_state import LiveState, fold_journal
from indexer.manifest import Manifest, ModelRecord
from indexer.models import ModelSource, resolve
from indexer.progress import Progress
from indexer.recipes import IndexReport, PreviousIndex, RecipeRequest, build_index
from indexer.snapshot import FAILURES, INDEX, TABLE, TEXT, TRANSFORM, VECTORS, IndexFolder, Snapshot
from indexer.source import Source, open_source
from indexer.table import Rows, Table, assemble_table, sort_rows_by_id, write_failures
from indexer.text_index import TextIndex
from indexer.transform import FloatMatrix, Transform, fit_transform
from indexer.uploads import with_uploads

FLOAT32_MAX_BYTES = 2 * 2**30
BLOCK_ROWS = 4096
KEEP_SNAPSHOTS = 3


@dataclass(frozen=True)
class BuildOptions:
    """Everything a build can be told; the names are those of the command line."""

    model: str = "bit-m-r50x1"
    image_size: int | None = None
    recipe: RecipeRequest = field(default_factory=lambda: RecipeRequest("auto"))
    transform: str = "auto"
    category_from: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = None
    embedding: EmbeddingOptions = field(default_factory=EmbeddingOptions)
    gate: Thresholds = field(default_factory=Thresholds)
    force: bool = False
    keep: int = KEEP_SNAPSHOTS


@dataclass(frozen=True)
class BuildReport:
    """What a build did. `seconds` is the whole call."""

    snapshot: str
    products: int
    embedded: int
    from_cache: int
    failed: int
    categories: int
    deleted: int
    model: str
    model_why: str
    dimension: int
    transform: str
    recipe: str
    recipe_why: str
    index: str
    recall_at_10: float
    p50_ms: float
    p95_ms: float
    net_wait_share: float
    pruned: list[str]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `build --json` prints them."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Embedded:
    """Where each product of the next table comes from, and how to get its vector.

    rows: (N,) rows of the source in the order of the table. base: the snapshot whose rows come first, if any.
    """

    source: Source
    model: ModelSource
    run: EmbeddingRun
    cache: EmbeddingCache
    rows: Rows
    base: Snapshot | None

    def raw_blocks(self) -> Iterator[tuple[int, FloatMatrix]]:
        """Yield (first row, (b, D) float32) of the model's unit vectors, in the order of the table."""
        for start in range(0, len(self.rows), BLOCK_ROWS):
            digests = [bytes(digest) for digest in self.run.sha256[self.rows[start : start + BLOCK_ROWS]]]
            yield start, self.cache.vectors(self.model.key, digests)


def build(location: str, folder: IndexFolder, options: BuildOptions, progress: Progress) -> BuildReport:
    """Index a source and make the new snapshot live.

    Raises SourceError, ModelError, SnapshotError (PublishRefused when the gate stops it); in each case the
    earlier snapshot stays live, and what was embedded is kept in the cache for the next try.
    """
    started = time.monotonic()
    source = open_source(
        location, category_from=options.category_from, columns=options.columns, limit=options.limit
    )
    with folder.publishing(), EmbeddingCache.open(folder.layout.cache) as cache:
        previous = _previous_snapshot(folder, progress)
        with folder.journal() as journal:
            state = fold_journal(journal, previous.table if previous else None)
        source = with_uploads(source, state.uploads, folder.root)
        model = resolve(options.model, image_size=options.image_size, progress=progress)
        progress.note(f"model {model.name}: {model.why}")
        run = embed_source(source, model, cache, options=options.embedding, progress=progress)
        if not run.ok.any():
            raise SourceError(_nothing_left(location, run))
        rows, base = _order_rows(source, model, run, previous)
        embedded = _Embedded(source, model, run, cache, rows, base)
        snapshot = _write_snapshot(folder, embedded, state, previous, options, progress)
        _pass_gate(folder, snapshot, previous, options)
        pruned = folder.prune(options.keep)
    return _report(snapshot, embedded, pruned, time.monotonic() - started)


def _previous_snapshot(folder: IndexFolder, progress: Progress) -> Snapshot | None:
    """Open the live snapshot; a broken one is no reason not to build, but worth a line."""
    name = folder.current_or_none()
    if name is None:
        return None
    try:
        return folder.open(name)
    except SnapshotCorrupt as error:
        progress.note(f"the live snapshot cannot be read and is not built upon: {error}")
        return None


def _model_record(model: ModelSource, dimension: int) -> ModelRecord:
    return ModelRecord(model.name, model.handle, model.digest, model.preprocessing, dimension)


def _nothing_left(location: str, run: EmbeddingRun) -> str:
    first = run.failures[0]
    return f"{location}: none of its {len(run.ok)} pictures can be used; {first.image}: {first.reason}"


def _order_rows(
    source: Source, model: ModelSource, run: EmbeddingRun, previous: Snapshot | None
) -> tuple[Rows, Snapshot | None]:
    """Return which products become rows, in order, and the snapshot whose rows come first, unchanged.

    An index can be appended to only while every row of the live snapshot stays as it is; as soon as one left
    or has another picture, the order is by id and begins anew.
    """
    rows = sort_rows_by_id(source.products, np.flatnonzero(run.ok).astype(np.int64))
    if previous is None or previous.manifest.model != _model_record(model, run.dimension):
        return rows, None
    old = previous.table.rows_of(source.products.column("id").take(rows).to_pylist())
    kept = rows[old >= 0][np.argsort(old[old >= 0])]
    if len(kept) < len(previous.table):
        return rows, None
    if [bytes(digest).hex() for digest in run.sha256[kept]] != previous.table.column("sha256"):
        return rows, None
    return np.concatenate([kept, rows[old < 0]]), previous


def _write_snapshot(
    folder: IndexFolder,
    embedded: _Embedded,
    state: LiveState,
    previous: Snapshot | None,
    options: BuildOptions,
    progress: Progress,
) -> Snapshot:
    """Write every file of the candidate and publish it, the pointer not yet moved."""
    run, rows = embedded.run, embedded.rows
    with folder.staging() as staged:
        base = embedded.base
        transform = _transform(embedded, options.transform)
        vectors = _write_vectors(staged / VECTORS, embedded, transform)
        transform.save(staged / TRANSFORM)
        grown = base is not None and transform is base.transform
        index = build_index(
            vectors,
            options.recipe,
            staged / INDEX,
            previous=PreviousIndex(base.path / INDEX, base.manifest.recipe) if base and grown else None,
            progress=progress,
        )
        images = [embedded.source.absolute(int(row)) for row in rows]
        table = assemble_table(
            embedded.source.products,
            rows,
            images=images,
            sha256=run.sha256[rows],
            sizes_px=run.sizes[rows],
            deleted_at=state.deleted_at,
        )
        table.write(staged / TABLE)
        TextIndex.build(table).save(staged / TEXT)
        write_failures(staged / FAILURES, [(f.id, f.image, f.reason) for f in run.failures])
        manifest = _manifest(folder.name_of(staged), embedded, table, transform, index, state)
        manifest = dataclasses.replace(
            manifest, vector_dtype=str(vectors.dtype), parent=previous.name if previous else None
        )
        del vectors
        return folder.publish(staged, manifest, live=False)


def _transform(embedded: _Embedded, name: str) -> Transform:
    """Fit the transform, or keep that of the snapshot which this one extends, while it still fits."""
    base = embedded.base
    blocks = (block for _, block in embedded.raw_blocks())
    fitted = fit_transform(name, blocks, len(embedded.rows))
    if base is not None and base.transform.is_close_to(fitted):
        return base.transform
    return fitted


def _write_vectors(path: Path, embedded: _Embedded, transform: Transform) -> np.memmap[Any, Any]:
    """Write (N, D) rows block by block: float32, or float16 where float32 would pass 2 GiB."""
    shape = (len(embedded.rows), embedded.run.dimension)
    dtype = np.float32 if shape[0] * shape[1] * 4 <= FLOAT32_MAX_BYTES else np.float16
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    for start, block in embedded.raw_blocks():
        vectors[start : start + len(block)] = transform.apply(block)
    vectors.flush()
    return np.load(path, mmap_mode="r")  # type: ignore[no-any-return]


def _manifest(
    name: str,
    embedded: _Embedded,
    table: Table,
    transform: Transform,
    index: IndexReport,
    state: LiveState,
) -> Manifest:
    run = embedded.run
    return Manifest(
        snapshot=name,
        built_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        vitrine=version("vitrine"),
        source=embedded.source.location,
        products=len(table),
        deleted=int(table.deleted.sum()),
        failed=len(run.failures),
        categories=len(table.categories),
        model=_model_record(embedded.model, run.dimension),
        dimension=run.dimension,
        vector_dtype="float32",
        transform={"name": transform.name, "why": transform.why},
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
        },
    )


def _pass_gate(
    folder: IndexFolder, snapshot: Snapshot, previous: Snapshot | None, options: BuildOptions
) -> None:
    """Make the candidate live, or leave it beside the live one and say why."""
    if not options.force:
        found = compare_with_live(snapshot, previous, options.recipe.target_recall)
        try:
            check_publishable(found, options.gate)
        except Exception as error:
            hint = f"look at it with `vitrine-indexer status --snapshot {snapshot.name}`, then "
            raise type(error)(f"{error}; {hint}`rollback {snapshot.name}` or build with --force") from None
    folder.make_live(snapshot.name)


def _report(snapshot: Snapshot, embedded: _Embedded, pruned: list[str], seconds: float) -> BuildReport:
    manifest, run = snapshot.manifest, embedded.run
    return BuildReport(
        snapshot=snapshot.name,
        products=manifest.products,
        embedded=run.embedded,
        from_cache=run.from_cache,
        failed=manifest.failed,
        categories=manifest.categories,
        deleted=manifest.deleted,
        model=manifest.model.name,
        model_why=embedded.model.why,
        dimension=manifest.dimension,
        transform=manifest.transform["name"],
        recipe=manifest.recipe["recipe"],
        recipe_why=manifest.recipe["why"],
        index=manifest.recipe["how"],
        recall_at_10=manifest.recall_at_10,
        p50_ms=manifest.latency["p50_ms"],
        p95_ms=manifest.latency["p95_ms"],
        net_wait_share=run.net_wait_share,
        pruned=pruned,
        seconds=round(seconds, 3),
    )
