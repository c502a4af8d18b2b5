"""Ray Data engine: actors that hold the network read, decode and embed blocks of rows on a cluster.

The driver writes their results to the cache as they arrive, so that finished work survives a kill. The nodes
share no file system except for the pictures. The only importer of ray: `pip install vitrine[ray]`.
Shapes: N rows, n rows of a block, D dimension.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitrine.indexer.arrays import Rows
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache, FileEntry
from vitrine.indexer.embedding.pipeline import EmbeddingOptions
from vitrine.indexer.embedding.ray_worker import Block, BlockEmbedder, EmbeddingJob
from vitrine.indexer.embedding.run import EmbeddingRun, RunCollector
from vitrine.indexer.errors import ModelUnavailable, SourceError
from vitrine.indexer.models import ModelSource
from vitrine.indexer.progress import Progress
from vitrine.indexer.source.source import Source

# The block is the unit of a result, and of the work that a killed actor repeats.
MAX_BLOCK_ROWS = 128
_MIN_BLOCKS_PER_ACTOR = 4
_CPUS_PER_ACTOR = 4
_LOCAL = "local"


@dataclass(frozen=True, slots=True)
class ActorPool:
    """The number of actors, and the resources and threads of each."""

    size: int
    cpus_per_actor: float
    gpus_per_actor: int
    threads_per_actor: int

    @classmethod
    def for_cluster(cls, cpus: float, gpus: float) -> ActorPool:
        """Choose the pool for a cluster. One CPU stays free for Ray's own tasks, which would block otherwise.

        One actor per GPU. Without GPUs, one per four CPUs, since TensorFlow uses several by itself. A single
        actor computes with every core: the free CPU exists only in Ray's accounting.
        """
        free_cpus = cpus - 1 if cpus > 1 else cpus / 2
        if gpus >= 1:
            size = max(min(int(gpus), math.floor(free_cpus) or 1), 1)
            share = min(free_cpus / size, _CPUS_PER_ACTOR)
            return cls(size, _round_cpus(share), 1, max(int(share), 1))
        size = max(int(free_cpus) // _CPUS_PER_ACTOR, 1)
        share = _round_cpus(free_cpus / size)
        return cls(size, share, 0, max(int(cpus if size == 1 else share), 1))


def _round_cpus(cpus: float) -> float:
    """Round down to an amount that Ray accepts: whole CPUs, or a fraction below one."""
    return float(math.floor(cpus)) if cpus >= 1 else cpus


def embed_with_ray(
    source: Source,
    model_source: ModelSource,
    cache: EmbeddingCache,
    *,
    options: EmbeddingOptions,
    progress: Progress,
    address: str | None = None,
) -> EmbeddingRun:
    """Do the work of `vitrine.indexer.embedding.pipeline.embed_source` on a Ray cluster.

    address: of a running cluster, whose nodes have this version of Vitrine and read the same pictures; None
    starts one on this machine. A killed actor is started again and repeats its blocks. Raises SourceError,
    ModelUnavailable, StorageFull.
    """
    writer = _ResultWriter(source, model_source, cache, options, progress)
    progress.start(len(source), "pictures")
    rows = writer.skip_unchanged_files()
    if len(rows):
        with _cluster(address) as ray:
            resources = ray.cluster_resources()
            pool = ActorPool.for_cluster(resources.get("CPU", 1), resources.get("GPU", 0))
            progress.note(
                f"Ray: {pool.size} actor(s) of {pool.cpus_per_actor:g} CPU and {pool.gpus_per_actor} GPU each"
            )
            digests = cache.digests(model_source.key)
            job = EmbeddingJob(source, model_source, digests, pool.threads_per_actor, options.batch_size)
            for block in _embed_blocks(ray, job, rows, pool):
                writer.write(block)
    progress.done()
    return writer.finish()


class _Actor(BlockEmbedder):
    """The worker as an actor. It gets its job by reference, so that a node holds one copy of the source."""

    def __init__(self, job: list[Any]) -> None:
        super().__init__(importlib.import_module("ray").get(job[0]))


def _embed_blocks(ray: Any, job: EmbeddingJob, rows: Rows, pool: ActorPool) -> Iterator[Block]:
    """Yield the results of blocks of rows in the order in which they are finished."""
    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    size = max(min(MAX_BLOCK_ROWS, -(-len(rows) // (pool.size * _MIN_BLOCKS_PER_ACTOR))), 1)
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    data.DataContext.get_current().enable_progress_bars = False
    resources: dict[str, Any] = {"num_cpus": pool.cpus_per_actor}
    if pool.gpus_per_actor:
        resources["num_gpus"] = pool.gpus_per_actor
    dataset = data.from_numpy(blocks).map_batches(
        _Actor,
        fn_constructor_args=([ray.put(job)],),
        batch_size=None,
        batch_format="numpy",
        compute=data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=2),
        **resources,
    )
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise ModelUnavailable(f"the Ray engine failed: {reason}") from error


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Yield the connected ray module; at the end, stop a cluster that was started here."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors are raised and reported once
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise SourceError("--engine ray: Ray is not installed; run pip install 'vitrine[ray]'") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        try:
            ray.init(
                address=address or _LOCAL,
                include_dashboard=False if address is None else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except Exception as error:
            raise SourceError(f"--ray-address {address}: cannot connect to a Ray cluster: {error}") from error
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


class _ResultWriter:
    """A writer of results into the cache, and then into the run."""

    def __init__(
        self,
        source: Source,
        model_source: ModelSource,
        cache: EmbeddingCache,
        options: EmbeddingOptions,
        progress: Progress,
    ) -> None:
        self._source = source
        self._cache = cache
        self._model_key = model_source.key
        max_failures = options.max_failed_pictures(len(source))
        self._collector = RunCollector(source, model_source.key, cache, max_failures, progress)

    def skip_unchanged_files(self) -> Rows:
        """Record the rows whose files are unchanged and have a cached vector; return the other rows."""
        digests: dict[int, bytes] = {}
        for row in range(len(self._source)):
            fingerprint = self._source.fingerprint(row)
            digest = fingerprint and self._cache.file_digest(self._source.resolve_image(row), *fingerprint)
            if digest:
                digests[row] = digest
        sizes_px = self._cache.sizes_px(self._model_key, list(set(digests.values())))
        for row, digest in digests.items():
            if digest in sizes_px:
                self._collector.add_cached([row], digest, sizes_px[digest])
        return np.flatnonzero(~self._collector.run.ok)

    def write(self, block: Block) -> None:
        """Write the result of one block to the cache, then record its rows.

        Raises ModelUnavailable if the actor could not load the network, SourceError if too many pictures have
        failed.
        """
        if block["error"][0]:
            raise ModelUnavailable(str(block["error"][0]))
        digests = [bytes(digest) for digest in block["digest"]]
        cached_sizes = self._cache.sizes_px(self._model_key, [digest for digest in set(digests) if digest])
        sizes_px = list(zip(block["width"].tolist(), block["height"].tolist(), strict=True))
        new_entries = {
            digest: CacheEntry(digest, *size_px, np.frombuffer(vector, np.float32))
            for digest, size_px, vector in zip(digests, sizes_px, block["vector"], strict=True)
            if len(vector) and digest not in cached_sizes
        }
        self._cache.put(self._model_key, list(new_entries.values()))
        self._write_file_digests(block, digests)
        for row, digest, size_px, reason in zip(
            block["row"].tolist(), digests, sizes_px, block["reason"], strict=True
        ):
            if reason:
                self._collector.add_failed([row], str(reason))
            elif new_entries.pop(digest, None):
                self._collector.add_embedded([row], digest, size_px)
            else:  # in the cache already, or a copy within this block
                self._collector.add_cached([row], digest, cached_sizes.get(digest, size_px))

    def finish(self) -> EmbeddingRun:
        """Return the finished run."""
        run = self._collector.finish()
        run.device = "Ray" if run.embedded else None
        return run

    def _write_file_digests(self, block: Block, digests: list[bytes]) -> None:
        columns = (block["row"].tolist(), block["size"].tolist(), block["mtime_ns"].tolist(), digests)
        self._cache.put_files(
            [
                FileEntry(self._source.resolve_image(row), size_bytes, mtime_ns, digest)
                for row, size_bytes, mtime_ns, digest in zip(*columns, strict=True)
                if size_bytes >= 0
            ]
        )
