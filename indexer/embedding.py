"""From products to vectors in the cache: read, hash, look up, decode and embed, all at the same time.

The calling thread owns the order of things; readers and decoders are threads beside it, and the network
has one of its own, so that it computes while the next pictures are made ready.
Shapes: N rows, B pictures, H W pixels, D dimension.
"""

import hashlib
import itertools
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer.cache import CacheEntry, EmbeddingCache, FileEntry
from indexer.errors import PictureError, SourceError
from indexer.images import Preprocessing
from indexer.models import ModelSource
from indexer.models.runtime import available_cores
from indexer.net import TimedNet, Timer, choose_decode_threads
from indexer.progress import Progress, Silent
from indexer.source import Source

T = TypeVar("T")
FloatArray = NDArray[np.float32]

# Rows whose content is looked up in the cache at once, and read while the rows before them are decoded.
_CHUNK_ROWS = 64
# Bytes of a chunk kept between hashing and decoding; larger chunks are read a second time.
_HELD_BYTES = 64 * 2**20
# A remote picture is waiting, not work: many at a time.
_REMOTE_READERS = 16
_FILES_REMEMBERED_AT_ONCE = 1024
_UNIT_TOLERANCE = 1e-3


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


class _Picture(NamedTuple):
    """One distinct content on its way to the net."""

    row: int
    sha: bytes
    data: bytes | None = None
    file: FileEntry | None = None


class _Decoded(NamedTuple):
    sha: bytes
    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int


class _Bad(NamedTuple):
    """A picture that cannot be used; sha is None when not even its bytes could be had."""

    row: int
    sha: bytes | None
    reason: str
    file: FileEntry | None = None


