"""Benchmark of scale on one machine, from 10,000 to 1,000,000 products, and a simulation of sharding.

Each size is built and searched in a separate process, from vectors in the cache, so that its memory can be
measured. Shape letters: N products, D dimension.
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
from tests.benchmarks.sharding import simulate_fan_out
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
# Other sizes, for a smaller machine: VITRINE_BENCH_SCALE=10000,50000.
SIZES_VARIABLE = "VITRINE_BENCH_SCALE"
MILLION = 1_000_000
CATEGORIES = 100
QUERIES = 200
RECALL_QUERIES = 50
BLOCK_ROWS = 4096
_LATENT, _CLUSTERS = 48, 2000


@dataclass(frozen=True, slots=True)
class Measurement:
    """Results for one number of products. Latencies are of one query at a time."""

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
    peak_rss_bytes: int = 0
    peak_anonymous_bytes: int = 0
    disk_bytes: int = 0


def run(quick: bool) -> Section:
    """Measure each size in a separate process; quick: 2,000 x 256 only."""
    given = os.environ.get(SIZES_VARIABLE, "")
    sizes = (2_000,) if quick else tuple(map(int, given.split(","))) if given else SIZES
    dimension = 256 if quick else 2048
    measurements = [measure_in_subprocess(size, dimension) for size in sizes]
    rows = [row for measurement in measurements for row in _rows(measurement)]
    last = measurements[-1]
    for shards in (1, 10, 100):
        tail = simulate_fan_out(last.p50_ms, last.p95_ms, shards)
        rows.append(
            Row(
                f"{shards} shards of {last.products:,}, simulated",
                f"p50 {tail.p50_ms:.1f} ms, p99 {tail.p99_ms:.1f} ms; hedged p99 {tail.hedged_p99_ms:.1f} ms "
                f"at {tail.requests / shards:.2f} requests per shard",
            )
        )
    about = (
        f"synthetic feature vectors of dimension {dimension}; built from the cache with recipe `auto`; "
        f"{CATEGORIES} categories, a tenth of the products deleted; one query at a time, k = 10."
    )
    notes = [
        "anonymous memory belongs to the process alone; the rest of the peak is mapped files, which the "
        "kernel can reclaim",
        "filtered: alternately by one category of a hundred, and by a price below the median",
    ]
    return Section("Scale: up to a million on one machine", about, rows, notes)


def _rows(measured: Measurement) -> list[Row]:
    gib, is_large = 2**30, measured.products >= MILLION
    us_per_product = 1e6 * measured.build_s / measured.products
    index_gib, disk_gib = measured.index_bytes / gib, measured.disk_bytes / gib
    size = f"{measured.factory}, {index_gib:.2f} GiB; {disk_gib:.2f} GiB on disk"
    built = f"{measured.build_s:.0f} s, {us_per_product:.0f} µs per product"
    peak = (
        f"{measured.peak_rss_bytes / gib:.2f} GiB, {measured.peak_anonymous_bytes / gib:.2f} of it anonymous"
    )
    query = f"p50 {measured.p50_ms:.2f} ms, p95 {measured.p95_ms:.2f} ms"
    deleted, filtered = (
        f"p95 {measured.deleted_p95_ms:.2f} ms",
        f"p95 {measured.filtered_p95_ms:.2f} ms",
    )
    rows = [
        Row("index", size, "under 2.8 GB", measured.index_bytes < 2.8e9) if is_large else Row("index", size),
        Row("build", built),
        Row("peak memory", peak, "under 20 GB", measured.peak_rss_bytes < 20e9)
        if is_large
        else Row("peak memory", peak),
        Row("open", f"{measured.open_s:.2f} s"),
        Row("recall@10", f"{measured.recall_at_10:.4f}", "0.95", measured.recall_at_10 >= 0.95),
        Row("query", query, "p95 10 ms", measured.p95_ms < 10),
        Row("a tenth deleted", deleted, "30 ms", measured.deleted_p95_ms < 30),
        Row("filtered, a tenth deleted", filtered, "30 ms", measured.filtered_p95_ms < 30),
    ]
    return [replace(row, label=f"{measured.products:,}: {row.label}") for row in rows]


def measure_in_subprocess(size: int, dimension: int) -> Measurement:
    """Measure one size in a separate process."""
    with tempfile.TemporaryDirectory(prefix="vitrine-scale-") as folder:
        command = [sys.executable, "-m", "tests.benchmarks.scale", str(size), str(dimension), folder]
        process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Measurement(**json.loads(process.stdout.splitlines()[-1]))


class SyntheticFeatures:
    """Reproducible synthetic feature vectors, generated in blocks."""

    def __init__(self, dimension: int) -> None:
        random = np.random.default_rng(0)
        self._centres = random.standard_normal((_CLUSTERS, _LATENT), np.float32)
        self._mixing = random.standard_normal((_LATENT, dimension), np.float32) / np.sqrt(_LATENT)

    def block(self, start: int, count: int) -> np.ndarray[Any, Any]:
        """Return (count, D) float32 unit rows. The block depends on `start` and `count` only."""
        random = np.random.default_rng(start + 1)
        codes = self._centres[random.integers(_CLUSTERS, size=count)]
        codes = codes + 0.7 * random.standard_normal((count, _LATENT), np.float32)
        noise = 0.05 * random.standard_normal((count, self._mixing.shape[1]), np.float32)
        features = np.maximum(codes @ self._mixing + noise, 0)
        features[:, 0] += 1e-3
        scaled: np.ndarray[Any, Any] = features / np.linalg.norm(features, axis=1, keepdims=True)
        return scaled


class MemoryMonitor:
    """A thread that records the peak memory of this process."""

    def __init__(self) -> None:
        self.rss_bytes = self.anonymous_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.sample()

    def sample(self) -> None:
        """Update the peak with the present memory."""
        status = Path("/proc/self/status").read_text()
        rss, anonymous = (
            int(match[1]) * 1024 if (match := re.search(rf"{name}:\s+(\d+)", status)) else 0
            for name in ("VmRSS", "RssAnon")
        )
        self.rss_bytes = max(self.rss_bytes, rss)
        self.anonymous_bytes = max(self.anonymous_bytes, anonymous)

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join()


def measure(size: int, dimension: int, folder: Path) -> Measurement:
    """Fill a cache, build, open and search, in this process."""
    index = IndexFolder(folder / "index")
    model = feature_model(folder, dimension)
    # A tenth of the products is deleted.
    deleted_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    state = FoldedChanges(0, {f"p{row:07d}": deleted_at for row in range(0, size, 10)}, {}, frozenset(), {})
    start_s = time.perf_counter()
    with EmbeddingCache(index.layout.cache) as cache:
        digests = fill_cache(cache, model, size)
        filled_s = time.perf_counter()
        memory = MemoryMonitor()
        publish_vectors(index, model, digests, cache, state)
        built_s = time.perf_counter()
    follower = SnapshotFollower(index)
    opened_s = time.perf_counter()
    measurement = _measure_queries(follower, size, dimension)
    memory.stop()
    follower.close()
    disk = sum(path.stat().st_size for path in index.snapshot_path(index.current_name()).iterdir())
    return replace(
        measurement,
        fill_s=filled_s - start_s,
        build_s=built_s - filled_s,
        open_s=opened_s - built_s,
        peak_rss_bytes=memory.rss_bytes,
        peak_anonymous_bytes=memory.anonymous_bytes,
        disk_bytes=disk,
    )


def make_source(size: int, folder: Path) -> Source:
    """Return a source of `size` products. Their pictures are missing and never read."""
    rows = np.arange(size)
    random = np.random.default_rng(1)
    ids = [f"p{row:07d}" for row in rows.tolist()]
    columns = {
        "id": ids,
        "name": [f"Product {row}" for row in rows.tolist()],
        "category": [f"category {row % CATEGORIES:03d}" for row in rows.tolist()],
        "group": pa.array([None] * size, pa.string()),
        "image": [f"{product_id}.jpg" for product_id in ids],
        "price": random.uniform(0, 100, size),
    }
    return Source("synthetic", "csv", pa.table(columns), LocalReader(str(folder)))


def feature_model(folder: Path, dimension: int) -> ModelSource:
    """Return the model source of the synthetic features, which cannot be loaded."""
    spec = "decode|resize(4,4)|value_range(0,1)"
    return ModelSource("features", "features", "bit", folder, "sha256:0", spec, dimension, "")


def fill_cache(cache: EmbeddingCache, model: ModelSource, size: int) -> Any:
    """Put `size` feature vectors into the cache. Return their digests, (size, 32) uint8."""
    assert model.dimension is not None
    digests = np.empty((size, 32), np.uint8)
    features = SyntheticFeatures(model.dimension)
    for start in range(0, size, BLOCK_ROWS):
        block = features.block(start, min(BLOCK_ROWS, size - start))
        block_digests = [hashlib.sha256(b"%d" % row).digest() for row in range(start, start + len(block))]
        digests[start : start + len(block)] = np.frombuffer(b"".join(block_digests), np.uint8).reshape(-1, 32)
        cache.put(
            model.key,
            [CacheEntry(digest, 640, 480, row) for digest, row in zip(block_digests, block, strict=True)],
        )
    return digests


def publish_vectors(
    index: IndexFolder, model: ModelSource, digests: Any, cache: EmbeddingCache, state: FoldedChanges
) -> Manifest:
    """Publish features from the cache as a snapshot that extends the current one, if there is one."""
    size = len(digests)
    sizes_px = np.tile(np.array([640, 480], np.int32), (size, 1))
    run = EmbeddingRun(digests, sizes_px, np.ones(size, np.bool_), dimension=model.dimension, from_cache=size)
    current = index.current_name_or_none()
    previous = None if current is None else index.open(current)
    with index.publishing(), index.staging() as staged:
        candidate = plan_candidate(make_source(size, index.root), model, run, cache, previous)
        manifest = write_candidate(
            staged, candidate, state, transform_name="auto", recipe=RecipeRequest(), progress=SilentProgress()
        )
        index.publish(staged, replace(manifest, snapshot=index.staged_name(staged)))
    return manifest


def _measure_queries(follower: SnapshotFollower, size: int, dimension: int) -> Measurement:
    view = follower.view()
    random = np.random.default_rng(2)
    rows = random.choice(np.flatnonzero(view.state.live), QUERIES, replace=False).tolist()
    all_rows = np.ones(view.state.segments.n, bool)
    plain = _latencies_ms(
        rows, lambda row: view.search(view.state.segments.vectors([row]), 10, allowed=all_rows)
    )
    deleted = _latencies_ms(rows, lambda row: view.search(view.state.segments.vectors([row]), 10))
    options = [
        SearchOptions.model_validate({"limit": 10, **filters})
        for filters in ({"same_category": True}, {"where": {"price": {"lt": 50}}})
    ]
    filtered = _latencies_ms(
        rows, lambda row: recommend(view, product_reference(view, row), options[row % 2])
    )
    recipe = view.state.snapshot.manifest.recipe
    return Measurement(
        products=size,
        dimension=dimension,
        factory=recipe["factory"],
        index_bytes=int(recipe["memory_bytes"]),
        recall_at_10=float(np.mean(list(_recalls(view, rows[:RECALL_QUERIES])))),
        p50_ms=float(np.percentile(plain, 50)),
        p95_ms=float(np.percentile(plain, 95)),
        deleted_p95_ms=float(np.percentile(deleted, 95)),
        filtered_p95_ms=float(np.percentile(filtered, 95)),
    )


def _recalls(view: Any, rows: list[int]) -> Iterator[float]:
    """Yield for each query the share of its ten hits with at least the score of the exact tenth."""
    for row in rows:
        query = view.state.segments.vectors([row])
        min_score = view.search(query, 10, exact=True).scores[0, -1]
        yield float((view.search(query, 10).scores[0] >= min_score - 1e-6).mean())


def _latencies_ms(rows: list[int], search: Callable[[int], Any]) -> list[float]:
    """Return the latency of each query, after 20 queries as a warm-up."""
    for row in rows[:20]:
        search(row)
    latencies_ms = []
    for row in rows:
        start_s = time.perf_counter()
        search(row)
        latencies_ms.append(1e3 * (time.perf_counter() - start_s))
    return latencies_ms


if __name__ == "__main__":
    from dataclasses import asdict

    result = measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps(asdict(result)))
