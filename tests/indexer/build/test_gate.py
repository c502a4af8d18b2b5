"""Tests of vitrine.indexer.build.gate: candidates that are refused, and --force."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from tests.catalogues import build_folder, write_folder
from vitrine.indexer.build.gate import Comparison, Thresholds, check_publishable
from vitrine.indexer.errors import PublishRefused
from vitrine.indexer.snapshot.folder import IndexFolder

GOOD = Comparison(0.99, 0.99, 1.0, 1.0, 0.0, 100)


def test_a_catalogue_that_lost_most_of_its_products_is_refused(tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos", per_category=8), tmp_path / "index"
    before = build_folder(photos, index)
    shutil.rmtree(photos / "c1")
    shutil.rmtree(photos / "c2")
    with pytest.raises(PublishRefused, match=r"67% of the 24 products are missing.*--force"):
        build_folder(photos, index)
    folder = IndexFolder(index)
    assert folder.current_name() == before.snapshot
    assert len(folder.snapshot_names()) == 2
    assert build_folder(photos, index, force=True).products == 8
    assert folder.open().manifest.products == 8


def test_a_slow_or_inexact_index_is_refused(tmp_path: Path) -> None:
    photos, index = write_folder(tmp_path / "photos"), tmp_path / "index"
    build_folder(photos, index)
    with pytest.raises(PublishRefused, match="ms"):
        build_folder(photos, index, gate=Thresholds(max_p95_ms=0.0))
    with pytest.raises(PublishRefused, match="recall@10"):
        build_folder(photos, index, gate=Thresholds(recall_slack=-1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recall_at_10": 0.9}, "recall@10 is 0.900, below the target of 0.990"),
        ({"p95_ms": 600.0}, "95 % of queries take up to 600 ms"),
        ({"vanished": 0.6}, "60% of the 100 products are missing"),
        ({"overlap_at_10": 0.25}, "only 25% of the top 10 match the current snapshot"),
    ],
)
def test_each_measurement_outside_its_threshold_is_a_reason(changes: dict[str, float], message: str) -> None:
    check_publishable(GOOD, Thresholds())
    with pytest.raises(PublishRefused, match=message):
        check_publishable(dataclasses.replace(GOOD, **changes), Thresholds())  # type: ignore[arg-type]


def test_small_catalogues_may_change_completely() -> None:
    check_publishable(dataclasses.replace(GOOD, vanished=1.0, current_products=19), Thresholds())