class _Pipeline:
    """One run over one source. The calling thread runs all of it but `_read` and `_decode`."""

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
        self._preprocessing = Preprocessing.parse(model_source.preprocessing)
        self._rows = source.products.num_rows
        self._failures_allowed = options.failures_allowed(self._rows)
        self._waiting: dict[bytes, list[int]] = {}  # rows by content that is on its way to the net
        self._remember: list[FileEntry] = []
        self._held = _ByteBudget(_HELD_BYTES)
        self._net = TimedNet(model_source, options.batch_size, progress)
        self._decode_timer = Timer()
        self._threads = options.decode_threads or available_cores()
        self._retune = options.decode_threads is None
        self._readers = ThreadPoolExecutor(_REMOTE_READERS if self._is_remote() else self._threads, "read")
        self._decoders = ThreadPoolExecutor(self._threads, "decode")
        self._result = EmbeddingRun(
            np.zeros((self._rows, 32), np.uint8),
            np.zeros((self._rows, 2), np.int32),
            np.zeros(self._rows, np.bool_),
        )

    def run(self) -> EmbeddingRun:
        self._progress.start(self._rows, "pictures")
        try:
            self._embed_all()
            self._flush_files()
        finally:
            self._readers.shutdown(wait=True, cancel_futures=True)
            self._decoders.shutdown(wait=True, cancel_futures=True)
            self._net.close()
        self._progress.done()
        return self._finished()

    def _embed_all(self) -> None:
        usable = self._usable(self._decoded())
        running: tuple[list[_Decoded], Future[FloatArray]] | None = None
        while batch := list(itertools.islice(usable, self._net.next_size())):
            finished = running
            if finished is not None:
                finished[1].exception()  # waits; the net goes on with the next batch while this is stored
            running = batch, self._net.submit([item.pixels for item in batch])
            if finished is not None:
                self._store(*finished)
        if running is not None:
            self._store(*running)

    def _misses(self) -> Iterator[_Picture]:
        """Yield each content that has to be embedded, once, in source order; settle all other rows."""
        chunks = (range(first, min(first + _CHUNK_ROWS, self._rows)) for first in _steps(self._rows))
        begun = ([self._begin(row) for row in chunk] for chunk in chunks)
        for chunk in _one_ahead(begun):
            yield from self._settle([item.result() if isinstance(item, Future) else item for item in chunk])

    def _begin(self, row: int) -> "_Picture | Future[_Picture | _Bad]":
        """Say what a row's content is, from the cache's memory of unchanged files or by reading it."""
        fingerprint = self._source.fingerprint(row)
        if fingerprint is not None:
            sha = self._cache.file_sha(self._source.absolute(row), *fingerprint)
            if sha is not None:
                return _Picture(row, sha)
        return self._readers.submit(self._read, row, fingerprint)

    def _read(self, row: int, fingerprint: tuple[int, int] | None) -> "_Picture | _Bad":
        try:
            data = self._source.read(row)
        except PictureError as error:
            return _Bad(row, None, error.reason)
        sha = hashlib.sha256(data).digest()
        file = FileEntry(self._source.absolute(row), *fingerprint, sha) if fingerprint is not None else None
        return _Picture(row, sha, data if self._held.take(len(data)) else None, file)

    def _file_entry(self, row: int, sha: bytes) -> FileEntry | None:
        fingerprint = self._source.fingerprint(row)
        return FileEntry(self._source.absolute(row), *fingerprint, sha) if fingerprint is not None else None

    def _settle(self, chunk: "list[_Picture | _Bad]") -> list[_Picture]:
        pictures = [picture for picture in chunk if isinstance(picture, _Picture)]
        self._remember += [picture.file for picture in pictures if picture.file is not None]
        known = self._cache.known(self._key, list({picture.sha for picture in pictures}))
        misses: list[_Picture] = []
        for picture in chunk:
            if isinstance(picture, _Bad):
                self._fail([picture.row], picture.reason)
                continue
            self._result.sha256[picture.row] = np.frombuffer(picture.sha, np.uint8)
            if picture.sha not in known and picture.sha not in self._waiting:
                self._waiting[picture.sha] = [picture.row]
                misses.append(picture)
                continue
            self._held.give_back(picture.data)
            if picture.sha in known:
                self._succeed([picture.row], known[picture.sha])
                self._result.from_cache += 1
            else:
                self._waiting[picture.sha].append(picture.row)
        if len(self._remember) >= _FILES_REMEMBERED_AT_ONCE:
            self._flush_files()
        return misses

    def _decoded(self) -> "Iterator[_Decoded | _Bad]":
        """Decode the misses in threads, a bounded number ahead of the net, and yield them in order."""
        ahead: deque[Future[_Decoded | _Bad]] = deque()
        for picture in self._misses():
            ahead.append(self._decoders.submit(self._decode, picture))
            if len(ahead) >= self._net.decode_ahead:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _decode(self, picture: _Picture) -> "_Decoded | _Bad":
        begin = time.thread_time()
        try:
            data = self._source.read(picture.row) if picture.data is None else picture.data
            sha = picture.sha if picture.data is not None else hashlib.sha256(data).digest()
            if sha != picture.sha:
                file = self._file_entry(picture.row, sha)
                return _Bad(picture.row, picture.sha, "it changed while the build ran; build again", file)
            pixels, width_px, height_px = self._preprocessing.pixels(data)
        except PictureError as error:
            return _Bad(picture.row, picture.sha, error.reason)
        finally:
            self._held.give_back(picture.data)
            self._decode_timer.add(time.thread_time() - begin)
        self._net.start()  # not sooner: a bad picture alone must not cost TensorFlow's start
        return _Decoded(picture.sha, pixels, width_px, height_px)

    def _usable(self, decoded: "Iterator[_Decoded | _Bad]") -> Iterator[_Decoded]:
        for item in decoded:
            if isinstance(item, _Decoded):
                yield item
                continue
            self._remember += [item.file] if item.file is not None else []
            self._fail(self._waiting.pop(item.sha, [item.row]) if item.sha else [item.row], item.reason)

    def _store(self, batch: list[_Decoded], computed: "Future[FloatArray]") -> None:
        """Make one batch durable, then count its rows as done."""
        vectors = computed.result()
        is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_TOLERANCE  # False for NaN, too
        good = [(item, vector) for item, vector, unit in zip(batch, vectors, is_unit, strict=True) if unit]
        self._cache.put(self._key, [CacheEntry(i.sha, i.width_px, i.height_px, v) for i, v in good])
        for item, unit in zip(batch, is_unit, strict=True):
            rows = self._waiting.pop(item.sha)
            if not unit:
                self._fail(rows, "the model finds nothing in it")
                continue
            self._succeed(rows, (item.width_px, item.height_px))
            self._result.embedded += 1
            self._result.from_cache += len(rows) - 1
        if self._retune and self._net.is_calibrated:
            self._choose_threads()

    def _choose_threads(self) -> None:
        self._retune = False
        chosen = choose_decode_threads(self._decode_timer.mean_s, self._net.mean_s, available_cores())
        if chosen != self._threads:
            self._threads = chosen
            self._decoders.shutdown(wait=False)  # what it has begun, it finishes
            self._decoders = ThreadPoolExecutor(chosen, "decode")

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
        if len(failures) > self._failures_allowed:
            first = "; ".join(f"{failure.image}: {failure.reason}" for failure in failures[:3])
            raise SourceError(
                f"{self._source.location}: {len(failures)} of {self._rows} pictures cannot be used, more "
                f"than --max-failures allows ({first}); repair them or allow more"
            )

    def _flush_files(self) -> None:
        files, self._remember = self._remember, []
        self._cache.remember_files(files)

    def _is_remote(self) -> bool:
        return self._rows > 0 and "://" in self._source.absolute(0)

    def _finished(self) -> EmbeddingRun:
        result, net = self._result, self._net
        result.failures.sort()
        result.dimension = net.dimension
        if result.dimension is None and result.ok.any():
            row = int(np.argmax(result.ok))
            result.dimension = self._cache.vectors(self._key, [result.sha256[row].tobytes()]).shape[1]
        if net.dimension is not None:
            result.batch_size, result.device = net.batch_size, net.device
            result.decode_threads, result.net_wait_share = self._threads, net.wait_share
        return result


class _ByteBudget:
    """Bytes that may be held in memory between hashing and decoding."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._left = max_bytes

    def take(self, size: int) -> bool:
        with self._lock:
            granted = size <= self._left
            if granted:
                self._left -= size
            return granted

    def give_back(self, data: bytes | None) -> None:
        if data is not None:
            with self._lock:
                self._left += len(data)


def _steps(rows: int) -> range:
    return range(0, rows, _CHUNK_ROWS)


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each only after the next one has been asked for."""
    for first in items:
        for second in items:
            yield first
            first = second
        yield first
