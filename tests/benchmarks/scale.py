"""Growth on one machine: the curve from 10,000 to 1,000,000 products, and what sharding does to the tail.

Every size is built and served by a process of its own, from vectors in the cache, so that its memory is its
own. Shape letters: N products, D dimension.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.benchmarks.report import Row, Section
from tests.benchmarks.sharding import fan_out
from vitrine.indexer.build.candidate import plan_candidate, write_candidate
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.embedding.run import EmbeddingRun
from vitrine.indexer.journal.fold import FoldedChanges
from vitrine.indexer.models import ModelSource
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.recipes import RecipeRequest
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.manifest import Manifest
from vitrine.indexer.source.readers import LocalReader
from vitrine.indexer.source.source import Source
from vitrine.service.catalogue.follower import SnapshotFollower
from vitrine.service.queries.nearest import product_reference, recommend
from vitrine.service.queries.options import SearchOptions

SIZES = (10_000, 100_000, 1_000_000)
# For a machine that has other things to do: VITRINE_BENCH_SCALE=10000,50000.
SIZES_VARIABLE = "VITRINE_BENCH_SCALE"
MILLION = 1_000_000
CATEGORIES = 100
QUERIES = 200
COMPARED = 50
BLOCK_ROWS = 4096
_LATENT, _CLUSTERS = 48, 2000


@dataclass(frozen=True, slots=True)
class Point:
    """One size. Seconds of each stage, bytes, milliseconds of one query at a time."""

    products: int
    dimension: int
    factory: str
    index_bytes: int
    recall_at_10: float
    p50_ms: float
    p95_ms: float
    deleted_p95_ms: float
    filtered_p95_ms: float
    fill_s: float = 0.0
    build_s: float = 0.0
    open_s: float = 0.0
    peak_rss: int = 0
    peak_anonymous: int = 0
    disk_bytes: int = 0


def run(quick: bool) -> Section:
    """Measure each size in a process of its own (2,000 x 256 when quick)."""
    asked = os.environ.get(SIZES_VARIABLE, "")
    sizes = (2_000,) if quick else tuple(map(int, asked.split(","))) if asked else SIZES
    dimension = 256 if quick else 2048
    points = [measure_apart(size, dimension) for size in sizes]
    rows = [row for point in points for row in _rows(point)]
    last = points[-1]
    for shards in (1, 10, 100):
        tail = fan_out(last.p50_ms, last.p95_ms, shards)
        rows.append(
            Row(
                f"{shards} shards of {last.products:,}, simulated",
                f"p50 {tail.p50_ms:.1f} ms, p99 {tail.p99_ms:.1f} ms; hedged p99 {tail.hedged_p99_ms:.1f} ms "
                f"at {tail.requests / shards:.2f} requests a shard",
            )
        )
    about = (
        f"{dimension} numbers a vector, made like features; built from vectors in the cache by `auto`; "
        f"{CATEGORIES} categories, a tenth of the products deleted; one query at a time, k = 10."
    )
    notes = [
        "anonymous memory is what no other use of the machine can have; the rest of the peak is mapped "
        "files, which the kernel takes back when it needs to",
        "filtered: one category of a hundred, or a price below half of all, in turns",
    ]
    return Section("Scale: up to a million on one machine", about, rows, notes)


def _rows(point: Point) -> list[Row]:
    each, gib, large = 1e6 / point.products, 2**30, point.products >= MILLION
    size = f"{point.factory}, {point.index_bytes / gib:.2f} GiB; {point.disk_bytes / gib:.2f} GiB on disk"
    built = f"{point.build_s:.0f} s, {each * point.build_s:.0f} µs a product"
    peak = f"{point.peak_rss / gib:.2f} GiB, {point.peak_anonymous / gib:.2f} of it anonymous"
    query = f"p50 {point.p50_ms:.2f} ms, p95 {point.p95_ms:.2f} ms"
    deleted, filtered = f"p95 {point.deleted_p95_ms:.2f} ms", f"p95 {point.filtered_p95_ms:.2f} ms"
    rows = [
        Row("index", size, "under 2.8 GB", point.index_bytes < 2.8e9) if large else Row("index", size),
        Row("build", built),
        Row("peak memory", peak, "under 20 GB", point.peak_rss < 20e9) if large else Row("peak memory", peak),
        Row("open", f"{point.open_s:.2f} s"),
        Row("recall@10", f"{point.recall_at_10:.4f}", "0.95", point.recall_at_10 >= 0.95),
        Row("query", query, "p95 10 ms", point.p95_ms < 10),
        Row("a tenth deleted", deleted, "30 ms", point.deleted_p95_ms < 30),
        Row("filtered, a tenth deleted", filtered, "30 ms", point.filtered_p95_ms < 30),
    ]
    return [replace(row, what=f"{point.products:,}: {row.what}") for row in rows]


def measure_apart(size: int, dimension: int) -> Point:
    """Measure one size in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vitrine-scale-") as folder:
        command = [sys.executable, "-m", "tests.benchmarks.scale", str(size), str(dimension), folder]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Point(**json.loads(answer.stdout.splitlines()[-1]))


