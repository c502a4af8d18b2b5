"""Tests of vitrine.indexer.quality.store and vitrine.indexer.quality.revalidate."""

import json
from pathlib import Path

from tests.indexer.quality.catalogues import Pictures, analyse_folder, findings_of_type, publish_catalogue
from vitrine.indexer.operations.purge import purge_products
from vitrine.indexer.quality.revalidate import CHANGED_SINCE, revalidate_analysis
from vitrine.indexer.quality.store import analysis_path, load_analysis, save_analysis
from vitrine.indexer.state.catalogue_state import read_state
from vitrine.service import Catalogue


def test_an_analysis_is_stored_for_its_snapshot_and_deleted_by_a_purge(
    tmp_path: Path, pictures: Pictures
) -> None:
    pictures["q-same"] = ("c0", pictures["p03"][1])
    folder = publish_catalogue(tmp_path, pictures)
    analysis = analyse_folder(folder)
    save_analysis(folder, analysis)
    loaded = load_analysis(folder, folder.current_name())
    assert loaded is not None
    assert [finding.key for finding in loaded.findings] == [finding.key for finding in analysis.findings]
    stored = json.loads(analysis_path(folder, folder.current_name()).read_text(encoding="utf-8"))
    assert set(stored) == {"version", "state", "products", "missing", "findings"}
    assert load_analysis(folder, "another") is None
    purge_products(folder, ["q-same"])
    assert not list((folder.layout.cache / "quality").glob("*"))


def test_changes_since_the_snapshot_are_applied_to_its_findings(tmp_path: Path, pictures: Pictures) -> None:
    pictures["q-same"] = ("c0", pictures["p03"][1])
    folder = publish_catalogue(tmp_path, pictures)
    analysis = analyse_folder(folder)
    with Catalogue.open(folder.root) as catalogue:
        catalogue.move(["q-same"], "c1")
        moved = revalidate_analysis(analysis, read_state(folder))
        catalogue.delete(["p03"])
        deleted = revalidate_analysis(analysis, read_state(folder))
    (before,), (after,) = (findings_of_type(each, "exact-duplicate") for each in (analysis, moved))
    assert (before.reason["same_category"], after.reason["same_category"]) == (False, True)
    assert CHANGED_SINCE in moved.missing
    assert not findings_of_type(deleted, "exact-duplicate")
    assert deleted.products == analysis.products - 1
