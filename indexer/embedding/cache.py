"""Cache of embeddings in one SQLite file, keyed by picture content and model. Independent of products.

Shapes: n digests of one call, D dimension. A digest is the 32-byte SHA-256 of a picture's file content.

A damaged cache never fails a build: the file is set aside and replaced by an empty one. Errors are a folder
that cannot be written (StorageFull, SnapshotError) and a vector that was present before and is missing now
(SnapshotCorrupt).
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
    is_unusable,
    transaction,
)
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.files import storage_errors

FILE_NAME = "embeddings.sqlite"

T = TypeVar("T")

_DIGESTS_PER_STATEMENT = 1000

# A file modified less than this time before it was read may change again within the resolution of its time
# stamp, so its digest is not cached (compare the "racy" entries of git's index).
_SETTLED_NS = 2_000_000_000


# The condition on the model allows SQLite to use the primary key (model, sha).
_DELETE = (
    "DELETE FROM vector WHERE id IN"
    " (SELECT vector FROM entry WHERE model IN (SELECT id FROM model) AND sha IN ({}))",
    "DELETE FROM entry WHERE model IN (SELECT id FROM model) AND sha IN ({})",
    "DELETE FROM file WHERE sha IN ({})",
)


@dataclass(frozen=True)
class CacheEntry:
    """The embedding of one picture. sha256: 32 bytes. vector: (D,) float32, unit length."""

    sha256: bytes
    width_px: int
    height_px: int
    vector: FloatArray


@dataclass(frozen=True)
class FileEntry:
    """The digest of a local file, valid while the file has this size and modification time."""

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: bytes


@dataclass(frozen=True)
class CacheStatistics:
    """Counts of a cache. vectors: number of vectors by model key. files: number of local files."""

    vectors: dict[str, int]
    files: int
    size_bytes: int


class EmbeddingCache:
    """An open embedding cache. Thread-safe; several processes may use the same file."""

    def __init__(self, folder: str | PathLike[str]) -> None:
        """Open the cache in a folder; create both if missing. Raises SnapshotError, StorageFull."""
        self._lock = threading.RLock()
        self._file = CacheFile(Path(folder) / FILE_NAME)

    def close(self) -> None:
        """Close the file. Later calls raise SnapshotError."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def sizes_px(self, model_key: str, digests: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """Return the (width, height) of each given picture that has a vector of this model, by digest."""
        query = "SELECT sha, width, height FROM entry WHERE model = ? AND sha IN ({})"

        def read(connection: sqlite3.Connection) -> dict[bytes, tuple[int, int]]:
            model, _ = _find_model(connection, model_key)
            rows = _select(connection, query, model, digests)
            return {digest: (width, height) for digest, width, height in rows}

        return self._run(read)

    def put(self, model_key: str, entries: Sequence[CacheEntry]) -> None:
        """Store entries in one durable transaction. Existing entries are not replaced.

        Raises StorageFull if no space is left, ValueError if the vectors are not all of shape (D,).
        """
        by_digest = {entry.sha256: entry for entry in entries}
        if not by_digest:
            return
        dimension = _dimension(entries)

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                model = _ensure_model(connection, model_key, dimension)
                query = "SELECT sha FROM entry WHERE model = ? AND sha IN ({})"
                present = {digest for (digest,) in _select(connection, query, model, list(by_digest))}
                new = [entry for digest, entry in by_digest.items() if digest not in present]
                (first_id,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM vector").fetchone()
                blobs = [np.ascontiguousarray(entry.vector, dtype="<f4").tobytes() for entry in new]
                connection.executemany("INSERT INTO vector VALUES (?, ?)", enumerate(blobs, first_id))
                connection.executemany(
                    "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        (model, entry.sha256, entry.width_px, entry.height_px, zlib.crc32(blob), vector_id)
                        for vector_id, (entry, blob) in enumerate(zip(new, blobs, strict=True), first_id)
                    ),
                )

        self._run(write)

    def vectors(self, model_key: str, digests: Sequence[bytes]) -> FloatArray:
        """Return the vectors of pictures, (n, D) float32, in the order of `digests`, which may repeat.

        The result is held in memory: read a few thousand at a time. (0, 0) for an unknown model and no
        digests. Raises SnapshotCorrupt if vectors are missing or damaged, and deletes the damaged ones.
        """
        query = (
            "SELECT sha, crc, data FROM entry JOIN vector ON vector.id = entry.vector"
            " WHERE model = ? AND sha IN ({})"
        )

        def read(connection: sqlite3.Connection) -> FloatArray:
            model, dimension = _find_model(connection, model_key)
            vectors = np.empty((len(digests), dimension), dtype=np.float32)
            first_positions: dict[bytes, int] = {}
            for position, digest in enumerate(digests):
                first_positions.setdefault(digest, position)
            missing = set(first_positions)
            for digest, crc, data in _select(connection, query, model, list(first_positions)):
                if len(data) == 4 * dimension and zlib.crc32(data) == crc:
                    vectors[first_positions[digest]] = np.frombuffer(data, dtype="<f4")
                    missing.discard(digest)
            if missing:
                self.delete(list(missing))
                raise SnapshotCorrupt(_missing_message(self._file.path, missing))
            for position, digest in enumerate(digests):
                if first_positions[digest] != position:
                    vectors[position] = vectors[first_positions[digest]]
            return vectors

        return self._run(read)

    def file_digest(self, path: str, size_bytes: int, mtime_ns: int) -> bytes | None:
        """Return the cached digest of a local file; None if its size or modification time differs."""
        query = "SELECT sha FROM file WHERE path = ? AND size = ? AND mtime_ns = ?"

        def read(connection: sqlite3.Connection) -> bytes | None:
            row = connection.execute(query, (path, size_bytes, mtime_ns)).fetchone()
            return None if row is None else bytes(row[0])

        return self._run(read)

    def put_files(self, files: Sequence[FileEntry]) -> None:
        """Store the digests of local files, except files modified in the last two seconds."""
        newest_ns = time.time_ns() - _SETTLED_NS
        rows = [(f.path, f.size_bytes, f.mtime_ns, f.sha256) for f in files if f.mtime_ns < newest_ns]
        if not rows:
            return

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", rows)

        self._run(write)

    def delete(self, digests: Sequence[bytes]) -> int:
        """Delete pictures of all models, overwriting their bytes on disk. Return the number of vectors."""

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("PRAGMA secure_delete = ON")
            deleted = 0
            with transaction(connection):
                for block in _blocks(digests):
                    sql = [statement.format(_placeholders(block)) for statement in _DELETE]
                    vectors, *_ = [connection.execute(statement, block) for statement in sql]
                    deleted += vectors.rowcount
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return deleted

        return self._run(write)

    def digests(self, model_key: str) -> npt.NDArray[np.uint8]:
        """Return the digests of all pictures that have a vector of this model: (n, 32), sorted."""

        def read(connection: sqlite3.Connection) -> npt.NDArray[np.uint8]:
            model, _ = _find_model(connection, model_key)
            rows = connection.execute("SELECT sha FROM entry WHERE model = ? ORDER BY sha", (model,))
            return np.frombuffer(b"".join(digest for (digest,) in rows), np.uint8).reshape(-1, 32)

        return self._run(read)

    def statistics(self) -> CacheStatistics:
        """Count the vectors of each model and the files."""
        query = (
            "SELECT key, count(entry.sha) FROM model LEFT JOIN entry ON entry.model = model.id GROUP BY key"
        )

        def read(connection: sqlite3.Connection) -> CacheStatistics:
            vectors = dict(connection.execute(query).fetchall())
            (files,) = connection.execute("SELECT count(*) FROM file").fetchone()
            return CacheStatistics(vectors, files, self._file.path.stat().st_size)

        return self._run(read)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return work(connection). If the file proves damaged, replace it by an empty one and retry once."""
        with self._lock, storage_errors(self._file.path, PURPOSE):
            try:
                return work(self._file.connection)
            except sqlite3.DatabaseError as error:
                if not is_unusable(error):
                    raise
                self._file.recreate(error)
                return work(self._file.connection)


