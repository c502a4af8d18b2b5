"""Tests of vitrine.indexer.snapshot.folder: publishing, the current snapshot, pruning and rolling back."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest

from tests.indexes import make_samples, publish_samples
from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, SnapshotMissing, StoreUnavailable
from vitrine.indexer.snapshot.folder import STAGING_PREFIX, IndexFolder, roll_back


@pytest.fixture
def folder(tmp_path: Path) -> IndexFolder:
    return IndexFolder(tmp_path / "index")


def publish(folder: IndexFolder, products: int = 3, *, set_current: bool = True) -> str:
    source = folder.root.parent / "photos"
    return publish_samples(folder.root, make_samples(source, products), source, set_current=set_current)


def test_an_empty_folder_has_no_snapshot(folder: IndexFolder) -> None:
    assert folder.current_name_or_none() is None
    assert folder.snapshot_names() == []
    with pytest.raises(SnapshotMissing, match="run `vitrine-indexer build"):
        folder.open()


def test_a_published_snapshot_is_current(folder: IndexFolder) -> None:
    first, second = publish(folder), publish(folder, 4)
    assert folder.snapshot_names() == [first, second]
    assert folder.current_name() == second
    assert folder.open().manifest.products == folder.manifest().products == 4
    assert folder.open(first).name == first


def test_a_snapshot_may_be_published_without_becoming_current(folder: IndexFolder) -> None:
    first = publish(folder)
    second = publish(folder, set_current=False)
    assert folder.current_name() == first
    folder.set_current(second)
    assert folder.current_name() == second


def test_an_incomplete_snapshot_is_not_published(folder: IndexFolder) -> None:
    first = publish(folder)
    with folder.publishing(), folder.staging() as staged, pytest.raises(SnapshotError):
        folder.publish(staged, folder.manifest())
    assert folder.snapshot_names() == [first]
    assert [path.name for path in folder.layout.snapshots.iterdir()] == [first]


def test_only_one_process_publishes_at_a_time(folder: IndexFolder) -> None:
    with folder.publishing(), pytest.raises(SnapshotError, match="another process"):
        publish(folder)


def test_publishing_removes_what_killed_processes_left(folder: IndexFolder) -> None:
    leftover = folder.layout.snapshots / f"{STAGING_PREFIX}old"
    leftover.mkdir(parents=True)
    (leftover / "vectors.npy").write_bytes(b"part")
    with folder.publishing():
        assert not leftover.exists()


def test_names_increase_even_if_the_clock_was_set_back(folder: IndexFolder) -> None:
    future = f"{dt.datetime.now(dt.UTC).year + 1}0101T000000000Z-abcd"
    (folder.layout.snapshots / future).mkdir(parents=True)
    with folder.publishing(), folder.staging() as staged:
        assert folder.staged_name(staged) > future


@pytest.mark.parametrize("pointer", ["", "../../etc", "20261122T000000000Z-0000", "\udcff"])
def test_a_pointer_to_no_snapshot_is_an_error(folder: IndexFolder, pointer: str) -> None:
    folder.root.mkdir()
    folder.layout.current.write_bytes(pointer.encode(errors="surrogateescape"))
    with pytest.raises(SnapshotError):
        folder.open()


def test_a_name_outside_the_folder_is_refused(folder: IndexFolder) -> None:
    publish(folder)
    with pytest.raises(SnapshotMissing):
        folder.snapshot_path("../snapshots")
    with pytest.raises(SnapshotMissing):
        folder.set_current("20261122T000000000Z-0000")


def test_pruning_keeps_the_newest_and_the_current_snapshot(folder: IndexFolder) -> None:
    names = [publish(folder) for _ in range(4)]
    folder.set_current(names[0])
    assert folder.prune(2) == names[1:3]
    assert folder.snapshot_names() == [names[0], names[3]]
    assert folder.prune(0) == [names[3]]
    assert folder.snapshot_names() == [names[0]]


def test_roll_back_makes_the_previous_snapshot_current(folder: IndexFolder) -> None:
    names = [publish(folder) for _ in range(3)]
    assert roll_back(folder) == (names[2], names[1])
    assert roll_back(folder, names[2]) == (names[1], names[2])
    assert roll_back(folder, names[0]) == (names[2], names[0])
    with pytest.raises(SnapshotMissing, match="older"):
        roll_back(folder)


def test_roll_back_refuses_a_damaged_snapshot(folder: IndexFolder) -> None:
    first, second = publish(folder), publish(folder)
    (folder.snapshot_path(first) / "vectors.npy").write_bytes(b"")
    with pytest.raises(SnapshotCorrupt):
        roll_back(folder)
    assert folder.current_name() == second


def test_the_journal_of_a_read_only_folder_cannot_be_written(
    folder: IndexFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(folder)
    with folder.journal() as journal:
        journal.append("delete", ["p00"])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with folder.journal() as journal:
        assert journal.last_sequence() == 1
        with pytest.raises(StoreUnavailable, match="cannot be written"):
            journal.append("delete", ["p01"])
