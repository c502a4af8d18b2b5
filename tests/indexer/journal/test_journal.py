"""Tests of vitrine.indexer.journal.journal: order, durability, undo, concurrency and broken files."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vitrine.indexer.errors import FormatUnsupported, JournalMismatch, SnapshotCorrupt, StoreUnavailable
from vitrine.indexer.journal.journal import Journal, Upload


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def upload(name: str = "Bolsa") -> Upload:
    product = {"id": "b1", "name": name, "category": "bolsa", "attributes": {"price": 9.5}}
    return Upload(product, "model|digest|spec", np.array([0.6, 0.8], np.float32))


def test_changes_are_numbered_and_read_back(journal: Journal) -> None:
    first = journal.append("delete", ["a", "b"], actor="ana", request="r1")
    second = journal.append("upload", ["b1"], upload=upload("Bolsa é"))
    assert [change.sequence for change in [*first, *second]] == [1, 2, 3]
    read = journal.changes_since(0)
    assert [(change.kind, change.id, change.actor, change.request) for change in read[:2]] == [
        ("delete", "a", "ana", "r1"),
        ("delete", "b", "ana", "r1"),
    ]
    assert read[0].batch == read[1].batch != read[2].batch
    assert read[2].upload is not None
    assert read[2].upload.product["name"] == "Bolsa é"
    np.testing.assert_array_equal(read[2].upload.vector, np.array([0.6, 0.8], np.float32))


def test_changes_are_read_by_sequence_and_by_number(journal: Journal) -> None:
    journal.append("delete", ["a", "b", "c", "d"])
    assert [change.id for change in journal.changes_since(1, until=3)] == ["b", "c"]
    assert [change.id for change in journal.recent_changes(2)] == ["d", "c"]
    assert journal.last_sequence() == 4


def test_the_last_undoable_batch_is_the_newest_that_is_not_undone(journal: Journal) -> None:
    journal.append("delete", ["a"])
    journal.append("delete", ["b", "c"])
    newest = journal.last_undoable_batch()
    assert [change.id for change in newest] == ["b", "c"]
    journal.append("restore", ["b", "c"], undoes=[change.sequence for change in newest])
    assert [change.undone for change in journal.changes_since(0)] == [False, True, True, False, False]
    assert [change.id for change in journal.last_undoable_batch()] == ["a"]
    journal.append("restore", ["a"], undoes=[1])
    assert journal.last_undoable_batch() == []


def test_a_change_cannot_be_undone_twice(journal: Journal) -> None:
    journal.append("delete", ["a"])
    journal.append("restore", ["a"], undoes=[1])
    with pytest.raises(SnapshotCorrupt, match="UNIQUE"):
        journal.append("restore", ["a"], undoes=[1])
    assert journal.last_sequence() == 2


def test_a_failing_transaction_writes_nothing(journal: Journal) -> None:
    def write_and_fail() -> None:
        with journal.transaction():
            journal.append("delete", ["a"])
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        write_and_fail()
    assert journal.changes_since(0) == []
    journal.append("delete", ["b"])
    assert [change.id for change in journal.changes_since(0)] == ["b"]


def test_an_answer_is_stored_in_the_transaction_of_its_change(journal: Journal) -> None:
    with journal.transaction():
        journal.append("delete", ["a"])
        journal.store_answer("key", "digest", {"id": "a"})
    assert journal.stored_answer("key") == ("digest", {"id": "a"})
    assert journal.stored_answer("other") is None


def test_the_data_version_changes_when_another_connection_writes(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as one, Journal(tmp_path / "j.sqlite") as other:
        before = other.data_version()
        assert other.data_version() == before
        one.append("delete", ["a"])
        assert other.data_version() != before
        assert [change.id for change in other.changes_since(0)] == ["a"]


def test_threads_and_connections_lose_no_change(tmp_path: Path) -> None:
    journals = [Journal(tmp_path / "j.sqlite") for _ in range(3)]

    def write(number: int) -> None:
        for step in range(20):
            journals[number % 3].append("delete", [f"{number}-{step}"])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    changes = journals[0].changes_since(0)
    assert [change.sequence for change in changes] == list(range(1, 121))
    assert len({change.id for change in changes}) == 120


WRITER = """
import sys
from pathlib import Path
from vitrine.indexer.journal.journal import Journal
journal = Journal(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    journal.append("delete", [str(number)])
    print(number, flush=True)
"""


def test_a_killed_writer_loses_no_acknowledged_change(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for _ in range(25):
        acknowledged = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
    writer.wait()
    writer.stdout.close()
    with Journal(path) as journal:
        assert {change.id for change in journal.changes_since(0)} >= {str(n + 1) for n in range(acknowledged)}
        journal.append("delete", ["after"])


def test_a_journal_is_created_once_by_concurrent_threads(tmp_path: Path) -> None:
    def create(path: Path) -> None:
        start.wait()
        for _ in range(3):
            with Journal(path) as journal:
                assert journal.last_sequence() == 0

    start = threading.Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        for number in range(40):
            list(pool.map(create, [tmp_path / f"{number}.sqlite"] * 8))


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(FormatUnsupported, match="journal format 99"):
        Journal(path)


def test_a_file_that_is_not_a_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_bytes(b"this is a text file, not a database" * 100)
    with pytest.raises(SnapshotCorrupt, match="not a journal"):
        Journal(path)


def test_a_dismissal_holds_until_it_is_undone(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal:
        assert journal.dismissed_findings() == frozenset()
        details = [{"finding": "k1"}, {"finding": "k2"}]
        changes = journal.append("dismiss", ["a", "b"], details=details)
        assert [change.details for change in changes] == details
        assert journal.dismissed_findings() == {"k1", "k2"}
        undoes = [change.sequence for change in journal.last_undoable_batch()]
        journal.append("reopen", ["a", "b"], details=details, undoes=undoes)
        assert journal.dismissed_findings() == frozenset()
        assert [change.details for change in journal.changes_since(0)] == details * 2
        assert all(change.upload is None for change in journal.changes_since(0))


def test_the_format_version_rises_with_the_first_change_that_needs_it(tmp_path: Path) -> None:
    def version() -> int:
        with contextlib.closing(sqlite3.connect(tmp_path / "j.sqlite")) as connection:
            return int(connection.execute("PRAGMA user_version").fetchone()[0])

    with Journal(tmp_path / "j.sqlite") as journal:
        journal.append("delete", ["a"])
        assert version() == 1
        journal.append("dismiss", ["a"], details=[{"finding": "k"}])
        assert version() == 2
    with Journal(tmp_path / "j.sqlite") as journal:
        assert [change.kind for change in journal.changes_since(0)] == ["delete", "dismiss"]


def test_an_empty_journal_goes_on_after_the_changes_of_a_snapshot(journal: Journal) -> None:
    journal.begin_after(41)
    assert journal.last_sequence() == 41
    journal.begin_after(40)
    journal.begin_after(57)
    assert [change.sequence for change in journal.append("delete", ["a", "b"])] == [58, 59]
    assert journal.last_sequence() == 59
    journal.begin_after(59)
    with pytest.raises(
        JournalMismatch, match="ends at change 59, but a snapshot contains the changes up to 60"
    ):
        journal.begin_after(60)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_no_change_is_written_into_a_file_without_a_name(journal: Journal, is_replaced: bool) -> None:
    journal.append("delete", ["a"])
    for path in journal.path.parent.glob("journal.sqlite*"):
        path.unlink()
    if is_replaced:
        Journal(journal.path).close()
    with pytest.raises(StoreUnavailable, match="removed or replaced while it was open"):
        journal.append("delete", ["b"])
    with pytest.raises(StoreUnavailable):
        journal.check_file()


def test_a_checkpoint_leaves_every_change_in_the_one_file(journal: Journal, tmp_path: Path) -> None:
    journal.append("delete", [f"p{number}" for number in range(100)])
    journal.checkpoint()
    copy = tmp_path / "copy" / "journal.sqlite"
    copy.parent.mkdir()
    copy.write_bytes(journal.path.read_bytes())
    with Journal(copy) as restored:
        assert len(restored.changes_since(0)) == 100
