"""Tests of vitrine.indexer.snapshot.manifest."""

from pathlib import Path

import pytest

from vitrine.indexer.errors import FormatUnsupported, SnapshotCorrupt
from vitrine.indexer.snapshot import manifest as module
from vitrine.indexer.snapshot.manifest import MANIFEST, Manifest, ModelRecord, check_files, record_files


def make_manifest(**changes: object) -> Manifest:
    fields = {
        "snapshot": "s",
        "built_at": "2026-11-22T00:00:00+00:00",
        "vitrine": "0.1.0",
        "source": "fotos/tênis",
        "products": 3,
        "deleted": 1,
        "failed": 0,
        "categories": 2,
        "model": ModelRecord("m", "m", "sha256:0", "decode", 8),
        "dimension": 8,
        "vector_dtype": "float32",
        "transform": {"name": "none"},
        "recipe": {"recipe": "flat"},
        "recall_at_10": 1.0,
        "latency": {"p50_ms": 0.1},
        "journal_sequence": 4,
        "uploads_sequence": 4,
    }
    return Manifest(**(fields | changes))  # type: ignore[arg-type]


def test_a_manifest_is_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "vectors.npy").write_bytes(b"12345678")
    written = make_manifest(files=record_files(tmp_path))
    written.write(tmp_path)
    assert Manifest.read(tmp_path) == written


def test_a_derived_manifest_names_its_parent_and_keeps_the_other_fields() -> None:
    manifest = make_manifest()
    derived = manifest.derive("t", "compact", deleted=2)
    assert (derived.snapshot, derived.kind, derived.parent, derived.deleted) == ("t", "compact", "s", 2)
    assert derived.built_at > manifest.built_at[:4]
    assert (derived.model, derived.products) == (manifest.model, manifest.products)


@pytest.mark.parametrize(
    ("before", "after"),
    [('"products": 3', '"products": 4'), ('"recall_at_10": 1.0', '"recall_at_10": 0.9'), ("tênis", "tenis")],
)
def test_an_altered_manifest_is_refused(tmp_path: Path, before: str, after: str) -> None:
    make_manifest().write(tmp_path)
    path = tmp_path / MANIFEST
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(SnapshotCorrupt, match="altered"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"products": 3}', "\udcff"])
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SnapshotCorrupt, match="not a manifest"):
        Manifest.read(tmp_path)


def test_another_format_version_is_refused_with_advice(tmp_path: Path) -> None:
    make_manifest(format_version=2).write(tmp_path)
    with pytest.raises(FormatUnsupported, match=r"snapshot format 2.*build again"):
        Manifest.read(tmp_path)


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotCorrupt, match="missing"):
        Manifest.read(tmp_path)


def test_files_are_checked_by_size_and_by_content(tmp_path: Path) -> None:
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"0" * 1000)
    files = record_files(tmp_path)
    check_files(tmp_path, files)
    for content, reason in ((b"0" * 999, "999 bytes"), (b"0" * 999 + b"1", "checksum")):
        path.write_bytes(content)
        with pytest.raises(SnapshotCorrupt, match=reason):
            check_files(tmp_path, files)
    path.unlink()
    with pytest.raises(SnapshotCorrupt, match="cannot be read"):
        check_files(tmp_path, files)


def test_large_files_are_sampled_unless_checked_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FULL_CHECK_MAX_BYTES", 1000)
    monkeypatch.setattr(module, "_SAMPLE_BYTES", 16)
    path = tmp_path / "vectors.npy"
    content = bytearray(100_000)
    path.write_bytes(content)
    files = record_files(tmp_path)
    content[100] = 1
    path.write_bytes(content)
    check_files(tmp_path, files)
    with pytest.raises(SnapshotCorrupt, match="checksum"):
        check_files(tmp_path, files, full=True)
    content[-1] = 1
    path.write_bytes(content)
    with pytest.raises(SnapshotCorrupt, match="checksum"):
        check_files(tmp_path, files)
