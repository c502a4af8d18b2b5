"""Picture loader: reads and decodes the pictures of a source in threads, ahead of inference.

An unchanged local file is not read for its digest: the cache holds the digest by file size and modification
time. Independent of models and vectors.
Shapes: H W pixels. A digest is the 32-byte SHA-256 of the file content.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from vitrine.indexer.arrays import Pixels
from vitrine.indexer.embedding.cache import EmbeddingCache, FileEntry
from vitrine.indexer.embedding.inference import Timer
from vitrine.indexer.errors import PictureError
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.source.source import Source

T = TypeVar("T")

# Rows that are looked up in the cache together; the next chunk is read while this one is decoded.
CHUNK_ROWS = 64
# Limit of the bytes held in memory between hashing and decoding; pictures beyond it are read a second time.
MAX_BUFFERED_BYTES = 64 * 2**20
# Reading a remote picture is waiting for the network, not computing, so there are many threads.
REMOTE_READ_THREADS = 16
_FILES_PER_WRITE = 1024


class HashedPicture(NamedTuple):
    """The digest of a product's picture. data: file content, or None if it is to be read again."""

    row: int
    digest: bytes
    data: bytes | None = None
    file: FileEntry | None = None


class DecodedPicture(NamedTuple):
    """A picture ready for the network: pixels (H, W, 3), and the size of the upright original."""

    digest: bytes
    pixels: Pixels
    width_px: int
    height_px: int


class UnusablePicture(NamedTuple):
    """A picture that cannot be embedded. digest: None if the picture could not be read."""

    row: int
    digest: bytes | None
    reason: str
    file: FileEntry | None = None


