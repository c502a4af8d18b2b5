"""Photos of concurrent queries, embedded together in a thread of their own. Knows no products and no HTTP.

Callers decode in their own threads. One worker takes whatever photos wait, up to a batch, and runs the
network once for all; it waits for more only while another caller is still decoding, and only for a part of
what the network needs for one photo, so that a photo that comes alone loses no time.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from vitrine.indexer.arrays import FloatVector, Pixels
from vitrine.indexer.errors import ModelError, ModelUnavailable, PictureError
from vitrine.indexer.models import Model, load_recorded
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.service.errors import TooManyRequests
from vitrine.service.pictures.embedding import Photo

WINDOW_S = 0.004
# Eight photos at once take two thirds of the time of one by one: worth waiting for, up to so much of a pass.
PATIENCE = 0.4
MAX_BATCH = 16
# A network that cannot be had is not looked for again at every photo.
_FAILURE_LASTS_S = 10.0


@dataclass(frozen=True, slots=True)
class _Request:
    pixels: Pixels
    model: ModelRecord
    vector: Future[FloatVector]


class BatchingEmbedder:
    """Embeds photos with the network that a snapshot records, loaded at the first photo. Thread-safe.

    batches, pictures: how many the network has computed since the start.
    """

    def __init__(self, queue: int = 64, *, window_s: float = WINDOW_S, max_batch: int = MAX_BATCH) -> None:
        """queue: photos that may be on their way at once.

        window_s: how long a photo waits for company at least; PATIENCE of a pass when that is longer.
        """
        self.batches = 0
        self.pictures = 0
        self._queue = queue
        self._window_s = window_s
        self._max_batch = max_batch
        self._picture_s = 0.0
        self._change = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._inside = 0
        self._decoding = 0
        self._closed = False
        self._worker: threading.Thread | None = None
        self._nets = _Nets()

    @property
    def waiting(self) -> int:
        """Photos on their way: being decoded, waiting, or in the network."""
        return self._inside

    def embed(self, data: bytes, model: ModelRecord) -> Photo:
        """Return a photo's vector by that network.

        Raises PictureError, ModelError, and TooManyRequests when too many photos are on their way.
        """
        self._enter()
        try:
            pixels, width_px, height_px = self._decode(data, model)
            vector = self._enqueue(pixels, model).result()
        finally:
            with self._change:
                self._inside -= 1
        return Photo(vector, width_px, height_px)

    def warm(self, model: ModelRecord) -> None:
        """Load the network and run it once, so that no photo has to wait for that. Raises ModelError."""
        spec = Preprocessing.parse(model.preprocessing)
        black = np.zeros((spec.height, spec.width, 3), np.uint8)
        with self._change:
            self._decoding += 1
        try:
            self._enqueue(black, model).result()
        except PictureError:  # what the network makes of a black picture does not matter
            return

    def close(self) -> None:
        """Finish the batch at work, refuse what still waits, and give the network back."""
        with self._change:
            self._closed = True
            left, self._waiting = list(self._waiting), deque()
            self._change.notify_all()
        for request in left:
            request.vector.set_exception(_closing())
        if self._worker is not None:
            self._worker.join()
        self._nets.close()

    def _enter(self) -> None:
        with self._change:
            if self._inside >= self._queue:
                raise TooManyRequests("too many photos wait for the network: try again shortly")
            self._inside += 1
            self._decoding += 1

    def _decode(self, data: bytes, model: ModelRecord) -> tuple[Pixels, int, int]:
        try:
            return Preprocessing.parse(model.preprocessing).pixels(data)
        except BaseException:
            with self._change:
                self._decoding -= 1
                self._change.notify_all()
            raise

    def _enqueue(self, pixels: Pixels, model: ModelRecord) -> Future[FloatVector]:
        request = _Request(pixels, model, Future())
        with self._change:
            self._decoding -= 1
            if self._closed:
                raise _closing()
            self._waiting.append(request)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="embedder", daemon=True)
                self._worker.start()
            self._change.notify_all()
        return request.vector

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                net = self._nets.get(batch[0].model)
                began = time.monotonic()
                vectors = net.embed(np.stack([item.pixels for item in batch]))
                # The first pass of a network is slower than any after it.
                self._picture_s = (time.monotonic() - began) / len(batch) if self.batches else 0.0
                self.batches += 1
                self.pictures += len(batch)
            except BaseException as error:  # whatever it is, those who wait must hear of it
                for request in batch:
                    request.vector.set_exception(error)
                continue
            for request, vector in zip(batch, vectors, strict=True):
                _answer(request.vector, vector)

    def _next_batch(self) -> list[_Request]:
        """Wait for photos and return those for one network, oldest first; empty when closed."""
        with self._change:
            while not self._waiting and not self._closed:
                self._change.wait()
            latest = time.monotonic() + max(self._window_s, PATIENCE * self._picture_s)
            while self._decoding and len(self._waiting) < self._max_batch and not self._closed:
                left_s = latest - time.monotonic()
                if left_s <= 0:
                    break
                self._change.wait(left_s)
            if not self._waiting:
                return []
            model = self._waiting[0].model
            batch: list[_Request] = []
            while self._waiting and len(batch) < self._max_batch and self._waiting[0].model == model:
                batch.append(self._waiting.popleft())
            return batch


def _answer(promised: Future[FloatVector], vector: FloatVector) -> None:
    if np.isfinite(vector).all() and vector.any():
        promised.set_result(vector)
    else:
        promised.set_exception(PictureError("the model finds nothing in it"))


def _closing() -> ModelUnavailable:
    return ModelUnavailable("the service is closing and embeds no more photos")


class _Nets:
    """The network in use; another snapshot's takes its place. Used by one thread."""

    def __init__(self) -> None:
        self._model: tuple[ModelRecord, Model] | None = None
        self._failure: tuple[ModelRecord, float, ModelError] | None = None

    def get(self, record: ModelRecord) -> Model:
        """Return the recorded network, loaded when it is not the one in use. Raises ModelError."""
        if self._model is not None and self._model[0] == record:
            return self._model[1]
        if self._failure is not None and self._failure[0] == record and time.monotonic() < self._failure[1]:
            raise self._failure[2]
        self.close()
        try:
            model = load_recorded(dataclasses.asdict(record))
        except ModelError as error:
            self._failure = record, time.monotonic() + _FAILURE_LASTS_S, error
            raise
        self._model = record, model
        return model

    def close(self) -> None:
        """Give the network back."""
        if self._model is not None:
            self._model[1].close()
            self._model = None
