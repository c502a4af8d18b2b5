"""Tests of vitrine.indexer.quality.analysis and vitrine.indexer.quality.quality_input."""

from pathlib import Path

from tests.indexer.quality.catalogues import Pictures, analyse_folder, findings_of_type, publish_catalogue
from vitrine.indexer.quality.findings import FINDING_TYPES


def test_a_faultless_catalogue_has_no_findings_but_orphans(tmp_path: Path, pictures: Pictures) -> None:
    analysis = analyse_folder(publish_catalogue(tmp_path, pictures))
    assert {finding.type for finding in analysis.findings} <= {"orphan"}
    assert analysis.missing == ("too-few-of-a-category",)
    assert list(analysis.counts) == list(FINDING_TYPES)


def test_missing_categories_are_reported(tmp_path: Path, pictures: Pictures) -> None:
    pictures = {id_: ("", data) for id_, (_, data) in pictures.items()}
    pictures["q-same"] = pictures["p03"]
    analysis = analyse_folder(publish_catalogue(tmp_path, pictures))
    assert analysis.missing == ("no-categories",)
    assert [finding.ids for finding in findings_of_type(analysis, "exact-duplicate")] == [("q-same",)]


def test_unreadable_pictures_are_reported(tmp_path: Path, pictures: Pictures) -> None:
    folder = publish_catalogue(tmp_path, pictures)
    (tmp_path / "photos" / "p05.jpg").unlink()
    assert "pictures-gone" in analyse_folder(folder).missing
