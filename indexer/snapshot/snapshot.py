"""Snapshots: immutable builds in an index folder. Owns how one is published, opened, made live and pruned.

Publishing writes into a hidden sibling, syncs it, opens it as a reader would, renames it once, then moves the
pointer file `current`. A crash at any byte leaves the old snapshot live.
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
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from filelock import FileLock, Timeout

from vitrine.indexer.arrays import StoredVectors
from vitrine.indexer.config import Layout
from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, SnapshotMissing
from vitrine.indexer.files import storage_errors
from vitrine.indexer.journal.journal import Journal
from vitrine.indexer.journal.reader import JournalReader
from vitrine.indexer.products.table import Table
from vitrine.indexer.products.text_index import TextIndex
from vitrine.indexer.recipes import VectorIndex
from vitrine.indexer.snapshot.confidence import Confidence
from vitrine.indexer.snapshot.manifest import Manifest, check_files, record_files
from vitrine.indexer.transform.transform import Transform

TABLE = "table.parquet"
VECTORS = "vectors.npy"
INDEX = "index.faiss"
FAILURES = "failures.parquet"
TRANSFORM = "transform.npz"
TEXT = "text.npz"
CONFIDENCE = "confidence.npz"
_STAGING_PREFIX = ".building-"
_NAME = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{4}")


@dataclass(frozen=True)
class Snapshot:
    """One opened snapshot: everything in it agrees, or it would not have opened.

    confidence: None for one that was written before scores were calibrated.
    """

    path: Path
    manifest: Manifest
    table: Table
    vectors: StoredVectors
    index: VectorIndex
    transform: Transform
    confidence: Confidence | None = None

    @property
    def name(self) -> str:
        """The snapshot's name, which sorts by the time it was made."""
        return self.manifest.snapshot

    @cached_property
    def text(self) -> TextIndex:
        """The words of names, ids and categories."""
        return TextIndex.load(self.path / TEXT)


