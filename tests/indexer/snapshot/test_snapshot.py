"""Tests of vitrine.indexer.snapshot.snapshot."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.indexes import make_samples, publish_samples
from vitrine.indexer.errors import SnapshotCorrupt
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.manifest import MANIFEST, Manifest, record_files
from vitrine.indexer.snapshot.snapshot import (
    INDEX,
    TABLE,
    TEXT,
    TRANSFORM,
    VECTORS,
    Snapshot,
    load_snapshot,
    open_snapshot,
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    root = tmp_path_factory.mktemp("published")
    publish_samples(root / "index", make_samples(root / "photos", 6), root / "photos")
    return IndexFolder(root / "index").open()


@pytest.fixture
def copy(published: Snapshot, tmp_path: Path) -> Path:
    return shutil.copytree(published.path, tmp_path / published.name)


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    else:
        path.unlink()


def test_rows_of_table_vectors_and_index_are_the_same_products(published: Snapshot) -> None:
    vectors = np.asarray(published.vectors, np.float32)
    hits = published.index.search(vectors, 1)
    assert hits.rows[:, 0].tolist() == list(range(6))
    assert len(published.table) == published.index.ntotal == published.manifest.products == 6
    assert published.confidence is not None
    assert published.name == published.path.name


@pytest.mark.parametrize("how", ["truncated", "flipped", "missing"])
@pytest.mark.parametrize("name", [INDEX, VECTORS, TABLE, TRANSFORM, TEXT, MANIFEST])
def test_a_damaged_file_is_refused(copy: Path, how: str, name: str) -> None:
    damage(copy / name, how)
    with pytest.raises(SnapshotCorrupt, match=name):
        open_snapshot(copy, full_check=True)


def test_files_of_different_shapes_are_refused(copy: Path) -> None:
    np.save(copy / VECTORS, np.zeros((5, 48), np.float32))
    manifest = Manifest.read(copy)
    with pytest.raises(SnapshotCorrupt):
        load_snapshot(copy, manifest)
    fewer = dataclasses.replace(manifest, products=5, files=record_files(copy))
    with pytest.raises(SnapshotCorrupt):
        load_snapshot(copy, fewer)


@pytest.mark.parametrize("array", [np.zeros(6, np.float32), np.zeros((6, 48), np.int8)])
def test_vectors_must_be_a_matrix_of_floats(copy: Path, array: np.ndarray) -> None:
    np.save(copy / VECTORS, array)
    with pytest.raises(SnapshotCorrupt, match="matrix"):
        load_snapshot(copy, Manifest.read(copy))
