"""Replication of index folders: a writer pushes its snapshots to a remote, and replicas pull them.

A remote is a folder or an fsspec URL. It is laid out as an index folder without a journal: snapshots never
change, and the file `current`, written last, names the current one. The shop rules are copied too. Replicas
are read-only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import posixpath
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from vitrine.indexer.config import KEEP_SNAPSHOTS
from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, SnapshotMissing, VitrineError
from vitrine.indexer.files import atomic_write
from vitrine.indexer.progress import Progress
from vitrine.indexer.snapshot.folder import SNAPSHOT_NAME, IndexFolder
from vitrine.indexer.snapshot.manifest import MANIFEST, FileRecord, Manifest
from vitrine.indexer.snapshot.snapshot import open_snapshot
from vitrine.indexer.source.readers import client_errors_as_os_errors
from vitrine.indexer.state.rules import parse_rules

_BLOCK_BYTES = 2**22
_CURRENT = "current"
_RULES = "rules.toml"


@dataclass(frozen=True)
class CopyReport:
    """Result of a push or a pull.

    files, bytes: transferred; 0 if the snapshot was there already. reused: files linked from older snapshots.
    """

    snapshot: str
    remote: str
    files: int
    bytes: int
    reused: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that `push --json` and `pull --json` print."""
        fields = dataclasses.asdict(self)
        return {"place" if name == "remote" else name: value for name, value in fields.items()}


