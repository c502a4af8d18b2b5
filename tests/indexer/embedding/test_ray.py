"""Tests of vitrine.indexer.embedding.ray and ray_worker: the results equal those of the local engine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder
from tests.paths import CLOTHING
from tests.pictures import jpeg
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import EmbeddingOptions, embed_source
from vitrine.indexer.embedding.ray import ActorPool, embed_with_ray
from vitrine.indexer.embedding.ray_worker import BlockEmbedder, EmbeddingJob
from vitrine.indexer.embedding.run import EmbeddingRun
from vitrine.indexer.errors import ModelUnavailable, SourceError
from vitrine.indexer.models import ModelSource, resolve_model
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.source.source import Source, open_source

# Ray emits warnings about its own settings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")
SPEC = "decode|resize(4,4)|value_range(0,1)"


class GridModel:
    """A model whose vector of a picture is its pixels, scaled to unit length.

    kill_once: file created when the process kills itself, which it does once, at the third batch.
    """

    name = "grid"
    pooling = ""

    dimension = 48
    device = "CPU"

    def __init__(self, kill_once: Path | None = None, delay_s: float = 0.0) -> None:
        self._kill_once = kill_once
        self._delay_s = delay_s
        self._calls = 0

    def embed(self, pixels: Any) -> Any:
        time.sleep(self._delay_s)
        self._calls += 1
        if self._kill_once is not None and self._calls == 3:
            try:
                self._kill_once.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class GridSource(ModelSource):
    """A model source that can be sent to actors. kill_once: see GridModel. fails: whether loading fails."""

    kill_once: Path | None = None
    fails: bool = False

    def load(self, *, threads: Any = None) -> Any:
        if self.fails:
            raise ModelUnavailable("these weights make no network")
        return GridModel(self.kill_once)


def grid_source(**options: Any) -> GridSource:
    return GridSource("grid", "grid", "bit", Path("grid"), "sha256:0", SPEC, 48, "asked for", **options)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of two cores on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Forty pictures, a copy of one of them, and three that cannot be used."""
    folder = write_folder(tmp_path / "photos", categories=4, per_category=10)
    (folder / "c0" / "same.jpg").write_bytes((folder / "c0" / "p1.jpg").read_bytes())
    (folder / "c1" / "broken.jpg").write_bytes(b"not a picture")
    (folder / "c2" / "empty.png").write_bytes(b"")
    (folder / "c3" / "cut.jpg").write_bytes(jpeg(64, 48, 5)[:300])
    return open_source(folder)


def run_ray(source: Source, cache: EmbeddingCache, model: ModelSource, **options: Any) -> EmbeddingRun:
    all_options = EmbeddingOptions(batch_size=2, **options)
    return embed_with_ray(source, model, cache, options=all_options, progress=SilentProgress())


def vectors_of(run: EmbeddingRun, cache: EmbeddingCache, key: str) -> Any:
    return cache.vectors(key, [bytes(sha) for sha in run.sha256[run.ok]])


def assert_same_outcome(first: EmbeddingRun, second: EmbeddingRun) -> None:
    assert first.failures == second.failures
    assert (first.ok == second.ok).all()
    assert (first.sha256[first.ok] == second.sha256[second.ok]).all()
    assert (first.sizes_px == second.sizes_px).all()
    assert (first.embedded, first.from_cache) == (second.embedded, second.from_cache)
    assert first.dimension == second.dimension


@pytest.mark.parametrize(
    ("cpus", "gpus", "size", "cpus_per_actor"),
    [(1, 0, 1, 0.5), (2, 0, 1, 1), (4, 0, 1, 3), (9, 0, 2, 4), (64, 0, 15, 4), (8, 2, 2, 3), (16, 1, 1, 4)],
)
def test_actors_leave_a_cpu_to_ray(cpus: float, gpus: float, size: int, cpus_per_actor: float) -> None:
    pool = ActorPool.for_cluster(cpus, gpus)
    assert (pool.size, pool.cpus_per_actor) == (size, cpus_per_actor)
    assert pool.size * pool.cpus_per_actor <= max(cpus - 1, 0.5)
    assert pool.size * pool.gpus_per_actor <= gpus


