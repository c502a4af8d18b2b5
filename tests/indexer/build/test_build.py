"""Whole builds on the packaged network: what is published, what is reused, what is refused, what survives."""

import datetime as dt
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vitrine.indexer.build.build import BuildOptions
from vitrine.indexer.operations.compact import compact
from vitrine.indexer.embedding.pipeline import EmbeddingOptions
from vitrine.indexer.errors import (
    PublishRefused,
    SnapshotCorrupt,
    SnapshotError,
    SnapshotMissing,
    SourceError,
)
from vitrine.indexer.build.gate import Thresholds
from vitrine.indexer.journal.journal import Upload
from vitrine.indexer.recipes import RecipeRequest
from vitrine.indexer.snapshot.snapshot import IndexFolder, roll_back
from vitrine.indexer.products.table import read_failures
from vitrine.service import Catalogue
from tests.catalogues import build_folder, write_folder
from tests.pictures import jpeg


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_a_build_publishes_files_that_plain_libraries_read(photos: Path, index: Path) -> None:
    import faiss
    import pyarrow.parquet as pq

    report = build_folder(photos, index)
    assert (report.products, report.embedded, report.failed, report.categories) == (12, 12, 0, 3)
    folder = index / "snapshots" / report.snapshot
    assert (index / "current").read_text() == report.snapshot + "\n"
    stored = faiss.read_index(str(folder / "index.faiss"))
    table = pq.read_table(folder / "table.parquet")
    vectors = np.load(folder / "vectors.npy")
    assert stored.ntotal == table.num_rows == len(vectors) == 12
    assert stored.metric_type == faiss.METRIC_INNER_PRODUCT
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert table.column("id").to_pylist()[0] == "c0:p0"
    assert table.column("row").to_pylist() == list(range(12))
    assert table.column("deleted_at").null_count == 12


