"""A network at work: one thread that computes, timed, with a batch size chosen on the first batches.

Knows how to keep a network busy; does not know where pictures come from or where vectors go.
"""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from vitrine.indexer.arrays import FloatArray, Pixels
from vitrine.indexer.models import Model, ModelSource
from vitrine.indexer.progress import Progress

CPU_SIZES = (4, 8, 16, 32)
GPU_SIZES = (32, 64, 128, 256)
# A larger batch must be this much faster: it costs memory, and more is repeated after a kill.
_WORTH_IT = 1.03
_TRIES = 2


class BatchCalibration:
    """Hands out batch sizes: each candidate twice, smallest first, then the fastest for good.

    Nothing is embedded twice for it. The first batch of each size is slower (operations are prepared
    for the shape), so the faster of the two counts.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes:
            raise ValueError("no batch size to choose from")
        self._sizes = frozenset(sizes)
        self._seconds_per_picture: dict[int, float] = {}
        self._trials = [size for size in sizes for _ in range(_TRIES)] if len(sizes) > 1 else []
        self._chosen = sizes[0]
        self.largest = max(sizes)

    @property
    def chosen(self) -> int:
        """The best size so far."""
        return self._chosen

    @property
    def is_done(self) -> bool:
        """Whether every candidate has been handed out."""
        return not self._trials

    def next_size(self) -> int:
        """Return the size of the next batch to gather."""
        return self._trials.pop(0) if self._trials else self._chosen

    def record(self, size: int, seconds: float) -> None:
        """Take the time of one batch; a batch that is not of a candidate size teaches nothing."""
        if size not in self._sizes:
            return
        rate = seconds / size
        known = self._seconds_per_picture
        known[size] = min(rate, known.get(size, rate))
        best = min(known.values())
        self._chosen = min(size for size, rate in known.items() if rate <= best * _WORTH_IT)


def choose_decode_threads(decode_s: float, net_s: float, cores: int) -> int:
    """Return how many threads decode as fast as the net embeds, with a quarter to spare.

    decode_s, net_s: seconds per picture of one decoding thread and of the net.
    """
    if net_s <= 0:
        return cores
    return max(1, min(cores, round(1.25 * decode_s / net_s + 0.5)))


class Timer:
    """Adds up time spent on pictures, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.total_s = 0.0
        self._pictures = 0

    def add(self, seconds: float, pictures: int = 1) -> None:
        """So many pictures took so long."""
        with self._lock:
            self.total_s += seconds
            self._pictures += pictures

    @property
    def mean_s(self) -> float:
        """Seconds a picture."""
        return self.total_s / self._pictures if self._pictures else 0.0


class TimedNet:
    """A model in a thread of its own, loaded at `start`, that knows how long it computed and waited."""

    def __init__(self, model_source: ModelSource, batch_size: int | None, progress: Progress) -> None:
        """batch_size: pictures at once; None = chosen by timing the first batches."""
        self.dimension: int | None = None
        self.device: str | None = None
        self._source = model_source
        self._progress = progress
        self._fixed = batch_size is not None
        self._calibration = BatchCalibration((batch_size,) if batch_size else CPU_SIZES)
        self._pool = ThreadPoolExecutor(1, "net")
        self._loading: Future[Model] | None = None
        self._starting = threading.Lock()
        self._timer = Timer()
        self._waited_s = 0.0
        self._ended_at: float | None = None

    @property
    def batch_size(self) -> int:
        """The chosen size, so far the best."""
        return self._calibration.chosen

    @property
    def is_calibrated(self) -> bool:
        """Whether the batch size is settled."""
        return self._calibration.is_done

    @property
    def decode_ahead(self) -> int:
        """How many pictures to keep decoded or in decoding: the batch being gathered and one more."""
        return 2 * self._calibration.largest

    @property
    def mean_s(self) -> float:
        """Seconds the net takes a picture."""
        return self._timer.mean_s

    @property
    def wait_share(self) -> float:
        """The share of its time since the first batch that it had nothing to compute, 0..1."""
        total = self._waited_s + self._timer.total_s
        return self._waited_s / total if total else 0.0

    def start(self) -> None:
        """Begin to load the model, so that pictures are made ready meanwhile. From any thread."""
        with self._starting:
            if self._loading is None:
                self._loading = self._pool.submit(self._load)

    def next_size(self) -> int:
        """Return how many pictures to gather for the next batch."""
        return self._calibration.next_size()

    def submit(self, pictures: Sequence[Pixels]) -> "Future[FloatArray]":
        """Compute the (B, D) vectors of B pictures (H, W, 3); the future raises what loading raised."""
        self.start()
        return self._pool.submit(self._embed, np.stack(pictures))

    def close(self) -> None:
        """Finish the batch at work, drop the others, give the model back."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._loading is not None and not self._loading.cancelled() and not self._loading.exception():
            self._loading.result().close()

    def _embed(self, pixels: Pixels) -> FloatArray:
        assert self._loading is not None
        model = self._loading.result()
        begin = time.perf_counter()
        if self._ended_at is not None:
            self._waited_s += begin - self._ended_at
        vectors = model.embed(pixels)
        self._ended_at = time.perf_counter()
        self._calibration.record(len(pixels), self._ended_at - begin)
        self._timer.add(self._ended_at - begin, len(pixels))
        return vectors

    def _load(self) -> Model:
        model = self._source.load()
        self.dimension, self.device = model.dimension, model.device
        if model.device != "CPU" and not self._fixed:
            self._calibration = BatchCalibration(GPU_SIZES)
        self._progress.note(f"{model.name} runs on {model.device}")
        return model
