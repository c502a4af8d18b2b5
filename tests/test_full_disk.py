"""Builds and compactions on a full disk: exit code 3, one line on stderr, and an intact current snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogues import build_folder, write_folder
from tests.disks import fill_disk
from tests.waiting import LIMIT_S
from vitrine.indexer.snapshot.folder import IndexFolder


def run_indexer(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a separate process: writing to a full disk through a memory map would kill it."""
    command = [sys.executable, "-m", "indexer", *arguments, "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)


def build_arguments(photos: Path, index: Path) -> list[str]:
    return ["build", str(photos), "--index", str(index), "--model", "efficientnet-lite2", "--batch-size", "2"]


def assert_no_space(run: subprocess.CompletedProcess[str], index: Path, current: str) -> None:
    assert run.returncode == 3, (run.returncode, run.stderr)
    [line] = run.stderr.splitlines()
    assert "space" in line
    assert run.stdout == ""
    folder = IndexFolder(index)
    assert folder.current_name() == current
    assert folder.open(full_check=True).name == current
    assert [path.name for path in folder.layout.snapshots.iterdir() if path.name.startswith(".")] == []


def count_failures(arguments: list[str], index: Path, free_kib: list[int]) -> int:
    """Run a command with more and more space free until it succeeds; return how often it failed."""
    current, filler = IndexFolder(index).current_name(), index.parent / "filler"
    for failures, kib in enumerate(free_kib):
        fill_disk(filler, kib * 1024)
        run = run_indexer(*arguments)
        filler.unlink()
        if run.returncode == 0:
            assert json.loads(run.stdout)["snapshot"] == IndexFolder(index).current_name() != current
            return failures
        assert_no_space(run, index, current)
    return len(free_kib)


@pytest.mark.slow
def test_a_build_fails_on_a_full_disk_at_every_step_and_succeeds_afterwards(
    small_disk: Path, tmp_path: Path
) -> None:
    photos, index = write_folder(tmp_path / "photos"), small_disk / "index"
    build_folder(photos, index)
    with IndexFolder(index).journal() as journal:
        journal.append("delete", ["c0:p0"])
    free_kib = [0, 12, 44, 76, 108, 140, 172, 204, 400]
    failures = count_failures(build_arguments(photos, index), index, free_kib)
    assert 4 <= failures < len(free_kib)
    snapshot = IndexFolder(index).open(full_check=True)
    assert set(snapshot.table.tombstones()) == {"c0:p0"}
    assert len(snapshot.table) == 12


@pytest.mark.slow
def test_new_pictures_are_embedded_once_there_is_space(small_disk: Path, tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos"), small_disk / "index"
    build_folder(photos, index)
    write_folder(photos, categories=3, per_category=8, first_seed=500)
    failures = count_failures(build_arguments(photos, index), index, [0, 32, 128, 1000])
    assert 1 <= failures < 4
    assert len(IndexFolder(index).open(full_check=True).table) == 24


def test_a_first_build_on_a_full_disk_publishes_nothing(small_disk: Path, tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos", categories=1, per_category=2), small_disk / "index"
    fill_disk(small_disk / "filler")
    run = run_indexer(*build_arguments(photos, index))
    assert (run.returncode, len(run.stderr.splitlines())) == (3, 1), run.stderr
    assert IndexFolder(index).current_name_or_none() is None
    (small_disk / "filler").unlink()
    assert run_indexer(*build_arguments(photos, index)).returncode == 0
    assert len(IndexFolder(index).open().table) == 2


def test_a_compaction_fails_on_a_full_disk_without_losing_changes(small_disk: Path, tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos"), small_disk / "index"
    build_folder(photos, index)
    with IndexFolder(index).journal() as journal:
        journal.append("delete", ["c0:p0", "c1:p1"])
        journal.append("restore", ["c1:p1"])
    free_kib = [0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 64, 128]
    failures = count_failures(["compact", "--index", str(index)], index, free_kib)
    assert 1 <= failures < len(free_kib)
    assert set(IndexFolder(index).open(full_check=True).table.tombstones()) == {"c0:p0"}
    with IndexFolder(index).journal() as journal:
        assert [change.kind for change in journal.changes_since(0)] == ["delete", "delete", "restore"]
