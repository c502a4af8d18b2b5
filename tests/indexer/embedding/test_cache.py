"""Tests of vitrine.indexer.embedding.cache and cache_file: durability, kills, damage, full disks."""

import hashlib
import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.paths import ROOT
from vitrine.indexer.embedding import cache_file
from vitrine.indexer.embedding.cache import FILE_NAME, CacheEntry, EmbeddingCache, FileEntry
from vitrine.indexer.errors import SnapshotCorrupt, SnapshotError, StorageFull
from vitrine.indexer.files import storage_errors

MODEL = "net|sha256:1|decode|resize(8,8)|value_range(0,1)"
LONG_AGO_NS = 1_000_000_000_000_000_000


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def vector(number: int, dimension: int = 16) -> npt.NDArray[np.float32]:
    values = np.random.default_rng(number).normal(size=dimension).astype(np.float32)
    values /= np.linalg.norm(values)
    return values


def entries(*numbers: int, dimension: int = 16) -> list[CacheEntry]:
    return [CacheEntry(digest(n), 100 + n, 200 + n, vector(n, dimension)) for n in numbers]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    with EmbeddingCache(tmp_path / "cache") as cache:
        yield cache


def test_stored_vectors_are_returned_in_the_requested_order(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1, 2, 3))
    assert cache.sizes_px(MODEL, [digest(3), digest(9), digest(1)]) == {
        digest(3): (103, 203),
        digest(1): (101, 201),
    }
    vectors = cache.vectors(MODEL, [digest(3), digest(1), digest(3)])
    assert vectors.dtype == np.float32
    assert (vectors == np.stack([vector(3), vector(1), vector(3)])).all()


def test_vectors_persist_after_closing(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path) as first:
        first.put(MODEL, entries(1))
    with EmbeddingCache(tmp_path) as second:
        assert (second.vectors(MODEL, [digest(1)]) == vector(1)).all()


