"""Copies of an index folder: a writer pushes its live snapshot to a place, replicas pull it from there.

A place is a folder or any fsspec URL. What is there looks like an index folder without a journal: snapshots
never change, and the one object `current`, written last, names the live one. The rules of the shop go along.
Replicas serve for reading.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import posixpath
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, SnapshotMissing, VitrineError
from vitrine.indexer.files import whole_file
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.manifest import NAME, FileRecord, Manifest
from vitrine.indexer.snapshot.snapshot import IndexFolder, open_snapshot
from vitrine.indexer.source.readers import clients_as_os_errors
from vitrine.indexer.state.rules import parse_rules

KEEP_SNAPSHOTS = 3
_BLOCK_BYTES = 2**22
_CURRENT = "current"
_RULES = "rules.toml"
_SNAPSHOT = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{4}")


@dataclass(frozen=True)
class CopyReport:
    """What a push or a pull did. files, bytes: what went over the network; nothing when it was there."""

    snapshot: str
    place: str
    files: int
    bytes: int
    reused: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as `push --json` and `pull --json` print them."""
        return dataclasses.asdict(self)


class Place:
    """A folder or URL that snapshots are pushed to. Raises SnapshotError where it cannot be used."""

    def __init__(self, location: str) -> None:
        """Connect to nothing yet."""
        self.location = location
        with self.errors():
            self._files, self._root = fsspec.core.url_to_fs(location)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what file systems raise into SnapshotError that names the place."""
        try:
            with clients_as_os_errors():
                yield
        except FileNotFoundError as error:
            raise SnapshotMissing(f"{self.location}: {error} is missing: push a snapshot there") from error
        except (OSError, ValueError, ImportError) as error:
            raise SnapshotError(f"{self.location} cannot be used: {error}") from error

    def path(self, *parts: str) -> str:
        """Return the path of something in the place, as its file system has it."""
        return posixpath.join(self._root, *parts)

    def current(self) -> str | None:
        """Return the name of the live snapshot, None where nothing was pushed."""
        with self.errors():
            self._files.invalidate_cache()
            if not self._files.exists(self.path(_CURRENT)):
                return None
            name = self._files.cat_file(self.path(_CURRENT)).decode("utf-8", "replace").strip()
        if not _SNAPSHOT.fullmatch(name):
            raise SnapshotCorrupt(f"{self.location}/current does not name a snapshot: push again")
        return str(name)

    def make_current(self, name: str) -> None:
        """Let `current` name a snapshot, in one step."""
        self._write(_CURRENT, f"{name}\n".encode())

    def rules(self) -> bytes | None:
        """Return the rules of the shop that are there; b"" are none any more, None were never pushed."""
        with self.errors():
            self._files.invalidate_cache()
            if not self._files.exists(self.path(_RULES)):
                return None
            return bytes(self._files.cat_file(self.path(_RULES)))

    def write_rules(self, rules: bytes) -> None:
        """Replace the rules of the shop, in one step."""
        self._write(_RULES, rules)

    def _write(self, name: str, data: bytes) -> None:
        with self.errors():
            if isinstance(self._files, fsspec.implementations.local.LocalFileSystem):
                temporary = Path(self.path(f".{name}-{os.getpid()}"))
                temporary.write_bytes(data)
                temporary.replace(self.path(name))
            else:  # an object appears whole or not at all
                self._files.pipe_file(self.path(name), data)

    def upload(self, source: Path, *parts: str) -> None:
        """Copy a file to the place."""
        with self.errors():
            self._files.makedirs(self.path(*parts[:-1]), exist_ok=True)
            self._files.put_file(str(source), self.path(*parts))

    def download(self, target: Path, *parts: str) -> str:
        """Copy a file from the place, durably; return the SHA-256 of what came, in hex."""
        digest = hashlib.sha256()
        with self.errors(), self._files.open(self.path(*parts), "rb") as remote, target.open("wb") as file:
            while block := remote.read(_BLOCK_BYTES):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def names(self) -> list[str]:
        """Return the snapshots that are there, finished or not, oldest first."""
        with self.errors():
            if not self._files.isdir(self.path("snapshots")):
                return []
            found = (
                posixpath.basename(path) for path in self._files.ls(self.path("snapshots"), detail=False)
            )
            return sorted(name for name in found if _SNAPSHOT.fullmatch(name))

    def has(self, *parts: str) -> bool:
        """Whether there is such a file."""
        with self.errors():
            return bool(self._files.exists(self.path(*parts)))

    def remove(self, name: str) -> None:
        """Remove a snapshot."""
        with self.errors():
            self._files.rm(self.path("snapshots", name), recursive=True)


def push(folder: IndexFolder, place: Place, progress: Progress, *, keep: int = KEEP_SNAPSHOTS) -> CopyReport:
    """Copy the live snapshot and the rules to a place and make it current there; older ones beyond `keep` go.

    The manifest goes after the files and `current` after the manifest, so that a push that is cut off
    changes nothing for those who pull. Raises SnapshotError, RulesError.
    """
    started = time.monotonic()
    rules = _rules_of(folder)
    parse_rules(rules)
    name = folder.current()
    path, files, size = folder.path_of(name), 0, 0
    if not place.has("snapshots", name, NAME):
        records = Manifest.read(path).files
        progress.start(len(records), f"files of {name}")
        for file, record in records.items():
            place.upload(path / file, "snapshots", name, file)
            files, size = files + 1, size + record.bytes
            progress.advance(1)
        place.upload(path / NAME, "snapshots", name, NAME)
        progress.done()
    if rules != (place.rules() or b""):
        place.write_rules(rules)
    if place.current() != name:
        place.make_current(name)
    others = [each for each in place.names() if each != name]
    for old in others[: max(len(others) - max(keep - 1, 0), 0)]:
        place.remove(old)
    return CopyReport(name, place.location, files, size, 0, round(time.monotonic() - started, 3))


def pull(place: Place, folder: IndexFolder, progress: Progress, *, keep: int = KEEP_SNAPSHOTS) -> CopyReport:
    """Copy the place's live snapshot and rules into an index folder; services notice by themselves.

    Every file is checked against the manifest while it comes, and the whole is opened as a reader would
    before it is renamed into place: a pull that is cut off changes nothing. Files that an older snapshot has,
    too, are linked. Raises SnapshotMissing, SnapshotCorrupt, SnapshotError, RulesError.
    """
    started = time.monotonic()
    name = place.current()
    if name is None:
        raise SnapshotMissing(f"{place.location} has no snapshot: `vitrine-indexer push` one there")
    files = size = reused = 0
    with folder.publishing():
        if name not in folder.names():
            staged = folder.layout.snapshots / f".building-{name}"
            staged.mkdir()
            try:
                files, size, reused = _fill(staged, name, place, folder, progress)
                open_snapshot(staged)
                folder.adopt(staged, name)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
        rules = place.rules()
        if rules is not None and rules != _rules_of(folder):
            parse_rules(rules)
            with whole_file(folder.layout.rules) as file:
                file.write(rules)
        if folder.current_or_none() != name:
            folder.make_live(name)
        folder.prune(keep)
    return CopyReport(name, place.location, files, size, reused, round(time.monotonic() - started, 3))


def follow(place: Place, folder: IndexFolder, progress: Progress, every_s: float) -> None:
    """Pull again and again, for ever; what fails is noted and tried again."""
    while True:
        try:
            rules = place.rules()
            if rules not in (None, _rules_of(folder)) or place.current() != folder.current_or_none():
                report = pull(place, folder, progress)
                progress.note(
                    f"snapshot {report.snapshot} is live, {report.bytes:,} bytes in {report.seconds} s"
                )
        except VitrineError as error:
            progress.note(f"tried again in {every_s:g} s: {error}")
        time.sleep(every_s)


def _rules_of(folder: IndexFolder) -> bytes:
    return folder.layout.rules.read_bytes() if folder.layout.rules.exists() else b""


def _fill(
    staged: Path, name: str, place: Place, folder: IndexFolder, progress: Progress
) -> tuple[int, int, int]:
    """Bring the files of a snapshot together; return (files, bytes) that came and files that were here."""
    place.download(staged / NAME, "snapshots", name, NAME)
    manifest = Manifest.read(staged)
    if manifest.snapshot != name or any("/" in file or file.startswith(".") for file in manifest.files):
        raise SnapshotCorrupt(f"{place.location}: {name} holds the manifest of something else: push again")
    here = _records(folder)
    files = size = reused = 0
    progress.start(len(manifest.files), f"files of {name}")
    for file, record in manifest.files.items():
        same = here.get((record.sha256, record.bytes))
        if same is not None:
            os.link(same, staged / file)
            reused += 1
        else:
            if place.download(staged / file, "snapshots", name, file) != record.sha256:
                raise SnapshotCorrupt(f"{place.location}: {name}/{file} was damaged on its way: pull again")
            files, size = files + 1, size + record.bytes
        progress.advance(1)
    progress.done()
    return files, size, reused


def _records(folder: IndexFolder) -> dict[tuple[str, int], Path]:
    """Return the files of the snapshots that are here, by digest and size."""
    found: dict[tuple[str, int], Path] = {}
    for name in folder.names():
        path = folder.path_of(name)
        try:
            records: dict[str, FileRecord] = Manifest.read(path).files
        except SnapshotError:
            continue
        found |= {(record.sha256, record.bytes): path / file for file, record in records.items()}
    return found
