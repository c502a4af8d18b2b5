"""Replicas: a snapshot pushed to a place is served by another process, whole and checked, or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.indexes import Made, publish_made
from vitrine.indexer.errors import RulesError, SnapshotCorrupt, SnapshotError, SnapshotMissing
from vitrine.indexer.operations.compact import compact
from vitrine.indexer.operations.replication import Place, pull, push
from vitrine.indexer.progress import Silent
from vitrine.indexer.snapshot.snapshot import IndexFolder
from vitrine.service import Catalogue


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield Place(str(tmp_path / "place"))
        return
    yield Place(f"memory://{tmp_path.name}")
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture
def writer(small_index: Path) -> IndexFolder:
    return IndexFolder(small_index)


@pytest.fixture
def replica(tmp_path: Path) -> IndexFolder:
    return IndexFolder(tmp_path / "replica")


def test_what_is_pushed_is_what_is_pulled(writer: IndexFolder, place: Place, replica: IndexFolder) -> None:
    sent, got = push(writer, place, Silent()), pull(place, replica, Silent())
    assert (sent.snapshot, got.snapshot) == (writer.current(), writer.current())
    assert sent.bytes == got.bytes > 0
    first, second = writer.open(full_check=True), replica.open(full_check=True)
    assert first.manifest == second.manifest
    again = push(writer, place, Silent()), pull(place, replica, Silent())
    assert [(report.files, report.bytes) for report in again] == [(0, 0), (0, 0)]


def test_a_compaction_sends_what_it_changed(writer: IndexFolder, place: Place, replica: IndexFolder) -> None:
    push(writer, place, Silent())
    pull(place, replica, Silent())
    with writer.journal() as journal:
        journal.append("delete", ["p03"])
    compact(writer, keep=3)
    push(writer, place, Silent())
    report = pull(place, replica, Silent())
    assert report.reused >= 2
    assert replica.open().manifest.deleted == 1
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["deleted"] == 1


def test_the_rules_of_the_shop_go_along(writer: IndexFolder, place: Place, replica: IndexFolder) -> None:
    push(writer, place, Silent())
    replica.root.mkdir()
    own = b"[[ban]]\nname = 'own'\nhide = {id = 'p01'}\n"
    replica.layout.rules.write_bytes(own)
    pull(place, replica, Silent())
    assert replica.layout.rules.read_bytes() == own  # nobody has ever pushed any
    writer.layout.rules.write_bytes(b"[[ban]]\nname = 'all'\nhide = {id = 'p02'}\n")
    push(writer, place, Silent())
    pull(place, replica, Silent())
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["rules"]["names"] == ["all"]
    writer.layout.rules.write_bytes(b"[[ban]")
    with pytest.raises(RulesError):
        push(writer, place, Silent())
    place.write_rules(b"[[ban]")
    with pytest.raises(RulesError):
        pull(place, replica, Silent())
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["rules"]["names"] == ["all"]
    writer.layout.rules.unlink()
    push(writer, place, Silent())
    pull(place, replica, Silent())
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["rules"]["names"] == []


def test_a_damaged_file_is_never_served(writer: IndexFolder, place: Place, replica: IndexFolder) -> None:
    push(writer, place, Silent())
    pull(place, replica, Silent())
    before = replica.current()
    publish_made(writer.root, _few(writer), Path("source"))
    push(writer, place, Silent())
    name = writer.current()
    path = place.path("snapshots", name, "vectors.npy")
    data = bytearray(place._files.cat_file(path))
    data[-1] ^= 1
    place._files.pipe_file(path, bytes(data))
    with pytest.raises(SnapshotCorrupt, match="damaged on its way"):
        pull(place, replica, Silent())
    assert replica.current() == before
    assert replica.names() == [before]
    assert not list(replica.layout.snapshots.glob(".building-*"))


def test_a_push_that_was_cut_off_changes_nothing(
    writer: IndexFolder, place: Place, replica: IndexFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(writer, place, Silent())
    before = writer.current()
    publish_made(writer.root, _few(writer), Path("source"))
    upload, sent = Place.upload, []

    def failing(self: Place, source: Path, *parts: str) -> None:
        sent.append(parts)
        if len(sent) == 3:
            raise SnapshotError("the network is gone")
        upload(self, source, *parts)

    monkeypatch.setattr(Place, "upload", failing)
    with pytest.raises(SnapshotError):
        push(writer, place, Silent())
    assert pull(place, replica, Silent()).snapshot == before
    assert push(writer, place, Silent()).snapshot == writer.current()
    assert pull(place, replica, Silent()).snapshot == writer.current()


def test_old_snapshots_are_removed(writer: IndexFolder, place: Place, replica: IndexFolder) -> None:
    for _ in range(4):
        push(writer, place, Silent(), keep=2)
        pull(place, replica, Silent(), keep=2)
        publish_made(writer.root, _few(writer), Path("source"))
    assert len(place.names()) == len(replica.names()) == 2


def test_an_empty_place_says_what_to_do(place: Place, replica: IndexFolder) -> None:
    place._files.makedirs(place._root, exist_ok=True)
    with pytest.raises(SnapshotMissing, match="push"):
        pull(place, replica, Silent())


def test_a_manifest_cannot_name_files_elsewhere(
    writer: IndexFolder, place: Place, replica: IndexFolder
) -> None:
    push(writer, place, Silent())
    source = place.path("snapshots", writer.current())
    other = "20990101T000000000Z-abcd"
    place._files.copy(source, place.path("snapshots", other), recursive=True)
    place.make_current(other)
    with pytest.raises(SnapshotCorrupt, match="something else"):
        pull(place, replica, Silent())


def test_two_processes(writer: IndexFolder, replica: IndexFolder, tmp_path: Path, made: list[Made]) -> None:
    """A replica process follows a place; a service process answers from it and moves on by itself."""
    place = Place(str(tmp_path / "place"))
    first = push(writer, place, Silent()).snapshot
    pulling = _start(
        "indexer", "pull", place.location, "--index", str(replica.root), "--every", "0.3", "--json"
    )
    try:
        assert json.loads(pulling.stdout.readline())["snapshot"] == first
        serving = _start("service", "--index", str(replica.root), "--port", "0", "--read-only", "--json")
        try:
            url = json.loads(serving.stdout.readline())["url"]
            assert _status(url)["snapshot"] == first
            second = publish_made(writer.root, made[:9], Path("source"))
            push(writer, place, Silent())
            ends = time.monotonic() + 30
            while (status := _status(url))["snapshot"] != second:
                assert status["snapshot"] == first
                assert time.monotonic() < ends
                time.sleep(0.1)
            assert status["products"] == 9
        finally:
            _stop(serving)
    finally:
        _stop(pulling)


def _few(folder: IndexFolder) -> list[Made]:
    """Return the products of the live snapshot but the last."""
    snapshot = folder.open()
    return [
        Made(snapshot.table.product(row), snapshot.vectors[row], b"")
        for row in range(len(snapshot.table) - 1)
    ]


def _start(module: str, *arguments: str) -> Any:
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)


def _stop(process: Any) -> None:
    process.terminate()
    process.wait(timeout=30)
    process.stdout.close()


def _status(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/status", timeout=10) as answer:
        return json.load(answer)
