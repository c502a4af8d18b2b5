"""The cache forgets nothing it said it kept, survives kills and damage, and never makes a build fail."""

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
from collections.abc import Iterator
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


def sha(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def vector(number: int, dimension: int = 16) -> npt.NDArray[np.float32]:
    made = np.random.default_rng(number).normal(size=dimension).astype(np.float32)
    made /= np.linalg.norm(made)
    return made


def entries(*numbers: int, dimension: int = 16) -> list[CacheEntry]:
    return [CacheEntry(sha(n), 100 + n, 200 + n, vector(n, dimension)) for n in numbers]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    with EmbeddingCache.open(tmp_path / "cache") as opened:
        yield opened


def test_what_is_put_is_known_and_comes_back_in_the_order_asked(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1, 2, 3))
    assert cache.known(MODEL, [sha(3), sha(9), sha(1)]) == {sha(3): (103, 203), sha(1): (101, 201)}
    vectors = cache.vectors(MODEL, [sha(3), sha(1), sha(3)])
    assert vectors.dtype == np.float32
    assert (vectors == np.stack([vector(3), vector(1), vector(3)])).all()


def test_it_lasts(tmp_path: Path) -> None:
    with EmbeddingCache.open(tmp_path) as first:
        first.put(MODEL, entries(1))
    with EmbeddingCache.open(tmp_path) as second:
        assert (second.vectors(MODEL, [sha(1)]) == vector(1)).all()


