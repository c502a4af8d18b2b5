"""From products to vectors in the cache: read, hash, look up, decode and embed, all at the same time.

The calling thread owns the order of things; readers and decoders are threads beside it, and the network
has one of its own, so that it computes while the next pictures are made ready.
Shapes: N rows, B pictures, H W pixels, D dimension.
"""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.embedding.cache import CacheEntry, EmbeddingCache
from vitrine.indexer.embedding.inference import TimedNet, choose_decode_threads
from vitrine.indexer.embedding.reader import Bad, Decoded, Picture, PictureReader
from vitrine.indexer.errors import SourceError
from vitrine.indexer.models import ModelSource
from vitrine.indexer.models.runtime import available_cores
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.progress import Progress, Silent
from vitrine.indexer.source.source import Source

UNIT_TOLERANCE = 1e-3
NOTHING_FOUND = "the model finds nothing in it"


@dataclass(frozen=True)
class EmbeddingOptions:
    """batch_size, decode_threads: None = chosen by timing the first batches.

    max_failures: how many pictures may fail, or, as a float in [0, 1], which share; None = any number.
    """

    batch_size: int | None = None
    decode_threads: int | None = None
    max_failures: int | float | None = None

    def failures_allowed(self, rows: int) -> float:
        """Return how many of so many pictures may fail."""
        limit = self.max_failures
        if limit is None:
            return rows
        return limit * rows if isinstance(limit, float) else limit


class Failure(NamedTuple):
    """One product that was left out, as failures.parquet lists it."""

    row: int
    id: str
    image: str
    reason: str


@dataclass
class EmbeddingRun:
    """What became of each row. The vectors are in the cache, under `sha256`.

    sha256: (N, 32) uint8. sizes_px: (N, 2) int32, width and height of the upright original.
    ok: (N,) bool, False for the rows of `failures`. dimension: D, or None when no row is ok.
    net_wait_share: the share of its time that the net waited for pictures, 0..1.
    """

    sha256: NDArray[np.uint8]
    sizes_px: NDArray[np.int32]
    ok: NDArray[np.bool_]
    dimension: int | None = None
    failures: list[Failure] = field(default_factory=list)
    embedded: int = 0
    from_cache: int = 0
    net_wait_share: float = 0.0
    batch_size: int | None = None
    decode_threads: int | None = None
    device: str | None = None


def embed_source(
    source: Source,
    model_source: ModelSource,
    cache: EmbeddingCache,
    *,
    options: EmbeddingOptions | None = None,
    progress: Progress | None = None,
) -> EmbeddingRun:
    """Make sure that the cache holds a vector for every usable picture of a source.

    The model is loaded at the first picture the cache does not know; identical pictures are embedded once.
    A batch is durable in the cache before its pictures count as done: a kill repeats one batch at most.
    Raises SourceError when more pictures fail than the options allow, ModelUnavailable, StorageFull.
    """
    pipeline = _Pipeline(source, model_source, cache, options or EmbeddingOptions(), progress or Silent())
    return pipeline.run()


def check_failures(source: Source, failures: Sequence[Failure], allowed: float) -> None:
    """Raise SourceError when more pictures failed than are allowed to."""
    if len(failures) > allowed:
        first = "; ".join(f"{failure.image}: {failure.reason}" for failure in failures[:3])
        raise SourceError(
            f"{source.location}: {len(failures)} of {len(source)} pictures cannot be used, more "
            f"than --max-failures allows ({first}); repair them or allow more"
        )