class IndexFolder:
    """An index folder: its snapshots and which of them is live."""

    def __init__(self, root: Path | str) -> None:
        """Take a folder that may not exist yet."""
        self.layout = Layout(Path(root))

    @property
    def root(self) -> Path:
        """The folder."""
        return self.layout.root

    def current(self) -> str:
        """Return the name of the live snapshot. Raises SnapshotMissing."""
        try:
            name = self.layout.current.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            raise SnapshotMissing(
                f"no snapshot in {self.root}: run `vitrine-indexer build SOURCE --index {self.root}` first"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SnapshotCorrupt(f"{self.layout.current} cannot be read: {error}") from error
        if not _NAME.fullmatch(name):
            raise SnapshotCorrupt(
                f"{self.layout.current} does not name a snapshot: roll back to one of `history`"
            )
        return name

    def current_or_none(self) -> str | None:
        """Return the name of the live snapshot, or None where nothing was published yet."""
        try:
            return self.current()
        except SnapshotMissing:
            return None

    def names(self) -> list[str]:
        """Return the names of the published snapshots, oldest first."""
        if not self.layout.snapshots.is_dir():
            return []
        return sorted(entry.name for entry in self.layout.snapshots.iterdir() if _NAME.fullmatch(entry.name))

    def path_of(self, name: str) -> Path:
        """Return the folder of a published snapshot. Raises SnapshotMissing."""
        path = self.layout.snapshots / name
        if not _NAME.fullmatch(name) or not path.is_dir():
            raise SnapshotMissing(f"no snapshot {name!r} in {self.root}: see `vitrine-indexer history`")
        return path

    def open(self, name: str | None = None, *, full_check: bool = False) -> Snapshot:
        """Open the live snapshot, or the one named. Raises SnapshotError where anything does not agree."""
        return open_snapshot(self.path_of(name or self.current()), full_check=full_check)

    def manifest(self, name: str | None = None) -> Manifest:
        """Read the manifest of the live snapshot, or of the one named, and no other file of it."""
        return Manifest.read(self.path_of(name or self.current()))

    def journal(self) -> Journal:
        """Open the journal of this folder, made where there is none; to read only if need be."""
        if self.root.is_dir() and not os.access(self.root, os.W_OK):
            return JournalReader(self.layout.journal)
        return Journal(self.layout.journal)

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Hold the folder for one build or compaction; sweep what killed ones left.

        Raises SnapshotError when another process holds it, StorageFull when the disk fills up inside.
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
            for left in self.layout.snapshots.glob(f"{_STAGING_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            with storage_errors(self.root):
                yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty hidden folder to write a candidate in; it is gone afterwards unless published."""
        path = self.layout.snapshots / f"{_STAGING_PREFIX}{self._new_name()}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def name_of(self, staged: Path) -> str:
        """Return the name that a staged folder will be published under."""
        return staged.name.removeprefix(_STAGING_PREFIX)

    def publish(self, staged: Path, manifest: Manifest, *, live: bool = True) -> Snapshot:
        """Seal a staged folder with its manifest, check it as a reader would, and make it live.

        live=False leaves the pointer where it is. Call inside `publishing`.
        """
        for path in staged.iterdir():
            _sync(path)
        manifest = _with_files(manifest, staged)
        manifest.write(staged)
        _sync(staged)
        open_snapshot(staged)
        final = self.adopt(staged, self.name_of(staged))
        if live:
            self.make_live(final.name)
        return _open_checked(final, Manifest.read(final))

    def adopt(self, staged: Path, name: str) -> Path:
        """Give a staged folder, sealed and checked, its name; return where it is now."""
        _sync(staged)
        final = self.layout.snapshots / name
        staged.rename(final)
        _sync(self.layout.snapshots)
        return final

    def make_live(self, name: str) -> None:
        """Move the pointer to a published snapshot, durably and in one step."""
        self.path_of(name)
        temporary = self.layout.current.with_name(f".current-{secrets.token_hex(4)}")
        with temporary.open("w", encoding="utf-8") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.layout.current)
        _sync(self.root)

    def prune(self, keep: int) -> list[str]:
        """Remove the oldest snapshots beyond `keep`, never the live one. Returns the removed names."""
        live = self.current_or_none()
        candidates = [name for name in self.names() if name != live]
        return self.remove(candidates[: max(len(candidates) - max(keep - 1, 0), 0)])

    def remove(self, names: list[str]) -> list[str]:
        """Remove snapshots; each is renamed out of sight first, so that none is ever half there."""
        for name in names:
            hidden = self.layout.snapshots / f"{_STAGING_PREFIX}removed-{name}"
            (self.layout.snapshots / name).rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        return names

    def _new_name(self) -> str:
        """Return a name that sorts after every published one, even when the clock was set back."""
        stamp = dt.datetime.now(dt.UTC)
        name = ""
        newest = max(self.names(), default="")
        while name <= newest:
            name = f"{stamp:%Y%m%dT%H%M%S}{stamp.microsecond // 1000:03d}Z-{secrets.token_hex(2)}"
            if name <= newest:
                last = dt.datetime.strptime(newest[:15], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
                stamp = max(stamp, last) + dt.timedelta(seconds=1)
        return name


def open_snapshot(path: Path, *, full_check: bool = False) -> Snapshot:
    """Open a snapshot folder and check that its files agree with its manifest and with each other.

    full_check: hash every byte of files of any size. Raises FormatUnsupported or SnapshotCorrupt.
    """
    manifest = Manifest.read(path)
    check_files(path, manifest.files, full=full_check)
    return _open_checked(path, manifest)


def _open_checked(path: Path, manifest: Manifest) -> Snapshot:
    """Open files whose checksums are known to be right; what they hold must still agree."""
    table = Table.read(path / TABLE)
    vectors = _open_vectors(path / VECTORS)
    index = VectorIndex.open(path / INDEX, vectors, manifest.recipe.get("parameters", {}))
    counts = {
        "the manifest": (manifest.products, manifest.dimension),
        VECTORS: vectors.shape,
        INDEX: (index.ntotal, index.dimension),
        TABLE: (len(table), manifest.dimension),
    }
    if len(set(counts.values())) > 1:
        said = "; ".join(f"{name}: {shape[0]} x {shape[1]}" for name, shape in counts.items())
        raise SnapshotCorrupt(f"the files of {path} disagree ({said}): roll back or build again")
    confidence = Confidence.load(path / CONFIDENCE) if CONFIDENCE in manifest.files else None
    return Snapshot(path, manifest, table, vectors, index, Transform.load(path / TRANSFORM), confidence)


def _open_vectors(path: Path) -> StoredVectors:
    try:
        vectors: StoredVectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SnapshotCorrupt(f"{path} is not a readable array: {error}") from error
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32):
        raise SnapshotCorrupt(f"{path} is not a float16 or float32 matrix")
    return cast(StoredVectors, np.asarray(vectors))  # the same memory; a memmap costs more at each access


def _with_files(manifest: Manifest, folder: Path) -> Manifest:
    return dataclasses.replace(manifest, files=record_files(folder))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def roll_back(folder: IndexFolder, name: str | None = None) -> tuple[str, str]:
    """Make a published snapshot live, by default the one before the live one. Returns (before, after).

    The snapshot is checked in full first. A build that is under way is not waited for: moving the pointer is
    one step. Raises SnapshotMissing where there is none to go back to.
    """
    live = folder.current()
    if name is None:
        older = [candidate for candidate in folder.names() if candidate < live]
        if not older:
            raise SnapshotMissing(f"no snapshot in {folder.root} is older than the live {live}")
        name = older[-1]
    folder.open(name, full_check=True)
    with storage_errors(folder.root):
        folder.make_live(name)
    return live, name
