"""Embeddings computed before, by content and model, in one SQLite file. Knows nothing of products.

A cache is never a reason to fail: a file that is not a sound database is set aside and a new one begun.
Only a folder that cannot be written (StorageFull, SnapshotError) and a vector that was promised and is gone
(SnapshotCorrupt) are errors.
"""

import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from vitrine.indexer.arrays import FloatArray
from vitrine.indexer.embedding.cache_file import (
    PURPOSE,
    CacheFile,
    is_unsound,
    transaction,
)
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.files import storage_errors

FILE_NAME = "embeddings.sqlite"

T = TypeVar("T")

_BLOCK = 1000  # digests in one statement

# A file changed within this time of being read may change again without its time stamp moving, so what was
# read is not trusted later (the "racy" entries of git's index).
_SETTLED_NS = 2_000_000_000


# Naming the models lets the primary key (model, sha) serve.
_FORGET = (
    "DELETE FROM vector WHERE id IN"
    " (SELECT vector FROM entry WHERE model IN (SELECT id FROM model) AND sha IN ({}))",
    "DELETE FROM entry WHERE model IN (SELECT id FROM model) AND sha IN ({})",
    "DELETE FROM file WHERE sha IN ({})",
)


@dataclass(frozen=True)
class CacheEntry:
    """What one model made of one picture. sha256: 32 bytes; vector: (D,) float32, unit length."""

    sha256: bytes
    width_px: int
    height_px: int
    vector: FloatArray


@dataclass(frozen=True)
class FileEntry:
    """The content of one local file when it had this size in bytes and modification time in ns."""

    path: str
    size: int
    mtime_ns: int
    sha256: bytes


@dataclass(frozen=True)
class CacheStatistics:
    """vectors: how many by model key; files: how many local files are remembered; size of the file."""

    vectors: dict[str, int]
    files: int
    size_bytes: int


