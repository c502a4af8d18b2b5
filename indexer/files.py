"""Safe file output: atomic writes, errors for a full disk, and files allocated in advance."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from vitrine.indexer.errors import SnapshotError, StorageFull

_ALMOST_FULL_BYTES = 2**20
# Primary result codes of SQLite: https://sqlite.org/rescode.html
_IOERR, _FULL, _CANTOPEN = 10, 13, 14


@contextlib.contextmanager
def storage_errors(path: Path, purpose: str = "") -> Iterator[None]:
    """Translate errors of the file system and of SQLite: StorageFull if no space is left, else SnapshotError.

    purpose: noun phrase for the message, such as "the embedding cache".
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        label = f"{purpose} at {path}" if purpose else str(path)
        if is_storage_full(error, path):
            raise StorageFull(
                f"no space left to write {label}: free some space and run the command again"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise SnapshotError(f"cannot {'use' if purpose else 'write'} {label}: {reason}") from error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces `path`, in one step, when the block ends without an error.

    After an error the previous file is unchanged and no other file is left. The data is synced to disk first.
    Raises StorageFull, SnapshotError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with storage_errors(path):
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def is_storage_full(error: Exception, path: Path) -> bool:
    """Return True if an error of the file system or of SQLite means that no space is left for `path`."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (_IOERR, _CANTOPEN):  # a full disk may also be reported as one of these
        return path.parent.is_dir() and shutil.disk_usage(path.parent).free < _ALMOST_FULL_BYTES
    return code == _FULL


def create_matrix(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create a .npy file of zeros, memory-mapped for writing, with its disk space already allocated.

    Without the allocation, writing through the mapping to a full disk kills the process (SIGBUS). Raises
    OSError.
    """
    matrix: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    return matrix
