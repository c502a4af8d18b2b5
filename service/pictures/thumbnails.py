"""Thumbnails on disk within a bound: the ones used longest ago leave first. Knows contents, not products.

Several processes may share the folder: files appear by rename, and each process counts what it adds itself.
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
MIME_TYPES: dict[Format, str] = {"WEBP": "image/webp", "JPEG": "image/jpeg"}
KEPT_SHARE = 0.9
RECOUNT_SHARE = 0.1


def rounded_size(size_px: int) -> int:
    """Return the allowed size next above, the largest for anything beyond."""
    return next((allowed for allowed in SIZES_PX if allowed >= size_px), SIZES_PX[-1])


class ThumbnailCache:
    """One folder of thumbnails, each named by the SHA-256 of its picture, its size and its format."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Use `folder`, or a temporary one where that cannot be written."""
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self.folder = _writable(folder)
        self._lock = threading.Lock()
        self._added = max_bytes  # nothing is known yet: count before the first one is added

    def get(self, sha256: str, size_px: int, format: Format, make: Callable[[], bytes]) -> bytes:
        """Return a thumbnail, `make` called when there is none. A full or broken disk only costs time."""
        path = self.folder / sha256[:2] / f"{sha256}-{size_px}.{format.lower()}"
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            self.misses += 1
            data = make()
            self._keep(path, data)
        else:
            self.hits += 1
        return data

    def _keep(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            log.warning("a thumbnail cannot be kept: %s", error)
            with contextlib.suppress(OSError):
                temporary.unlink()
            return
        with self._lock:
            self._added += len(data)
            if self._added > RECOUNT_SHARE * self.max_bytes:
                self._added = 0
                self._shrink()

    def _shrink(self) -> None:
        """Remove the thumbnails used longest ago until KEPT_SHARE of the bound is left."""
        found = []
        for path in self.folder.glob("*/*"):
            try:
                status = path.stat()
            except OSError:
                continue
            found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self.max_bytes:
            return
        for _, size, path in sorted(found):
            if total <= KEPT_SHARE * self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def forget(self, sha256: str) -> int:
        """Remove every thumbnail of one picture; return how many there were."""
        found = list((self.folder / sha256[:2]).glob(f"{sha256}-*"))
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    elsewhere = Path(tempfile.mkdtemp(prefix="vitrine-thumbnails-"))
    log.warning("%s cannot be written: thumbnails are kept in %s", folder, elsewhere)
    return elsewhere
