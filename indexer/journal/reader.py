"""Read-only journals, for index folders that cannot be written, such as a read-only mount.

SQLite writes beside a WAL file even to read it, so the journal is read from a copy in memory. The copy is
renewed when the files change, so that the changes of a writer elsewhere are followed.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import NoReturn

from vitrine.indexer.errors import StoreUnavailable
from vitrine.indexer.journal.journal import Journal, sqlite_errors

# (size in bytes, modification time in ns) of the file and of its write-ahead log.
Signature = tuple[tuple[int, int], ...]
# Attempts to take a copy that no writer changes meanwhile.
_ATTEMPTS = 20


class JournalReader(Journal):
    """A read-only journal. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read the file; a missing file means no changes yet. Raises as Journal does."""
        self.path = path
        self._lock = threading.RLock()
        self._signature: Signature = ()
        self._version = 0
        self._connection = self._read()

    def data_version(self) -> int:
        """Return a number that changes when the files change; read them again then."""
        with self._lock:
            if _signature(self.path) != self._signature:
                self._connection.close()
                self._connection = self._read()
                self._version += 1
            return self._version

    def check_file(self) -> None:
        """Do nothing: a replaced file is read again."""

    def checkpoint(self) -> None:
        """Do nothing: the files are not written."""

    def begin_after(self, sequence: int) -> None:
        """Do nothing: nothing is appended."""

    def transaction(self) -> NoReturn:
        """Raise StoreUnavailable."""
        raise StoreUnavailable(f"{self.path.parent} cannot be written: changes are not possible")

    def _read(self) -> sqlite3.Connection:
        """Return a connection to a copy of the journal in memory. Raises StoreUnavailable."""
        for _ in range(_ATTEMPTS):
            before = _signature(self.path)
            connection = _copy_to_memory(self.path)
            self._signature = _signature(self.path)
            if before == self._signature:
                return connection
            connection.close()
        raise StoreUnavailable(f"the journal {self.path} changes faster than it can be read: try again")


def _signature(path: Path) -> Signature:
    """Return the signature of a journal; (0, 0) for a missing file."""
    signature = []
    for file in (path, _log_path(path)):
        try:
            status = file.stat()
            signature.append((status.st_size, status.st_mtime_ns))
        except OSError:
            signature.append((0, 0))
    return tuple(signature)


def _log_path(path: Path) -> Path:
    """Return the path of the write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def _copy_to_memory(path: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with tempfile.TemporaryDirectory(prefix="vitrine-journal-") as folder, sqlite_errors(path):
        copy = Path(folder) / path.name
        for source, target in ((path, copy), (_log_path(path), _log_path(copy))):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, target)
        with Journal(copy):  # checks the format version, and creates an empty journal for a missing file
            connection = sqlite3.connect(copy)
            connection.backup(memory)
            connection.close()
    return memory