class Remote:
    """A folder or fsspec URL that snapshots are pushed to.

    All methods raise SnapshotError if the remote cannot be used.
    """

    def __init__(self, location: str) -> None:
        """location: path or URL. No connection is made yet."""
        self.location = location
        with self._errors():
            self._files, self._root = fsspec.core.url_to_fs(location)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate errors of the file system into SnapshotError."""
        try:
            with client_errors_as_os_errors():
                yield
        except FileNotFoundError as error:
            raise SnapshotMissing(f"{self.location}: {error} is missing: push a snapshot there") from error
        except (OSError, ValueError, ImportError) as error:
            raise SnapshotError(f"{self.location} cannot be used: {error}") from error

    def path(self, *parts: str) -> str:
        """Return a path in the remote, in the form of its file system."""
        return posixpath.join(self._root, *parts)

    def current_name(self) -> str | None:
        """Return the name of the current snapshot, None if nothing was pushed."""
        with self._errors():
            self._files.invalidate_cache()
            if not self._files.exists(self.path(_CURRENT)):
                return None
            name = self._files.cat_file(self.path(_CURRENT)).decode("utf-8", "replace").strip()
        if not SNAPSHOT_NAME.fullmatch(name):
            raise SnapshotCorrupt(
                f"{self.location}/current does not contain the name of a snapshot: push again"
            )
        return str(name)

    def set_current(self, name: str) -> None:
        """Make a snapshot the current one, atomically."""
        self._write(_CURRENT, f"{name}\n".encode())

    def read_rules(self) -> bytes | None:
        """Return the shop rules: None if none were ever pushed, b"" if they were removed."""
        with self._errors():
            self._files.invalidate_cache()
            if not self._files.exists(self.path(_RULES)):
                return None
            return bytes(self._files.cat_file(self.path(_RULES)))

    def write_rules(self, rules: bytes) -> None:
        """Replace the shop rules, atomically."""
        self._write(_RULES, rules)

    def _write(self, name: str, data: bytes) -> None:
        with self._errors():
            if isinstance(self._files, fsspec.implementations.local.LocalFileSystem):
                with atomic_write(Path(self.path(name))) as file:
                    file.write(data)
            else:  # object stores write an object atomically
                self._files.pipe_file(self.path(name), data)

    def upload(self, source: Path, *parts: str) -> None:
        """Copy a local file to the remote."""
        with self._errors():
            self._files.makedirs(self.path(*parts[:-1]), exist_ok=True)
            self._files.put_file(str(source), self.path(*parts))

    def download(self, target: Path, *parts: str) -> str:
        """Copy a file from the remote and sync it to disk; return its SHA-256 in hex."""
        digest = hashlib.sha256()
        with self._errors(), self._files.open(self.path(*parts), "rb") as remote, target.open("wb") as file:
            while block := remote.read(_BLOCK_BYTES):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def snapshot_names(self) -> list[str]:
        """Return the names of the snapshots, complete or not, oldest first."""
        with self._errors():
            if not self._files.isdir(self.path("snapshots")):
                return []
            paths = self._files.ls(self.path("snapshots"), detail=False)
            names = map(posixpath.basename, paths)
            return sorted(name for name in names if SNAPSHOT_NAME.fullmatch(name))

    def has_file(self, *parts: str) -> bool:
        """Return True if the file exists."""
        with self._errors():
            return bool(self._files.exists(self.path(*parts)))

    def remove_snapshot(self, name: str) -> None:
        """Remove a snapshot."""
        with self._errors():
            self._files.rm(self.path("snapshots", name), recursive=True)


def push_snapshot(
    folder: IndexFolder, remote: Remote, progress: Progress, *, keep: int = KEEP_SNAPSHOTS
) -> CopyReport:
    """Copy the current snapshot and the shop rules to a remote; then remove all but `keep` snapshots there.

    The manifest is written after the files, and `current` after the manifest, so that an interrupted push
    changes nothing for replicas. Raises SnapshotError, RulesError.
    """
    started = time.monotonic()
    rules = _read_local_rules(folder)
    parse_rules(rules)
    name = folder.current_name()
    path, files, size = folder.snapshot_path(name), 0, 0
    if not remote.has_file("snapshots", name, MANIFEST):
        records = Manifest.read(path).files
        progress.start(len(records), f"files of {name}")
        for file, record in records.items():
            remote.upload(path / file, "snapshots", name, file)
            files, size = files + 1, size + record.bytes
            progress.advance(1)
        remote.upload(path / MANIFEST, "snapshots", name, MANIFEST)
        progress.done()
    if rules != (remote.read_rules() or b""):
        remote.write_rules(rules)
    if remote.current_name() != name:
        remote.set_current(name)
    others = [other for other in remote.snapshot_names() if other != name]
    for old in others[: max(len(others) - max(keep - 1, 0), 0)]:
        remote.remove_snapshot(old)
    return CopyReport(name, remote.location, files, size, 0, round(time.monotonic() - started, 3))


def pull_snapshot(
    remote: Remote, folder: IndexFolder, progress: Progress, *, keep: int = KEEP_SNAPSHOTS
) -> CopyReport:
    """Copy the current snapshot and the shop rules of a remote into an index folder; then remove old ones.

    Each file is checked against the manifest, and the whole is opened as a reader would before it is
    published: an interrupted pull changes nothing. Files that an older snapshot has too are linked, not
    copied. A running service loads the snapshot by itself. Raises SnapshotMissing, SnapshotCorrupt,
    SnapshotError, RulesError.
    """
    started = time.monotonic()
    name = remote.current_name()
    if name is None:
        raise SnapshotMissing(f"{remote.location} has no snapshot: push one with `vitrine-indexer push`")
    files = size = reused = 0
    with folder.publishing():
        if name not in folder.snapshot_names():
            with folder.staging(name) as staged:
                files, size, reused = _download_files(staged, name, remote, folder, progress)
                open_snapshot(staged)
                folder.rename_staged(staged, name)
        rules = remote.read_rules()
        if rules is not None and rules != _read_local_rules(folder):
            parse_rules(rules)
            with atomic_write(folder.layout.rules) as file:
                file.write(rules)
        if folder.current_name_or_none() != name:
            folder.set_current(name)
        folder.prune(keep)
    return CopyReport(name, remote.location, files, size, reused, round(time.monotonic() - started, 3))


def follow_remote(remote: Remote, folder: IndexFolder, progress: Progress, interval_s: float) -> None:
    """Pull every `interval_s` seconds, for ever. Errors are reported and the pull is tried again."""
    while True:
        try:
            rules = remote.read_rules()
            has_new_rules = rules is not None and rules != _read_local_rules(folder)
            if has_new_rules or remote.current_name() != folder.current_name_or_none():
                report = pull_snapshot(remote, folder, progress)
                progress.note(
                    f"snapshot {report.snapshot} is current, {report.bytes:,} bytes in {report.seconds} s"
                )
        except VitrineError as error:
            progress.note(f"trying again in {interval_s:g} s: {error}")
        time.sleep(interval_s)


def _read_local_rules(folder: IndexFolder) -> bytes:
    return folder.layout.rules.read_bytes() if folder.layout.rules.exists() else b""


def _download_files(
    staged: Path, name: str, remote: Remote, folder: IndexFolder, progress: Progress
) -> tuple[int, int, int]:
    """Download the files of a snapshot, or link those that a local snapshot has.

    Returns the number of files and of bytes downloaded, and of files linked.
    """
    remote.download(staged / MANIFEST, "snapshots", name, MANIFEST)
    manifest = Manifest.read(staged)
    if manifest.snapshot != name or any("/" in file or file.startswith(".") for file in manifest.files):
        raise SnapshotCorrupt(f"{remote.location}: {name} has the manifest of another snapshot: push again")
    local_files = _local_files(folder)
    files = size = reused = 0
    progress.start(len(manifest.files), f"files of {name}")
    for file, record in manifest.files.items():
        local = local_files.get((record.sha256, record.bytes))
        if local is not None:
            os.link(local, staged / file)
            reused += 1
        else:
            if remote.download(staged / file, "snapshots", name, file) != record.sha256:
                raise SnapshotCorrupt(
                    f"{remote.location}: {name}/{file} was damaged during the transfer: pull again"
                )
            files, size = files + 1, size + record.bytes
        progress.advance(1)
    progress.done()
    return files, size, reused


def _local_files(folder: IndexFolder) -> dict[tuple[str, int], Path]:
    """Return the files of the published snapshots by digest and size in bytes."""
    paths: dict[tuple[str, int], Path] = {}
    for name in folder.snapshot_names():
        path = folder.snapshot_path(name)
        try:
            records: dict[str, FileRecord] = Manifest.read(path).files
        except SnapshotError:
            continue
        paths |= {(record.sha256, record.bytes): path / file for file, record in records.items()}
    return paths
