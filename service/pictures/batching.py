"""Batched embedding of the photos of concurrent queries, in a background thread.

Independent of products and HTTP. Callers decode in their own threads. One worker takes all waiting photos, up
to a batch, and runs the network once for all. It waits for more only while another caller is still decoding,
and only for a fraction of the time that the network needs for one photo, so a single photo is not delayed.
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
from vitrine.indexer.models import Model, load_recorded_model
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.snapshot.manifest import ModelRecord
from vitrine.service.errors import TooManyRequests
from vitrine.service.pictures.embedding import EmbeddedPhoto

MIN_WAIT_S = 0.004
# Eight photos in one batch take two thirds of the time of eight single ones, which is worth waiting for up to
# this share of a pass.
WAIT_SHARE = 0.4
MAX_BATCH = 16
# A network that cannot be loaded is not tried again for each photo.
_FAILURE_LASTS_S = 10.0


@dataclass(frozen=True, slots=True)
class _Request:
    pixels: Pixels
    model: ModelRecord
    vector: Future[FloatVector]


class BatchingEmbedder:
    """A photo embedder that runs the network of a snapshot on batches. Thread-safe.

    The network is loaded at the first photo. batches, pictures: the numbers the network has computed.
    """

    def __init__(
        self, queue: int = 64, *, min_wait_s: float = MIN_WAIT_S, max_batch: int = MAX_BATCH
    ) -> None:
        """queue: the maximum number of pending photos.

        min_wait_s: the time a photo waits for others; WAIT_SHARE of a pass where that is longer.
        """
        self.batches = 0
        self.pictures = 0
        self._max_pending = queue
        self._min_wait_s = min_wait_s
        self._max_batch = max_batch
        self._picture_s = 0.0
        self._change = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._pending = 0
        self._decoding = 0
        self._closed = False
        self._worker: threading.Thread | None = None
        self._networks = _NetworkCache()

    @property
    def pending(self) -> int:
        """The number of photos being decoded, waiting, or in the network."""
        return self._pending

    def embed(self, data: bytes, model: ModelRecord) -> EmbeddedPhoto:
        """Embed a photo with that network.

        Raises PictureError, ModelError, and TooManyRequests when too many photos are pending.
        """
        self._enter()
        try:
            pixels, width_px, height_px = self._decode(data, model)
            vector = self._enqueue(pixels, model).result()
        finally:
            with self._change:
                self._pending -= 1
        return EmbeddedPhoto(vector, width_px, height_px)

    def warm(self, model: ModelRecord) -> None:
        """Load the network and run it once, so that the first photo does not wait. Raises ModelError."""
        spec = Preprocessing.parse(model.preprocessing)
        black = np.zeros((spec.height, spec.width, 3), np.uint8)
        with self._change:
            self._decoding += 1
        try:
            self._enqueue(black, model).result()
        except PictureError:  # the result for a black picture does not matter
            return

    def close(self) -> None:
        """Finish the running batch, reject the waiting photos, and release the network."""
        with self._change:
            self._closed = True
            rejected, self._waiting = list(self._waiting), deque()
            self._change.notify_all()
        for request in rejected:
            request.vector.set_exception(_closing_error())
        if self._worker is not None:
            self._worker.join()
        self._networks.close()

    def _enter(self) -> None:
        with self._change:
            if self._pending >= self._max_pending:
                raise TooManyRequests("too many photos wait for the network: try again shortly")
            self._pending += 1
            self._decoding += 1

    def _decode(self, data: bytes, model: ModelRecord) -> tuple[Pixels, int, int]:
        try:
            return Preprocessing.parse(model.preprocessing).to_pixels(data)
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
                raise _closing_error()
            self._waiting.append(request)
            if self._worker is None:
                self._worker = threading.Thread(target=self._run, name="embedder", daemon=True)
                self._worker.start()
            self._change.notify_all()
        return request.vector

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                network = self._networks.get(batch[0].model)
                started_s = time.monotonic()
                vectors = network.embed(np.stack([request.pixels for request in batch]))
                # The first pass of a network is slower than later ones and says nothing about them.
                self._picture_s = (time.monotonic() - started_s) / len(batch) if self.batches else 0.0
                self.batches += 1
                self.pictures += len(batch)
            except BaseException as error:  # every error must reach the callers that wait
                for request in batch:
                    request.vector.set_exception(error)
                continue
            for request, vector in zip(batch, vectors, strict=True):
                _set_result(request.vector, vector)

    def _next_batch(self) -> list[_Request]:
        """Wait for photos and return those for one network, oldest first; empty when closed."""
        with self._change:
            while not self._waiting and not self._closed:
                self._change.wait()
            deadline_s = time.monotonic() + max(self._min_wait_s, WAIT_SHARE * self._picture_s)
            while self._decoding and len(self._waiting) < self._max_batch and not self._closed:
                left_s = deadline_s - time.monotonic()
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


def _set_result(future: Future[FloatVector], vector: FloatVector) -> None:
    if np.isfinite(vector).all() and vector.any():
        future.set_result(vector)
    else:
        future.set_exception(PictureError("the model finds nothing in it"))


def _closing_error() -> ModelUnavailable:
    return ModelUnavailable("the service is closing and embeds no more photos")


class _NetworkCache:
    """The loaded network; loading that of another snapshot replaces it. Used by one thread."""

    def __init__(self) -> None:
        self._model: tuple[ModelRecord, Model] | None = None
        self._failure: tuple[ModelRecord, float, ModelError] | None = None

    def get(self, record: ModelRecord) -> Model:
        """Return the recorded network, loading it if it is not the present one. Raises ModelError."""
        if self._model is not None and self._model[0] == record:
            return self._model[1]
        if self._failure is not None and self._failure[0] == record and time.monotonic() < self._failure[1]:
            raise self._failure[2]
        self.close()
        try:
            model = load_recorded_model(dataclasses.asdict(record))
        except ModelError as error:
            self._failure = record, time.monotonic() + _FAILURE_LASTS_S, error
            raise
        self._model = record, model
        return model

    def close(self) -> None:
        """Release the network."""
        if self._model is not None:
            self._model[1].close()
            self._model = None
