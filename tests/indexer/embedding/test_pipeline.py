"""Tests of vitrine.indexer.embedding.pipeline, reader and run: cache use, failures, kills, memory."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.indexer.models.bad_server import running_server
from tests.pictures import jpeg
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import EmbeddingOptions, embed_source
from vitrine.indexer.embedding.run import EmbeddingRun
from vitrine.indexer.errors import ModelUnavailable, SourceError
from vitrine.indexer.models import ModelSource
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.source.source import Source, open_source

SPEC = "decode|resize(4,4)|value_range(0,1)"


class FakeModel:
    """A model whose vector of a picture is its pixels, scaled to unit length."""

    dimension = 48
    device = "CPU"
    name = "fake"
    pooling = ""

    def __init__(self, batches: list[int], delay_s: float) -> None:
        self._batches = batches
        self._delay_s = delay_s

    def embed(self, pixels: Any) -> Any:
        time.sleep(self._delay_s)
        self._batches.append(len(pixels))
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)

    def close(self) -> None:
        pass


class FakeSource(ModelSource):
    """A model source that loads at once. batches: sizes of the computed batches. loads: number of loads."""

    batches: list[int]
    delay_s: float
    loads: int

    @classmethod
    def make(cls, name: str = "fake", delay_s: float = 0.0) -> "FakeSource":
        source = cls(name, name, "bit", Path(name), "sha256:0", SPEC, 48, "it was asked for")
        object.__setattr__(source, "batches", [])
        object.__setattr__(source, "delay_s", delay_s)
        object.__setattr__(source, "loads", 0)
        return source

    def load(self, *, threads: Any = None) -> Any:
        object.__setattr__(self, "loads", self.loads + 1)
        return FakeModel(self.batches, self.delay_s)


class RecordedProgress(SilentProgress):
    """Progress reports recorded for the test."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.steps = 0
        self.notes: list[str] = []
        self.is_done = False

    def start(self, total: int | None, description: str) -> None:
        self.total = total

    def advance(self, steps: int) -> None:
        self.steps += steps

    def note(self, text: str) -> None:
        self.notes.append(text)

    def done(self) -> None:
        self.is_done = True


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    with EmbeddingCache(tmp_path / "cache") as cache:
        yield cache


def write_pictures(folder: Path, count: int, first: int = 0) -> Path:
    """Write pictures of distinct content quickly: one JPEG followed by a number."""
    folder.mkdir(parents=True, exist_ok=True)
    data = jpeg(24, 16)
    for number in range(first, first + count):
        path = folder / f"p_{number:05d}.jpg"
        path.write_bytes(data + number.to_bytes(4, "little"))
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def vectors_of(run: EmbeddingRun, model: ModelSource, cache: EmbeddingCache) -> Any:
    return cache.vectors(model.key, [sha.tobytes() for sha in run.sha256[run.ok]])


