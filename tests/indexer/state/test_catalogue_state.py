"""Tests of vitrine.indexer.state.catalogue_state and vitrine.indexer.state.segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.indexes import CATEGORIES, MODEL, SampleProduct, make_samples, publish_samples
from vitrine.indexer.errors import InputError, SnapshotMissing
from vitrine.indexer.journal.fold import fold_changes
from vitrine.indexer.journal.journal import Change, Journal, Upload
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import CatalogueState, read_state

SNAPSHOT_ROWS = 6


@pytest.fixture
def samples(tmp_path: Path) -> list[SampleProduct]:
    return make_samples(tmp_path / "photos", 9)


@pytest.fixture
def folder(tmp_path: Path, samples: list[SampleProduct]) -> IndexFolder:
    publish_samples(tmp_path / "index", samples[:SNAPSHOT_ROWS], tmp_path / "photos")
    return IndexFolder(tmp_path / "index")


@pytest.fixture
def journal(folder: IndexFolder) -> Journal:
    return folder.journal()


def make_upload(sample: SampleProduct, model: str = MODEL.key) -> Upload:
    fields = {
        name: getattr(sample.product, name) for name in sample.product.__slots__ if name != "deleted_at"
    }
    return Upload(fields, model, sample.vector)


def live_ids(state: CatalogueState) -> list[str]:
    return state.ids(state.live_rows)


def state_after(folder: IndexFolder, changes: list[Change]) -> CatalogueState:
    return CatalogueState.from_snapshot(folder.open(), changes)


def test_a_deleted_product_is_not_live_until_it_is_restored(folder: IndexFolder, journal: Journal) -> None:
    deletions = journal.append("delete", ["p01", "p02"])
    state = state_after(folder, deletions)
    assert live_ids(state) == ["p00", "p03", "p04", "p05"]
    assert state.product(1).deleted_at == deletions[0].at
    state = state.after(journal.append("restore", ["p01"]))
    assert live_ids(state) == ["p00", "p01", "p03", "p04", "p05"]
    assert state.product(1).deleted_at is None
    assert (state.sequence, dict(state.last_changes)) == (3, {1: 3, 2: 2})


def test_an_upload_gets_a_row_after_those_of_the_snapshot(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct]
) -> None:
    state = state_after(folder, journal.append("upload", ["p07"], upload=make_upload(samples[7])))
    assert state.segments.row_of("p07") == SNAPSHOT_ROWS
    assert state.segments.n == SNAPSHOT_ROWS + 1
    assert state.product(SNAPSHOT_ROWS) == samples[7].product
    rows = np.array([SNAPSHOT_ROWS, 0])
    np.testing.assert_array_equal(state.segments.vectors(rows), [samples[7].vector, samples[0].vector])
    blocks = [(start, len(block)) for start, block in state.segments.blocks(4)]
    assert blocks == [(0, 4), (4, 2), (6, 1)]


def test_rows_are_ranked_by_id_over_both_segments(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct]
) -> None:
    upload = make_upload(samples[7])
    fields = upload.product | {"id": "a"}
    state = state_after(
        folder, journal.append("upload", ["a"], upload=Upload(fields, MODEL.key, upload.vector))
    )
    assert live_ids(state)[:2] == ["a", "p00"]


def test_an_upload_of_another_model_is_ignored(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct], caplog: pytest.LogCaptureFixture
) -> None:
    state = state_after(
        folder, journal.append("upload", ["p07"], upload=make_upload(samples[7], "other|0|0"))
    )
    assert state.segments.row_of("p07") is None
    assert "another model" in caplog.text


def test_an_upload_of_a_snapshot_product_waits_for_the_next_build(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct]
) -> None:
    journal.append("delete", ["p01"])
    journal.append("upload", ["p01"], upload=make_upload(samples[1]))
    state = state_after(folder, journal.changes_since(0))
    assert state.segments.n == SNAPSHOT_ROWS
    assert "p01" not in live_ids(state)


def test_a_move_changes_the_category_and_a_move_back_removes_it(
    folder: IndexFolder, journal: Journal
) -> None:
    before = state_after(folder, [])
    details = {"category": "hats", "from": CATEGORIES[0]}
    moved = before.after(journal.append("move", ["p00"], details=[details]))
    assert moved.product(0).category == "hats"
    assert moved.categories == tuple(sorted([*CATEGORIES, "hats"]))
    assert moved.categories[moved.category_codes[0]] == "hats"
    assert moved.segments.stored_category(0) == CATEGORIES[0]
    rows, text = moved.segments.moved_text
    assert rows.tolist() == [0]
    assert len(text.name_ranks) == 1
    back = moved.after(journal.append("move", ["p00"], details=[{"category": CATEGORIES[0], "from": "hats"}]))
    assert not back.segments.moved
    assert back.categories == before.categories


def test_a_category_that_all_products_were_moved_out_of_is_dropped(
    folder: IndexFolder, journal: Journal
) -> None:
    details = [{"category": "hats", "from": CATEGORIES[0]}] * 2
    state = state_after(folder, journal.append("move", ["p00", "p03"], details=details))
    assert state.categories == tuple(sorted([*CATEGORIES[1:], "hats"]))


def test_groups_are_numbered_over_both_segments(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct]
) -> None:
    changes = [
        change
        for product_id, item in (("p06", samples[6]), ("p08", samples[8]))
        for change in journal.append("upload", [product_id], upload=make_upload(item))
    ]
    segments = state_after(folder, changes).segments
    assert segments.groups == ("g0", "g1", "g2", "g3")
    assert segments.group_codes.tolist() == [0, 0, 1, 1, 2, 2, 3, -1]


def test_repeating_the_last_changes_has_no_effect(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct]
) -> None:
    journal.append("delete", ["p01"])
    journal.append("upload", ["p07"], upload=make_upload(samples[7]))
    journal.append("move", ["p07"], details=[{"category": "hats", "from": samples[7].product.category}])
    state = state_after(folder, journal.changes_since(0))
    again = state.after(journal.changes_since(1))
    assert live_ids(again) == live_ids(state)
    assert again.segments.moved == state.segments.moved
    assert (again.sequence, again.last_changes) == (state.sequence, state.last_changes)


def test_no_changes_return_the_same_state(folder: IndexFolder) -> None:
    state = state_after(folder, [])
    assert state.after([]) is state


def test_a_dismissed_finding_changes_no_row(folder: IndexFolder, journal: Journal) -> None:
    state = state_after(folder, journal.append("dismiss", ["p00"], details=[{"finding": "k"}]))
    assert live_ids(state) == [f"p{row:02}" for row in range(SNAPSHOT_ROWS)]
    assert (state.sequence, dict(state.last_changes)) == (1, {})


def test_changes_have_the_same_effect_by_row_and_by_id(
    folder: IndexFolder, journal: Journal, samples: list[SampleProduct]
) -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        item = samples[random.integers(len(samples))]
        product_id = item.product.id
        match random.integers(4):
            case 0:
                journal.append("delete", [product_id])
            case 1:
                journal.append("restore", [product_id])
            case 2:
                details = {"category": f"c{random.integers(3)}", "from": item.product.category}
                journal.append("move", [product_id], details=[details])
            case 3 if item in samples[SNAPSHOT_ROWS:]:
                journal.append("upload", [product_id], upload=make_upload(item))
        snapshot = folder.open()
        changes = journal.changes_since(0)
        state = CatalogueState.from_snapshot(snapshot, changes)
        folded = fold_changes(changes, journal.last_sequence(), snapshot.table)
        ids = {*snapshot.table.ids(), *folded.uploads}
        assert set(live_ids(state)) == ids - set(folded.deleted_at)
        for row in range(state.segments.n):
            product = state.product(row)
            assert product.deleted_at == folded.deleted_at.get(product.id)
            move = folded.moves.get(product.id)
            assert product.category == (move.category if move else state.segments.stored_category(row))


def test_a_state_is_read_by_its_tag(folder: IndexFolder, journal: Journal) -> None:
    name = folder.current_name()
    journal.append("delete", ["p01"])
    journal.append("delete", ["p02"])
    assert read_state(folder).tag == f"{name}@2"
    assert live_ids(read_state(folder, f"{name}@1")) == ["p00", "p02", "p03", "p04", "p05"]
    assert len(live_ids(read_state(folder, name))) == SNAPSHOT_ROWS


def test_an_unknown_state_is_an_error(folder: IndexFolder) -> None:
    with pytest.raises(InputError, match="NAME@SEQUENCE"):
        read_state(folder, f"{folder.current_name()}@x")
    with pytest.raises(SnapshotMissing):
        read_state(folder, "20240101T000000000Z-abcd")
