"""Full disks."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def fill_disk(path: Path, free_bytes: int = 0) -> None:
    """Write a file that takes all the space of its disk except `free_bytes`."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(path, max(path.stat().st_size - free_bytes, 0))
