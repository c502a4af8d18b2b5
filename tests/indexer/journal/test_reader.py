"""Tests of vitrine.indexer.journal.reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrine.indexer.errors import SnapshotCorrupt, StoreUnavailable
from vitrine.indexer.journal import reader
from vitrine.indexer.journal.journal import Journal
from vitrine.indexer.journal.reader import JournalReader


def test_a_reader_has_the_changes_of_the_journal_and_of_its_log(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        journal.append("delete", ["a"])
        assert path.with_name("j.sqlite-wal").stat().st_size
        with JournalReader(path) as copy:
            assert [change.id for change in copy.changes_since(0)] == ["a"]


def test_a_reader_follows_a_writer(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal, JournalReader(tmp_path / "j.sqlite") as copy:
        before = copy.data_version()
        assert copy.data_version() == before
        journal.append("delete", ["a"])
        assert copy.data_version() != before
        assert copy.last_sequence() == 1


def test_a_missing_journal_is_empty_and_is_not_created(tmp_path: Path) -> None:
    with JournalReader(tmp_path / "j.sqlite") as copy:
        assert copy.changes_since(0) == []
    assert not list(tmp_path.iterdir())


def test_a_reader_refuses_to_write(tmp_path: Path) -> None:
    copy = JournalReader(tmp_path / "j.sqlite")
    with copy, pytest.raises(StoreUnavailable, match="cannot be written"):
        copy.append("delete", ["a"])


def test_a_broken_journal_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "j.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(SnapshotCorrupt, match="not a journal"):
        JournalReader(tmp_path / "j.sqlite")


def test_a_journal_that_changes_all_the_time_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signatures = iter(range(1000))
    monkeypatch.setattr(reader, "_ATTEMPTS", 2)
    monkeypatch.setattr(reader, "_signature", lambda path: ((next(signatures), 0),))
    with pytest.raises(StoreUnavailable, match="faster than it can be read"):
        JournalReader(tmp_path / "j.sqlite")