class PictureLoader:
    """A loader of the pictures of one source, with thread pools for reading and for decoding.

    Public methods are for a single calling thread; `_read` and `_decode` run in the pools.
    """

    def __init__(self, source: Source, cache: EmbeddingCache, spec: Preprocessing, threads: int) -> None:
        """threads: for decoding, and for reading if the pictures are local."""
        self.decode_timer = Timer()
        self.threads = threads
        self._source = source
        self._cache = cache
        self._spec = spec
        self._row_count = source.products.num_rows
        self._buffer = _ByteBudget(MAX_BUFFERED_BYTES)
        self._new_files: list[FileEntry] = []
        is_remote = self._row_count > 0 and "://" in source.resolve_image(0)
        self._read_pool = ThreadPoolExecutor(REMOTE_READ_THREADS if is_remote else threads, "read")
        self._decode_pool = ThreadPoolExecutor(threads, "decode")

    def read_chunks(self) -> Iterator[list[HashedPicture | UnusablePicture]]:
        """Yield the pictures of all rows in order, in chunks; the next chunk is read meanwhile."""
        starts = range(0, self._row_count, CHUNK_ROWS)
        ranges = (range(start, min(start + CHUNK_ROWS, self._row_count)) for start in starts)
        for started in _one_ahead([self._start_reading(row) for row in rows] for rows in ranges):
            chunk = [item.result() if isinstance(item, Future) else item for item in started]
            for picture in chunk:
                self._record_file(picture.file)
            yield chunk

    def discard(self, picture: HashedPicture) -> None:
        """Release the memory of a picture that will not be decoded."""
        self._buffer.release(picture.data)

    def decode(
        self, pictures: Iterable[HashedPicture], max_pending: Callable[[], int]
    ) -> Iterator[DecodedPicture | UnusablePicture]:
        """Decode pictures in threads and yield them in order.

        max_pending: returns the number of pictures that may be in decoding or decoded and not yet taken.
        """
        pending: deque[Future[DecodedPicture | UnusablePicture]] = deque()
        for picture in pictures:
            pending.append(self._decode_pool.submit(self._decode, picture))
            if len(pending) >= max_pending():
                yield self._wait_for(pending.popleft())
        while pending:
            yield self._wait_for(pending.popleft())

    def set_threads(self, threads: int) -> None:
        """Change the number of decoding threads for pictures that are not yet in decoding."""
        if threads != self.threads:
            self.threads = threads
            self._decode_pool.shutdown(wait=False)  # submitted pictures are still decoded
            self._decode_pool = ThreadPoolExecutor(threads, "decode")

    def flush(self) -> None:
        """Write the digests of the files read so far to the cache."""
        files, self._new_files = self._new_files, []
        self._cache.put_files(files)

    def close(self) -> None:
        """Stop reading and decoding."""
        self._read_pool.shutdown(wait=True, cancel_futures=True)
        self._decode_pool.shutdown(wait=True, cancel_futures=True)

    def _start_reading(self, row: int) -> "HashedPicture | Future[HashedPicture | UnusablePicture]":
        """Return the cached digest of an unchanged local file, else the future of reading the picture."""
        fingerprint = self._source.fingerprint(row)
        if fingerprint is not None:
            digest = self._cache.file_digest(self._source.resolve_image(row), *fingerprint)
            if digest is not None:
                return HashedPicture(row, digest)
        return self._read_pool.submit(self._read, row)

    def _load(self, row: int) -> tuple[bytes, bytes, FileEntry | None]:
        """Return the content of a picture, its digest, and the file entry of a local picture."""
        # Taken before the content, so that a change after it does not get the old digest.
        fingerprint = self._source.fingerprint(row)
        data = self._source.read(row)
        digest = hashlib.sha256(data).digest()
        if fingerprint is None:
            return data, digest, None
        return data, digest, FileEntry(self._source.resolve_image(row), *fingerprint, digest)

    def _read(self, row: int) -> HashedPicture | UnusablePicture:
        try:
            data, digest, file = self._load(row)
        except PictureError as error:
            return UnusablePicture(row, None, error.reason)
        return HashedPicture(row, digest, data if self._buffer.reserve(len(data)) else None, file)

    def _decode(self, picture: HashedPicture) -> DecodedPicture | UnusablePicture:
        start_s = time.thread_time()
        data, digest, file = picture.data, picture.digest, picture.file
        try:
            if data is None:
                data, digest, file = self._load(picture.row)
            if digest != picture.digest:
                reason = "it changed while the build ran; build again"
                return UnusablePicture(picture.row, picture.digest, reason, file)
            pixels, width_px, height_px = self._spec.to_pixels(data)
        except PictureError as error:
            return UnusablePicture(picture.row, picture.digest, error.reason)
        finally:
            self._buffer.release(picture.data)
            self.decode_timer.add(time.thread_time() - start_s)
        return DecodedPicture(digest, pixels, width_px, height_px)

    def _wait_for(
        self, decoding: "Future[DecodedPicture | UnusablePicture]"
    ) -> DecodedPicture | UnusablePicture:
        picture = decoding.result()
        if isinstance(picture, UnusablePicture):
            self._record_file(picture.file)
        return picture

    def _record_file(self, file: FileEntry | None) -> None:
        if file is not None:
            self._new_files.append(file)
        if len(self._new_files) >= _FILES_PER_WRITE:
            self.flush()


class _ByteBudget:
    """A thread-safe limit of bytes held in memory."""

    def __init__(self, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self._free_bytes = max_bytes

    def reserve(self, size_bytes: int) -> bool:
        """Reserve memory and return True; return False if too little is free."""
        with self._lock:
            is_granted = size_bytes <= self._free_bytes
            if is_granted:
                self._free_bytes -= size_bytes
            return is_granted

    def release(self, data: bytes | None) -> None:
        """Free the memory reserved for `data`. None: nothing was reserved."""
        if data is not None:
            with self._lock:
                self._free_bytes += len(data)


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, each one after the next has been fetched from the iterator."""
    for current in items:
        for following in items:
            yield current
            current = following
        yield current
