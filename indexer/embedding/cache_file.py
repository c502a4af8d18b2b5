"""SQLite file of the embedding cache: its schema, its transactions, and the recovery from a damaged file."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from vitrine.indexer.files import storage_errors

_log = logging.getLogger(__name__)

_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 120
PURPOSE = "the embedding cache"  # noun phrase in error messages

# Entries are small and in a table of their own, so that a look-up of digests reads no pages of vectors.
_SCHEMA = """
CREATE TABLE model (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, dimension INTEGER NOT NULL);
CREATE TABLE vector (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE entry (
    model INTEGER NOT NULL REFERENCES model, sha BLOB NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, crc INTEGER NOT NULL, vector INTEGER NOT NULL,
    PRIMARY KEY (model, sha)
) WITHOUT ROWID;
CREATE TABLE file (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX file_sha ON file (sha);
"""


class CacheFile:
    """A connection to a valid cache file, created if missing. Not thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open the file, replacing one that cannot be used as a cache. Raises SnapshotError, StorageFull."""
        self.path = path
        with storage_errors(path, PURPOSE):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock():
                try:
                    self._connect()
                except sqlite3.DatabaseError as error:
                    if not is_unusable(error):
                        raise
                    self._set_aside(error)
                    self._connect()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def recreate(self, error: Exception) -> None:
        """Replace a file that failed while in use, unless another process has already replaced it."""
        self.connection.close()
        with self._lock():
            if self.path.exists() and self.path.stat().st_ino == self._inode:
                self._set_aside(error)
            self._connect()

    def _lock(self) -> FileLock:
        """Return the lock between processes for creating the file or setting it aside."""
        return FileLock(f"{self.path}.lock", timeout=_BUSY_TIMEOUT_S)

    def _connect(self) -> None:
        self.connection = sqlite3.connect(
            self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            self.connection.execute("PRAGMA journal_mode = WAL").fetchall()
            self.connection.execute("PRAGMA synchronous = FULL")
            _ensure_schema(self.connection)
            self._inode = self.path.stat().st_ino
        except BaseException:
            self.connection.close()
            raise

    def _set_aside(self, error: Exception) -> None:
        aside = self.path.with_name(f"{self.path.name}.broken")
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.replace(aside)
        _log.warning(
            "%s cannot be used (%s): renamed to %s and replaced by an empty cache",
            self.path,
            error,
            aside.name,
        )


class _SchemaMismatch(sqlite3.DatabaseError):
    """A valid database with a schema other than this cache's."""


def _ensure_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
    if version == 0 and tables == 0:
        with transaction(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    elif version != _SCHEMA_VERSION:
        raise _SchemaMismatch(f"schema version {version}, expected {_SCHEMA_VERSION}")


def is_unusable(error: sqlite3.DatabaseError) -> bool:
    """Return True if the file is the cause: damaged, not a database, or with another schema."""
    damaged = _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    incomplete = "no such table" in str(error) or "no such column" in str(error)
    return isinstance(error, _SchemaMismatch) or damaged or incomplete


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in one write transaction: committed durably at its end, rolled back on an exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
