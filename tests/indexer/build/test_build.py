"""Tests of vitrine.indexer.build.build and vitrine.indexer.build.candidate: builds with the packaged model.

They cover published files, reuse by later builds, and interrupted builds.
"""

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

from tests.catalogues import build_folder, write_folder, write_upload
from tests.pictures import jpeg
from tests.waiting import LIMIT_S
from vitrine.indexer.build.build import BuildOptions
from vitrine.indexer.embedding.pipeline import EmbeddingOptions
from vitrine.indexer.errors import (
    SnapshotError,
    SnapshotMissing,
    SourceError,
)
from vitrine.indexer.products.failures import read_failures
from vitrine.indexer.recipes import RecipeRequest
from vitrine.indexer.snapshot.folder import IndexFolder, roll_back
from vitrine.service import Catalogue


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


def test_a_second_build_embeds_only_changed_photos(photos: Path, index: Path) -> None:
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


def test_too_many_bad_pictures_stop_the_build(photos: Path, index: Path) -> None:
    before = build_folder(photos, index)
    (photos / "c0" / "empty.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="max-failures"):
        build_folder(photos, index, embedding=EmbeddingOptions(max_failures=0))
    assert IndexFolder(index).current_name() == before.snapshot


def test_a_source_without_one_good_picture_publishes_nothing(tmp_path: Path, index: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.jpg").write_bytes(b"")
    with pytest.raises(SourceError, match="none of its 1 pictures"):
        build_folder(tmp_path / "bad", index)
    assert IndexFolder(index).current_name_or_none() is None


def test_deletions_by_id_survive_rebuilds_without_the_product(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    folder = IndexFolder(index)
    with folder.journal() as journal:
        journal.append("delete", ["c0:p0", "c1:p1", "c2:p2"])
        journal.append("restore", ["c1:p1"])
    assert build_folder(photos, index).deleted == 2
    assert set(folder.open().table.tombstones()) == {"c0:p0", "c2:p2"}
    removed = photos / "c0" / "p0.jpg"
    data = removed.read_bytes()
    removed.unlink()
    assert build_folder(photos, index).deleted == 1
    removed.write_bytes(data)
    assert build_folder(photos, index).deleted == 2
    (index / "journal.sqlite").unlink()
    assert build_folder(photos, index).deleted == 2


def test_uploads_become_products_of_the_next_snapshot(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    folder = IndexFolder(index)
    with folder.journal() as journal:
        for name in ("novo", "c0:p0"):
            journal.append(
                "upload", [name], upload=write_upload(index, name.replace(":", "-"), jpeg(seed=70))
            )
        journal.append("upload", ["gone"], upload=write_upload(index, "gone", jpeg(seed=71)))
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


def test_preprocessing_options_apply_to_the_catalogue_and_to_queries(photos: Path, index: Path) -> None:
    build_folder(photos, index)
    report = build_folder(photos, index, fit="letterbox", trim=True)
    assert report.embedded == report.products, "another preprocessing makes other vectors"
    spec = IndexFolder(index).open().manifest.model.preprocessing
    assert spec.startswith("decode|trim(16)|letterbox(260,260)|")
    with Catalogue.open(index) as catalogue:
        hit = catalogue.search(image=photos / "c1" / "p1.jpg", limit=1)["hits"][0]
    assert (hit["id"], hit["score"]) == ("c1:p1", pytest.approx(1, abs=1e-4))


def test_rollback_and_pruning_keep_the_current_snapshot(photos: Path, index: Path) -> None:
    names = [build_folder(photos, index, keep=2).snapshot for _ in range(3)]
    folder = IndexFolder(index)
    assert folder.snapshot_names() == names[1:]
    assert roll_back(folder) == (names[2], names[1])
    assert folder.current_name() == names[1]
    with pytest.raises(SnapshotMissing, match="older"):
        roll_back(folder)
    latest = build_folder(photos, index, keep=1).snapshot
    assert folder.snapshot_names() == [latest]


def test_a_second_build_at_the_same_time_is_refused(photos: Path, index: Path) -> None:
    with IndexFolder(index).publishing(), pytest.raises(SnapshotError, match="another process"):
        build_folder(photos, index)


BUILD = "from vitrine.indexer.cli.main import main; main(prog_name='vitrine-indexer')"


def run_build(photos: Path, index: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", BUILD, "build", str(photos), "--index", str(index), "--json"]
    command += ["--model", "efficientnet-lite2", "--batch-size", "2"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_build_leaves_the_current_snapshot_and_can_be_repeated(
    tmp_path: Path, photos: Path, index: Path
) -> None:
    before = build_folder(photos, index)
    write_folder(photos, categories=4, per_category=8, first_seed=200)
    folder = IndexFolder(index)
    for kill_after_s in (0.3, 2.0, 4.0, 5.0):
        process = run_build(photos, index)
        time.sleep(kill_after_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        live = folder.open(full_check=True)
        assert live.name == before.snapshot or live.manifest.products == 32
    process = run_build(photos, index)
    output, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    report = json.loads(output)
    assert (process.returncode, report["products"]) == (0, 32)
    assert report["embedded"] + report["from_cache"] == 32
    assert not list((index / "snapshots").glob(".*"))


def test_a_crash_at_any_step_of_publishing_leaves_the_current_snapshot(
    photos: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at the first fsync, then at the second, and so on, until a build completes."""
    before = build_folder(photos, index)
    (photos / "c0" / "p9.jpg").write_bytes(jpeg(64, 48, 60))
    fsync, calls = os.fsync, 0

    for crash_at in range(1, 40):
        calls = 0

        def failing_fsync(descriptor: int, crash_at: int = crash_at) -> None:
            nonlocal calls
            calls += 1
            if calls == crash_at:
                raise KeyboardInterrupt
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", failing_fsync)
        try:
            report = build_folder(photos, index)
        except KeyboardInterrupt:
            assert IndexFolder(index).open().name in (
                before.snapshot,
                IndexFolder(index).snapshot_names()[-1],
            )
        else:
            assert crash_at > 5
            assert report.products == 13
            break
    else:
        pytest.fail("no build completed")


def test_options_default_to_the_contract() -> None:
    assert BuildOptions().model == "bit-m-r50x1"
    assert BuildOptions().recipe == RecipeRequest("auto", 0.99, None)
