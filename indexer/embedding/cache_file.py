"""The SQLite file behind the embedding cache: opened soundly, set aside when broken, errors translated."""

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
PURPOSE = "the embedding cache"  # in error messages

# Entries are small and apart from the vectors, so that asking what is known never reads a vector's page.
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
    """One connection to a sound cache file, which is created where there is none."""

    def __init__(self, path: Path) -> None:
        """Open, after setting aside a file that is not a sound cache. Raises SnapshotError, StorageFull."""
        self.path = path
        with storage_errors(path, PURPOSE):
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                try:
                    self._connect()
                except sqlite3.DatabaseError as error:
                    if not is_unsound(error):
                        raise
                    self._set_aside(error)
                    self._connect()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def begin_anew(self, error: Exception) -> None:
        """Replace a file found to be broken while in use, unless another process has done so already."""
        self.connection.close()
        with self._alone():
            if self.path.exists() and self.path.stat().st_ino == self._inode:
                self._set_aside(error)
            self._connect()

    def _alone(self) -> FileLock:
        """Held while the file is created or set aside: one process at a time."""
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
        _log.warning("%s cannot be used (%s): kept as %s, a new cache begins", self.path, error, aside.name)


class _WrongLayout(sqlite3.DatabaseError):
    """A sound database that is not this program's cache."""


def _ensure_schema(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()
    if version == 0 and tables == 0:
        with transaction(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    elif version != _SCHEMA_VERSION:
        raise _WrongLayout(f"layout version {version}, this program's is {_SCHEMA_VERSION}")


def is_unsound(error: sqlite3.DatabaseError) -> bool:
    """True when the file itself is at fault: damaged, not a database, or another program's."""
    broken = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    missing = "no such table" in str(error) or "no such column" in str(error)
    return isinstance(error, _WrongLayout) or _primary_code(error) in broken or missing


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, durable at the end."""
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
