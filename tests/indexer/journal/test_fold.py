"""Tests of vitrine.indexer.journal.fold."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tests.queries_view import product
from vitrine.indexer.journal.fold import EFFECTS, Move, effect_of, fold_changes, fold_journal
from vitrine.indexer.journal.journal import ChangeKind, Journal, Upload
from vitrine.indexer.products.table import Table

UPLOAD = Upload({"id": "a"}, "model", np.ones(1, np.float32))
LONG_AGO = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


def move(journal: Journal, product_id: str, origin: str, category: str) -> None:
    journal.append("move", [product_id], details=[{"category": category, "from": origin}])


def test_every_kind_of_change_has_an_effect_on_products_or_is_about_findings() -> None:
    assert set(get_args(ChangeKind)) - set(EFFECTS) == {"dismiss", "reopen"}


def test_the_last_delete_or_restore_counts(journal: Journal) -> None:
    deletion, _ = journal.append("delete", ["a", "b"])
    journal.append("restore", ["b"])
    folded = fold_journal(journal, None)
    assert folded.deleted_at == {"a": deletion.at}
    assert folded.sequence == 3


def test_tombstones_of_the_previous_table_are_kept_until_restored(journal: Journal) -> None:
    table = Table.from_products([product("a"), product("b")]).with_deletions({0: LONG_AGO, 1: LONG_AGO})
    journal.append("restore", ["b"])
    assert fold_journal(journal, table).deleted_at == {"a": LONG_AGO}


def test_an_upload_replaces_everything_earlier(journal: Journal) -> None:
    journal.append("purge", ["a"])
    journal.append("delete", ["a"])
    move(journal, "a", "x", "y")
    journal.append("upload", ["a"], upload=UPLOAD)
    folded = fold_journal(journal, None)
    assert list(folded.uploads) == ["a"]
    assert not folded.deleted_at
    assert not folded.purged
    assert not folded.moves


def test_a_purge_removes_everything_earlier(journal: Journal) -> None:
    journal.append("upload", ["a"], upload=UPLOAD)
    journal.append("delete", ["a"])
    move(journal, "a", "x", "y")
    journal.append("purge", ["a"])
    folded = fold_journal(journal, None)
    assert folded.purged == {"a"}
    assert not folded.uploads
    assert not folded.deleted_at
    assert not folded.moves


def test_an_upload_whose_content_was_erased_has_no_effect(journal: Journal) -> None:
    journal.append("delete", ["a"])
    journal.append("upload", ["a"], upload=UPLOAD)
    journal.erase(["a"])
    changes = journal.changes_since(0)
    assert effect_of(changes[1]) is None
    assert set(fold_changes(changes, 2, None).deleted_at) == {"a"}


def test_findings_have_no_effect_on_products(journal: Journal) -> None:
    (change,) = journal.append("dismiss", ["a"], details=[{"finding": "k"}])
    assert effect_of(change) is None


def test_a_move_holds_while_the_source_keeps_a_category_it_was_moved_out_of(journal: Journal) -> None:
    move(journal, "a", "x", "y")
    move(journal, "a", "y", "z")
    folded = fold_journal(journal, None).moves["a"]
    assert folded == Move(("x", "y"), "z")
    assert folded.overrides("x")
    assert folded.overrides("y")
    assert not folded.overrides("w")


def test_a_product_that_was_moved_back_is_not_moved(journal: Journal) -> None:
    move(journal, "a", "x", "y")
    move(journal, "a", "y", "x")
    assert not fold_journal(journal, None).moves["a"].overrides("x")


def test_a_move_after_a_change_of_the_source_drops_earlier_moves(journal: Journal) -> None:
    move(journal, "a", "x", "y")
    move(journal, "a", "w", "z")
    assert fold_journal(journal, None).moves["a"] == Move(("w",), "z")
