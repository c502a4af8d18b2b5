"""Tests of vitrine.indexer.snapshot.confidence, and of confidence in snapshots and answers."""

from pathlib import Path

import numpy as np
import pytest

from tests.catalogues import build_folder, write_folder
from tests.vectors import kolmogorov_smirnov
from vitrine.indexer.errors import QueryError, SnapshotCorrupt
from vitrine.indexer.operations.compact import compact_snapshot, link_unchanged
from vitrine.indexer.operations.purge import purge_products
from vitrine.indexer.snapshot.confidence import LEVELS, Confidence, calibrate
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.snapshot.snapshot import CONFIDENCE
from vitrine.service import Catalogue

NAMES = ("mugs", "shirts", "shoes")
FOLDS = 10


def random_scores(n: int = 900, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) scores, which differ by category, and (n,) category codes."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 3, n).astype(np.int32)
    return np.clip(random.beta(8, 4, n) * 0.6 + 0.1 * codes, -1, 1), codes


def held_out_confidences(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return (n,) the confidence of each score by a calibration without its fold."""
    folds = np.random.default_rng(1).permutation(len(scores)) % FOLDS
    confidences = np.empty(len(scores))
    for fold in range(FOLDS):
        fitted = calibrate(scores[folds != fold], codes[folds != fold], NAMES)
        for row in np.flatnonzero(folds == fold):
            confidences[row] = fitted.confidences_of([scores[row]], NAMES[codes[row]])[0]
    return confidences


def test_confidence_is_uniform_on_held_out_products() -> None:
    scores, codes = random_scores()
    confidences = held_out_confidences(scores, codes)
    assert kolmogorov_smirnov(confidences) < 0.05
    assert all(kolmogorov_smirnov(confidences[codes == code]) < 0.1 for code in range(3))


def test_confidence_grows_with_the_score_from_zero_to_one() -> None:
    fitted = calibrate(*random_scores(), NAMES)
    for category in (None, *NAMES, "unknown"):
        confidences = fitted.confidences_of(np.linspace(-1, 1, 501), category)
        assert (np.diff(confidences) >= 0).all()
        assert confidences[0] == 0
        assert confidences[-1] == 1


def test_a_score_has_more_confidence_in_a_category_of_distant_neighbours() -> None:
    fitted = calibrate(*random_scores(), NAMES)
    assert fitted.confidences_of([0.5], "mugs")[0] > fitted.confidences_of([0.5], "shoes")[0] + 0.2


def test_a_few_more_products_hardly_change_confidences() -> None:
    scores, codes = random_scores()
    before = calibrate(scores, codes, NAMES)
    after = calibrate(np.concatenate([scores, scores[:9]]), np.concatenate([codes, codes[:9]]), NAMES)
    grid = np.linspace(0, 1, 101)
    difference = before.confidences_of(grid, "mugs") - after.confidences_of(grid, "mugs")
    assert np.abs(difference).max() < 0.02


def test_a_small_category_is_shrunk_towards_the_whole_catalogue() -> None:
    scores, codes = random_scores()
    codes[codes == 2] = 1
    codes[0], scores[0] = 2, 0.99
    fitted = calibrate(scores, codes, NAMES)
    expected = fitted.confidences_of([0.55])[0]
    assert fitted.confidences_of([0.55], "shoes")[0] == pytest.approx(expected, abs=0.1)


def test_a_calibration_without_scores_is_linear() -> None:
    empty = calibrate(np.zeros(0), np.zeros(0, np.int32), ())
    assert empty.confidences_of([-1.0, 0.0, 1.0]).tolist() == [0.0, 0.5, 1.0]


def test_a_calibration_is_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "confidence.npz"
    fitted = calibrate(*random_scores(), NAMES)
    fitted.save(path)
    with np.load(path) as stored:
        assert set(stored) == {"categories", "curves", "overall", "counts"}
    loaded = Confidence.load(path)
    np.testing.assert_array_equal(
        loaded.confidences_of(LEVELS, "shirts"), fitted.confidences_of(LEVELS, "shirts")
    )


def test_a_broken_calibration_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(SnapshotCorrupt, match=r"bad\.npz"):
        Confidence.load(tmp_path / "bad.npz")


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    build_folder(write_folder(tmp_path / "photos", per_category=6), tmp_path / "index")
    return IndexFolder(tmp_path / "index")


def test_builds_compactions_and_purges_publish_a_calibration(index: IndexFolder, tmp_path: Path) -> None:
    built = index.open()
    assert CONFIDENCE in built.manifest.files
    assert built.confidence is not None
    assert built.confidence.counts == {"c0": 6, "c1": 6, "c2": 6}
    with index.journal() as journal:
        journal.append("delete", ["c0:p0"])
    compact_snapshot(index, keep=3)
    compacted = index.open().confidence
    assert compacted is not None
    np.testing.assert_array_equal(compacted.quantiles, built.confidence.quantiles)
    purge_products(index, [f"c2:p{number}" for number in range(6)])
    purged = index.open().confidence
    assert purged is not None
    assert purged.categories == ("c0", "c1")
    build_folder(tmp_path / "photos", index.root)
    again = index.open().confidence
    assert again is not None
    np.testing.assert_array_equal(again.quantiles, purged.quantiles)


def test_hits_have_a_confidence_and_can_be_filtered_by_it(index: IndexFolder) -> None:
    confidence = index.open().confidence
    assert confidence is not None
    with Catalogue.open(index.root) as catalogue:
        hits = catalogue.similar("c1:p1", limit=17)["hits"]
        confidences = [hit["confidence"] for hit in hits]
        expected = confidence.confidences_of([hit["score"] for hit in hits], "c1")
        assert confidences == pytest.approx(expected.tolist(), abs=1e-4)
        assert confidences == sorted(confidences, reverse=True)
        minimum = (confidences[2] + confidences[3]) / 2
        answer = catalogue.similar("c1:p1", limit=17, min_confidence=minimum, trace=True)
        assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in hits[: answer["returned"]]]
        assert all(hit["confidence"] >= minimum - 1e-4 for hit in answer["hits"])
        assert answer["returned"] == sum(value >= minimum for value in confidences)
        assert "least confidence" in answer["reason"]
        vector = index.open().vectors[0].tolist()
        first = catalogue.search(vector=vector, limit=1)["hits"][0]
        assert (first["score"], first["confidence"]) == (pytest.approx(1), pytest.approx(1, abs=1e-3))


def test_a_snapshot_without_a_calibration_has_no_confidences(index: IndexFolder) -> None:
    snapshot = index.open()
    with index.publishing(), index.staging() as staged:
        link_unchanged(snapshot, staged, changed=(CONFIDENCE,))
        index.publish(staged, snapshot.manifest)
    assert index.open().confidence is None
    with Catalogue.open(index.root) as catalogue:
        assert {hit["confidence"] for hit in catalogue.similar("c0:p0")["hits"]} == {None}
        with pytest.raises(QueryError, match="build again"):
            catalogue.similar("c0:p0", min_confidence=0.5)
