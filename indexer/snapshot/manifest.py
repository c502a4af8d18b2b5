"""The manifest: what a snapshot is made of, and the checksums that prove it. One JSON file."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitrine.indexer.errors import FormatUnsupported, SnapshotCorrupt

FORMAT_VERSION = 1
NAME = "manifest.json"
FULL_CHECK_MAX_BYTES = 256 * 2**20
_SAMPLES, _SAMPLE_BYTES = 64, 2**16


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file of a snapshot. `sampled` is the digest of 64 blocks of it, for a quick check at opening."""

    bytes: int
    sha256: str
    sampled: str


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """Which network made the vectors; see vitrine.indexer.models for `handle`."""

    name: str
    handle: str
    digest: str
    preprocessing: str
    dimension: int

    @property
    def key(self) -> str:
        """What vectors of this network are cached under, as `vitrine.indexer.models.ModelSource.key`."""
        return f"{self.name}|{self.digest}|{self.preprocessing}"


@dataclass(frozen=True)
class Manifest:
    """Everything a reader must know before it trusts the files beside it (design invariant 3)."""

    snapshot: str
    built_at: str
    vitrine: str
    source: str
    products: int
    deleted: int
    failed: int
    categories: int
    model: ModelRecord
    dimension: int
    vector_dtype: str
    transform: dict[str, Any]
    recipe: dict[str, Any]
    recall_at_10: float
    latency: dict[str, float]
    journal_sequence: int
    uploads_sequence: int
    kind: str = "build"
    parent: str | None = None
    build: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def followed_by(self, snapshot: str, kind: str, **changes: Any) -> Manifest:
        """Return the manifest of a snapshot that is made of this one now; `changes` are its other fields."""
        built_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return dataclasses.replace(
            self, snapshot=snapshot, built_at=built_at, kind=kind, parent=self.snapshot, **changes
        )

    def write(self, folder: Path) -> None:
        """Write manifest.json with a checksum over its own content."""
        body = dataclasses.asdict(self)
        body["checksum"] = _checksum(body)
        path = folder / NAME
        with path.open("w", encoding="utf-8") as file:
            json.dump(body, file, ensure_ascii=False, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read manifest.json. Raises FormatUnsupported or SnapshotCorrupt."""
        path = folder / NAME
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            version = body["format_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SnapshotCorrupt(
                f"{path} is missing or not a manifest ({error}): roll back to another snapshot or build again"
            ) from error
        if version != FORMAT_VERSION:
            raise FormatUnsupported(
                f"{path} has snapshot format {version}; this program reads {FORMAT_VERSION}: "
                "build again with this version, or use the one that wrote it"
            )
        if body.pop("checksum", None) != _checksum(body):
            raise SnapshotCorrupt(f"{path} was altered after it was published: roll back or build again")
        body["model"] = ModelRecord(**body["model"])
        body["files"] = {name: FileRecord(**record) for name, record in body["files"].items()}
        return cls(**body)


def _checksum(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Return the records of every file in a folder but the manifest, hashing several at a time."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != NAME)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(names, pool.map(lambda name: _record(folder / name), names), strict=True))


def check_files(folder: Path, files: dict[str, FileRecord], *, full: bool = False) -> None:
    """Raise SnapshotCorrupt unless each file has the size and content its record says.

    full: hash every byte. Otherwise files above 256 MiB are checked by their samples, so that opening a
    large snapshot takes well under a second.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        for problem in pool.map(lambda item: _problem(folder / item[0], item[1], full), files.items()):
            if problem:
                raise SnapshotCorrupt(f"{problem}: roll back to another snapshot or build again")


def _problem(path: Path, record: FileRecord, full: bool) -> str | None:
    try:
        size = path.stat().st_size
        if size != record.bytes:
            return f"{path} has {size} bytes, its manifest says {record.bytes}"
        if full or size <= FULL_CHECK_MAX_BYTES:
            same = _digest(_whole(path)) == record.sha256
        else:
            same = _digest(_samples(path, size)) == record.sampled
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return None if same else f"{path} does not have the checksum its manifest says"


def _record(path: Path) -> FileRecord:
    size = path.stat().st_size
    return FileRecord(size, _digest(_whole(path)), _digest(_samples(path, size)))


def _digest(parts: Iterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
    return sha256.hexdigest()


def _whole(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(2**20):
            yield block


def _samples(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        last = max(size - _SAMPLE_BYTES, 0)
        for number in range(_SAMPLES + 1):
            file.seek(last * number // _SAMPLES)
            yield file.read(_SAMPLE_BYTES)
