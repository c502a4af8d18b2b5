"""Thumbnail cache on disk with a size limit; the least recently used leave first. Independent of products.

Several processes may share the folder: files appear by rename, and each process counts the bytes it adds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Format = Literal["WEBP", "JPEG"]

log = logging.getLogger(__name__)
SIZES_PX = (64, 128, 256, 384, 512, 1024)
# Shares of the size limit: what a clean-up leaves, and what is added before the folder is measured again.
KEPT_SHARE = 0.9
RECOUNT_SHARE = 0.1


def rounded_size(size_px: int) -> int:
    """Return the smallest allowed size of at least `size_px`, or the largest allowed size."""
    return next((allowed for allowed in SIZES_PX if allowed >= size_px), SIZES_PX[-1])


class ThumbnailCache:
    """A folder of thumbnails, each named by the SHA-256 of its picture, its size and its format."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Use `folder`, or a temporary one if it is not writable. max_bytes: of all thumbnails."""
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self.folder = _writable_folder(folder)
        self._lock = threading.Lock()
        self._added_bytes = max_bytes  # the folder is measured before the first thumbnail is added

    def get(self, sha256: str, size_px: int, format: Format, make: Callable[[], bytes]) -> bytes:
        """Return a thumbnail, calling `make` if it is missing. A full or failing disk only costs time."""
        path = self.folder / sha256[:2] / f"{sha256}-{size_px}.{format.lower()}"
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            self.misses += 1
            data = make()
            self._write(path, data)
        else:
            self.hits += 1
        return data

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            log.warning("a thumbnail cannot be written: %s", error)
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        with self._lock:
            self._added_bytes += len(data)
            if self._added_bytes > RECOUNT_SHARE * self.max_bytes:
                self._added_bytes = 0
                self._remove_oldest()

    def _remove_oldest(self) -> None:
        """Remove the least recently used thumbnails down to KEPT_SHARE of the limit, if it is exceeded."""
        files = []
        for path in self.folder.glob("*/*"):
            try:
                status = path.stat()
            except OSError:
                continue
            files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        if total <= self.max_bytes:
            return
        for _, size, path in sorted(files):
            if total <= KEPT_SHARE * self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size


def _writable_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    temporary = Path(tempfile.mkdtemp(prefix="vitrine-thumbnails-"))
    log.warning("%s is not writable: thumbnails are kept in %s", folder, temporary)
    return temporary
