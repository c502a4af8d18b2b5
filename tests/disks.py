"""Disks that are nearly full, for tests of what happens then."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def fill_up(path: Path, free: int = 0) -> None:
    """Write a file that takes all the space of its disk but `free` bytes."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(path, max(path.stat().st_size - free, 0))