class Features:
    """Vectors like a network's features, made block by block, the same ones every time."""

    def __init__(self, dimension: int) -> None:
        random = np.random.default_rng(0)
        self._centres = random.standard_normal((_CLUSTERS, _LATENT), np.float32)
        self._mixing = random.standard_normal((_LATENT, dimension), np.float32) / np.sqrt(_LATENT)

    def block(self, start: int, count: int) -> np.ndarray[Any, Any]:
        """Return (count, D) float32 unit rows; those from `start` on are told by `start` alone."""
        random = np.random.default_rng(start + 1)
        codes = self._centres[random.integers(_CLUSTERS, size=count)]
        codes = codes + 0.7 * random.standard_normal((count, _LATENT), np.float32)
        noise = 0.05 * random.standard_normal((count, self._mixing.shape[1]), np.float32)
        features = np.maximum(codes @ self._mixing + noise, 0)
        features[:, 0] += 1e-3
        scaled: np.ndarray[Any, Any] = features / np.linalg.norm(features, axis=1, keepdims=True)
        return scaled


class Memory:
    """The peak of this process's memory, looked at while something runs."""

    def __init__(self) -> None:
        self.rss = self.anonymous = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.look()

    def look(self) -> None:
        """Take the memory of now into account."""
        status = Path("/proc/self/status").read_text()
        rss, anonymous = (
            int(found[1]) * 1024 if (found := re.search(rf"{name}:\s+(\d+)", status)) else 0
            for name in ("VmRSS", "RssAnon")
        )
        self.rss, self.anonymous = max(self.rss, rss), max(self.anonymous, anonymous)

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()


def measure(size: int, dimension: int, folder: Path) -> Point:
    """Fill a cache, build, open and ask, all in this process."""
    index = IndexFolder(folder / "index")
    model = feature_model(folder, dimension)
    # A tenth is deleted.
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    state = FoldedChanges(0, {f"p{row:07d}": at for row in range(0, size, 10)}, {}, frozenset(), {})
    began = time.perf_counter()
    with EmbeddingCache(index.layout.cache) as cache:
        digests = fill_cache(cache, model, size)
        filled = time.perf_counter()
        memory = Memory()
        publish_vectors(index, model, digests, cache, state)
        built = time.perf_counter()
    live = SnapshotFollower(index)
    opened = time.perf_counter()
    point = _asked(live, size, dimension)
    memory.stop()
    live.close()
    disk = sum(path.stat().st_size for path in index.snapshot_path(index.current_name()).iterdir())
    return replace(
        point,
        fill_s=filled - began,
        build_s=built - filled,
        open_s=opened - built,
        peak_rss=memory.rss,
        peak_anonymous=memory.anonymous,
        disk_bytes=disk,
    )


def make_source(size: int, folder: Path) -> Source:
    """Return a source of so many products whose pictures are not there, as none is read."""
    rows = np.arange(size)
    random = np.random.default_rng(1)
    ids = [f"p{row:07d}" for row in rows.tolist()]
    columns = {
        "id": ids,
        "name": [f"Product {row}" for row in rows.tolist()],
        "category": [f"category {row % CATEGORIES:03d}" for row in rows.tolist()],
        "group": pa.array([None] * size, pa.string()),
        "image": [f"{each}.jpg" for each in ids],
        "price": random.uniform(0, 100, size),
    }
    return Source("made for a measurement", "csv", pa.table(columns), LocalReader(str(folder)))


