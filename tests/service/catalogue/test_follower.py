"""The snapshot follower: waiting for a snapshot, swapping in new ones, refusing broken ones."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.http_client import assert_problem, make_client
from tests.indexes import GridEmbedder, SampleProduct, publish_samples
from tests.waiting import LIMIT_S, wait_until
from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, SnapshotMissing
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue, ServiceConfig, create_app
from vitrine.service.catalogue.follower import POLL_S, SnapshotFollower


def snapshot_of(catalogue: Catalogue) -> str:
    name: str = catalogue.status()["snapshot"]
    return name


def break_snapshot(index: Path, name: str, file: str = "vectors.npy") -> None:
    path = index / "snapshots" / name / file
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF
    path.write_bytes(data)


def test_a_new_snapshot_is_swapped_in_by_itself(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    before = snapshot_of(catalogue)
    name = publish_samples(small_index, samples[:6], small_source)
    wait_until(lambda: snapshot_of(catalogue) == name)
    assert POLL_S <= 1  # what the documents promise is two seconds
    assert name != before
    assert catalogue.products()["total"] == 6


def test_a_service_without_a_snapshot_waits_for_one(
    tmp_path: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    with Catalogue.open(index, embedder=GridEmbedder()) as catalogue:
        client = make_client(create_app(catalogue, ServiceConfig()))
        assert client.get("/healthz").status_code == 200
        assert_problem(client.get("/readyz"), 503, "no-snapshot")
        assert_problem(client.get("/api/v1/products/p00/similar"), 503, "no-snapshot")
        assert_problem(client.get("/api/v1/status"), 503, "no-snapshot")
        assert_problem(client.delete("/api/v1/products/p00"), 503, "no-snapshot")
        assert "vitrine_ready 0.0" in client.get("/metrics").text
        publish_samples(index, samples, small_source)
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/api/v1/products/p00/similar").status_code == 200


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotMissing, match="no snapshot"):
        Catalogue.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("file", ["vectors.npy", "table.parquet", "manifest.json", "index.faiss"])
def test_a_broken_snapshot_is_refused_at_the_start(small_index: Path, file: str) -> None:
    break_snapshot(small_index, IndexFolder(small_index).current_name(), file)
    with pytest.raises(SnapshotCorrupt):
        Catalogue.open(small_index)


def test_a_broken_new_snapshot_leaves_the_old_one_answering(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    client = make_client(create_app(catalogue, ServiceConfig()))
    old = snapshot_of(catalogue)
    name = publish_samples(small_index, samples[:6], small_source, set_current=False)
    break_snapshot(small_index, name)
    IndexFolder(small_index).set_current(name)
    wait_until(lambda: catalogue.follower.failed is not None)
    status = client.get("/api/v1/status").json
    assert status["snapshot"] == old
    assert name in status["problem"]
    assert "vitrine_snapshot_broken 1.0" in client.get("/metrics").text
    assert_problem(client.post("/api/v1/reload"), 503, "snapshot-unusable")
    assert client.get("/api/v1/products/p11/similar").status_code == 200
    good = publish_samples(small_index, samples[:5], small_source)
    wait_until(lambda: snapshot_of(catalogue) == good)
    assert client.get("/api/v1/status").json["problem"] is None


def test_a_pointer_that_names_nothing_leaves_the_old_one_answering(
    catalogue: Catalogue, small_index: Path
) -> None:
    (small_index / "current").write_text("no such thing\n")
    wait_until(lambda: catalogue.follower.failed is not None)
    assert catalogue.similar("p00")["returned"] == 5
    with pytest.raises(SnapshotError):
        catalogue.reload()


def test_reload_opens_the_new_snapshot_at_once(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    name = publish_samples(small_index, samples[:6], small_source)
    assert catalogue.reload()["snapshot"] == name


def test_changes_are_carried_into_the_next_snapshot(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    catalogue.delete("p01")
    added = catalogue.add(samples[0].picture, name="Copy", category="bolsa")
    publish_samples(small_index, samples[:6], small_source)
    catalogue.reload()
    assert catalogue.products()["total"] == 6
    assert catalogue.products(deleted=True)["products"][0]["id"] == "p01"
    assert catalogue.product(added["id"])["name"] == "Copy"
    folded = publish_samples(small_index, samples[:4], small_source, uploads_sequence=2, journal_sequence=2)
    assert catalogue.reload()["snapshot"] == folded
    assert catalogue.products()["total"] == 4


def test_no_request_fails_while_snapshots_are_swapped(
    catalogue: Catalogue, small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    app = create_app(catalogue, ServiceConfig(access_log=False))
    sizes = {snapshot_of(catalogue): 12}
    seen: list[tuple[int, str, int]] = []
    stop = threading.Event()

    def ask() -> None:
        client = make_client(app)
        while not stop.is_set():
            response = client.get("/api/v1/products/p00/similar?limit=100")
            seen.append((response.status_code, response.json["snapshot"], response.json["returned"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for count in (6, 12, 5, 9):
            name = publish_samples(small_index, samples[:count], small_source)
            sizes[name] = count
            assert catalogue.reload()["snapshot"] == name
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _, _ in seen} == {200}
    assert all(returned == sizes[name] - 1 for _, name, returned in seen)
    assert len({name for _, name, _ in seen}) >= 3


def test_a_snapshot_pruned_while_it_is_opened_is_skipped(
    small_index: Path, samples: list[SampleProduct], small_source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = IndexFolder(small_index)
    first = folder.current_name()
    opened = IndexFolder.open

    def open_slowly(self: IndexFolder, name: str | None = None, **more: Any) -> Any:
        if name == first and folder.current_name() == first:
            publish_samples(small_index, samples[:4], small_source)
            shutil.rmtree(small_index / "snapshots" / first)
        return opened(self, name, **more)

    monkeypatch.setattr(IndexFolder, "open", open_slowly)
    live = SnapshotFollower(folder)
    assert live.view().state.segments.n == 4
    live.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_files(catalogue: Catalogue) -> None:
    catalogue.delete("p00")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            catalogue.delete("p01")
            alive = any(thread.name == "vitrine-watcher" for thread in threading.enumerate())
            code = 0 if catalogue.products()["total"] == 10 and alive else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert catalogue.products()["total"] == 10
    assert [change["id"] for change in catalogue.changes()["changes"]] == ["p01", "p00"]


def test_the_thread_of_a_garbage_collected_follower_stops(small_index: Path) -> None:
    live = SnapshotFollower(IndexFolder(small_index))
    stop = live._stop
    live.close()
    assert stop.is_set()


def test_no_reader_gets_the_old_view_while_a_change_is_read(
    small_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that comes while another one applies a durable change must not answer without it."""
    with Catalogue.open(small_index, embedder=GridEmbedder()) as catalogue:
        live = catalogue.follower
        with live.folder.journal() as other:
            other.append("delete", ["p00"])
        reading, go_on = threading.Event(), threading.Event()
        since = live._reads.changes_since

        def slow(*arguments: Any, **options: Any) -> Any:
            reading.set()
            go_on.wait(LIMIT_S)
            return since(*arguments, **options)

        monkeypatch.setattr(live._reads, "changes_since", slow)
        seen: list[bool] = []

        def read() -> None:
            seen.append(bool(live.view().state.live[0]))

        readers = [threading.Thread(target=read) for _ in range(2)]
        readers[0].start()
        assert reading.wait(LIMIT_S)
        readers[1].start()
        readers[1].join(0.3)
        go_on.set()
        for reader in readers:
            reader.join()
        assert seen == [False, False]
