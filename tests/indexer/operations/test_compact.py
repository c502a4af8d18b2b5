"""Tests of vitrine.indexer.operations.compact: tombstones in a new table, and links to unchanged files."""

from pathlib import Path

from tests.catalogues import build_folder, write_folder, write_upload
from tests.pictures import jpeg
from vitrine.indexer.operations.compact import compact_snapshot
from vitrine.indexer.snapshot.folder import IndexFolder


def test_compaction_writes_tombstones_and_links_the_rest(tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos"), tmp_path / "index"
    built = build_folder(photos, index)
    folder = IndexFolder(index)
    assert compact_snapshot(folder, keep=3).changes == 0
    with folder.journal() as journal:
        journal.append("delete", ["c0:p0"])
        journal.append("upload", ["novo"], upload=write_upload(index, "novo", jpeg(seed=70)))
        journal.append("delete", ["c1:p1"])
    report = compact_snapshot(folder, keep=3)
    assert (report.deleted, report.changes, report.uploads_waiting) == (2, 3, 1)
    snapshot = folder.open()
    assert snapshot.manifest.kind == "compact"
    assert (snapshot.manifest.journal_sequence, snapshot.manifest.uploads_sequence) == (3, 0)
    assert set(snapshot.table.tombstones()) == {"c0:p0", "c1:p1"}
    before = index / "snapshots" / built.snapshot / "vectors.npy"
    assert before.stat().st_ino == (snapshot.path / "vectors.npy").stat().st_ino
    assert build_folder(photos, index).products == 13
