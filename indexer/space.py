"""Full disks: how they show, and room that is taken before it is written to. Knows no formats."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

_LITTLE = 2**20
# https://sqlite.org/rescode.html
_IOERR, _FULL, _CANTOPEN = 10, 13, 14


def is_full(error: Exception, path: Path) -> bool:
    """Return whether an error of the file system or of SQLite means that no space is left for `path`."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A full disk also shows as an input/output error, or as a write-ahead log that cannot be opened.
    return code == _FULL or (
        code in (_IOERR, _CANTOPEN) and path.parent.is_dir() and shutil.disk_usage(path.parent).free < _LITTLE
    )


def create_matrix(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create a .npy file of zeros, mapped into memory for writing, its space taken already.

    Writing through a mapping where there is no space kills the process. Raises OSError.
    """
    matrix: np.memmap[Any, Any] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.posix_fallocate(descriptor, 0, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)
    return matrix
