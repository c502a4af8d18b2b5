"""Confidence: uniform on products it was not calibrated on, monotone, stable, and stored with a snapshot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder
from tests.queries_view import product
from tests.vectors import clustered
from vitrine.indexer.build import calibration
from vitrine.indexer.build.calibration import (
    QUERIES_EACH,
    choose_queries,
    nearest_scores,
    still_holds,
)
from vitrine.indexer.errors import QueryError, SnapshotCorrupt
from vitrine.indexer.operations.compact import compact, link_unchanged
from vitrine.indexer.operations.purge import purge
from vitrine.indexer.products.table import Table
from vitrine.indexer.recipes import RecipeRequest, VectorIndex, build_index
from vitrine.indexer.snapshot.confidence import LEVELS, Confidence, calibrate, kolmogorov_smirnov
from vitrine.indexer.snapshot.snapshot import CONFIDENCE, IndexFolder
from vitrine.service import Catalogue

NAMES = ("mugs", "shirts", "shoes")


def scores(n: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n).astype(np.int32)
    return np.clip(rng.beta(8, 4, n) * 0.6 + 0.1 * codes, -1, 1), codes


def held_out_levels(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    fold = np.random.default_rng(1).permutation(len(values)) % 10
    levels = np.empty(len(values))
    for each in range(10):
        fitted = calibrate(values[fold != each], codes[fold != each], NAMES)
        for row in np.flatnonzero(fold == each):
            levels[row] = fitted.of([values[row]], NAMES[codes[row]])[0]
    return levels


def test_confidence_is_uniform_on_products_it_was_not_calibrated_on() -> None:
    values, codes = scores()
    levels = held_out_levels(values, codes)
    assert kolmogorov_smirnov(levels) < 0.05
    assert all(kolmogorov_smirnov(levels[codes == code]) < 0.1 for code in range(3))


def test_confidence_grows_with_the_score_and_ends_at_one() -> None:
    fitted = calibrate(*scores(), NAMES)
    for category in (None, *NAMES, "unheard of"):
        levels = fitted.of(np.linspace(-1, 1, 501), category)
        assert (np.diff(levels) >= 0).all()
        assert levels[0] == 0
        assert levels[-1] == 1


def test_the_same_score_means_more_where_neighbours_are_usually_far() -> None:
    fitted = calibrate(*scores(), NAMES)
    assert fitted.of([0.5], "mugs")[0] > fitted.of([0.5], "shoes")[0] + 0.2


def test_a_level_and_its_score_are_inverse() -> None:
    fitted = calibrate(*scores(), NAMES)
    for level in (0.05, 0.5, 0.9):
        assert fitted.of([fitted.score_at(level, "mugs")], "mugs")[0] == pytest.approx(level, abs=1e-9)


def test_a_few_more_products_move_no_confidence_much() -> None:
    values, codes = scores()
    more = np.concatenate([values, values[:9]])
    before = calibrate(values, codes, NAMES)
    after = calibrate(more, np.concatenate([codes, codes[:9]]), NAMES)
    asked = np.linspace(0, 1, 101)
    assert np.abs(before.of(asked, "mugs") - after.of(asked, "mugs")).max() < 0.02


def test_a_small_category_leans_on_the_others() -> None:
    values, codes = scores()
    codes[codes == 2] = 1
    codes[0], values[0] = 2, 0.99
    fitted = calibrate(values, codes, NAMES)
    assert fitted.of([0.55], "shoes")[0] == pytest.approx(fitted.of([0.55])[0], abs=0.1)


def test_calibration_survives_storage_and_nothing_to_calibrate_on(tmp_path: Path) -> None:
    fitted = calibrate(*scores(), NAMES)
    fitted.save(tmp_path / "confidence.npz")
    loaded = Confidence.load(tmp_path / "confidence.npz")
    np.testing.assert_array_equal(loaded.of(LEVELS, "shirts"), fitted.of(LEVELS, "shirts"))
    empty = calibrate(np.zeros(0), np.zeros(0, np.int32), ())
    assert empty.of([-1.0, 0.0, 1.0]).tolist() == [0.0, 0.5, 1.0]
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(SnapshotCorrupt, match=r"bad\.npz"):
        Confidence.load(tmp_path / "bad.npz")


def test_nearest_scores_are_of_the_nearest_live_neighbour(tmp_path: Path) -> None:
    vectors = clustered(60, 16)
    report = build_index(vectors, RecipeRequest("flat"), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)
    live = np.ones(60, bool)
    live[::7] = False
    rows = np.flatnonzero(live)
    found = nearest_scores(vectors, rows, live, index)
    alike = vectors @ vectors.T
    np.fill_diagonal(alike, -np.inf)
    alike[:, ~live] = -np.inf
    np.testing.assert_allclose(found, alike[rows].max(axis=1), atol=1e-6)
    alone = np.zeros(60, bool)
    alone[3] = True
    assert nearest_scores(vectors, np.array([3]), alone, index).tolist() == [-np.inf]


def test_rare_categories_are_asked_in_full() -> None:
    codes = np.repeat([0, 1, 2], [5000, 40, 3]).astype(np.int32)
    chosen = choose_queries(codes, np.arange(len(codes)), 500)
    assert len(chosen) == len(set(chosen.tolist())) == 500
    counts = np.bincount(codes[chosen])
    assert counts[1:].tolist() == [40, 3]
    assert QUERIES_EACH > 40


def test_a_large_catalogue_is_asked_less_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibration, "VALUES_READ_MAX", 0)
    monkeypatch.setattr(calibration, "QUERIES_MIN", 30)
    vectors = clustered(90, 8)
    asked: list[int] = []
    report = build_index(vectors, RecipeRequest("flat"), tmp_path / "index.faiss")
    index = VectorIndex.open(tmp_path / "index.faiss", vectors, report.parameters)

    def counted(rows_of: np.ndarray, rows: np.ndarray, *rest: Any) -> np.ndarray:
        asked.append(len(rows))
        return nearest_scores(rows_of, rows, *rest)

    monkeypatch.setattr(calibration, "nearest_scores", counted)
    calibration.calibrate_rows(vectors, Table.from_products([product(f"p{n:02}") for n in range(90)]), index)
    assert asked == [30]


def test_scores_are_calibrated_anew_once_categories_have_changed() -> None:
    products = [product(f"p{n:03}", category=NAMES[n % 3]) for n in range(300)]
    fitted = calibrate(np.full(300, 0.5), np.arange(300, dtype=np.int32) % 3, NAMES)
    fitted = Confidence(fitted.categories, fitted.curves, fitted.overall, dict.fromkeys(NAMES, 100))
    assert still_holds(fitted, Table.from_products(products[:296]))
    assert not still_holds(fitted, Table.from_products(products[:290]))
    strangers = [product(f"q{n:03}", category="hats") for n in range(9)]
    assert not still_holds(fitted, Table.from_products([*products, *strangers]))


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    build_folder(write_folder(tmp_path / "photos", each=6), tmp_path / "index")
    return IndexFolder(tmp_path / "index")


def test_every_snapshot_that_is_made_has_its_calibration(index: IndexFolder, tmp_path: Path) -> None:
    built = index.open()
    assert CONFIDENCE in built.manifest.files
    assert built.confidence is not None
    assert built.confidence.counts == {"c0": 6, "c1": 6, "c2": 6}
    with index.journal() as journal:
        journal.append("delete", ["c0:p0"])
    compact(index, keep=3)
    compacted = index.open().confidence
    assert compacted is not None
    np.testing.assert_array_equal(compacted.curves, built.confidence.curves)
    purge(index, [f"c2:p{number}" for number in range(6)])
    purged = index.open().confidence
    assert purged is not None
    assert purged.categories == ("c0", "c1")
    build_folder(tmp_path / "photos", index.root)
    again = index.open().confidence
    assert again is not None
    np.testing.assert_array_equal(again.curves, purged.curves)


def test_a_build_keeps_the_calibration_until_vectors_or_counts_change(
    index: IndexFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(*given: Any) -> Confidence:
        asked.append(1)
        return calibration.calibrate_rows(*given)

    monkeypatch.setattr("vitrine.indexer.build.candidate.calibrate_rows", counted)
    build_folder(tmp_path / "photos", index.root)
    assert asked == []
    build_folder(tmp_path / "photos", index.root, transform="centre")
    assert asked == [1]
    write_folder(tmp_path / "photos" / "new", categories=1, each=4, first_seed=90)
    build_folder(tmp_path / "photos", index.root, transform="centre")
    assert asked == [1, 1]


def test_hits_tell_their_confidence_and_may_be_chosen_by_it(index: IndexFolder) -> None:
    confidence = index.open().confidence
    assert confidence is not None
    with Catalogue.open(index.root) as catalogue:
        hits = catalogue.similar("c1:p1", limit=17)["hits"]
        levels = [hit["confidence"] for hit in hits]
        expected = confidence.of([hit["score"] for hit in hits], "c1")
        assert levels == pytest.approx(expected.tolist(), abs=1e-4)
        assert levels == sorted(levels, reverse=True)
        least = (levels[2] + levels[3]) / 2
        answer = catalogue.similar("c1:p1", limit=17, min_confidence=least, trace=True)
        assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in hits[: answer["returned"]]]
        assert all(hit["confidence"] >= least - 1e-4 for hit in answer["hits"])
        assert answer["returned"] == sum(level >= least for level in levels)
        assert "least confidence" in answer["reason"]
        vector = index.open().vectors[0].tolist()
        first = catalogue.search(vector=vector, limit=1)["hits"][0]
        assert (first["score"], first["confidence"]) == (pytest.approx(1), pytest.approx(1, abs=1e-3))


def test_a_snapshot_of_before_answers_null_and_cannot_choose_by_confidence(index: IndexFolder) -> None:
    live = index.open()
    with index.publishing(), index.staging() as staged:
        link_unchanged(live, staged, changed=(CONFIDENCE,))
        index.publish(staged, live.manifest)
    assert index.open().confidence is None
    with Catalogue.open(index.root) as catalogue:
        assert {hit["confidence"] for hit in catalogue.similar("c0:p0")["hits"]} == {None}
        with pytest.raises(QueryError, match="build again"):
            catalogue.similar("c0:p0", min_confidence=0.5)
