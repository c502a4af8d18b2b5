"""Index folders: the snapshots in them, the pointer to the current one, and publishing.

Publishing writes the files into a hidden staging folder, syncs them to disk, opens them as a reader would,
renames the folder once, then moves the pointer file `current`. After a crash at any byte, the previous
snapshot is still current.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from vitrine.indexer.config import Layout
from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, SnapshotMissing
from vitrine.indexer.files import storage_errors
from vitrine.indexer.journal.journal import Journal
from vitrine.indexer.journal.reader import JournalReader
from vitrine.indexer.snapshot.manifest import Manifest, record_files
from vitrine.indexer.snapshot.snapshot import Snapshot, load_snapshot, open_snapshot

# Folders with this prefix in `snapshots` are being written or removed; readers ignore them.
STAGING_PREFIX = ".building-"
# The time of publishing in UTC, to the millisecond, and a random suffix.
SNAPSHOT_NAME = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{4}")


class IndexFolder:
    """An index folder: its published snapshots, one of which is current, and its journal."""

    def __init__(self, root: Path | str) -> None:
        """root: the folder, which need not exist yet."""
        self.layout = Layout(Path(root))

    @property
    def root(self) -> Path:
        """The path of the folder."""
        return self.layout.root

    def current_name(self) -> str:
        """Return the name of the current snapshot. Raises SnapshotMissing, SnapshotCorrupt."""
        try:
            name = self.layout.current.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise SnapshotMissing(
                f"no snapshot in {self.root}: run `vitrine-indexer build SOURCE --index {self.root}` first"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SnapshotCorrupt(f"{self.layout.current} cannot be read: {error}") from error
        if not SNAPSHOT_NAME.fullmatch(name):
            raise SnapshotCorrupt(
                f"{self.layout.current} does not contain the name of a snapshot:"
                " roll back to a snapshot that `vitrine-indexer history` lists"
            )
        return name

    def current_name_or_none(self) -> str | None:
        """Return the name of the current snapshot, or None before the first is published."""
        try:
            return self.current_name()
        except SnapshotMissing:
            return None

    def snapshot_names(self) -> list[str]:
        """Return the names of the published snapshots, oldest first."""
        if not self.layout.snapshots.is_dir():
            return []
        names = (entry.name for entry in self.layout.snapshots.iterdir())
        return sorted(name for name in names if SNAPSHOT_NAME.fullmatch(name))

    def snapshot_path(self, name: str) -> Path:
        """Return the folder of a published snapshot. Raises SnapshotMissing."""
        path = self.layout.snapshots / name
        if not SNAPSHOT_NAME.fullmatch(name) or not path.is_dir():
            raise SnapshotMissing(f"no snapshot {name!r} in {self.root}: see `vitrine-indexer history`")
        return path

    def open(self, name: str | None = None, *, full_check: bool = False) -> Snapshot:
        """Open a snapshot, by default the current one; see `open_snapshot`. Raises SnapshotError."""
        return open_snapshot(self.snapshot_path(name or self.current_name()), full_check=full_check)

    def manifest(self, name: str | None = None) -> Manifest:
        """Read the manifest of a snapshot, by default the current one, without opening its other files."""
        return Manifest.read(self.snapshot_path(name or self.current_name()))

    def journal(self) -> Journal:
        """Open the journal, read-only if the folder cannot be written; create it if there is none.

        A new journal goes on after the changes that the snapshots contain. Raises JournalMismatch if the
        journal ends before them.
        """
        if self.root.is_dir() and not os.access(self.root, os.W_OK):
            return JournalReader(self.layout.journal)
        journal = Journal(self.layout.journal)
        try:
            journal.begin_after(self._contained_sequence())
        except BaseException:
            journal.close()
            raise
        return journal

    def _contained_sequence(self) -> int:
        """Return the last change that any snapshot contains; unreadable manifests are left out."""
        sequences = [0]
        for name in self.snapshot_names():
            with contextlib.suppress(SnapshotError):
                manifest = self.manifest(name)
                sequences += [manifest.journal_sequence, manifest.uploads_sequence]
        return max(sequences)

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the lock of the one process that may publish; remove what killed processes left behind.

        Raises SnapshotError if another process holds the lock, StorageFull if the disk fills up inside.
        """
        with storage_errors(self.root):
            self.layout.snapshots.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.layout.build_lock, timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise SnapshotError(
                    f"another process is publishing into {self.root}: wait for it, or use another --index"
                ) from None
        try:
            for leftover in self.layout.snapshots.glob(f"{STAGING_PREFIX}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            with storage_errors(self.root):
                yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def staging(self, name: str | None = None) -> Iterator[Path]:
        """Yield an empty hidden folder for the files of a new snapshot; remove it unless published.

        name: of the snapshot, by default a new one.
        """
        path = self.layout.snapshots / f"{STAGING_PREFIX}{name or self._new_name()}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def staged_name(self, staged: Path) -> str:
        """Return the name under which a staging folder will be published."""
        return staged.name.removeprefix(STAGING_PREFIX)

    def publish(self, staged: Path, manifest: Manifest, *, set_current: bool = True) -> Snapshot:
        """Write the manifest of a staging folder, check the files as a reader would, and publish it.

        set_current: make it the current snapshot too. Call inside `publishing`. Raises SnapshotError.
        """
        for path in staged.iterdir():
            _sync(path)
        manifest = dataclasses.replace(manifest, files=record_files(staged))
        manifest.write(staged)
        _sync(staged)
        open_snapshot(staged)
        published = self.rename_staged(staged, self.staged_name(staged))
        if set_current:
            self.set_current(published.name)
        return load_snapshot(published, Manifest.read(published))

    def rename_staged(self, staged: Path, name: str) -> Path:
        """Rename a complete and checked staging folder to the snapshot `name`; return its new path."""
        _sync(staged)
        published = self.layout.snapshots / name
        staged.rename(published)
        _sync(self.layout.snapshots)
        return published

    def set_current(self, name: str) -> None:
        """Make a published snapshot the current one, durably and atomically. Raises SnapshotMissing."""
        self.snapshot_path(name)
        temporary = self.layout.current.with_name(f".current-{secrets.token_hex(4)}")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.layout.current)
        _sync(self.root)

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest snapshots until `keep` are left, never the current one; return their names."""
        current = self.current_name_or_none()
        others = [name for name in self.snapshot_names() if name != current]
        return self.remove(others[: max(len(others) - max(keep - 1, 0), 0)])

    def remove(self, names: list[str]) -> list[str]:
        """Remove snapshots; return their names.

        Each is renamed to a hidden folder first, so that readers never see a part of one.
        """
        for name in names:
            hidden = self.layout.snapshots / f"{STAGING_PREFIX}removed-{name}"
            (self.layout.snapshots / name).rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        return names

    def _new_name(self) -> str:
        """Return a name that sorts after every published one, even if the clock was set back."""
        now = dt.datetime.now(dt.UTC)
        name = ""
        newest = max(self.snapshot_names(), default="")
        while name <= newest:
            name = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z-{secrets.token_hex(2)}"
            if name <= newest:
                last = dt.datetime.strptime(newest[:15], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
                now = max(now, last) + dt.timedelta(seconds=1)
        return name


def roll_back(folder: IndexFolder, name: str | None = None) -> tuple[str, str]:
    """Make an older snapshot current; return the names of the current snapshot before and after.

    name: default the newest snapshot older than the current one. It is checked in full first. A running
    build is not waited for, because moving the pointer is atomic. Raises SnapshotError, SnapshotMissing if
    there is no older snapshot.
    """
    current = folder.current_name()
    if name is None:
        older = [candidate for candidate in folder.snapshot_names() if candidate < current]
        if not older:
            raise SnapshotMissing(f"no snapshot in {folder.root} is older than the current one, {current}")
        name = older[-1]
    folder.open(name, full_check=True)
    with storage_errors(folder.root):
        folder.set_current(name)
    return current, name


def _sync(path: Path) -> None:
    """Flush a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
