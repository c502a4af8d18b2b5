"""Settings shared by indexer and service: the paths of an index folder, and parsers of setting values.

Reads no files.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Values of environment variables that mean true.
TRUE_VALUES = frozenset({"1", "true", "yes", "on"})
DEFAULT_INDEX = "data/index"
# Published snapshots that an index folder or a remote keeps by default.
KEEP_SNAPSHOTS = 3


def resolve_index_folder(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the index folder: `path`, else $VITRINE_INDEX, else data/index."""
    return Path(path or os.environ.get("VITRINE_INDEX") or DEFAULT_INDEX)


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the files and folders inside one index folder."""

    root: Path

    @property
    def current(self) -> Path:
        """Pointer: a text file with the name of the current snapshot."""
        return self.root / "current"

    @property
    def snapshots(self) -> Path:
        """Folder with one folder for each published snapshot, and hidden ones for those being written."""
        return self.root / "snapshots"

    @property
    def journal(self) -> Path:
        """SQLite file with the changes made since the snapshot."""
        return self.root / "journal.sqlite"

    @property
    def rules(self) -> Path:
        """TOML file with the shop rules, edited by hand."""
        return self.root / "rules.toml"

    @property
    def cache(self) -> Path:
        """Folder of the embedding cache, which all builds share."""
        return self.root / "cache"

    @property
    def uploads(self) -> Path:
        """Folder of pictures uploaded through the service, each named by its SHA-256."""
        return self.root / "uploads"

    @property
    def build_lock(self) -> Path:
        """Lock file, held by the one process that publishes."""
        return self.root / "build.lock"


_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b?|b)?\s*$", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int:
    """Return the number of bytes in a size such as "4GiB", "500 MB" or "1024".

    Raises ValueError if `text` is not a size above zero.
    """
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a size such as 4GiB or 500MB")
    unit = (match[2] or "").lower().rstrip("b")
    size = int(float(match[1]) * (_BINARY_UNITS.get(unit) or _UNITS[unit]))
    if size < 1:
        raise ValueError(f"{text!r} is not a size above zero")
    return size