def test_a_block_is_embedded_without_a_cluster(source: Source) -> None:
    job = EmbeddingJob(source, grid_source(), np.zeros((0, 32), np.uint8), 1, 4)
    block = BlockEmbedder(job)({"data": np.arange(len(source))})
    good = [len(vector) == 4 * 48 for vector in block["vector"]]
    assert good == [not reason for reason in block["reason"]]
    assert good.count(False) == 3
    known = np.frombuffer(b"".join(sorted(digest for digest in block["digest"] if digest)), np.uint8).reshape(
        -1, 32
    )
    again = BlockEmbedder(EmbeddingJob(source, grid_source(fails=True), known, 1, 4))(
        {"data": np.flatnonzero(good)}
    )
    assert set(again["vector"]) == {b""}
    assert set(again["reason"]) == {""}


@pytest.mark.ray
def test_results_equal_the_local_engine(cluster: Any, source: Source, tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "local") as local_cache, EmbeddingCache(tmp_path / "ray") as ray_cache:
        local = embed_source(source, grid_source(), local_cache, options=EmbeddingOptions(batch_size=2))
        remote = run_ray(source, ray_cache, grid_source())
        assert_same_outcome(remote, local)
        assert np.allclose(
            vectors_of(remote, ray_cache, grid_source().key),
            vectors_of(local, local_cache, grid_source().key),
            atol=1e-5,
        )
        again = run_ray(source, ray_cache, grid_source(fails=True))
        assert (again.embedded, again.from_cache) == (0, local.embedded + local.from_cache)
        assert again.failures == local.failures
        for path in (tmp_path / "photos").rglob("p*.jpg"):  # same content, new modification time
            os.utime(path, (1, 1))
        assert run_ray(source, ray_cache, grid_source(fails=True)).embedded == 0


@pytest.mark.ray
def test_a_killed_actor_is_replaced(cluster: Any, source: Source, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    with EmbeddingCache(tmp_path / "local") as local_cache, EmbeddingCache(tmp_path / "ray") as ray_cache:
        local = embed_source(source, grid_source(), local_cache, options=EmbeddingOptions(batch_size=2))
        remote = run_ray(source, ray_cache, grid_source(kill_once=killed))
        assert killed.exists()
        assert_same_outcome(remote, local)


@pytest.mark.ray
def test_errors_of_actors_are_raised_as_vitrine_errors(cluster: Any, source: Source, tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "cache") as cache:
        with pytest.raises(ModelUnavailable, match="these weights make no network"):
            run_ray(source, cache, grid_source(fails=True))
        with pytest.raises(SourceError, match="max-failures"):
            run_ray(source, cache, grid_source(), max_failures=2)


@pytest.mark.ray
@pytest.mark.slow
def test_real_photos_get_the_same_vectors(cluster: Any, tmp_path: Path) -> None:
    if not CLOTHING.is_dir():
        pytest.skip("the clothing photos are not on this machine")
    source, model = open_source(CLOTHING, limit=48), resolve_model("efficientnet-lite2")
    with EmbeddingCache(tmp_path / "local") as local_cache, EmbeddingCache(tmp_path / "ray") as ray_cache:
        local = embed_source(source, model, local_cache, options=EmbeddingOptions(batch_size=8))
        remote = run_ray(source, ray_cache, model)
        assert (
            np.abs(vectors_of(remote, ray_cache, model.key) - vectors_of(local, local_cache, model.key)).max()
            < 1e-5
        )
        assert remote.embedded == local.embedded


@pytest.mark.ray
@pytest.mark.slow
def test_a_complete_build(cluster: Any, tmp_path: Path) -> None:
    photos = write_folder(tmp_path / "photos")
    local = build_folder(photos, tmp_path / "local")
    remote = build_folder(photos, tmp_path / "ray", engine="ray")
    first, second = (IndexFolder(tmp_path / name).open() for name in ("local", "ray"))
    assert first.table.ids() == second.table.ids()
    assert np.abs(np.asarray(first.vectors) - np.asarray(second.vectors)).max() < 1e-5
    assert (remote.embedded, remote.failed) == (local.embedded, local.failed)