def test_models_are_kept_apart(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    cache.put("other", entries(1, dimension=8))
    assert cache.known("third", [sha(1)]) == {}
    assert cache.vectors("other", [sha(1)]).shape == (1, 8)
    assert cache.vectors(MODEL, [sha(1)]).shape == (1, 16)


def test_nothing_asked_is_nothing(cache: EmbeddingCache) -> None:
    cache.put(MODEL, [])
    assert cache.known(MODEL, []) == {}
    assert cache.vectors(MODEL, []).shape == (0, 0)
    cache.put(MODEL, entries(1))
    assert cache.vectors(MODEL, []).shape == (0, 16)


def test_more_than_one_block_is_one_answer(cache: EmbeddingCache) -> None:
    numbers = list(range(2_500))
    cache.put(MODEL, entries(*numbers, dimension=2))
    shas = [sha(n) for n in reversed(numbers)]
    assert len(cache.known(MODEL, shas)) == 2_500
    assert (cache.vectors(MODEL, shas) == np.stack([vector(n, 2) for n in reversed(numbers)])).all()


def test_what_is_there_stays_and_doubles_are_one(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    cache.put(MODEL, [CacheEntry(sha(1), 7, 7, vector(2)), *entries(2, 2)])
    assert cache.known(MODEL, [sha(1)]) == {sha(1): (101, 201)}
    assert (cache.vectors(MODEL, [sha(1)]) == vector(1)).all()
    assert cache.statistics().vectors == {MODEL: 2}


def test_vectors_of_another_length_are_refused(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    for bad in (entries(2, dimension=8), [*entries(2), *entries(3, dimension=8)]):
        with pytest.raises(ValueError, match=r"one length|16 numbers in the cache, 8 here"):
            cache.put(MODEL, bad)
    with pytest.raises(ValueError, match="one-dimensional"):
        cache.put(MODEL, [CacheEntry(sha(2), 1, 1, np.zeros((2, 8), np.float32))])
    assert cache.statistics().vectors == {MODEL: 1}


def test_a_vector_that_is_missing_is_named(cache: EmbeddingCache) -> None:
    cache.put(MODEL, entries(1))
    with pytest.raises(SnapshotCorrupt, match=sha(2).hex()[:16]):
        cache.vectors(MODEL, [sha(1), sha(2)])
    with pytest.raises(SnapshotCorrupt, match="run the build again"):
        cache.vectors("never seen", [sha(1)])


def test_a_vector_whose_bytes_changed_is_dropped_and_named(cache: EmbeddingCache, tmp_path: Path) -> None:
    cache.put(MODEL, entries(1, 2))
    with sqlite3.connect(tmp_path / "cache" / FILE_NAME) as raw:
        raw.execute("UPDATE vector SET data = zeroblob(64) WHERE id = 1")
    raw.close()
    with pytest.raises(SnapshotCorrupt, match="missing or damaged"):
        cache.vectors(MODEL, [sha(2), sha(1)])
    assert cache.known(MODEL, [sha(1), sha(2)]) == {sha(2): (102, 202)}


def test_unchanged_files_are_remembered(cache: EmbeddingCache) -> None:
    cache.remember_files([FileEntry("/a.jpg", 10, LONG_AGO_NS, sha(1))])
    assert cache.file_sha("/a.jpg", 10, LONG_AGO_NS) == sha(1)
    assert cache.file_sha("/a.jpg", 11, LONG_AGO_NS) is None
    assert cache.file_sha("/a.jpg", 10, LONG_AGO_NS + 1) is None
    assert cache.file_sha("/b.jpg", 10, LONG_AGO_NS) is None
    cache.remember_files([FileEntry("/a.jpg", 11, LONG_AGO_NS, sha(2))])
    assert cache.file_sha("/a.jpg", 11, LONG_AGO_NS) == sha(2)
    assert cache.statistics().files == 1


def test_files_that_may_still_be_changing_are_not_trusted(cache: EmbeddingCache) -> None:
    now_ns = time.time_ns()
    cache.remember_files(
        [FileEntry("/a.jpg", 10, now_ns, sha(1)), FileEntry("/b.jpg", 10, now_ns * 2, sha(1))]
    )
    assert cache.statistics().files == 0


def test_forgotten_is_forgotten_for_every_model_and_on_disk(cache: EmbeddingCache, tmp_path: Path) -> None:
    cache.put(MODEL, entries(1, 2))
    cache.put("other", entries(1, 3))
    cache.remember_files([FileEntry("/a.jpg", 1, LONG_AGO_NS, sha(1))])
    assert cache.forget([sha(1), sha(9)]) == 2
    assert cache.forget([sha(1)]) == 0
    assert cache.known(MODEL, [sha(1), sha(2)]) == {sha(2): (102, 202)}
    assert cache.file_sha("/a.jpg", 1, LONG_AGO_NS) is None
    on_disk = b"".join(file.read_bytes() for file in (tmp_path / "cache").iterdir())
    assert vector(1).tobytes() not in on_disk
    assert sha(1) not in on_disk
    assert vector(2).tobytes() in on_disk


def test_statistics_count(cache: EmbeddingCache) -> None:
    assert cache.statistics().vectors == {}
    cache.put(MODEL, entries(1, 2))
    statistics = cache.statistics()
    assert statistics.vectors == {MODEL: 2}
    assert statistics.size_bytes > 0


def test_threads_share_one_cache(cache: EmbeddingCache) -> None:
    def work(number: int) -> bool:
        cache.put(MODEL, entries(number, number + 1))
        return bool((cache.vectors(MODEL, [sha(number)]) == vector(number)).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(64)))
    assert cache.statistics().vectors == {MODEL: 65}


def test_closing_is_final(tmp_path: Path) -> None:
    cache = EmbeddingCache.open(tmp_path)
    cache.close()
    with pytest.raises(SnapshotError, match="closed"):
        cache.known(MODEL, [sha(1)])


PUT_FOR_EVER = textwrap.dedent(
    """
    import sys
    from tests.indexer.embedding.test_cache import MODEL, EmbeddingCache, entries
    first = int(sys.argv[2])
    with EmbeddingCache.open(sys.argv[1]) as cache:
        for start in range(first, first + int(sys.argv[3]), 16):
            cache.put(MODEL, entries(*range(start, start + 16), dimension=2048))
            print(start + 16, flush=True)
    """
)


def run_putter(folder: Path, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUT_FOR_EVER, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.parametrize("acknowledged", [1, 7])
def test_a_kill_loses_at_most_the_batch_under_way(tmp_path: Path, acknowledged: int) -> None:
    with run_putter(tmp_path, 0, 10**9) as child:
        assert child.stdout
        for _ in range(acknowledged):
            last = int(child.stdout.readline())
        time.sleep(0.003 * acknowledged)
        child.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
    with EmbeddingCache.open(tmp_path) as cache:
        kept = cache.known(MODEL, [sha(n) for n in range(last + 32)])
        assert len(kept) % 16 == 0
        assert last <= len(kept) <= last + 16
        assert (cache.vectors(MODEL, [sha(last - 1)]) == vector(last - 1, 2048)).all()
        cache.put(MODEL, entries(10**6, dimension=2048))
    assert not list(tmp_path.glob("*.broken"))


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    with run_putter(tmp_path, 0, 320) as one, run_putter(tmp_path, 160, 320) as two:
        one.communicate()
        two.communicate()
    assert (one.returncode, two.returncode) == (0, 0)
    with EmbeddingCache.open(tmp_path) as cache:
        assert len(cache.known(MODEL, [sha(n) for n in range(480)])) == 480
        assert (cache.vectors(MODEL, [sha(n) for n in range(480)])[300] == vector(300, 2048)).all()


def damage_all(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def damage_middle(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    file.write_bytes(data)


def other_program(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as raw:
        raw.execute("CREATE TABLE something (else_entirely TEXT)")
    raw.close()


def other_version(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()


def table_missing(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("DROP TABLE entry")
    raw.close()


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:9000])


@pytest.mark.parametrize(
    "damage", [damage_all, damage_middle, other_program, other_version, table_missing, cut_short]
)
def test_a_file_that_is_not_sound_is_set_aside(
    tmp_path: Path, damage: "type[Path]", caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddingCache.open(tmp_path) as cache:
        cache.put(MODEL, entries(*range(200)))
    damage(tmp_path / FILE_NAME)
    with caplog.at_level(logging.WARNING), EmbeddingCache.open(tmp_path) as cache:
        assert cache.known(MODEL, [sha(1)]) == {}
        cache.put(MODEL, entries(1))
        assert (cache.vectors(MODEL, [sha(1)]) == vector(1)).all()
    assert (tmp_path / f"{FILE_NAME}.broken").is_file()
    assert "a new cache begins" in caplog.text


def test_damage_while_in_use_costs_the_cache_and_not_the_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddingCache.open(tmp_path) as one, EmbeddingCache.open(tmp_path) as two:
        one.put(MODEL, entries(*range(200), dimension=512))
        one.forget([sha(199)])  # everything is in the main file now
        damage_middle(tmp_path / FILE_NAME)
        with caplog.at_level(logging.WARNING):
            one.put(MODEL, entries(*range(300, 400), dimension=512))
            two.put(MODEL, entries(*range(400, 500), dimension=512))
            assert len(one.known(MODEL, [sha(n) for n in range(300, 400)])) == 100
            assert len(two.known(MODEL, [sha(n) for n in range(400, 500)])) == 100
    assert caplog.text.count("a new cache begins") == 1


def test_a_vanished_file_is_begun_anew(tmp_path: Path) -> None:
    with EmbeddingCache.open(tmp_path / "c") as cache:
        cache.put(MODEL, entries(1))
    shutil.rmtree(tmp_path / "c")
    with EmbeddingCache.open(tmp_path / "c") as cache:
        assert cache.known(MODEL, [sha(1)]) == {}


def test_a_full_disk_is_said_and_nothing_is_lost(cache: EmbeddingCache) -> None:
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


def test_an_input_output_error_is_a_full_disk_only_when_it_is(
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


def test_a_quota_is_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(StorageFull), storage_errors(tmp_path / FILE_NAME, cache_file.PURPOSE):
        raise OSError(122, "Disk quota exceeded")


def test_a_replaced_file_is_set_aside_once(tmp_path: Path) -> None:
    with EmbeddingCache.open(tmp_path) as one, EmbeddingCache.open(tmp_path) as two:
        broken = sqlite3.DatabaseError("database disk image is malformed")
        one._file.begin_anew(broken)
        one.put(MODEL, entries(1))
        two._file.begin_anew(broken)
        assert two.known(MODEL, [sha(1)]) == {sha(1): (101, 201)}


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(SnapshotError, match="unable to open database file"):
        EmbeddingCache.open(tmp_path)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SnapshotError, match="cannot use the embedding cache"):
        EmbeddingCache.open(tmp_path / "file" / "cache")


def test_a_file_held_by_another_program_for_too_long_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_file, "_BUSY_TIMEOUT_S", 0.1)
    with EmbeddingCache.open(tmp_path) as cache:
        holder = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SnapshotError, match="locked"):
            cache.put(MODEL, entries(1))
        holder.execute("ROLLBACK")
        holder.close()
        cache.put(MODEL, entries(1))


def test_two_threads_may_begin_one_cache(tmp_path: Path) -> None:
    start = threading.Barrier(6)

    def begin(number: int) -> None:
        start.wait()
        with EmbeddingCache.open(tmp_path) as cache:
            cache.put(MODEL, entries(number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(begin, range(6)))
    with EmbeddingCache.open(tmp_path) as cache:
        assert cache.statistics().vectors == {MODEL: 6}


def test_thousands_of_vectors_come_back_in_the_order_asked(cache: EmbeddingCache) -> None:
    block = np.random.default_rng(0).normal(size=(1_000, 2048)).astype(np.float32)
    shas = [sha(n) for n in range(2_000)]
    for first in (0, 1_000):
        cache.put(MODEL, [CacheEntry(shas[first + n], 1, 1, row) for n, row in enumerate(block)])
    assert (cache.vectors(MODEL, shas[::-1]) == np.concatenate([block, block])[::-1]).all()
