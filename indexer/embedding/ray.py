"""Embedding with Ray Data: actors that hold the network read, decode and embed blocks of rows.

The driver streams their answers into the cache, so that what is done stays done whatever is killed; nodes
need no common file system but for the pictures. The only importer of ray: `pip install vitrine[ray]`.
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

from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache, FileEntry
from vitrine.indexer.embedding.pipeline import (
    EmbeddingOptions,
    EmbeddingRun,
    Failure,
    check_failures,
)
from vitrine.indexer.embedding.ray_worker import Block, BlockEmbedder, Job
from vitrine.indexer.errors import ModelUnavailable, SourceError
from vitrine.indexer.models import ModelSource
from vitrine.indexer.progress import Progress
from vitrine.indexer.source.source import Source

# A block is what a killed actor repeats, and what an answer to the driver holds.
BLOCK_ROWS = 128
_BLOCKS_AN_ACTOR = 4
_CORES_AN_ACTOR = 4
_LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Crew:
    """How many actors there are, and what each takes of the cluster."""

    actors: int
    cpus: float
    gpus: int
    threads: int

    @classmethod
    def for_cluster(cls, cpus: float, gpus: float) -> Crew:
        """Size the actors so that a core is left for Ray's own tasks, which would else wait for ever.

        One actor a GPU; without any, one for four cores, since TensorFlow uses several by itself. A single
        actor computes with every core: the core left free is a matter of Ray's bookkeeping.
        """
        left = cpus - 1 if cpus > 1 else cpus / 2
        if gpus >= 1:
            actors = max(min(int(gpus), math.floor(left) or 1), 1)
            share = min(left / actors, _CORES_AN_ACTOR)
            return cls(actors, _whole(share), 1, max(int(share), 1))
        actors = max(int(left) // _CORES_AN_ACTOR, 1)
        share = _whole(left / actors)
        return cls(actors, share, 0, max(int(cpus if actors == 1 else share), 1))


def _whole(cpus: float) -> float:
    """Return a share of cores as Ray takes it: whole ones, or less than one."""
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
    """Do what vitrine.indexer.embedding.pipeline.embed_source does, on a Ray cluster.

    address: of a running cluster, whose nodes have this version of Vitrine and see the same pictures; None
    starts one on this machine. A killed actor is started again and repeats its blocks. Raises SourceError,
    ModelUnavailable, StorageFull.
    """
    intake = _Intake(source, model_source, cache, options, progress)
    progress.start(len(source), "pictures")
    rows = intake.settle_remembered()
    if len(rows):
        with _cluster(address) as ray:
            crew = Crew.for_cluster(
                ray.cluster_resources().get("CPU", 1), ray.cluster_resources().get("GPU", 0)
            )
            progress.note(f"Ray: {crew.actors} actor(s) of {crew.cpus:g} CPU and {crew.gpus} GPU each")
            job = Job(source, model_source, cache.digests(model_source.key), crew.threads, options.batch_size)
            for block in _answers(ray, job, rows, crew):
                intake.take(block)
    progress.done()
    return intake.finished()


class _Actor(BlockEmbedder):
    """The worker, given its job by reference so that a node holds one copy of the source."""

    def __init__(self, job: list[Any]) -> None:
        super().__init__(importlib.import_module("ray").get(job[0]))


def _answers(ray: Any, job: Job, rows: np.ndarray[Any, Any], crew: Crew) -> Iterator[Block]:
    """Yield the answers to blocks of rows as they come, in any order."""
    data = importlib.import_module("ray.data")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    size = max(min(BLOCK_ROWS, -(-len(rows) // (crew.actors * _BLOCKS_AN_ACTOR))), 1)
    blocks = [rows[start : start + size] for start in range(0, len(rows), size)]
    data.DataContext.get_current().enable_progress_bars = False
    resources: dict[str, Any] = {"num_cpus": crew.cpus}
    if crew.gpus:
        resources["num_gpus"] = crew.gpus
    dataset = data.from_numpy(blocks).map_batches(
        _Actor,
        fn_constructor_args=([ray.put(job)],),
        batch_size=None,
        batch_format="numpy",
        compute=data.ActorPoolStrategy(size=crew.actors, max_tasks_in_flight_per_actor=2),
        **resources,
    )
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[-1] if lines else type(error).__name__
        raise ModelUnavailable(f"the Ray engine failed: {said}") from error


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Yield ray, connected; a cluster that was started here is stopped in the end."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is wrong is raised, and told once
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise SourceError("--engine ray: Ray is not installed: pip install 'vitrine[ray]'") from error
    owned = not ray.is_initialized()
    if owned:
        try:
            ray.init(
                address=address or _LOCAL,
                include_dashboard=False if address is None else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except Exception as error:
            raise SourceError(f"--ray-address {address}: no Ray cluster answers there: {error}") from error
    try:
        yield ray
    finally:
        if owned:
            ray.shutdown()


class _Intake:
    """What is known of every row so far. Answers go into the cache first, then count as done."""

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
        self._key = model_source.key
        self._progress = progress
        self._allowed = options.failures_allowed(len(source))
        self._run = EmbeddingRun(
            np.zeros((len(source), 32), np.uint8),
            np.zeros((len(source), 2), np.int32),
            np.zeros(len(source), np.bool_),
        )

    def settle_remembered(self) -> np.ndarray[Any, Any]:
        """Settle the rows whose unchanged files the cache knows; return the others."""
        shas: dict[int, bytes] = {}
        for row in range(len(self._source)):
            fingerprint = self._source.fingerprint(row)
            sha = fingerprint and self._cache.file_sha(self._source.absolute(row), *fingerprint)
            if sha:
                shas[row] = sha
        known = self._cache.known(self._key, list(set(shas.values())))
        for row, sha in shas.items():
            if sha in known:
                self._succeed(row, sha, known[sha])
        self._run.from_cache = int(self._run.ok.sum())
        return np.flatnonzero(~self._run.ok)

    def take(self, block: Block) -> None:
        """Take the answer to one block of rows; a second one to the same block changes nothing."""
        if block["error"][0]:
            raise ModelUnavailable(str(block["error"][0]))
        shas = [bytes(sha) for sha in block["sha"]]
        known = self._cache.known(self._key, [sha for sha in set(shas) if sha])
        sizes = list(zip(block["width"].tolist(), block["height"].tolist(), strict=True))
        fresh = {
            sha: CacheEntry(sha, *size, np.frombuffer(vector, np.float32))
            for sha, size, vector in zip(shas, sizes, block["vector"], strict=True)
            if len(vector) and sha not in known
        }
        self._cache.put(self._key, list(fresh.values()))
        self._remember_files(block, shas)
        self._run.embedded += len(fresh)
        counted = set(fresh)
        for row, sha, size, reason in zip(block["row"].tolist(), shas, sizes, block["reason"], strict=True):
            if reason:
                self._fail(row, str(reason))
                continue
            self._succeed(row, sha, known.get(sha, size))
            self._run.from_cache += sha not in counted
            counted.discard(sha)
        check_failures(self._source, self._run.failures, self._allowed)

    def _remember_files(self, block: Block, shas: list[bytes]) -> None:
        files = zip(
            block["row"].tolist(), block["size"].tolist(), block["mtime_ns"].tolist(), shas, strict=True
        )
        self._cache.remember_files(
            [
                FileEntry(self._source.absolute(row), size, mtime_ns, sha)
                for row, size, mtime_ns, sha in files
                if size >= 0
            ]
        )

    def finished(self) -> EmbeddingRun:
        """Return the run as the local engine does."""
        run = self._run
        run.failures.sort()
        if run.ok.any():
            row = int(np.argmax(run.ok))
            run.dimension = self._cache.vectors(self._key, [run.sha256[row].tobytes()]).shape[1]
        run.device = "Ray" if run.embedded else None
        return run

    def _succeed(self, row: int, sha: bytes, size_px: tuple[int, int]) -> None:
        self._run.sha256[row] = np.frombuffer(sha, np.uint8)
        self._run.sizes_px[row] = size_px
        self._run.ok[row] = True
        self._progress.advance(1)

    def _fail(self, row: int, reason: str) -> None:
        products = self._source.products
        failure = Failure(row, products["id"][row].as_py(), products["image"][row].as_py(), reason)
        self._run.failures.append(failure)
        self._progress.advance(1)
