"""Manifests: the description and the file checksums of a snapshot, one JSON file each."""

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
MANIFEST = "manifest.json"
# Larger files are checked by a sample of their blocks when a snapshot is opened.
FULL_CHECK_MAX_BYTES = 256 * 2**20
_SAMPLE_COUNT = 64
_SAMPLE_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size and checksums of one file of a snapshot.

    sha256: digest of all bytes. sampled: digest of evenly spaced blocks, for a quick check at opening.
    """

    bytes: int
    sha256: str
    sampled: str


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The network that computed the vectors. handle: see vitrine.indexer.models."""

    name: str
    handle: str
    digest: str
    preprocessing: str
    dimension: int

    @property
    def key(self) -> str:
        """The cache key of vectors of this network, as `vitrine.indexer.models.ModelSource.key`."""
        return f"{self.name}|{self.digest}|{self.preprocessing}"


@dataclass(frozen=True)
class Manifest:
    """The description of a snapshot; its fields are stored under their own names.

    products, deleted, failed, categories: counts. vector_dtype: of the stored vectors. recipe, transform,
    build: the records of those stages. latency: of a search, in ms. journal_sequence: the last change that
    the snapshot contains; uploads_sequence: the same for uploads. kind: "build", "compact" or "purge".
    parent: the snapshot that was current before.
    """

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

    def derive(self, snapshot: str, kind: str, **changes: Any) -> Manifest:
        """Return the manifest of a new snapshot derived from this one. changes: its other fields."""
        built_at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return dataclasses.replace(
            self, snapshot=snapshot, built_at=built_at, kind=kind, parent=self.snapshot, **changes
        )

    def write(self, folder: Path) -> None:
        """Write manifest.json, with a checksum of its content, and flush it to disk."""
        body = dataclasses.asdict(self)
        body["checksum"] = _checksum(body)
        path = folder / MANIFEST
        with path.open("w", encoding="utf-8") as file:
            json.dump(body, file, ensure_ascii=False, indent=1, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read manifest.json. Raises FormatUnsupported or SnapshotCorrupt."""
        path = folder / MANIFEST
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            version = body["format_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SnapshotCorrupt(
                f"{path} is missing or not a manifest ({error}): roll back to another snapshot or build again"
            ) from error
        if version != FORMAT_VERSION:
            raise FormatUnsupported(
                f"{path} has snapshot format {version}, but this version of Vitrine reads {FORMAT_VERSION}: "
                "build again with this version, or use the version that wrote it"
            )
        if body.pop("checksum", None) != _checksum(body):
            raise SnapshotCorrupt(
                f"{path} was altered after it was published: roll back to another snapshot, or build again"
            )
        body["model"] = ModelRecord(**body["model"])
        body["files"] = {name: FileRecord(**record) for name, record in body["files"].items()}
        return cls(**body)


def _checksum(body: dict[str, Any]) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Return the records of all files in a folder except the manifest; several are hashed at a time."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != MANIFEST)
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(names, pool.map(lambda name: _record(folder / name), names), strict=True))


def check_files(folder: Path, files: dict[str, FileRecord], *, full: bool = False) -> None:
    """Raise SnapshotCorrupt unless each file has the recorded size and checksum.

    full: hash every byte. By default only a sample of files above FULL_CHECK_MAX_BYTES is hashed, so that
    a large snapshot opens in well under a second.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        for problem in pool.map(lambda item: _find_problem(folder / item[0], item[1], full), files.items()):
            if problem:
                raise SnapshotCorrupt(f"{problem}: roll back to another snapshot or build again")


def _find_problem(path: Path, record: FileRecord, full: bool) -> str | None:
    """Return an error message, or None for a file that agrees with its record."""
    try:
        size = path.stat().st_size
        if size != record.bytes:
            return f"{path} has {size} bytes instead of the {record.bytes} in its manifest"
        if full or size <= FULL_CHECK_MAX_BYTES:
            matches = _digest(_all_blocks(path)) == record.sha256
        else:
            matches = _digest(_sample_blocks(path, size)) == record.sampled
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return None if matches else f"{path} does not have the checksum in its manifest"


def _record(path: Path) -> FileRecord:
    size = path.stat().st_size
    return FileRecord(size, _digest(_all_blocks(path)), _digest(_sample_blocks(path, size)))


def _digest(blocks: Iterator[bytes]) -> str:
    sha256 = hashlib.sha256()
    for block in blocks:
        sha256.update(block)
    return sha256.hexdigest()


def _all_blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(2**20):
            yield block


def _sample_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield evenly spaced blocks, the first and the last block of the file included."""
    with path.open("rb") as file:
        last = max(size - _SAMPLE_BYTES, 0)
        for number in range(_SAMPLE_COUNT + 1):
            file.seek(last * number // _SAMPLE_COUNT)
            yield file.read(_SAMPLE_BYTES)
