"""Tests of vitrine.indexer.operations.replication: push, pull, interrupted transfers, a served replica."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.indexes import SampleProduct, publish_samples
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.errors import RulesError, SnapshotCorrupt, SnapshotError, SnapshotMissing
from vitrine.indexer.operations.compact import compact_snapshot
from vitrine.indexer.operations.replication import Remote, pull_snapshot, push_snapshot
from vitrine.indexer.progress import SilentProgress
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue


@pytest.fixture(params=["folder", "memory"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    if request.param == "folder":
        yield Remote(str(tmp_path / "remote"))
        return
    yield Remote(f"memory://{tmp_path.name}")
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


@pytest.fixture
def writer(small_index: Path) -> IndexFolder:
    return IndexFolder(small_index)


@pytest.fixture
def replica(tmp_path: Path) -> IndexFolder:
    return IndexFolder(tmp_path / "replica")


def test_a_pulled_snapshot_equals_the_pushed_one(
    writer: IndexFolder, remote: Remote, replica: IndexFolder
) -> None:
    pushed, pulled = (
        push_snapshot(writer, remote, SilentProgress()),
        pull_snapshot(remote, replica, SilentProgress()),
    )
    assert (pushed.snapshot, pulled.snapshot) == (writer.current_name(), writer.current_name())
    assert pushed.bytes == pulled.bytes > 0
    first, second = writer.open(full_check=True), replica.open(full_check=True)
    assert first.manifest == second.manifest
    again = push_snapshot(writer, remote, SilentProgress()), pull_snapshot(remote, replica, SilentProgress())
    assert [(report.files, report.bytes) for report in again] == [(0, 0), (0, 0)]


def test_after_a_compaction_only_changed_files_are_downloaded(
    writer: IndexFolder, remote: Remote, replica: IndexFolder
) -> None:
    push_snapshot(writer, remote, SilentProgress())
    pull_snapshot(remote, replica, SilentProgress())
    with writer.journal() as journal:
        journal.append("delete", ["p03"])
    compact_snapshot(writer, keep=3)
    push_snapshot(writer, remote, SilentProgress())
    report = pull_snapshot(remote, replica, SilentProgress())
    assert report.reused >= 2
    assert replica.open().manifest.deleted == 1
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["deleted"] == 1


def test_shop_rules_are_replicated(writer: IndexFolder, remote: Remote, replica: IndexFolder) -> None:
    push_snapshot(writer, remote, SilentProgress())
    replica.root.mkdir()
    own = b"[[ban]]\nname = 'own'\nhide = {id = 'p01'}\n"
    replica.layout.rules.write_bytes(own)
    pull_snapshot(remote, replica, SilentProgress())
    assert replica.layout.rules.read_bytes() == own  # no rules were ever pushed
    writer.layout.rules.write_bytes(b"[[ban]]\nname = 'all'\nhide = {id = 'p02'}\n")
    push_snapshot(writer, remote, SilentProgress())
    pull_snapshot(remote, replica, SilentProgress())
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["rules"]["names"] == ["all"]
    writer.layout.rules.write_bytes(b"[[ban]")
    with pytest.raises(RulesError):
        push_snapshot(writer, remote, SilentProgress())
    remote.write_rules(b"[[ban]")
    with pytest.raises(RulesError):
        pull_snapshot(remote, replica, SilentProgress())
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["rules"]["names"] == ["all"]
    writer.layout.rules.unlink()
    push_snapshot(writer, remote, SilentProgress())
    pull_snapshot(remote, replica, SilentProgress())
    with Catalogue.open(replica.root) as catalogue:
        assert catalogue.status()["rules"]["names"] == []


def test_a_damaged_file_is_never_served(writer: IndexFolder, remote: Remote, replica: IndexFolder) -> None:
    push_snapshot(writer, remote, SilentProgress())
    pull_snapshot(remote, replica, SilentProgress())
    before = replica.current_name()
    publish_samples(writer.root, _samples_without_last(writer), Path("source"))
    push_snapshot(writer, remote, SilentProgress())
    name = writer.current_name()
    path = remote.path("snapshots", name, "vectors.npy")
    data = bytearray(remote._files.cat_file(path))
    data[-1] ^= 1
    remote._files.pipe_file(path, bytes(data))
    with pytest.raises(SnapshotCorrupt, match="damaged during the transfer"):
        pull_snapshot(remote, replica, SilentProgress())
    assert replica.current_name() == before
    assert replica.snapshot_names() == [before]
    assert not list(replica.layout.snapshots.glob(".building-*"))


def test_an_interrupted_push_changes_nothing(
    writer: IndexFolder, remote: Remote, replica: IndexFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_snapshot(writer, remote, SilentProgress())
    before = writer.current_name()
    publish_samples(writer.root, _samples_without_last(writer), Path("source"))
    upload, uploads = Remote.upload, []

    def failing(self: Remote, source: Path, *parts: str) -> None:
        uploads.append(parts)
        if len(uploads) == 3:
            raise SnapshotError("network failure")
        upload(self, source, *parts)

    monkeypatch.setattr(Remote, "upload", failing)
    with pytest.raises(SnapshotError):
        push_snapshot(writer, remote, SilentProgress())
    assert pull_snapshot(remote, replica, SilentProgress()).snapshot == before
    assert push_snapshot(writer, remote, SilentProgress()).snapshot == writer.current_name()
    assert pull_snapshot(remote, replica, SilentProgress()).snapshot == writer.current_name()


def test_old_snapshots_are_removed(writer: IndexFolder, remote: Remote, replica: IndexFolder) -> None:
    for _ in range(4):
        push_snapshot(writer, remote, SilentProgress(), keep=2)
        pull_snapshot(remote, replica, SilentProgress(), keep=2)
        publish_samples(writer.root, _samples_without_last(writer), Path("source"))
    assert len(remote.snapshot_names()) == len(replica.snapshot_names()) == 2


def test_pulling_from_an_empty_remote_suggests_a_push(remote: Remote, replica: IndexFolder) -> None:
    remote._files.makedirs(remote._root, exist_ok=True)
    with pytest.raises(SnapshotMissing, match="push"):
        pull_snapshot(remote, replica, SilentProgress())


def test_a_manifest_of_another_snapshot_is_refused(
    writer: IndexFolder, remote: Remote, replica: IndexFolder
) -> None:
    push_snapshot(writer, remote, SilentProgress())
    source = remote.path("snapshots", writer.current_name())
    other = "20990101T000000000Z-abcd"
    remote._files.copy(source, remote.path("snapshots", other), recursive=True)
    remote.set_current(other)
    with pytest.raises(SnapshotCorrupt, match="another snapshot"):
        pull_snapshot(remote, replica, SilentProgress())


def test_a_replica_process_serves_what_a_writer_pushes(
    writer: IndexFolder, replica: IndexFolder, tmp_path: Path, samples: list[SampleProduct]
) -> None:
    """Follow a remote in one process and serve the replica in another, which loads new snapshots."""
    remote = Remote(str(tmp_path / "remote"))
    first = push_snapshot(writer, remote, SilentProgress()).snapshot
    pulling = _start(
        "indexer", "pull", remote.location, "--index", str(replica.root), "--every", "0.3", "--json"
    )
    try:
        assert json.loads(pulling.stdout.readline())["snapshot"] == first
        serving = _start("service", "--index", str(replica.root), "--port", "0", "--read-only", "--json")
        try:
            url = json.loads(serving.stdout.readline())["url"]
            assert _status(url)["snapshot"] == first
            second = publish_samples(writer.root, samples[:9], Path("source"))
            push_snapshot(writer, remote, SilentProgress())
            wait_until(lambda: _status(url)["snapshot"] != first)
            status = _status(url)
            assert (status["snapshot"], status["products"]) == (second, 9)
        finally:
            _stop(serving)
    finally:
        _stop(pulling)


def _samples_without_last(folder: IndexFolder) -> list[SampleProduct]:
    """Return the products of the current snapshot except the last."""
    snapshot = folder.open()
    return [
        SampleProduct(snapshot.table.product(row), snapshot.vectors[row], b"")
        for row in range(len(snapshot.table) - 1)
    ]


def _start(module: str, *arguments: str) -> Any:
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)


def _stop(process: Any) -> None:
    process.terminate()
    process.wait(LIMIT_S)
    process.stdout.close()


def _status(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/api/v1/status", timeout=LIMIT_S) as response:
        return json.load(response)
