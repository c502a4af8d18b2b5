"""The batching embedder: batches of many callers, queue limit, errors, closing."""

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pictures import encoded, jpeg
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.errors import ModelUnavailable, PictureError
from vitrine.indexer.models import resolve_model
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.service.errors import TooManyRequests
from vitrine.service.pictures import batching as module
from vitrine.service.pictures.batching import BatchingEmbedder

RECORD = ModelRecord("mean", "mean", "sha256:0", "decode|resize(8,8)|value_range(0,1)", 192)
OTHER = dataclasses.replace(RECORD, name="other")


class FakeModel:
    """Takes 20 ms a batch, whatever its size; the vector is the picture itself. Notes its batches."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.name = record["name"]
        self.batches: list[int] = []
        self.begun = 0
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def embed(self, pixels: Any) -> Any:
        self.begun += 1
        self.gate.wait(LIMIT_S)
        self.batches.append(len(pixels))
        time.sleep(0.02)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[FakeModel]:
    """The networks that were loaded, in order."""
    models: list[FakeModel] = []

    def load(record: dict[str, Any]) -> FakeModel:
        models.append(FakeModel(record))
        return models[-1]

    monkeypatch.setattr(module, "load_recorded_model", load)
    return models


@pytest.fixture
def make(loaded: list[FakeModel]) -> Iterator[Callable[..., BatchingEmbedder]]:
    embedders: list[BatchingEmbedder] = []

    def start(*args: Any, **options: Any) -> BatchingEmbedder:
        embedders.append(BatchingEmbedder(*args, **options))
        return embedders[-1]

    yield start
    for embedder in embedders:
        embedder.close()


def vector_of(data: bytes) -> Any:
    pixels, _, _ = Preprocessing.parse(RECORD.preprocessing).to_pixels(data)
    flat = pixels.reshape(-1).astype(np.float32)
    return flat / np.linalg.norm(flat)


def test_each_caller_gets_the_vector_of_its_own_photo(make: Any, loaded: list[FakeModel]) -> None:
    embedder = make()
    photos = [jpeg(40, 30, seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda data: embedder.embed(data, RECORD), photos))
    for data, answer in zip(photos, answers, strict=True):
        np.testing.assert_allclose(answer.vector, vector_of(data), rtol=1e-5)
        assert (answer.width_px, answer.height_px) == (40, 30)
    assert sum(loaded[0].batches) == embedder.pictures == 40
    assert len(loaded[0].batches) == embedder.batches < 40
    assert embedder.pending == 0


def test_waiting_photos_share_batches_of_limited_size(make: Any, loaded: list[FakeModel]) -> None:
    embedder = make(max_batch=4)
    embedder.warm(RECORD)
    loaded[0].gate.clear()
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(embedder.embed, jpeg(seed=0), RECORD)
        wait_until(lambda: loaded[0].begun == 2)
        rest = [pool.submit(embedder.embed, jpeg(seed=seed), RECORD) for seed in range(1, 10)]
        wait_until(lambda: len(embedder._waiting) == 9)
        loaded[0].gate.set()
        for answer in [first, *rest]:
            answer.result()
    assert loaded[0].batches == [1, 1, 4, 4, 1]


def test_a_single_photo_does_not_wait(make: Any) -> None:
    embedder = make(min_wait_s=3600.0)
    embedder.warm(RECORD)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(embedder.embed, jpeg(), RECORD).result(LIMIT_S)


def test_a_photo_waits_briefly_for_one_being_decoded(
    make: Any, loaded: list[FakeModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = make(min_wait_s=LIMIT_S)
    embedder.warm(RECORD)
    slow, decode = threading.Event(), Preprocessing.to_pixels

    def pixels(self: Preprocessing, data: bytes) -> Any:
        if data == b"slow":
            slow.wait(LIMIT_S)
            data = jpeg(seed=1)
        return decode(self, data)

    monkeypatch.setattr(Preprocessing, "to_pixels", pixels)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(embedder.embed, b"slow", RECORD)
        wait_until(lambda: embedder.pending == 1)
        other = pool.submit(embedder.embed, jpeg(seed=2), RECORD)
        wait_until(lambda: len(embedder._waiting) == 1)
        slow.set()
        one.result()
        other.result()
    assert loaded[0].batches == [1, 2]


def test_a_photo_past_the_queue_limit_is_refused_at_once(make: Any, loaded: list[FakeModel]) -> None:
    embedder = make(3)
    embedder.warm(RECORD)
    loaded[0].gate.clear()
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(embedder.embed, jpeg(seed=seed), RECORD) for seed in range(3)]
        wait_until(lambda: embedder.pending == 3)
        with pytest.raises(TooManyRequests, match="too many photos wait"):
            embedder.embed(jpeg(), RECORD)
        loaded[0].gate.set()
        for answer in running:
            answer.result()
    embedder.embed(jpeg(), RECORD)


def test_a_bad_photo_does_not_affect_others(make: Any) -> None:
    embedder = make(2)
    for _ in range(3):
        with pytest.raises(PictureError):
            embedder.embed(b"no picture", RECORD)
    assert embedder.pending == 0
    assert embedder.embed(jpeg(), RECORD).vector.shape == (192,)


def test_a_photo_with_an_unusable_vector_is_refused(make: Any) -> None:
    black = encoded(Image.new("RGB", (8, 8)), "PNG")
    with pytest.raises(PictureError, match="finds nothing"):
        make().embed(black, RECORD)


def test_the_network_of_another_snapshot_replaces_the_first(make: Any, loaded: list[FakeModel]) -> None:
    embedder = make()
    for record in (RECORD, OTHER, OTHER):
        embedder.embed(jpeg(), record)
    assert [model.name for model in loaded] == ["mean", "other"]
    assert [model.closed for model in loaded] == [True, False]


def test_photos_for_two_networks_never_share_a_batch(make: Any, loaded: list[FakeModel]) -> None:
    embedder = make()
    embedder.warm(RECORD)
    loaded[0].gate.clear()
    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(embedder.embed, jpeg(), RECORD)]
        wait_until(lambda: loaded[0].begun == 2)
        for number, record in enumerate((RECORD, OTHER, OTHER, RECORD), start=1):
            running.append(pool.submit(embedder.embed, jpeg(), record))
            wait_until(lambda number=number: len(embedder._waiting) == number)  # type: ignore[misc]
        loaded[0].gate.set()
        for answer in running:
            answer.result()
    assert [(model.name, model.batches) for model in loaded] == [
        ("mean", [1, 1, 1]),
        ("other", [2]),
        ("mean", [1]),
    ]


def test_a_failed_network_is_not_loaded_again_for_each_photo(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def load(record: dict[str, Any]) -> FakeModel:
        tries.append(record)
        raise ModelUnavailable("it is gone")

    monkeypatch.setattr(module, "load_recorded_model", load)
    embedder = make()
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="it is gone"):
            embedder.embed(jpeg(), RECORD)
    assert len(tries) == 1
    monkeypatch.setattr(module, "_FAILURE_LASTS_S", 0.0)
    embedder = make()
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            embedder.warm(RECORD)
    assert len(tries) == 3


def test_an_error_of_the_network_reaches_every_caller_and_the_next_photo_is_served(
    make: Any, loaded: list[FakeModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = make()
    embedder.warm(RECORD)
    works = loaded[0].embed

    def fails(pixels: Any) -> Any:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(loaded[0], "embed", fails)
    with pytest.raises(RuntimeError, match="the device is lost"):
        embedder.embed(jpeg(), RECORD)
    monkeypatch.setattr(loaded[0], "embed", works)
    embedder.embed(jpeg(), RECORD)


def test_closing_rejects_waiting_photos(make: Any, loaded: list[FakeModel]) -> None:
    embedder = make(max_batch=1)
    embedder.warm(RECORD)
    loaded[0].gate.clear()
    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(embedder.embed, jpeg(), RECORD)
        wait_until(lambda: loaded[0].begun == 2)
        queued = pool.submit(embedder.embed, jpeg(), RECORD)
        wait_until(lambda: len(embedder._waiting) == 1)
        closing = pool.submit(embedder.close)
        with pytest.raises(ModelUnavailable, match="closing"):
            queued.result()
        loaded[0].gate.set()
        assert running.result().vector.shape == (192,)
        closing.result()
    assert loaded[0].closed
    with pytest.raises(ModelUnavailable, match="closing"):
        embedder.embed(jpeg(), RECORD)


def test_closing_before_the_first_photo_does_nothing(make: Any) -> None:
    make().close()


def test_the_packaged_network_gives_the_vectors_of_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    source = resolve_model("efficientnet-lite2", image_size=96)
    record = ModelRecord(source.name, source.handle, source.digest, source.preprocessing, 1280)
    data = jpeg(120, 90)
    pixels, _, _ = Preprocessing.parse(source.preprocessing).to_pixels(data)
    model = source.load()
    expected = model.embed(pixels[np.newaxis])[0]
    model.close()
    embedder = BatchingEmbedder()
    np.testing.assert_allclose(embedder.embed(data, record).vector, expected, atol=1e-5)
    embedder.close()


def test_tensorflow_is_not_imported_before_the_first_photo() -> None:
    code = (
        "import sys, vitrine.service.pictures.batching as e; e.BatchingEmbedder();"
        " assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