def test_a_second_build_embeds_nothing_and_one_changed_photo_embeds_one(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    again = build_folder(photos, index)
    assert (again.embedded, again.from_cache, again.index) == (0, 12, "appended")
    (photos / "c0" / "p0.jpg").write_bytes(jpeg(64, 48, 99))
    changed = build_folder(photos, index)
    assert (changed.embedded, changed.from_cache, changed.index) == (1, 11, "built")


def test_a_moved_photo_is_not_embedded_again(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    (photos / "c9").mkdir()
    (photos / "c0" / "p0.jpg").rename(photos / "c9" / "moved.jpg")
    moved = build_folder(photos, index)
    assert (moved.embedded, moved.from_cache, moved.categories) == (0, 12, 4)


def test_added_products_are_appended_and_rows_agree_with_the_vectors(photos: Path, index: Path) -> None:
    build_folder(photos, index, transform="none")
    (photos / "c0" / "a-first.jpg").write_bytes(jpeg(64, 48, 50))
    grown = build_folder(photos, index, transform="none")
    assert (grown.products, grown.embedded, grown.index) == (13, 1, "appended")
    shutil.rmtree(index / "snapshots")
    (index / "current").unlink()
    grown_again = build_folder(photos, index, transform="none")
    assert (grown_again.embedded, grown_again.index) == (0, "built")
    snapshot = IndexFolder(index).open()
    assert snapshot.table.ids() == sorted(snapshot.table.ids())


def test_bad_pictures_are_listed_and_the_build_goes_on(photos: Path, index: Path) -> None:
    (photos / "c0" / "empty.jpg").write_bytes(b"")
    (photos / "c0" / "text.jpg").write_text("not a picture")
    report = build_folder(photos, index)
    assert (report.products, report.failed) == (12, 2)
    failures = read_failures(index / "snapshots" / report.snapshot / "failures.parquet")
    assert [failure["id"] for failure in failures] == ["c0:empty", "c0:text"]
    assert all(failure["reason"] for failure in failures)


def test_too_many_bad_pictures_stop_the_build_and_nothing_is_published(photos: Path, index: Path) -> None:
    before = build_folder(photos, index)
    (photos / "c0" / "empty.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="max-failures"):
        build_folder(photos, index, embedding=EmbeddingOptions(max_failures=0))
    assert IndexFolder(index).current() == before.snapshot


def test_a_source_without_one_good_picture_publishes_nothing(tmp_path: Path, index: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="none of its 1 pictures"):
        build_folder(tmp_path / "bad", index)
    assert IndexFolder(index).current_or_none() is None


def test_deletions_survive_a_rebuild_by_id_even_when_the_product_was_away(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    folder = IndexFolder(index)
    with folder.journal() as journal:
        journal.append("delete", ["c0:p0", "c1:p1", "c2:p2"])
        journal.append("restore", ["c1:p1"])
    assert build_folder(photos, index).deleted == 2
    assert set(folder.open().table.tombstones()) == {"c0:p0", "c2:p2"}
    away = photos / "c0" / "p0.jpg"
    data = away.read_bytes()
    away.unlink()
    assert build_folder(photos, index).deleted == 1
    away.write_bytes(data)
    assert build_folder(photos, index).deleted == 2
    (index / "journal.sqlite").unlink()
    assert build_folder(photos, index).deleted == 2


def upload(index: Path, product_id: str, picture: bytes) -> Upload:
    (index / "uploads").mkdir(exist_ok=True)
    (index / "uploads" / f"{product_id}.jpg").write_bytes(picture)
    product = {
        "id": product_id,
        "name": "Nova",
        "category": "c0",
        "group": None,
        "image": f"uploads/{product_id}.jpg",
        "sha256": "",
        "width_px": 64,
        "height_px": 48,
        "attributes": {"price": 9.5},
    }
    return Upload(product, "", np.zeros(1280, np.float32))


def test_uploads_become_products_of_the_next_snapshot(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    folder = IndexFolder(index)
    with folder.journal() as journal:
        for name in ("novo", "c0:p0"):
            journal.append("upload", [name], upload=upload(index, name.replace(":", "-"), jpeg(seed=70)))
        journal.append("upload", ["gone"], upload=upload(index, "gone", jpeg(seed=71)))
        journal.append("delete", ["gone"])
    report = build_folder(photos, index)
    assert report.products == 14
    snapshot = folder.open()
    row = snapshot.table.row_of("novo")
    assert row is not None
    product = snapshot.table.product(row)
    assert (product.image, product.attributes["price"]) == ("uploads/novo.jpg", 9.5)
    assert set(snapshot.table.tombstones()) == {"gone"}
    assert snapshot.manifest.uploads_sequence == 4


def test_pictures_go_in_as_asked_and_so_do_those_of_queries(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    report = build_folder(photos, index, fit="letterbox", trim=True)
    assert report.embedded == report.products, "another preprocessing makes other vectors"
    spec = IndexFolder(index).open().manifest.model.preprocessing
    assert spec.startswith("decode|trim(16)|letterbox(260,260)|")
    with Catalogue.open(index) as catalogue:
        hit = catalogue.search(image=photos / "c1" / "p1.jpg", limit=1)["hits"][0]
    assert (hit["id"], hit["score"]) == ("c1:p1", pytest.approx(1, abs=1e-4))


def test_compaction_writes_tombstones_and_links_the_rest(photos: Path, index: Path) -> None:
    built = build_folder(photos, index)
    folder = IndexFolder(index)
    assert compact(folder, keep=3).changes == 0
    with folder.journal() as journal:
        journal.append("delete", ["c0:p0"])
        journal.append("upload", ["novo"], upload=upload(index, "novo", jpeg(seed=70)))
        journal.append("delete", ["c1:p1"])
    report = compact(folder, keep=3)
    assert (report.deleted, report.changes, report.uploads_waiting) == (2, 3, 1)
    snapshot = folder.open()
    assert snapshot.manifest.kind == "compact"
    assert (snapshot.manifest.journal_sequence, snapshot.manifest.uploads_sequence) == (3, 0)
    assert set(snapshot.table.tombstones()) == {"c0:p0", "c1:p1"}
    before = index / "snapshots" / built.snapshot / "vectors.npy"
    assert before.stat().st_ino == (snapshot.path / "vectors.npy").stat().st_ino
    assert build_folder(photos, index).products == 13


def test_rollback_and_pruning_never_lose_the_live_snapshot(photos: Path, index: Path) -> None:
    names = [build_folder(photos, index, keep=2).snapshot for _ in range(3)]
    folder = IndexFolder(index)
    assert folder.names() == names[1:]
    assert roll_back(folder) == (names[2], names[1])
    assert folder.current() == names[1]
    with pytest.raises(SnapshotMissing, match="older"):
        roll_back(folder)
    latest = build_folder(photos, index, keep=1).snapshot
    assert folder.names() == [latest]


def test_the_gate_stops_a_catalogue_that_lost_most_of_its_products(tmp_path: Path, index: Path) -> None:
    photos = write_folder(tmp_path / "photos", each=8)
    before = build_folder(photos, index)
    shutil.rmtree(photos / "c1")
    shutil.rmtree(photos / "c2")
    with pytest.raises(PublishRefused, match=r"67% of the 24 products vanished.*--force"):
        build_folder(photos, index)
    folder = IndexFolder(index)
    assert folder.current() == before.snapshot
    assert len(folder.names()) == 2
    assert build_folder(photos, index, force=True).products == 8
    assert folder.open().manifest.products == 8


def test_the_gate_stops_an_index_that_is_slow_or_forgets(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    with pytest.raises(PublishRefused, match="ms"):
        build_folder(photos, index, gate=Thresholds(max_p95_ms=0.0))
    with pytest.raises(PublishRefused, match="recall@10"):
        build_folder(photos, index, gate=Thresholds(recall_slack=-1.0))


def corrupt(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
@pytest.mark.parametrize(
    "name", ["index.faiss", "vectors.npy", "table.parquet", "transform.npz", "text.npz", "manifest.json"]
)
def test_a_damaged_file_is_refused_at_open_and_a_build_goes_on(
    tmp_path: Path, built: Path, how: str, name: str
) -> None:
    index = tmp_path / "copy"
    shutil.copytree(built, index)
    folder = IndexFolder(index)
    corrupt(folder.path_of(folder.current()) / name, how)
    with pytest.raises(SnapshotCorrupt, match=name):
        folder.open()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built")
    build_folder(write_folder(root / "photos"), root / "index")
    return root / "index"


def test_a_table_of_another_snapshot_is_refused(photos: Path, index: Path) -> None:
    first = build_folder(photos, index)
    (photos / "c0" / "p9.jpg").write_bytes(jpeg(64, 48, 60))
    second = build_folder(photos, index)
    snapshots = index / "snapshots"
    shutil.copyfile(
        snapshots / first.snapshot / "table.parquet", snapshots / second.snapshot / "table.parquet"
    )
    with pytest.raises(SnapshotCorrupt, match=r"table\.parquet"):
        IndexFolder(index).open()


def test_two_builds_at_once_do_not_mix(photos: Path, index: Path) -> None:
    with IndexFolder(index).publishing(), pytest.raises(SnapshotError, match="another process"):
        build_folder(photos, index)


@pytest.mark.parametrize("pointer", ["", "../../etc", "20261122T000000000Z-0000", "\udcff"])
def test_a_pointer_that_names_nothing_is_an_error_that_says_so(index: Path, pointer: str) -> None:
    index.mkdir()
    (index / "current").write_bytes(pointer.encode(errors="surrogateescape"))
    with pytest.raises(SnapshotError):
        IndexFolder(index).open()


def test_names_grow_even_when_the_clock_was_set_back(index: Path, photos: Path) -> None:
    folder = IndexFolder(index)
    future = f"{dt.datetime.now(dt.UTC).year + 1}0101T000000000Z-abcd"
    (index / "snapshots" / future).mkdir(parents=True)
    with folder.publishing(), folder.staging() as staged:
        assert folder.name_of(staged) > future


BUILD = "from vitrine.indexer.cli.main import main; main(prog_name='vitrine-indexer')"


def run_build(photos: Path, index: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BUILD, "build", str(photos), "--index", str(index), "--json"]
    command += ["--model", "efficientnet-lite2", "--batch-size", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_build_killed_at_any_moment_leaves_the_live_snapshot_and_can_go_on(
    tmp_path: Path, photos: Path, index: Path
) -> None:
    before = build_folder(photos, index)
    write_folder(photos, categories=4, each=8, first_seed=200)
    folder = IndexFolder(index)
    for kill_after_s in (0.3, 2.0, 4.0, 5.0):
        process = run_build(photos, index)
        time.sleep(kill_after_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        live = folder.open(full_check=True)
        assert live.name == before.snapshot or live.manifest.products == 32
    process = run_build(photos, index)
    output, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    report = json.loads(output)
    assert (process.returncode, report["products"]) == (0, 32)
    assert report["embedded"] + report["from_cache"] == 32
    assert not list((index / "snapshots").glob(".*"))


def test_a_crash_at_any_step_of_publishing_leaves_the_live_snapshot(
    photos: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at each call that makes something durable, one after the other, until a build gets through."""
    before = build_folder(photos, index)
    (photos / "c0" / "p9.jpg").write_bytes(jpeg(64, 48, 60))
    real, calls = os.fsync, 0

    for crash_at in range(1, 40):
        calls = 0

        def fsync(descriptor: int, crash_at: int = crash_at) -> None:
            nonlocal calls
            calls += 1
            if calls == crash_at:
                raise KeyboardInterrupt
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        try:
            report = build_folder(photos, index)
        except KeyboardInterrupt:
            assert IndexFolder(index).open().name in (before.snapshot, IndexFolder(index).names()[-1])
        else:
            assert crash_at > 5
            assert report.products == 13
            break
    else:
        pytest.fail("the build never got through")


def test_options_default_to_the_contract() -> None:
    assert BuildOptions().model == "bit-m-r50x1"
    assert BuildOptions().recipe == RecipeRequest("auto", 0.99, None)
