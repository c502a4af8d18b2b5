"""The pictures of a source, read and decoded by threads ahead of whoever wants them. Knows no vectors.

An unchanged local file is not read again to know its digest: the cache remembers it by size and time.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from vitrine.indexer.embedding.cache import EmbeddingCache, FileEntry
from vitrine.indexer.embedding.inference import Timer
from vitrine.indexer.errors import PictureError
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.source.source import Source

T = TypeVar("T")

# Rows whose content is looked up in the cache at once, and read while the rows before them are decoded.
CHUNK_ROWS = 64
# Bytes kept between hashing and decoding; what is past them is read a second time.
HELD_BYTES = 64 * 2**20
# A remote picture is waiting, not work: many at a time.
REMOTE_READERS = 16
_FILES_REMEMBERED_AT_ONCE = 1024


class Picture(NamedTuple):
    """One product's picture, read and hashed. data: its bytes, None where they were not kept."""

    row: int
    sha: bytes
    data: bytes | None = None
    file: FileEntry | None = None


class Decoded(NamedTuple):
    """A picture ready for the net: pixels (H, W, 3), and the size of the upright original."""

    sha: bytes
    pixels: NDArray[np.uint8]
    width_px: int
    height_px: int


class Bad(NamedTuple):
    """A picture that cannot be used; sha is None when not even its bytes could be had."""

    row: int
    sha: bytes | None
    reason: str
    file: FileEntry | None = None


class PictureReader:
    """Reads and decodes one source. Its methods are for one thread; `_read` and `_decode` run in others."""

    def __init__(self, source: Source, cache: EmbeddingCache, spec: Preprocessing, threads: int) -> None:
        """threads: for decoding, and for reading where the pictures are local."""
        self.decode_timer = Timer()
        self.threads = threads
        self._source = source
        self._cache = cache
        self._spec = spec
        self._rows = source.products.num_rows
        self._held = _ByteBudget(HELD_BYTES)
        self._files: list[FileEntry] = []
        remote = self._rows > 0 and "://" in source.absolute(0)
        self._readers = ThreadPoolExecutor(REMOTE_READERS if remote else threads, "read")
        self._decoders = ThreadPoolExecutor(threads, "decode")

    def chunks(self) -> Iterator[list[Picture | Bad]]:
        """Yield the pictures of all rows in order, some at a time, the next ones being read meanwhile."""
        firsts = range(0, self._rows, CHUNK_ROWS)
        rows = (range(first, min(first + CHUNK_ROWS, self._rows)) for first in firsts)
        for begun in _one_ahead([self._begin(row) for row in chunk] for chunk in rows):
            chunk = [item.result() if isinstance(item, Future) else item for item in begun]
            for picture in chunk:
                self._remember(picture.file)
            yield chunk

    def release(self, picture: Picture) -> None:
        """Say that a picture will not be decoded."""
        self._held.give_back(picture.data)

    def decoded(self, pictures: Iterable[Picture], ahead: Callable[[], int]) -> Iterator[Decoded | Bad]:
        """Decode pictures in threads and yield them in order; ahead: how many may be in work or waiting."""
        begun: deque[Future[Decoded | Bad]] = deque()
        for picture in pictures:
            begun.append(self._decoders.submit(self._decode, picture))
            if len(begun) >= ahead():
                yield self._finished(begun.popleft())
        while begun:
            yield self._finished(begun.popleft())

    def set_threads(self, threads: int) -> None:
        """Decode with so many threads from now on."""
        if threads != self.threads:
            self.threads = threads
            self._decoders.shutdown(wait=False)  # what it has begun, it finishes
            self._decoders = ThreadPoolExecutor(threads, "decode")

    def flush(self) -> None:
        """Let the cache remember what the files read so far contained."""
        files, self._files = self._files, []
        self._cache.remember_files(files)

    def close(self) -> None:
        """Stop reading and decoding."""
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._decoders.shutdown(wait=True, cancel_futures=True)

    def _begin(self, row: int) -> "Picture | Future[Picture | Bad]":
        """Say what a row's content is, from the cache's memory of unchanged files or by reading it."""
        fingerprint = self._source.fingerprint(row)
        if fingerprint is not None:
            sha = self._cache.file_sha(self._source.absolute(row), *fingerprint)
            if sha is not None:
                return Picture(row, sha)
        return self._readers.submit(self._read, row)

    def _load(self, row: int) -> tuple[bytes, bytes, FileEntry | None]:
        """Return a picture's bytes, their digest, and what to remember of its file."""
        file = self._source.fingerprint(row)  # before the content: a later change must not look remembered
        data = self._source.read(row)
        sha = hashlib.sha256(data).digest()
        return data, sha, None if file is None else FileEntry(self._source.absolute(row), *file, sha)

    def _read(self, row: int) -> Picture | Bad:
        try:
            data, sha, file = self._load(row)
        except PictureError as error:
            return Bad(row, None, error.reason)
        return Picture(row, sha, data if self._held.take(len(data)) else None, file)

    def _decode(self, picture: Picture) -> Decoded | Bad:
        begin = time.thread_time()
        data, sha, file = picture.data, picture.sha, picture.file
        try:
            if data is None:
                data, sha, file = self._load(picture.row)
            if sha != picture.sha:
                return Bad(picture.row, picture.sha, "it changed while the build ran; build again", file)
            pixels, width_px, height_px = self._spec.pixels(data)
        except PictureError as error:
            return Bad(picture.row, picture.sha, error.reason)
        finally:
            self._held.give_back(picture.data)
            self.decode_timer.add(time.thread_time() - begin)
        return Decoded(sha, pixels, width_px, height_px)

    def _finished(self, decoding: "Future[Decoded | Bad]") -> Decoded | Bad:
        item = decoding.result()
        if isinstance(item, Bad):
            self._remember(item.file)
        return item

    def _remember(self, file: FileEntry | None) -> None:
        if file is not None:
            self._files.append(file)
        if len(self._files) >= _FILES_REMEMBERED_AT_ONCE:
            self.flush()


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


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each only after the next one has been asked for."""
    for first in items:
        for second in items:
            yield first
            first = second
        yield first
