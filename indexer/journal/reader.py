"""The journal of a folder that cannot be written, such as a mount for reading: SQLite writes to read.

Read from a copy, which is taken again when the files change, so that a writer elsewhere is followed.
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
from vitrine.indexer.journal.journal import Journal, translated

Signature = tuple[tuple[int, int], ...]
# A writer may change the files between looks at them; a copy taken meanwhile is not believed.
_TRIES = 20


class JournalReader(Journal):
    """A journal that is only read. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Read the file; where there is none, there are no changes yet. Raises as Journal does."""
        self.path = path
        self._lock = threading.RLock()
        self._seen: Signature = ()
        self._version = 0
        self._connection = self._read()

    def data_version(self) -> int:
        """Return a number that changes when the files have."""
        with self._lock:
            if _signature(self.path) != self._seen:
                self._connection.close()
                self._connection = self._read()
                self._version += 1
            return self._version

    def writing(self) -> NoReturn:
        """Raise StoreUnavailable."""
        raise StoreUnavailable(f"{self.path.parent} cannot be written: nothing can be changed here")

    def _read(self) -> sqlite3.Connection:
        """Return a connection to the journal as it is now, held in memory."""
        for _ in range(_TRIES):
            before = _signature(self.path)
            found = _in_memory(self.path)
            self._seen = _signature(self.path)
            if before == self._seen:
                return found
            found.close()
        raise StoreUnavailable(f"the journal {self.path} changes faster than it can be read: try again")


def _signature(path: Path) -> Signature:
    """Return the size and time of the journal's files, (0, 0) for one that is not there."""
    found = []
    for each in (path, _log_of(path)):
        try:
            status = each.stat()
            found.append((status.st_size, status.st_mtime_ns))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _in_memory(path: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with tempfile.TemporaryDirectory(prefix="vitrine-journal-") as folder, translated(path):
        copy = Path(folder) / path.name
        for source, target in ((path, copy), (_log_of(path), _log_of(copy))):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, target)
        with Journal(copy):  # checks the format; makes an empty one where there is none
            source_connection = sqlite3.connect(copy)
            source_connection.backup(memory)
            source_connection.close()
    return memory
