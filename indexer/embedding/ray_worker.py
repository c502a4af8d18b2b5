"""What an actor does with a block of rows: read, hash, decode, embed. Knows nothing of Ray or of caches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vitrine.indexer.embedding.pipeline import NOTHING_FOUND, UNIT_TOLERANCE
from vitrine.indexer.errors import ModelError, PictureError
from vitrine.indexer.models import Model, ModelSource
from vitrine.indexer.models.runtime import Threads
from vitrine.indexer.pictures.preprocessing import Preprocessing
from vitrine.indexer.source.source import Source

# Columns by name, each with an entry for every row: row, sha, width, height, vector, reason,
# size, mtime_ns, error.
Block = dict[str, Any]
# The fingerprint of a picture that is no local file, or whose digest is not to be remembered.
NO_FILE = (-1, -1)
_BATCH = 16


@dataclass(frozen=True)
class Job:
    """What every actor needs. known: (K, 32) uint8, sorted, the digests that need no vector."""

    source: Source
    model_source: ModelSource
    known: np.ndarray[Any, Any]
    threads: int
    batch_size: int | None


class _Seen(NamedTuple):
    row: int
    sha: bytes = b""
    reason: str = ""
    pixels: Any = None
    width_px: int = 0
    height_px: int = 0
    file: tuple[int, int] = NO_FILE


class BlockEmbedder:
    """Embeds blocks of rows one after the other. The network is loaded at the first picture it must see."""

    def __init__(self, job: Job) -> None:
        """Start no network yet."""
        self._job = job
        self._spec = Preprocessing.parse(job.model_source.preprocessing)
        self._known = {bytes(digest) for digest in job.known}
        self._pool = ThreadPoolExecutor(max(job.threads, 2), "read")
        self._model: Model | None = None

    def __call__(self, block: Block) -> Block:
        """Return what became of each row of a block; vectors as bytes, b"" where there is none.

        error: why the network could not be had, "" where it could; such an error is no picture's fault.
        """
        seen: list[_Seen] = []
        vectors: list[bytes] = []
        error = ""
        rows = next(iter(block.values())).tolist()
        for batch in _batches(rows, self._job.batch_size or _BATCH):
            read = list(self._pool.map(self._read, batch))
            seen += read
            try:
                vectors += self._embed(read)
            except ModelError as problem:  # as a value: Ray passes no exception on as it was
                error = str(problem)
                vectors += [b""] * len(read)
        return {
            "error": _objects([error] * len(seen)),
            "row": np.array([each.row for each in seen], np.int64),
            "sha": _objects([each.sha for each in seen]),
            "width": np.array([each.width_px for each in seen], np.int32),
            "height": np.array([each.height_px for each in seen], np.int32),
            "reason": _objects(
                [
                    each.reason or (NOTHING_FOUND if each.pixels is not None and not vector else "")
                    for each, vector in zip(seen, vectors, strict=True)
                ]
            ),
            "vector": _objects(vectors),
            "size": np.array([each.file[0] for each in seen], np.int64),
            "mtime_ns": np.array([each.file[1] for each in seen], np.int64),
        }

    def _read(self, row: int) -> _Seen:
        source = self._job.source
        file, sha = source.fingerprint(row) or NO_FILE, b""
        try:
            data = source.read(row)
            sha = hashlib.sha256(data).digest()
            if sha in self._known:
                return _Seen(row, sha, file=file)
            pixels, width_px, height_px = self._spec.pixels(data)
        except PictureError as error:
            return _Seen(row, sha, error.reason)
        return _Seen(row, sha, "", pixels, width_px, height_px, file)

    def _embed(self, seen: list[_Seen]) -> list[bytes]:
        """Return the vectors of those that have pixels, as bytes."""
        fresh = {each.sha: each.pixels for each in seen if each.pixels is not None}
        if not fresh:
            return [b""] * len(seen)
        if self._model is None:
            self._model = self._job.model_source.load(threads=Threads(self._job.threads))
        found = self._model.embed(np.stack(list(fresh.values())))
        lengths = np.linalg.norm(found, axis=1)
        vectors = {
            sha: np.ascontiguousarray(vector, np.float32).tobytes()
            for sha, vector, length in zip(fresh, found, lengths, strict=True)
            if abs(length - 1) < UNIT_TOLERANCE
        }
        return [vectors.get(each.sha, b"") if each.pixels is not None else b"" for each in seen]


def _batches(rows: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _objects(values: list[Any]) -> Any:
    """Return a column of Python objects, whatever their lengths."""
    column = np.empty(len(values), object)
    column[:] = values
    return column