def test_models_are_independent(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    cache.put("other", entries(1, dimension=8))
    assert cache.sizes_px("third", [digest(1)]) == {}
    assert cache.vectors("other", [digest(1)]).shape == (1, 8)
    assert cache.vectors(MODEL, [digest(1)]).shape == (1, 16)


def test_empty_requests_return_empty_results(cache: EmbeddingCache) -> None:
    cache.put(MODEL, [])
    assert cache.sizes_px(MODEL, []) == {}
    assert cache.vectors(MODEL, []).shape == (0, 0)
    cache.put(MODEL, entries(1))
    assert cache.vectors(MODEL, []).shape == (0, 16)


def test_requests_larger_than_one_statement(cache: EmbeddingCache) -> None:
    numbers = list(range(2_500))
    cache.put(MODEL, entries(*numbers, dimension=2))
    digests = [digest(n) for n in reversed(numbers)]
    assert len(cache.sizes_px(MODEL, digests)) == 2_500
    assert (cache.vectors(MODEL, digests) == np.stack([vector(n, 2) for n in reversed(numbers)])).all()


def test_existing_and_duplicate_entries_are_not_replaced(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    cache.put(MODEL, [CacheEntry(digest(1), 7, 7, vector(2)), *entries(2, 2)])
    assert cache.sizes_px(MODEL, [digest(1)]) == {digest(1): (101, 201)}
    assert (cache.vectors(MODEL, [digest(1)]) == vector(1)).all()
    assert cache.statistics().vectors == {MODEL: 2}


def test_vectors_of_another_dimension_are_rejected(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    for bad in (entries(2, dimension=8), [*entries(2), *entries(3, dimension=8)]):
        with pytest.raises(ValueError, match=r"equal length|dimension 16 in the cache, 8 here"):
            cache.put(MODEL, bad)
    with pytest.raises(ValueError, match="one-dimensional"):
        cache.put(MODEL, [CacheEntry(digest(2), 1, 1, np.zeros((2, 8), np.float32))])
    assert cache.statistics().vectors == {MODEL: 1}


def test_a_missing_vector_is_an_error_with_its_digest(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    with pytest.raises(SnapshotCorrupt, match=digest(2).hex()[:16]):
        cache.vectors(MODEL, [digest(1), digest(2)])
    with pytest.raises(SnapshotCorrupt, match="run the build again"):
        cache.vectors("never seen", [digest(1)])


def test_a_vector_with_a_wrong_checksum_is_deleted(cache: EmbeddingCache, tmp_path: Path) -> None:
    cache.put(MODEL, entries(1, 2))
    with sqlite3.connect(tmp_path / "cache" / FILE_NAME) as raw:
        raw.execute("UPDATE vector SET data = zeroblob(64) WHERE id = 1")
    raw.close()
    with pytest.raises(SnapshotCorrupt, match="missing or damaged"):
        cache.vectors(MODEL, [digest(2), digest(1)])
    assert cache.sizes_px(MODEL, [digest(1), digest(2)]) == {digest(2): (102, 202)}


def test_the_digest_of_an_unchanged_file_is_cached(cache: EmbeddingCache) -> None:
    cache.put_files([FileEntry("/a.jpg", 10, LONG_AGO_NS, digest(1))])
    assert cache.file_digest("/a.jpg", 10, LONG_AGO_NS) == digest(1)
    assert cache.file_digest("/a.jpg", 11, LONG_AGO_NS) is None
    assert cache.file_digest("/a.jpg", 10, LONG_AGO_NS + 1) is None
    assert cache.file_digest("/b.jpg", 10, LONG_AGO_NS) is None
    cache.put_files([FileEntry("/a.jpg", 11, LONG_AGO_NS, digest(2))])
    assert cache.file_digest("/a.jpg", 11, LONG_AGO_NS) == digest(2)
    assert cache.statistics().files == 1


def test_recently_modified_files_are_not_cached(cache: EmbeddingCache) -> None:
    now_ns = time.time_ns()
    cache.put_files(
        [FileEntry("/a.jpg", 10, now_ns, digest(1)), FileEntry("/b.jpg", 10, now_ns * 2, digest(1))]
    )
    assert cache.statistics().files == 0


def test_delete_removes_the_bytes_of_every_model_from_disk(cache: EmbeddingCache, tmp_path: Path) -> None:
    cache.put(MODEL, entries(1, 2))
    cache.put("other", entries(1, 3))
    cache.put_files([FileEntry("/a.jpg", 1, LONG_AGO_NS, digest(1))])
    assert cache.delete([digest(1), digest(9)]) == 2
    assert cache.delete([digest(1)]) == 0
    assert cache.sizes_px(MODEL, [digest(1), digest(2)]) == {digest(2): (102, 202)}
    assert cache.file_digest("/a.jpg", 1, LONG_AGO_NS) is None
    on_disk = b"".join(file.read_bytes() for file in (tmp_path / "cache").iterdir())
    assert vector(1).tobytes() not in on_disk
    assert digest(1) not in on_disk
    assert vector(2).tobytes() in on_disk


def test_statistics_count_vectors(cache: EmbeddingCache) -> None:
    assert cache.statistics().vectors == {}
    cache.put(MODEL, entries(1, 2))
    statistics = cache.statistics()
    assert statistics.vectors == {MODEL: 2}
    assert statistics.size_bytes > 0


def test_threads_can_share_a_cache(cache: EmbeddingCache) -> None:
    def work(number: int) -> bool:
        cache.put(MODEL, entries(number, number + 1))
        return bool((cache.vectors(MODEL, [digest(number)]) == vector(number)).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert cache.statistics().vectors == {MODEL: 65}


def test_a_closed_cache_raises_an_error(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path)
    cache.close()
    with pytest.raises(SnapshotError, match="closed"):
        cache.sizes_px(MODEL, [digest(1)])


PUT_BATCHES = textwrap.dedent(
    """
    import sys
    from tests.indexer.embedding.test_cache import MODEL, EmbeddingCache, entries
    first = int(sys.argv[2])
    with EmbeddingCache(sys.argv[1]) as cache:
        for start in range(first, first + int(sys.argv[3]), 16):
            cache.put(MODEL, entries(*range(start, start + 16), dimension=2048))
            print(start + 16, flush=True)
    """
)


def start_writer(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUT_BATCHES, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("reported_batches", [1, 7])
def test_a_kill_loses_at_most_the_current_batch(tmp_path: Path, reported_batches: int) -> None:
    with start_writer(tmp_path, 0, 10**9) as child:
        assert child.stdout
        for _ in range(reported_batches):
            last = int(child.stdout.readline())
        time.sleep(0.003 * reported_batches)
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
    with EmbeddingCache(tmp_path) as cache:
        stored = cache.sizes_px(MODEL, [digest(n) for n in range(last + 32)])
        assert len(stored) % 16 == 0
        assert last <= len(stored) <= last + 16
        assert (cache.vectors(MODEL, [digest(last - 1)]) == vector(last - 1, 2048)).all()
        cache.put(MODEL, entries(10**6, dimension=2048))
    assert not list(tmp_path.glob("*.broken"))


def test_two_processes_can_write_concurrently(tmp_path: Path) -> None:
    with start_writer(tmp_path, 0, 320) as one, start_writer(tmp_path, 160, 320) as two:
        one.communicate()
        two.communicate()
    assert (one.returncode, two.returncode) == (0, 0)
    with EmbeddingCache(tmp_path) as cache:
        assert len(cache.sizes_px(MODEL, [digest(n) for n in range(480)])) == 480
        assert (cache.vectors(MODEL, [digest(n) for n in range(480)])[300] == vector(300, 2048)).all()


def overwrite_all(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def overwrite_tail(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    file.write_bytes(data)


def write_other_schema(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as raw:
        raw.execute("CREATE TABLE something (a_column TEXT)")
    raw.close()


def change_version(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()


def drop_table(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("DROP TABLE entry")
    raw.close()


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:9000])


@pytest.mark.parametrize(
    "damage", [overwrite_all, overwrite_tail, write_other_schema, change_version, drop_table, truncate]
)
def test_an_unusable_file_is_set_aside(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddingCache(tmp_path) as cache:
        cache.put(MODEL, entries(*range(200)))
    damage(tmp_path / FILE_NAME)
    with caplog.at_level(logging.WARNING), EmbeddingCache(tmp_path) as cache:
        assert cache.sizes_px(MODEL, [digest(1)]) == {}
        cache.put(MODEL, entries(1))
        assert (cache.vectors(MODEL, [digest(1)]) == vector(1)).all()
    assert (tmp_path / f"{FILE_NAME}.broken").is_file()
    assert "replaced by an empty cache" in caplog.text


def test_damage_while_in_use_replaces_the_cache_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddingCache(tmp_path) as one, EmbeddingCache(tmp_path) as two:
        one.put(MODEL, entries(*range(200), dimension=512))
        one.delete([digest(199)])  # moves the write-ahead log into the main file
        overwrite_tail(tmp_path / FILE_NAME)
        with caplog.at_level(logging.WARNING):
            one.put(MODEL, entries(*range(300, 400), dimension=512))
            two.put(MODEL, entries(*range(400, 500), dimension=512))
            assert len(one.sizes_px(MODEL, [digest(n) for n in range(300, 400)])) == 100
            assert len(two.sizes_px(MODEL, [digest(n) for n in range(400, 500)])) == 100
    assert caplog.text.count("replaced by an empty cache") == 1


def test_a_deleted_folder_is_created_again(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path / "c") as cache:
        cache.put(MODEL, entries(1))
    shutil.rmtree(tmp_path / "c")
    with EmbeddingCache(tmp_path / "c") as cache:
        assert cache.sizes_px(MODEL, [digest(1)]) == {}


def test_a_full_disk_is_an_error_and_loses_nothing(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    connection = cache._file.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall()
    with pytest.raises(StorageFull, match="no space left to write the embedding cache at"):
        cache.put(MODEL, entries(*range(2, 900)))
    assert cache.statistics().vectors == {MODEL: 1}
    connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    cache.put(MODEL, entries(*range(2, 900)))
    assert cache.statistics().vectors == {MODEL: 899}


def test_an_io_error_is_storage_full_only_if_no_space_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR | (3 << 8)
        with storage_errors(tmp_path / FILE_NAME, cache_file.PURPOSE):
            raise error

    with pytest.raises(SnapshotError, match=r"cannot use the embedding cache at .*: disk I/O error"):
        fail()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(StorageFull):
        fail()


def test_an_exceeded_quota_is_storage_full(tmp_path: Path) -> None:
    with pytest.raises(StorageFull), storage_errors(tmp_path / FILE_NAME, cache_file.PURPOSE):
        raise OSError(122, "Disk quota exceeded")


def test_a_replaced_file_is_set_aside_once(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path) as one, EmbeddingCache(tmp_path) as two:
        error = sqlite3.DatabaseError("database disk image is malformed")
        one._file.recreate(error)
        one.put(MODEL, entries(1))
        two._file.recreate(error)
        assert two.sizes_px(MODEL, [digest(1)]) == {digest(1): (101, 201)}


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(SnapshotError, match="unable to open database file"):
        EmbeddingCache(tmp_path)


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SnapshotError, match="cannot use the embedding cache"):
        EmbeddingCache(tmp_path / "file" / "cache")


def test_a_file_locked_beyond_the_timeout_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_file, "_BUSY_TIMEOUT_S", 0.1)
    with EmbeddingCache(tmp_path) as cache:
        holder = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SnapshotError, match="locked"):
            cache.put(MODEL, entries(1))
        holder.execute("ROLLBACK")
        holder.close()
        cache.put(MODEL, entries(1))


def test_threads_can_create_one_cache_concurrently(tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def create(number: int) -> None:
        start.wait()
        with EmbeddingCache(tmp_path) as cache:
            cache.put(MODEL, entries(number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(create, range(6)))
    with EmbeddingCache(tmp_path) as cache:
        assert cache.statistics().vectors == {MODEL: 6}


def test_thousands_of_vectors_are_returned_in_order(cache: EmbeddingCache) -> None:
    block = np.random.default_rng(0).normal(size=(1_000, 2048)).astype(np.float32)
    digests = [digest(n) for n in range(2_000)]
    for first in (0, 1_000):
        cache.put(MODEL, [CacheEntry(digests[first + n], 1, 1, row) for n, row in enumerate(block)])
    assert (cache.vectors(MODEL, digests[::-1]) == np.concatenate([block, block])[::-1]).all()
