"""Builds: what a second one costs, what one per cent more costs, and how memory grows with the pictures."""

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
NOTHING_DELETED = FoldedChanges(0, {}, {}, frozenset(), {})


def run(quick: bool) -> Section:
    """Measure on real photos and 100,000 x 2048 vectors (a tenth and 256 when quick)."""
    few, many = (500, 2_000) if quick else (2_000, 20_000)
    products, dimension = (10_000, 256) if quick else (100_000, 2048)
    with tempfile.TemporaryDirectory(prefix="vitrine-builds-") as name:
        folder = Path(name)
        rows = [*_again(folder), *_memory(folder, few, many), *_one_per_cent(folder, products, dimension)]
    where = "shared/photos/clothing" if PHOTOS.is_dir() else "data/demo"
    about = (
        f"`vitrine-indexer build` as a process of its own over {where} with {MODEL}, its start included; "
        f"then {products:,} x {dimension} vectors made like features, from the cache to a live snapshot."
    )
    return Section("Builds", about, rows)


def _build(source: Path, index: Path) -> tuple[dict[str, Any], float, int]:
    """Run a build; return its report, its seconds and the peak of its resident memory in bytes."""
    command = [sys.executable, "-m", "indexer", "build", str(source), "--index", str(index)]
    began = time.perf_counter()
    with subprocess.Popen(
        [*command, "--model", MODEL, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return json.loads(said), time.perf_counter() - began, usage.ru_maxrss * 1024


def _photos() -> list[Path]:
    return sorted((PHOTOS if PHOTOS.is_dir() else DEMO).rglob("*.jpg"))


def _again(folder: Path) -> list[Row]:
    """Build, build again, and build after one picture changed."""
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
            "after one photo changed",
            f"{third_s:.1f} s, {third['embedded']} embedded",
            "1 embedded",
            third["embedded"] == 1,
        ),
    ]


def _memory(folder: Path, few: int, many: int) -> list[Row]:
    """Build over so many pictures, no two with the same bytes, nothing in the cache."""
    photos, peaks, taken = _photos(), [], []
    for count in (few, many):
        pictures = folder / f"pictures-{count}"
        for number in range(count):
            photo = photos[number % len(photos)]
            copy = pictures / photo.parent.name / f"{number:06d}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(photo.read_bytes() + number.to_bytes(4, "big"))
        _, seconds, peak = _build(pictures, folder / f"index-{count}")
        peaks.append(peak)
        taken.append(seconds)
    growth = peaks[1] / peaks[0]
    gib = 2**30
    return [
        Row(
            f"peak memory, {many:,} pictures against {few:,}",
            f"{growth:.2f} times: {peaks[1] / gib:.2f} against {peaks[0] / gib:.2f} GiB "
            f"({taken[1]:.0f} and {taken[0]:.0f} s)",
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
        first, times = index.current_name(), []
        for _ in range(3):
            index.set_current(first)
            index.prune(1)
            more_s, more = _publish(index, model, digests, cache)
            times.append(more_s)
    more_s = statistics.median(times)
    share = more_s / full_s
    return [
        Row(f"{products:,} vectors into a snapshot", f"{full_s:.1f} s: {full}"),
        Row(
            f"{total - products:,} more",
            f"{more_s:.1f} s, {share:.3f} of it: {more} (median of {', '.join(f'{s:.1f}' for s in times)} s)",
            "under 0.1",
            share < 0.1,
        ),
    ]


def _publish(
    index: IndexFolder, model: ModelSource, digests: Any, cache: EmbeddingCache
) -> tuple[float, str]:
    """Publish the first rows as a snapshot that extends the live one; return seconds and how."""
    os.sync()  # so that nobody waits for what was written before
    began = time.perf_counter()
    manifest = publish_vectors(index, model, digests, cache, NOTHING_DELETED)
    return time.perf_counter() - began, f"{manifest.recipe['factory']}, {manifest.recipe['how']}"
