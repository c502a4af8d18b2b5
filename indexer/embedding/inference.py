"""Inference thread: runs the network on batches and tunes the batch size on the first of them.

Independent of the source of the pictures and of the destination of the vectors.
Shapes: B pictures, H W pixels, D dimension.
"""

import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from vitrine.indexer.arrays import FloatArray, Pixels
from vitrine.indexer.models import Model, ModelSource
from vitrine.indexer.progress import Progress

CPU_BATCH_SIZES = (4, 8, 16, 32)
GPU_BATCH_SIZES = (32, 64, 128, 256)
# A larger batch must be faster by this factor: it needs more memory, and a kill loses more work.
_MIN_SPEEDUP = 1.03
_TRIALS_PER_SIZE = 2
# Decoding threads are planned for this many times the pictures that the network takes.
_DECODE_RESERVE = 1.25


class BatchSizeTuner:
    """Choice of the batch size by timing: each candidate is tried twice, then the fastest is used.

    The trials are batches of the run itself, so nothing is embedded twice. The first batch of a size is
    slower, because operations are prepared for its shape; the faster of the two trials counts.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        """sizes: candidates in ascending order. Raises ValueError if there are none."""
        if not sizes:
            raise ValueError("no batch size to choose from")
        self._sizes = frozenset(sizes)
        self._seconds_per_picture: dict[int, float] = {}
        self._trials = [size for size in sizes for _ in range(_TRIALS_PER_SIZE)] if len(sizes) > 1 else []
        self._best_size = sizes[0]
        self.largest = max(sizes)

    @property
    def best_size(self) -> int:
        """Best size measured so far."""
        return self._best_size

    @property
    def is_done(self) -> bool:
        """True once all trials have been started."""
        return not self._trials

    def next_size(self) -> int:
        """Return the size of the next batch to gather."""
        return self._trials.pop(0) if self._trials else self._best_size

    def record(self, size: int, duration_s: float) -> None:
        """Record the duration of one batch. Sizes that are not candidates are ignored."""
        if size not in self._sizes:
            return
        measured = self._seconds_per_picture
        measured[size] = min(duration_s / size, measured.get(size, math.inf))
        limit = min(measured.values()) * _MIN_SPEEDUP
        self._best_size = min(size for size, seconds in measured.items() if seconds <= limit)


def choose_decode_threads(decode_s: float, inference_s: float, cores: int) -> int:
    """Return the number of threads that decode 25 % more pictures than the network takes, 1..cores.

    decode_s, inference_s: seconds per picture of one decoding thread and of the network.
    """
    if inference_s <= 0:
        return cores
    return max(1, min(cores, round(_DECODE_RESERVE * decode_s / inference_s + 0.5)))


class Timer:
    """Total and mean time spent on pictures. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total_s = 0.0
        self._pictures = 0

    def add(self, duration_s: float, pictures: int = 1) -> None:
        """Add the time that a number of pictures took."""
        with self._lock:
            self.total_s += duration_s
            self._pictures += pictures

    @property
    def mean_s(self) -> float:
        """Seconds per picture, 0 without pictures."""
        return self.total_s / self._pictures if self._pictures else 0.0


class InferenceWorker:
    """A thread that runs the network on batches, loads it in the background and measures its idle time."""

    def __init__(self, model_source: ModelSource, batch_size: int | None, progress: Progress) -> None:
        """batch_size: pictures per batch; None tunes it on the first batches."""
        self.dimension: int | None = None
        self.pooling = ""
        self.device: str | None = None
        self._source = model_source
        self._progress = progress
        self._is_fixed_size = batch_size is not None
        self._tuner = BatchSizeTuner((batch_size,) if batch_size else CPU_BATCH_SIZES)
        self._executor = ThreadPoolExecutor(1, "inference")
        self._model: Future[Model] | None = None
        self._start_lock = threading.Lock()
        self._timer = Timer()
        self._idle_s = 0.0
        self._last_end_s: float | None = None  # on the clock of time.perf_counter

    @property
    def batch_size(self) -> int:
        """Best batch size measured so far."""
        return self._tuner.best_size

    @property
    def is_tuned(self) -> bool:
        """True once the batch size is final."""
        return self._tuner.is_done

    @property
    def decode_ahead(self) -> int:
        """Number of pictures to keep decoded or in decoding: the next batch and one more."""
        return 2 * self._tuner.largest

    @property
    def mean_s(self) -> float:
        """Seconds of inference per picture."""
        return self._timer.mean_s

    @property
    def idle_share(self) -> float:
        """Share of the time since the first batch in which there was no batch to compute, 0..1."""
        total_s = self._idle_s + self._timer.total_s
        return self._idle_s / total_s if total_s else 0.0

    def start(self) -> None:
        """Start loading the model in the background, unless that has begun. Thread-safe."""
        with self._start_lock:
            if self._model is None:
                self._model = self._executor.submit(self._load)

    def next_size(self) -> int:
        """Return the number of pictures to gather for the next batch."""
        return self._tuner.next_size()

    def submit(self, pictures: Sequence[Pixels]) -> "Future[FloatArray]":
        """Start embedding a batch of B pictures (H, W, 3) and return the future of its (B, D) vectors.

        The future raises ModelUnavailable if the model cannot be loaded.
        """
        self.start()
        return self._executor.submit(self._embed, np.stack(pictures))

    def close(self) -> None:
        """Finish the current batch, cancel the others and close the model."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._model is not None and not self._model.cancelled() and not self._model.exception():
            self._model.result().close()

    def _embed(self, pixels: Pixels) -> FloatArray:
        assert self._model is not None
        model = self._model.result()
        start_s = time.perf_counter()
        if self._last_end_s is not None:
            self._idle_s += start_s - self._last_end_s
        vectors = model.embed(pixels)
        self._last_end_s = time.perf_counter()
        self._tuner.record(len(pixels), self._last_end_s - start_s)
        self._timer.add(self._last_end_s - start_s, len(pixels))
        return vectors

    def _load(self) -> Model:
        model = self._source.load()
        self.dimension, self.device, self.pooling = model.dimension, model.device, model.pooling
        if model.device != "CPU" and not self._is_fixed_size:
            self._tuner = BatchSizeTuner(GPU_BATCH_SIZES)
        self._progress.note(f"{model.name} runs on {model.device}")
        return model