def _dimension(entries: Sequence[CacheEntry]) -> int:
    shapes = {entry.vector.shape for entry in entries}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise ValueError("the vectors of one call must be one-dimensional and of equal length")
    return int(shape[0])


def _find_model(connection: sqlite3.Connection, key: str) -> tuple[int, int]:
    """Return the id of a model in this file and its dimension D; (-1, 0) for an unknown model."""
    row = connection.execute("SELECT id, dimension FROM model WHERE key = ?", (key,)).fetchone()
    return (-1, 0) if row is None else (row[0], row[1])


def _ensure_model(connection: sqlite3.Connection, key: str, dimension: int) -> int:
    connection.execute("INSERT OR IGNORE INTO model (key, dimension) VALUES (?, ?)", (key, dimension))
    model, stored_dimension = _find_model(connection, key)
    if stored_dimension != dimension:
        raise ValueError(f"vectors of {key} have dimension {stored_dimension} in the cache, {dimension} here")
    return model


def _missing_message(path: Path, missing: set[bytes]) -> str:
    example = min(missing).hex()
    return (
        f"{path}: {len(missing)} vector(s) that the build needs are missing or damaged"
        f" (sha256 {example[:16]}...); run the build again to embed these pictures again"
    )


def _blocks(digests: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(digests), _DIGESTS_PER_STATEMENT):
        yield digests[start : start + _DIGESTS_PER_STATEMENT]


def _placeholders(block: Sequence[bytes]) -> str:
    return ",".join("?" * len(block))


def _select(
    connection: sqlite3.Connection, query: str, model: int, digests: Sequence[bytes]
) -> Iterator[tuple[Any, ...]]:
    """Yield the result rows of a query with a placeholder for the digests, run in blocks."""
    for block in _blocks(digests):
        yield from connection.execute(query.format(_placeholders(block)), (model, *block))