def test_every_picture_gets_a_vector_a_size_and_a_digest(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    pictures = [jpeg(20 + seed, 30, seed) for seed in range(10)]
    for number, data in enumerate(pictures):
        (folder / f"p_{number}.jpg").write_bytes(data)
    model, progress = FakeSource.make(), RecordedProgress()
    run = embed_source(open_source(folder), model, cache, progress=progress)
    assert run.ok.all()
    assert (run.embedded, run.from_cache, run.failures, run.dimension) == (10, 0, [], 48)
    assert run.sizes_px.tolist() == [[20 + seed, 30] for seed in range(10)]
    spec = Preprocessing.parse(SPEC)
    for data, vector in zip(pictures, vectors_of(run, model, cache), strict=True):
        flat = spec.to_pixels(data)[0].reshape(-1).astype(np.float32)
        np.testing.assert_allclose(vector, flat / np.linalg.norm(flat), rtol=1e-5)
    assert (progress.total, progress.steps, progress.is_done) == (10, 10, True)
    assert progress.notes == ["fake runs on CPU"]
    assert run.device == "CPU"
    assert 0 <= run.net_wait_share < 1


def test_a_second_run_loads_no_model(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = write_pictures(tmp_path / "photos", 200)
    model = FakeSource.make()
    first = embed_source(open_source(folder), model, cache)
    again = embed_source(open_source(folder), model, cache)
    assert (again.embedded, again.from_cache, model.loads) == (0, 200, 1)
    assert again.dimension == 48
    assert again.batch_size is None
    np.testing.assert_array_equal(first.sha256, again.sha256)
    np.testing.assert_array_equal(first.sizes_px, again.sizes_px)


def test_only_a_changed_picture_is_embedded_again(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = write_pictures(tmp_path / "photos", 30)
    model = FakeSource.make()
    embed_source(open_source(folder), model, cache)
    (folder / "p_00007.jpg").write_bytes(jpeg(24, 16, seed=5))
    (folder / "p_00008.jpg").touch()  # touched, not changed
    run = embed_source(open_source(folder), model, cache)
    assert (run.embedded, run.from_cache) == (1, 29)


def test_models_share_no_vectors(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = write_pictures(tmp_path / "photos", 5)
    for model in (FakeSource.make("one"), FakeSource.make("two")):
        assert embed_source(open_source(folder), model, cache).embedded == 5


def test_identical_pictures_are_embedded_once(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = write_pictures(tmp_path / "photos", 150)
    for copy in range(3):
        (folder / f"q_{copy}.jpg").write_bytes((folder / "p_00000.jpg").read_bytes())
        (folder / f"q_{copy}{copy}.jpg").write_bytes((folder / "p_00149.jpg").read_bytes())
    model = FakeSource.make()
    run = embed_source(open_source(folder), model, cache)
    assert (run.embedded, run.from_cache, int(run.ok.sum())) == (150, 6, 156)
    assert sum(model.batches) == 150


def test_unusable_pictures_are_listed_and_the_others_are_embedded(
    tmp_path: Path, cache: EmbeddingCache
) -> None:
    folder = write_pictures(tmp_path / "photos", 20)
    (folder / "p_00003.jpg").write_bytes(b"")
    (folder / "p_00011.jpg").write_bytes(b"this is text")
    (folder / "p_00012.jpg").write_bytes(b"this is text")
    (folder / "p_00013.jpg").write_bytes(jpeg()[:200])
    progress = RecordedProgress()
    run = embed_source(open_source(folder), FakeSource.make(), cache, progress=progress)
    assert [failure.row for failure in run.failures] == [3, 11, 12, 13]
    assert run.failures[0].id == "p_00003"
    assert run.failures[0].image.endswith("p_00003.jpg")
    assert [failure.reason for failure in run.failures] == [
        "the file is empty",
        "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture",
        "not a JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF picture",
        "the JPEG is truncated",
    ]
    assert np.flatnonzero(~run.ok).tolist() == [3, 11, 12, 13]
    assert (run.embedded, progress.steps) == (16, 20)


def test_an_unusable_picture_alone_loads_no_model(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = write_pictures(tmp_path / "photos", 5)
    (folder / "p_bad.jpg").write_bytes(b"this is text")
    model = FakeSource.make()
    embed_source(open_source(folder), model, cache)
    run = embed_source(open_source(folder), model, cache)
    assert (model.loads, len(run.failures), run.dimension) == (1, 1, 48)


def test_a_run_without_vectors_has_no_dimension(tmp_path: Path, cache: EmbeddingCache) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"this is text")
    run = embed_source(open_source(tmp_path / "photos"), FakeSource.make(), cache)
    assert (run.dimension, run.embedded, run.ok.tolist()) == (None, 0, [False])


def test_a_missing_picture_of_a_manifest_is_listed(tmp_path: Path, cache: EmbeddingCache) -> None:
    write_pictures(tmp_path, 3)
    with (tmp_path / "m.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "category", "image"])
        rows.writerows([f"i{n}", f"n{n}", "c", f"p_{n:05d}.jpg"] for n in range(4))
    run = embed_source(open_source(tmp_path / "m.csv"), FakeSource.make(), cache)
    assert [(failure.row, failure.id, failure.image) for failure in run.failures] == [
        (3, "i3", "p_00003.jpg")
    ]


@pytest.mark.parametrize(
    ("limit", "passes"), [(None, True), (3, True), (2, False), (0.3, True), (0.2, False)]
)
def test_more_failures_than_allowed_end_the_run(
    tmp_path: Path, cache: EmbeddingCache, limit: int | float | None, passes: bool
) -> None:
    folder = write_pictures(tmp_path / "photos", 10)
    for number in range(3):
        (folder / f"p_0000{number}.jpg").write_bytes(b"this is text")
    options = EmbeddingOptions(max_failures=limit)
    if passes:
        assert len(embed_source(open_source(folder), FakeSource.make(), cache, options=options).failures) == 3
        return
    with pytest.raises(SourceError, match=r"3 of 10 pictures cannot be used.*p_00000\.jpg: not a JPEG"):
        embed_source(open_source(folder), FakeSource.make(), cache, options=options)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith(("read", "decode", "inference"))
    ]


def test_pictures_without_a_unit_vector_are_listed(tmp_path: Path, cache: EmbeddingCache) -> None:
    from PIL import Image

    folder = write_pictures(tmp_path / "photos", 3)
    Image.new("RGB", (8, 8)).save(folder / "black.png")
    run = embed_source(open_source(folder), FakeSource.make(), cache)
    assert [(failure.id, failure.reason) for failure in run.failures] == [
        ("black", "the model finds nothing in it")
    ]
    assert run.embedded == 3


def test_an_error_while_loading_the_model_ends_the_run(
    tmp_path: Path, cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pictures(tmp_path / "photos", 300)

    def load(*_: Any, **__: Any) -> Any:
        raise ModelUnavailable("there are no weights")

    monkeypatch.setattr(FakeSource, "load", load)
    with pytest.raises(ModelUnavailable, match="no weights"):
        embed_source(open_source(folder), FakeSource.make(), cache)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith(("read", "decode", "inference"))
    ]


def test_a_given_batch_size_is_used(tmp_path: Path, cache: EmbeddingCache) -> None:
    folder = write_pictures(tmp_path / "photos", 25)
    model = FakeSource.make()
    options = EmbeddingOptions(batch_size=10, decode_threads=1)
    run = embed_source(open_source(folder), model, cache, options=options)
    assert model.batches == [10, 10, 5]
    assert (run.batch_size, run.decode_threads) == (10, 1)


def test_the_batch_size_is_tuned_on_the_first_batches(tmp_path: Path, cache: EmbeddingCache) -> None:
    """If every batch takes the same time, the largest size is chosen."""
    folder = write_pictures(tmp_path / "photos", 200)
    model = FakeSource.make(delay_s=0.02)
    run = embed_source(open_source(folder), model, cache)
    assert model.batches[:8] == [4, 4, 8, 8, 16, 16, 32, 32]
    assert (run.batch_size, sum(model.batches)) == (32, 200)
    assert run.decode_threads is not None


def test_a_file_changed_without_a_new_time_stamp_does_not_get_the_old_digest(
    tmp_path: Path, cache: EmbeddingCache
) -> None:
    folder = write_pictures(tmp_path / "photos", 3)
    embed_source(open_source(folder), FakeSource.make("one"), cache)
    write_pictures(tmp_path / "photos", 1, first=0)
    (folder / "p_00001.jpg").write_bytes((folder / "p_00001.jpg").read_bytes()[:-1] + b"!")
    os.utime(folder / "p_00001.jpg", (1_700_000_000, 1_700_000_000))
    two = FakeSource.make("two")
    run = embed_source(open_source(folder), two, cache)
    assert [(failure.id, failure.reason) for failure in run.failures] == [
        ("p_00001", "it changed while the build ran; build again")
    ]
    assert embed_source(open_source(folder), two, cache).ok.all()


def test_pictures_beyond_the_buffer_limit_are_read_twice(
    tmp_path: Path, cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrine.indexer.embedding.reader.MAX_BUFFERED_BYTES", 2000)
    folder = write_pictures(tmp_path / "photos", 30)
    run = embed_source(open_source(folder), FakeSource.make(), cache)
    assert run.ok.all()


def test_remote_pictures_are_read_concurrently(tmp_path: Path, cache: EmbeddingCache) -> None:
    # Every answer waits for that of another request, so reading one after another would never end.
    five_requests = threading.Barrier(5, timeout=LIMIT_S)

    def answer_together(request: Any, data: bytes) -> None:
        five_requests.wait()
        request.send_head(200, len(data))
        request.wfile.write(data)

    with running_server() as server, (tmp_path / "m.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "category", "image"])
        for number in range(25):
            server.serve(f"/p{number}.jpg", jpeg(24, 16, number), answer_together)
            rows.writerow([f"n{number}", "c", f"{server.url}/p{number}.jpg"])
        file.flush()
        run = embed_source(open_source(tmp_path / "m.csv"), FakeSource.make(), cache)
    assert run.ok.all()


SLOW_RUN = """
import sys
from tests.indexer.embedding.test_pipeline import FakeSource
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import EmbeddingOptions, embed_source
from vitrine.indexer.source.source import open_source
with EmbeddingCache(sys.argv[2]) as cache:
    embed_source(open_source(sys.argv[1]), FakeSource.make(delay_s=0.03), cache,
                 options=EmbeddingOptions(batch_size=8))
"""


def test_a_kill_loses_at_most_one_batch(tmp_path: Path) -> None:
    folder, cache_folder = write_pictures(tmp_path / "photos", 400), tmp_path / "cache"
    model = FakeSource.make()
    process = subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(folder), str(cache_folder)])

    def stored_vectors() -> int:
        if not (cache_folder / "embeddings.sqlite").exists():
            return 0
        with EmbeddingCache(cache_folder) as cache:
            return sum(cache.statistics().vectors.values())

    wait_until(lambda: stored_vectors() >= 80)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with EmbeddingCache(cache_folder) as cache:
        before = cache.statistics().vectors[model.key]
        run = embed_source(open_source(folder), model, cache)
        assert before >= 80
        assert before % 8 == 0
        assert (run.embedded, run.from_cache) == (400 - before, before)


MEASURED_RUN = """
import resource, sys, tempfile
from tests.indexer.embedding.test_pipeline import FakeSource
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.embedding.pipeline import embed_source
from vitrine.indexer.source.source import open_source
with tempfile.TemporaryDirectory() as folder, EmbeddingCache(folder) as cache:
    run = embed_source(open_source(sys.argv[1]), FakeSource.make(), cache)
print(run.embedded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_products(tmp_path: Path) -> None:
    peaks_kib = []
    for count in (300, 3000):
        folder = write_pictures(tmp_path / str(count), count)
        command = [sys.executable, "-c", MEASURED_RUN, str(folder)]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
        embedded, kib = map(int, finished.stdout.split())
        assert embedded == count
        peaks_kib.append(kib)
    assert peaks_kib[1] < 1.1 * peaks_kib[0]


def test_an_empty_source_gives_an_empty_run(tmp_path: Path, cache: EmbeddingCache) -> None:
    source = open_source(write_pictures(tmp_path / "photos", 1))
    empty = Source(source.location, source.format, source.products.slice(0, 0), source.reader)
    run = embed_source(empty, FakeSource.make(), cache)
    assert run.sha256.shape == (0, 32)
