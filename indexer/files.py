"""Writing files safely: whole files under their name, full disks as errors, space taken in advance."""

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
# https://sqlite.org/rescode.html
_IOERR, _FULL, _CANTOPEN = 10, 13, 14


@contextlib.contextmanager
def storage_errors(path: Path, purpose: str = "") -> Iterator[None]:
    """Translate errors of the file system and of SQLite: StorageFull for no space, else SnapshotError.

    purpose: what the file is for, as in "the embedding cache"; part of the message.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        told = f"{purpose} at {path}" if purpose else str(path)
        if is_full(error, path):
            raise StorageFull(f"no space left to write {told}: free some and repeat the command") from error
        reason = getattr(error, "strerror", None) or error
        raise SnapshotError(f"cannot {'use' if purpose else 'write'} {told}: {reason}") from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name, in one step, when the block ends without an error.

    On an error the previous file of that name stays and no other file is left. Raises StorageFull,
    SnapshotError.
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


def is_full(error: Exception, path: Path) -> bool:
    """Return whether an error of the file system or of SQLite means that no space is left for `path`."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (_IOERR, _CANTOPEN):  # a full disk also shows as one of these
        return path.parent.is_dir() and shutil.disk_usage(path.parent).free < _ALMOST_FULL_BYTES
    return code == _FULL


def create_matrix(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create a .npy file of zeros, memory-mapped for writing, with its space already allocated.

    Writing through a mapping where there is no space kills the process. Raises OSError.
    """
    matrix: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    return matrix
