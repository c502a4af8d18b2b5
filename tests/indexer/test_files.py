"""Tests of vitrine.indexer.files: atomic writes, full disks, and allocated matrices."""

import errno
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from vitrine.indexer import files
from vitrine.indexer.errors import SnapshotError, StorageFull
from vitrine.indexer.files import atomic_write, create_matrix, is_storage_full, storage_errors


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("message")
    error.sqlite_errorcode = code
    return error


def test_an_atomic_write_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    for content in (b"first", b"second"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_during_an_atomic_write_leaves_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(b"before")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_is_a_snapshot_error(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"cannot write .*none/file: No such file"):
        atomic_write(tmp_path / "none" / "file").__enter__()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_storage_full(tmp_path: Path, code: int) -> None:
    message = "no space left to write the cache at"
    with pytest.raises(StorageFull, match=message), storage_errors(tmp_path / "file", "the cache"):
        raise OSError(code, "full")
    assert not is_storage_full(OSError(errno.EACCES, "denied"), tmp_path)


def test_sqlite_reports_a_full_disk_in_several_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite"
    assert is_storage_full(sqlite_error(sqlite3.SQLITE_FULL), path)
    assert not is_storage_full(sqlite_error(sqlite3.SQLITE_BUSY), path)
    for code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN):
        assert not is_storage_full(sqlite_error(code), path)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_ALMOST_FULL_BYTES", 2**62)
            assert is_storage_full(sqlite_error(code), path)


def test_a_created_matrix_is_allocated_and_loads_as_npy(tmp_path: Path) -> None:
    matrix = create_matrix(tmp_path / "vectors.npy", np.float32, (100, 50))
    assert not matrix.any()
    matrix[7] = 1
    matrix.flush()
    assert np.load(tmp_path / "vectors.npy")[7].sum() == 50
    assert (tmp_path / "vectors.npy").stat().st_blocks * 512 >= matrix.nbytes
