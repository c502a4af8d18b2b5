"""Benchmark of builds: repeated builds, one per cent more products, memory by number of pictures."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.embedding import PHOTOS
from tests.benchmarks.report import Row, Section
from tests.benchmarks.scale import feature_model, fill_cache, publish_vectors
from tests.paths import DEMO
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.journal.fold import FoldedChanges
from vitrine.indexer.models import ModelSource
from vitrine.indexer.snapshot.folder import IndexFolder

MODEL = "efficientnet-lite2"
NO_CHANGES = FoldedChanges(0, {}, {}, frozenset(), {})


def run(quick: bool) -> Section:
    """Measure real photos and 100,000 x 2048 vectors; quick: fewer photos and 10,000 x 256."""
    few, many = (500, 2_000) if quick else (2_000, 20_000)
    products, dimension = (10_000, 256) if quick else (100_000, 2048)
    with tempfile.TemporaryDirectory(prefix="vitrine-builds-") as name:
        folder = Path(name)
        rows = [
            *_repeated_builds(folder),
            *_memory_growth(folder, few, many),
            *_one_per_cent(folder, products, dimension),
        ]
    location = "shared/photos/clothing" if PHOTOS.is_dir() else "data/demo"
    about = (
        f"`vitrine-indexer build` in a separate process over {location} with {MODEL}, including its start; "
        f"then {products:,} x {dimension} synthetic feature vectors, from the cache to a published snapshot."
    )
    return Section("Builds", about, rows)


def _build(source: Path, index: Path) -> tuple[dict[str, Any], float, int]:
    """Run a build. Return its report, its duration in seconds and its peak resident memory in bytes."""
    command = [sys.executable, "-m", "indexer", "build", str(source), "--index", str(index)]
    start_s = time.perf_counter()
    with subprocess.Popen(
        [*command, "--model", MODEL, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    return json.loads(output), time.perf_counter() - start_s, usage.ru_maxrss * 1024


def _photos() -> list[Path]:
    return sorted((PHOTOS if PHOTOS.is_dir() else DEMO).rglob("*.jpg"))


def _repeated_builds(folder: Path) -> list[Row]:
    """Build, build again, and build after a change of one picture."""
    copies, index = folder / "photos", folder / "again"
    for photo in _photos():
        copy = copies / photo.parent.name / photo.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(photo.read_bytes())
    first, first_s, _ = _build(copies, index)
    second, second_s, _ = _build(copies, index)
    changed = next(copies.rglob("*.jpg"))
    changed.write_bytes(changed.read_bytes() + b"changed")
    third, third_s, _ = _build(copies, index)
    share = second_s / first_s
    return [
        Row(f"first build of {first['products']:,} photos", f"{first_s:.1f} s, {first['embedded']} embedded"),
        Row(
            "the same build again",
            f"{second_s:.1f} s, {share:.3f} of the first; {second['embedded']} embedded",
            "under 0.1, none embedded",
            share < 0.1 and second["embedded"] == 0,
        ),
        Row(
            "after a change of one photo",
            f"{third_s:.1f} s, {third['embedded']} embedded",
            "1 embedded",
            third["embedded"] == 1,
        ),
    ]


def _memory_growth(folder: Path, few: int, many: int) -> list[Row]:
    """Build two numbers of distinct pictures with an empty cache, and compare the peak memory."""
    photos, peaks, durations_s = _photos(), [], []
    for count in (few, many):
        pictures = folder / f"pictures-{count}"
        for number in range(count):
            photo = photos[number % len(photos)]
            copy = pictures / photo.parent.name / f"{number:06d}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(photo.read_bytes() + number.to_bytes(4, "big"))
        _, duration_s, peak = _build(pictures, folder / f"index-{count}")
        peaks.append(peak)
        durations_s.append(duration_s)
    growth = peaks[1] / peaks[0]
    gib = 2**30
    return [
        Row(
            f"peak memory, {many:,} pictures against {few:,}",
            f"{growth:.2f} times: {peaks[1] / gib:.2f} against {peaks[0] / gib:.2f} GiB "
            f"({durations_s[1]:.0f} and {durations_s[0]:.0f} s)",
            "at most 1.1 times",
            growth <= 1.1,
        )
    ]


def _one_per_cent(folder: Path, products: int, dimension: int) -> list[Row]:
    """Build from vectors in the cache, then with one per cent more products."""
    index, model = IndexFolder(folder / "more"), feature_model(folder, dimension)
    total = products + products // 100
    with EmbeddingCache(index.layout.cache) as cache:
        digests = fill_cache(cache, model, total)
        full_s, full = _publish(index, model, digests[:products], cache)
        first, durations_s = index.current_name(), []
        for _ in range(3):
            index.set_current(first)
            index.prune(1)
            more_s, more = _publish(index, model, digests, cache)
            durations_s.append(more_s)
    more_s = statistics.median(durations_s)
    listed = ", ".join(f"{duration_s:.1f}" for duration_s in durations_s)
    share = more_s / full_s
    return [
        Row(f"snapshot of {products:,} vectors", f"{full_s:.1f} s: {full}"),
        Row(
            f"{total - products:,} more vectors",
            f"{more_s:.1f} s, {share:.3f} of that: {more} (median of {listed} s)",
            "under 0.1",
            share < 0.1,
        ),
    ]


def _publish(
    index: IndexFolder, model: ModelSource, digests: Any, cache: EmbeddingCache
) -> tuple[float, str]:
    """Publish a snapshot that extends the current one. Return the duration in seconds, and the recipe."""
    os.sync()  # earlier writes must not slow this measurement
    start_s = time.perf_counter()
    manifest = publish_vectors(index, model, digests, cache, NO_CHANGES)
    return time.perf_counter() - start_s, f"{manifest.recipe['factory']}, {manifest.recipe['how']}"