class _Pipeline:
    """One run over one source, in the calling thread; reading, decoding and the net have their own."""

    def __init__(
        self,
        source: Source,
        model_source: ModelSource,
        cache: EmbeddingCache,
        options: EmbeddingOptions,
        progress: Progress,
    ) -> None:
        self._source = source
        self._cache = cache
        self._key = model_source.key
        self._progress = progress
        self._rows = source.products.num_rows
        self._failures_allowed = options.failures_allowed(self._rows)
        self._retune = options.decode_threads is None
        spec = Preprocessing.parse(model_source.preprocessing)
        self._reader = PictureReader(source, cache, spec, options.decode_threads or available_cores())
        self._net = TimedNet(model_source, options.batch_size, progress)
        self._waiting: dict[bytes, list[int]] = {}  # rows by content that is on its way to the net
        self._result = EmbeddingRun(
            np.zeros((self._rows, 32), np.uint8),
            np.zeros((self._rows, 2), np.int32),
            np.zeros(self._rows, np.bool_),
        )

    def run(self) -> EmbeddingRun:
        self._progress.start(self._rows, "pictures")
        try:
            self._embed_all()
            self._reader.flush()
        finally:
            self._reader.close()
            self._net.close()
        self._progress.done()
        return self._finished()

    def _embed_all(self) -> None:
        usable = self._usable(self._reader.decoded(self._misses(), lambda: self._net.decode_ahead))
        running: tuple[list[Decoded], Future[FloatArray]] | None = None
        while batch := list(itertools.islice(usable, self._net.next_size())):
            finished = running
            if finished is not None:
                finished[1].exception()  # waits; the net goes on with the next batch while this is stored
            running = batch, self._net.submit([item.pixels for item in batch])
            if finished is not None:
                self._store(*finished)
        if running is not None:
            self._store(*running)

    def _misses(self) -> Iterator[Picture]:
        """Yield each content that has to be embedded, once, in source order; settle all other rows."""
        for chunk in self._reader.chunks():
            yield from self._settle(chunk)

    def _settle(self, chunk: list[Picture | Bad]) -> list[Picture]:
        shas = {picture.sha for picture in chunk if isinstance(picture, Picture)}
        known = self._cache.known(self._key, list(shas))
        misses: list[Picture] = []
        for picture in chunk:
            if isinstance(picture, Bad):
                self._fail([picture.row], picture.reason)
                continue
            self._result.sha256[picture.row] = np.frombuffer(picture.sha, np.uint8)
            if picture.sha not in known and picture.sha not in self._waiting:
                self._waiting[picture.sha] = [picture.row]
                misses.append(picture)
                continue
            self._reader.release(picture)
            if picture.sha in known:
                self._succeed([picture.row], known[picture.sha])
                self._result.from_cache += 1
            else:
                self._waiting[picture.sha].append(picture.row)
        return misses

    def _usable(self, decoded: Iterator[Decoded | Bad]) -> Iterator[Decoded]:
        for item in decoded:
            if isinstance(item, Decoded):
                self._net.start()  # not sooner: a bad picture alone must not cost TensorFlow's start
                yield item
            else:
                self._fail(self._waiting.pop(item.sha or b"", [item.row]), item.reason)

    def _store(self, batch: list[Decoded], computed: "Future[FloatArray]") -> None:
        """Make one batch durable, then count its rows as done."""
        vectors = computed.result()
        is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT_TOLERANCE  # False for NaN, too
        good = [(item, vector) for item, vector, unit in zip(batch, vectors, is_unit, strict=True) if unit]
        self._cache.put(self._key, [CacheEntry(i.sha, i.width_px, i.height_px, v) for i, v in good])
        for item, unit in zip(batch, is_unit, strict=True):
            rows = self._waiting.pop(item.sha)
            if not unit:
                self._fail(rows, NOTHING_FOUND)
                continue
            self._succeed(rows, (item.width_px, item.height_px))
            self._result.embedded += 1
            self._result.from_cache += len(rows) - 1
        if self._retune and self._net.is_calibrated:
            self._choose_threads()

    def _choose_threads(self) -> None:
        self._retune = False
        mean_s = self._reader.decode_timer.mean_s
        self._reader.set_threads(choose_decode_threads(mean_s, self._net.mean_s, available_cores()))

    def _succeed(self, rows: list[int], size_px: tuple[int, int]) -> None:
        self._result.ok[rows] = True
        self._result.sizes_px[rows] = size_px
        self._progress.advance(len(rows))

    def _fail(self, rows: list[int], reason: str) -> None:
        products = self._source.products
        failures = self._result.failures
        for row in rows:
            id, image = products["id"][row].as_py(), products["image"][row].as_py()
            failures.append(Failure(row, id, image, reason))
        self._progress.advance(len(rows))
        check_failures(self._source, failures, self._failures_allowed)

    def _finished(self) -> EmbeddingRun:
        result, net = self._result, self._net
        result.failures.sort()
        result.dimension = net.dimension
        if result.dimension is None and result.ok.any():
            row = int(np.argmax(result.ok))
            result.dimension = self._cache.vectors(self._key, [result.sha256[row].tobytes()]).shape[1]
        if net.dimension is not None:
            result.batch_size, result.device = net.batch_size, net.device
            result.decode_threads, result.net_wait_share = self._reader.threads, net.wait_share
        return result