def feature_model(folder: Path, dimension: int) -> ModelSource:
    """Return what stands for the network that said the features; nothing can be embedded with it."""
    spec = "decode|resize(4,4)|value_range(0,1)"
    return ModelSource("features", "features", "bit", folder, "sha256:0", spec, dimension, "")


def fill_cache(cache: EmbeddingCache, model: ModelSource, size: int) -> Any:
    """Put so many features into the cache; return the digests, (size, 32) uint8, that they are found by."""
    assert model.dimension is not None
    digests = np.empty((size, 32), np.uint8)
    features = Features(model.dimension)
    for start in range(0, size, BLOCK_ROWS):
        block = features.block(start, min(BLOCK_ROWS, size - start))
        shas = [hashlib.sha256(b"%d" % row).digest() for row in range(start, start + len(block))]
        digests[start : start + len(block)] = np.frombuffer(b"".join(shas), np.uint8).reshape(-1, 32)
        cache.put(model.key, [CacheEntry(sha, 640, 480, row) for sha, row in zip(shas, block, strict=True)])
    return digests


def publish_vectors(
    index: IndexFolder, model: ModelSource, digests: Any, cache: EmbeddingCache, state: FoldedChanges
) -> Manifest:
    """Publish features from the cache as a snapshot that extends the live one, where there is one."""
    size = len(digests)
    sizes_px = np.tile(np.array([640, 480], np.int32), (size, 1))
    run = EmbeddingRun(digests, sizes_px, np.ones(size, np.bool_), dimension=model.dimension, from_cache=size)
    live = index.current_name_or_none()
    previous = None if live is None else index.open(live)
    with index.publishing(), index.staging() as staged:
        candidate = plan_candidate(make_source(size, index.root), model, run, cache, previous)
        manifest = write_candidate(
            staged, candidate, state, transform_name="auto", recipe=RecipeRequest(), progress=SilentProgress()
        )
        index.publish(staged, replace(manifest, snapshot=index.staged_name(staged)))
    return manifest


def _asked(live: SnapshotFollower, size: int, dimension: int) -> Point:
    view = live.view()
    random = np.random.default_rng(2)
    rows = random.choice(np.flatnonzero(view.state.live), QUERIES, replace=False).tolist()
    everything = np.ones(view.state.segments.n, bool)
    plain = _times(rows, lambda row: view.search(view.state.segments.vectors([row]), 10, allowed=everything))
    deleted = _times(rows, lambda row: view.search(view.state.segments.vectors([row]), 10))
    options = [
        SearchOptions.model_validate({"limit": 10, **filters})
        for filters in ({"same_category": True}, {"where": {"price": {"lt": 50}}})
    ]
    filtered = _times(rows, lambda row: recommend(view, product_reference(view, row), options[row % 2]))
    recipe = view.state.snapshot.manifest.recipe
    return Point(
        products=size,
        dimension=dimension,
        factory=recipe["factory"],
        index_bytes=int(recipe["memory_bytes"]),
        recall_at_10=float(np.mean(list(_recalls(view, rows[:COMPARED])))),
        p50_ms=float(np.percentile(plain, 50)),
        p95_ms=float(np.percentile(plain, 95)),
        deleted_p95_ms=float(np.percentile(deleted, 95)),
        filtered_p95_ms=float(np.percentile(filtered, 95)),
    )


def _recalls(view: Any, rows: list[int]) -> Iterator[float]:
    """Yield for each query the share of its ten hits whose score reaches that of the true tenth."""
    for row in rows:
        query = view.state.segments.vectors([row])
        floor = view.search(query, 10, exact=True).scores[0, -1]
        yield float((view.search(query, 10).scores[0] >= floor - 1e-6).mean())


def _times(rows: list[int], ask: Callable[[int], Any]) -> list[float]:
    """Return the milliseconds of each question, after a few to warm up."""
    for row in rows[:20]:
        ask(row)
    taken = []
    for row in rows:
        began = time.perf_counter()
        ask(row)
        taken.append(1e3 * (time.perf_counter() - began))
    return taken


if __name__ == "__main__":
    from dataclasses import asdict

    measured = measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps(asdict(measured)))