class EmbeddingCache:
    """One open cache. Safe to use from several threads; several processes may share the file."""

    def __init__(self, folder: str | PathLike[str]) -> None:
        """Open the cache in this folder, creating both. Raises SnapshotError where they cannot be written."""
        self._lock = threading.RLock()
        self._file = CacheFile(Path(folder) / FILE_NAME)

    @classmethod
    def open(cls, folder: str | PathLike[str]) -> "EmbeddingCache":
        """Same as the constructor."""
        return cls(folder)

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def known(self, model_key: str, shas: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return the (width, height) in px of every asked picture that this model has embedded."""
        query = "SELECT sha, width, height FROM entry WHERE model = ? AND sha IN ({})"

        def read(connection: sqlite3.Connection) -> dict[bytes, tuple[int, int]]:
            model, _ = _model(connection, model_key)
            rows = _in_blocks(connection, query, model, shas)
            return {sha: (width, height) for sha, width, height in rows}

        return self._run(read)

    def put(self, model_key: str, entries: Sequence[CacheEntry]) -> None:
        """Keep these, all or none, durable on return. What is already there stays as it is.

        Raises StorageFull when there is no space; ValueError when the vectors are not all (D,).
        """
        fresh = {entry.sha256: entry for entry in entries}
        if not fresh:
            return
        dimension = _dimension(entries)

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                model = _ensure_model(connection, model_key, dimension)
                query = "SELECT sha FROM entry WHERE model = ? AND sha IN ({})"
                present = {sha for (sha,) in _in_blocks(connection, query, model, list(fresh))}
                new = [entry for sha, entry in fresh.items() if sha not in present]
                (first,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM vector").fetchone()
                blobs = [np.ascontiguousarray(entry.vector, dtype="<f4").tobytes() for entry in new]
                connection.executemany("INSERT INTO vector VALUES (?, ?)", enumerate(blobs, first))
                connection.executemany(
                    "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (model, entry.sha256, entry.width_px, entry.height_px, zlib.crc32(blob), row)
                        for row, (entry, blob) in enumerate(zip(new, blobs, strict=True), first)
                    ),
                )

        self._run(write)

    def vectors(self, model_key: str, shas: Sequence[bytes]) -> FloatArray:
        """Return (n, D) float32 in the order asked; the same digest may be asked twice.

        Ask for a few thousand at a time: the answer is held in memory. (0, 0) for a model never seen and
        nothing asked. Raises SnapshotCorrupt naming what is missing or damaged; damaged ones are dropped.
        """
        query = (
            "SELECT sha, crc, data FROM entry JOIN vector ON vector.id = entry.vector"
            " WHERE model = ? AND sha IN ({})"
        )

        def read(connection: sqlite3.Connection) -> FloatArray:
            model, dimension = _model(connection, model_key)
            out = np.empty((len(shas), dimension), dtype=np.float32)
            places: dict[bytes, int] = {}
            for place, sha in enumerate(shas):
                places.setdefault(sha, place)
            missing = set(places)
            for sha, crc, data in _in_blocks(connection, query, model, list(places)):
                if len(data) == 4 * dimension and zlib.crc32(data) == crc:
                    out[places[sha]] = np.frombuffer(data, dtype="<f4")
                    missing.discard(sha)
            if missing:
                self.forget(list(missing))
                raise SnapshotCorrupt(_missing_message(self._file.path, missing))
            for place, sha in enumerate(shas):
                if places[sha] != place:
                    out[place] = out[places[sha]]
            return out

        return self._run(read)

    def file_sha(self, path: str, size: int, mtime_ns: int) -> bytes | None:
        """Return the digest of this local file if it was remembered with exactly this size and time."""
        query = "SELECT sha FROM file WHERE path = ? AND size = ? AND mtime_ns = ?"

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(query, (path, size, mtime_ns)).fetchone()
            return None if row is None else bytes(row[0])

        return self._run(read)

    def remember_files(self, files: Sequence[FileEntry]) -> None:
        """Keep what these local files contained. Files changed in the last two seconds are left out."""
        newest = time.time_ns() - _SETTLED_NS
        rows = [(f.path, f.size, f.mtime_ns, f.sha256) for f in files if f.mtime_ns < newest]
        if not rows:
            return

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", rows)

        self._run(write)

    def forget(self, shas: Sequence[bytes]) -> int:
        """Remove these pictures for every model, overwriting their bytes on disk; return vectors removed."""

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("PRAGMA secure_delete = ON")
            removed = 0
            with transaction(connection):
                for block in _blocks(shas):
                    vectors, *_ = (connection.execute(s.format(_marks(block)), block) for s in _FORGET)
                    removed += vectors.rowcount
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return removed

        return self._run(write)

    def digests(self, model_key: str) -> npt.NDArray[np.uint8]:
        """Return (n, 32), the digest of every picture that this model has embedded."""

        def read(connection: sqlite3.Connection) -> npt.NDArray[np.uint8]:
            model, _ = _model(connection, model_key)
            rows = connection.execute("SELECT sha FROM entry WHERE model = ? ORDER BY sha", (model,))
            return np.frombuffer(b"".join(sha for (sha,) in rows), np.uint8).reshape(-1, 32)

        return self._run(read)

    def statistics(self) -> CacheStatistics:
        """Count what is kept."""
        query = (
            "SELECT key, count(entry.sha) FROM model LEFT JOIN entry ON entry.model = model.id GROUP BY key"
        )

        def read(connection: sqlite3.Connection) -> CacheStatistics:
            vectors = dict(connection.execute(query).fetchall())
            (files,) = connection.execute("SELECT count(*) FROM file").fetchone()
            return CacheStatistics(vectors, files, self._file.path.stat().st_size)

        return self._run(read)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do it; once more on a new file if this one turns out not to be sound."""
        with self._lock, storage_errors(self._file.path, PURPOSE):
            try:
                return work(self._file.connection)
            except sqlite3.DatabaseError as error:
                if not is_unsound(error):
                    raise
                self._file.begin_anew(error)
                return work(self._file.connection)


def _dimension(entries: Sequence[CacheEntry]) -> int:
    shapes = {entry.vector.shape for entry in entries}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise ValueError("the vectors of one put are one-dimensional and of one length")
    return int(shape[0])


def _model(connection: sqlite3.Connection, key: str) -> tuple[int, int]:
    """Return the model's number in this file and its dimension; (-1, 0) for one never seen."""
    row = connection.execute("SELECT id, dimension FROM model WHERE key = ?", (key,)).fetchone()
    return (-1, 0) if row is None else (row[0], row[1])


def _ensure_model(connection: sqlite3.Connection, key: str, dimension: int) -> int:
    connection.execute("INSERT OR IGNORE INTO model (key, dimension) VALUES (?, ?)", (key, dimension))
    model, kept = _model(connection, key)
    if kept != dimension:
        raise ValueError(f"vectors of {key} have {kept} numbers in the cache, {dimension} here")
    return model


def _missing_message(path: Path, missing: set[bytes]) -> str:
    example = min(missing).hex()
    return (
        f"{path}: {len(missing)} vector(s) that the build counted on are missing or damaged"
        f" (sha256 {example[:16]}...); run the build again to embed them anew"
    )


def _blocks(shas: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(shas), _BLOCK):
        yield shas[start : start + _BLOCK]


def _marks(block: Sequence[bytes]) -> str:
    return ",".join("?" * len(block))


def _in_blocks(
    connection: sqlite3.Connection, query: str, model: int, shas: Sequence[bytes]
) -> Iterator[tuple[Any, ...]]:
    for block in _blocks(shas):
        yield from connection.execute(query.format(_marks(block)), (model, *block))
