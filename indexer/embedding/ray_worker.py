"""Worker of the Ray engine: reads, hashes, decodes and embeds blocks of rows. Independent of Ray and caches.

Shapes: n rows of a block, B pictures of a batch, D dimension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vitrine.indexer.arrays import Pixels
from vitrine.indexer.embedding.run import NO_VECTOR, UNIT_TOLERANCE
from vitrine.indexer.errors import ModelError, PictureError
from vitrine.indexer.models import Model, ModelSource
from vitrine.indexer.models.runtime import Threads
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.source.source import Source

# Columns by name, each with n entries: row, digest, width, height, vector, reason, size, mtime_ns, error.
Block = dict[str, Any]
# The fingerprint of a picture that is not a local file.
NO_FILE = (-1, -1)
_DEFAULT_BATCH_SIZE = 16


@dataclass(frozen=True)
class EmbeddingJob:
    """The input of every worker. cached_digests: (K, 32) uint8, sorted, of pictures that need no vector."""

    source: Source
    model_source: ModelSource
    cached_digests: np.ndarray[Any, Any]
    threads: int
    batch_size: int | None


class _ReadRow(NamedTuple):
    """One row after reading. pixels: None if it needs no vector. reason: "" unless it cannot be used."""

    row: int
    digest: bytes = b""
    reason: str = ""
    pixels: Pixels | None = None
    width_px: int = 0
    height_px: int = 0
    file: tuple[int, int] = NO_FILE


class BlockEmbedder:
    """A callable that embeds one block of rows per call. The network is loaded for the first new picture."""

    def __init__(self, job: EmbeddingJob) -> None:
        """Prepare the threads that read. The network is not loaded yet."""
        self._job = job
        self._spec = Preprocessing.parse(job.model_source.preprocessing)
        self._cached_digests = {bytes(digest) for digest in job.cached_digests}
        self._read_pool = ThreadPoolExecutor(max(job.threads, 2), "read")
        self._model: Model | None = None

    def __call__(self, block: Block) -> Block:
        """Return the outcome of each row of a block with one column of row numbers.

        vector: float32 bytes, b"" if the row needs none or has none. reason: "" unless the picture cannot be
        used. error: "" unless the network cannot be loaded, which is a failure of the run, not of a picture.
        """
        read: list[_ReadRow] = []
        vectors: list[bytes] = []
        error = ""
        rows = next(iter(block.values())).tolist()
        for batch_rows in _batches(rows, self._job.batch_size or _DEFAULT_BATCH_SIZE):
            batch = list(self._read_pool.map(self._read, batch_rows))
            read += batch
            try:
                vectors += self._embed(batch)
            except ModelError as model_error:  # returned as a value, since Ray wraps exceptions in its own
                error = str(model_error)
                vectors += [b""] * len(batch)
        reasons = [
            item.reason or (NO_VECTOR if item.pixels is not None and not vector else "")
            for item, vector in zip(read, vectors, strict=True)
        ]
        return {
            "error": _object_column([error] * len(read)),
            "row": np.array([item.row for item in read], np.int64),
            "digest": _object_column([item.digest for item in read]),
            "width": np.array([item.width_px for item in read], np.int32),
            "height": np.array([item.height_px for item in read], np.int32),
            "reason": _object_column(reasons),
            "vector": _object_column(vectors),
            "size": np.array([item.file[0] for item in read], np.int64),
            "mtime_ns": np.array([item.file[1] for item in read], np.int64),
        }

    def _read(self, row: int) -> _ReadRow:
        source = self._job.source
        file, digest = source.fingerprint(row) or NO_FILE, b""
        try:
            data = source.read(row)
            digest = hashlib.sha256(data).digest()
            if digest in self._cached_digests:
                return _ReadRow(row, digest, file=file)
            pixels, width_px, height_px = self._spec.to_pixels(data)
        except PictureError as error:
            return _ReadRow(row, digest, error.reason)
        return _ReadRow(row, digest, "", pixels, width_px, height_px, file)

    def _embed(self, batch: list[_ReadRow]) -> list[bytes]:
        """Return the float32 vectors of a batch as bytes, b"" for rows without pixels or a unit vector."""
        pixels = {item.digest: item.pixels for item in batch if item.pixels is not None}
        if not pixels:
            return [b""] * len(batch)
        if self._model is None:
            self._model = self._job.model_source.load(threads=Threads(self._job.threads))
        vectors = self._model.embed(np.stack(list(pixels.values())))
        lengths = np.linalg.norm(vectors, axis=1)
        encoded = {
            digest: np.ascontiguousarray(vector, np.float32).tobytes()
            for digest, vector, length in zip(pixels, vectors, lengths, strict=True)
            if abs(length - 1) < UNIT_TOLERANCE
        }
        return [encoded.get(item.digest, b"") if item.pixels is not None else b"" for item in batch]


def _batches(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _object_column(values: list[Any]) -> Any:
    """Return a 1-D array of Python objects; NumPy alone might make a 2-D array or fixed-length bytes."""
    column = np.empty(len(values), object)
    column[:] = values
    return column
