"""Disks that fill up in a build or a compaction: exit 3 in one line, and the current snapshot stays whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalogues import build_folder, write_folder
from tests.disks import fill_disk
from vitrine.indexer.snapshot.folder import IndexFolder

KIB = 1024


def run_indexer(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own: writing to a full disk through a mapping would kill it."""
    command = [sys.executable, "-m", "indexer", *arguments, "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def build_arguments(photos: Path, index: Path) -> list[str]:
    return ["build", str(photos), "--index", str(index), "--model", "efficientnet-lite2", "--batch-size", "2"]


def assert_refused(run: subprocess.CompletedProcess[str], index: Path, live: str) -> None:
    assert run.returncode == 3, (run.returncode, run.stderr)
    [line] = run.stderr.splitlines()
    assert "space" in line
    assert run.stdout == ""
    folder = IndexFolder(index)
    assert folder.current_name() == live
    assert folder.open(full_check=True).name == live
    assert [path.name for path in folder.layout.snapshots.iterdir() if path.name.startswith(".")] == []


def refused_until_there_is_space(arguments: list[str], index: Path, steps: list[int]) -> int:
    """Run a command with more and more KiB free; return how often it was refused before it went through."""
    live, filler = IndexFolder(index).current_name(), index.parent / "filler"
    for refusals, free in enumerate(steps):
        fill_disk(filler, free * KIB)
        run = run_indexer(*arguments)
        filler.unlink()
        if run.returncode == 0:
            assert json.loads(run.stdout)["snapshot"] == IndexFolder(index).current_name() != live
            return refusals
        assert_refused(run, index, live)
    return len(steps)


@pytest.mark.slow
def test_a_build_on_a_full_disk_is_refused_at_every_step_and_goes_on_afterwards(
    small_disk: Path, tmp_path: Path
) -> None:
    photos, index = write_folder(tmp_path / "photos"), small_disk / "index"
    build_folder(photos, index)
    with IndexFolder(index).journal() as journal:
        journal.append("delete", ["c0:p0"])
    steps = [0, 12, 44, 76, 108, 140, 172, 204, 400]
    refusals = refused_until_there_is_space(build_arguments(photos, index), index, steps)
    assert 4 <= refusals < len(steps)
    snapshot = IndexFolder(index).open(full_check=True)
    assert set(snapshot.table.tombstones()) == {"c0:p0"}
    assert len(snapshot.table) == 12


@pytest.mark.slow
def test_new_pictures_that_do_not_fit_on_the_disk_are_embedded_when_there_is_space(
    small_disk: Path, tmp_path: Path
) -> None:
    photos, index = write_folder(tmp_path / "photos"), small_disk / "index"
    build_folder(photos, index)
    write_folder(photos, categories=3, per_category=8, first_seed=500)
    refusals = refused_until_there_is_space(build_arguments(photos, index), index, [0, 32, 128, 1000])
    assert 1 <= refusals < 4
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


def test_a_compaction_on_a_full_disk_is_refused_and_loses_no_change(small_disk: Path, tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos"), small_disk / "index"
    build_folder(photos, index)
    with IndexFolder(index).journal() as journal:
        journal.append("delete", ["c0:p0", "c1:p1"])
        journal.append("restore", ["c1:p1"])
    steps = [0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 64, 128]
    refusals = refused_until_there_is_space(["compact", "--index", str(index)], index, steps)
    assert 1 <= refusals < len(steps)
    assert set(IndexFolder(index).open(full_check=True).table.tombstones()) == {"c0:p0"}
    with IndexFolder(index).journal() as journal:
        assert [change.kind for change in journal.changes_since(0)] == ["delete", "delete", "restore"]
