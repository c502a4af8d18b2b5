"""Writes: durable before they are acknowledged, and seen by every process at its next query."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.http_client import assert_problem, make_client
from tests.indexes import GridEmbedder, SampleProduct
from tests.pictures import jpeg
from tests.waiting import LIMIT_S
from vitrine.indexer.embedding.cache import EmbeddingCache
from vitrine.indexer.errors import StorageFull, VitrineError
from vitrine.indexer.journal.journal import Journal
from vitrine.service import Caller, Catalogue, ServiceConfig, create_app


def test_two_workers_see_each_others_changes_at_once(small_index: Path) -> None:
    with (
        Catalogue.open(small_index, embedder=GridEmbedder()) as one,
        Catalogue.open(small_index, embedder=GridEmbedder()) as two,
    ):
        one.delete("p03")
        assert "p03" not in [hit["id"] for hit in two.similar("p00", limit=20)["hits"]]
        added = two.add(jpeg(40, 40, 8), name="Nova", category="bolsa")
        assert one.product(added["id"])["name"] == "Nova"
        assert one.undo()["undone"]["id"] == added["id"]
        two.restore("p03")
        assert one.status() == two.status()
        assert one.status()["live"] == 12


def test_changes_survive_a_restart(small_index: Path) -> None:
    with Catalogue.open(small_index, embedder=GridEmbedder()) as first:
        first.delete("p03", by=Caller("ana", "r1"))
        added = first.add(jpeg(40, 40, 8), name="Nova", category="bolsa", group="g1")
        answer = first.similar("p00", limit=20)
    with Catalogue.open(small_index, embedder=GridEmbedder()) as second:
        again = second.similar("p00", limit=20)
        assert again["hits"] == answer["hits"]
        assert second.product(added["id"]) == added
        assert second.picture(added["id"]).data == jpeg(40, 40, 8)
        change = second.changes()["changes"][1]
        assert (change["actor"], change["request"], change["kind"]) == ("ana", "r1", "delete")


_DELETE_AND_RESTORE = """
import sys
from vitrine import Catalogue
catalogue = Catalogue.open(sys.argv[1])
for number in range(100000):
    name = f"p{number % 12:02d}"
    (catalogue.delete if number // 12 % 2 == 0 else catalogue.restore)(name)
    print(number, flush=True)
"""


def test_acknowledged_changes_survive_kill_9(small_index: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _DELETE_AND_RESTORE, str(small_index)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 29:
            break
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    acknowledged = int(rest[-1]) if rest else acknowledged
    with Journal(small_index / "journal.sqlite") as journal:
        done = len(journal.changes_since(0))
    assert done in (acknowledged + 1, acknowledged + 2)
    with Catalogue.open(small_index) as catalogue:
        expected = {f"p{n:02d}": True for n in range(12)}
        for number in range(done):
            expected[f"p{number % 12:02d}"] = number // 12 % 2 != 0
        live = {each["id"] for each in catalogue.products()["products"]}
        assert live == {name for name, alive in expected.items() if alive}


def test_concurrent_writers_neither_lose_nor_repeat_changes(small_index: Path) -> None:
    with (
        Catalogue.open(small_index, embedder=GridEmbedder()) as one,
        Catalogue.open(small_index, embedder=GridEmbedder()) as two,
    ):

        def delete(number: int) -> str:
            try:
                return str((one if number % 2 else two).delete(f"p{number % 12:02d}")["id"])
            except VitrineError as error:
                return type(error).__name__

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(delete, range(48)))
        assert sorted(answer for answer in answers if answer.startswith("p")) == [
            f"p{n:02d}" for n in range(12)
        ]
        assert answers.count("DeletedProduct") == 36
        assert len(one.changes()["changes"]) == 12


def test_one_of_several_uploads_with_the_same_id_succeeds(small_index: Path) -> None:
    with Catalogue.open(small_index, embedder=GridEmbedder()) as catalogue:

        def add(number: int) -> str:
            try:
                return str(catalogue.add(jpeg(40, 40, number), name="x", category="y", id="same")["id"])
            except VitrineError as error:
                return type(error).__name__

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(add, range(4))) == ["IdTaken"] * 3 + ["same"]


def test_uploads_of_one_picture_get_different_ids(catalogue: Catalogue) -> None:
    names = {catalogue.add(jpeg(40, 40, 8), name="Nova bolsa", category="bolsa")["id"] for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("nova-bolsa-") for name in names)


def test_an_upload_is_stored_under_its_digest_and_cached(
    catalogue: Catalogue, small_index: Path, embedder: GridEmbedder
) -> None:
    picture = jpeg(40, 40, 8)
    catalogue.add(picture, name="x", category="y")
    stored = next((small_index / "uploads").iterdir())
    assert stored.read_bytes() == picture
    assert embedder.calls == 1
    catalogue.search(image=picture)
    assert embedder.calls == 1
    assert catalogue.photos.cache_hits == 1
    with EmbeddingCache(small_index / "cache") as cache:
        assert cache.sizes_px(
            catalogue.view().state.snapshot.manifest.model.key, [bytes.fromhex(stored.stem)]
        )


def test_a_query_photo_is_not_stored(catalogue: Catalogue, small_index: Path, embedder: GridEmbedder) -> None:
    for _ in range(2):
        catalogue.search(image=jpeg(40, 40, 8))
    assert embedder.calls == 2
    assert not (small_index / "uploads").exists()


def test_a_full_disk_is_507_and_changes_nothing(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(create_app(catalogue, ServiceConfig()))

    def full(*_: object, **__: object) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(Journal, "append", full)
    assert_problem(client.delete("/api/v1/products/p00"), 507, "storage-full")
    monkeypatch.undo()
    assert client.get("/api/v1/products/p00").status_code == 200
    assert client.delete("/api/v1/products/p00").status_code == 200


def test_a_reader_does_not_wait_for_a_writer(catalogue: Catalogue, samples: list[SampleProduct]) -> None:
    with catalogue.follower.writing():
        answer: list[int] = []
        reader = threading.Thread(target=lambda: answer.append(catalogue.similar("p00")["returned"]))
        reader.start()
        reader.join(LIMIT_S)
        assert answer == [5]


def test_a_failed_write_leaves_no_change(catalogue: Catalogue) -> None:
    def write() -> None:
        with catalogue.follower.writing() as (_, journal):
            journal.append("delete", ["p00"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert catalogue.product("p00")["deleted_at"] is None
    assert json.dumps(catalogue.changes()) == '{"changes": []}'
