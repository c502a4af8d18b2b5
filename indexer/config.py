"""Where things are and how they are named, as small immutable objects. Reads no files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# How a variable says yes.
TRUE = frozenset({"1", "true", "yes", "on"})
DEFAULT_INDEX = "data/index"


def index_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Return the index folder: the one given, else $VITRINE_INDEX, else data/index."""
    return Path(given or os.environ.get("VITRINE_INDEX") or DEFAULT_INDEX)


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths inside one index folder."""

    root: Path

    @property
    def current(self) -> Path:
        """Text file with the name of the live snapshot."""
        return self.root / "current"

    @property
    def snapshots(self) -> Path:
        """One folder a published snapshot, and hidden ones that are being written."""
        return self.root / "snapshots"

    @property
    def journal(self) -> Path:
        """SQLite file of live changes."""
        return self.root / "journal.sqlite"

    @property
    def rules(self) -> Path:
        """TOML file of the shop's rules, written by people."""
        return self.root / "rules.toml"

    @property
    def cache(self) -> Path:
        """Embeddings by content, shared by all builds."""
        return self.root / "cache"

    @property
    def uploads(self) -> Path:
        """Pictures that came in through the service, each named by its SHA-256."""
        return self.root / "uploads"

    @property
    def build_lock(self) -> Path:
        """Held by the one process that may publish."""
        return self.root / "build.lock"


_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b?|b)?\s*$", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def parse_bytes(text: str) -> int:
    """Return the number of bytes that `text` names: "4GiB", "500 MB", "1024".

    Raises ValueError when it is not a size or is zero.
    """
    match = _SIZE.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a size such as 4GiB or 500MB")
    unit = (match[2] or "").lower().rstrip("b")
    size = int(float(match[1]) * (_BINARY_UNITS.get(unit) or _UNITS[unit]))
    if size < 1:
        raise ValueError(f"{text!r} is not a size above zero")
    return size
