"""Tests of vitrine.indexer.report.diff and of the command `diff`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.indexes import SampleProduct, publish_samples
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import SnapshotMissing
from vitrine.indexer.report.diff import compare_states
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue


def change_catalogue(samples: list[SampleProduct]) -> list[SampleProduct]:
    """Return the products without p00 and p01, with p02 in another category and p03 with another vector."""
    moved = dataclasses.replace(samples[2], product=dataclasses.replace(samples[2].product, category="bolsa"))
    return [moved, dataclasses.replace(samples[3], vector=-samples[3].vector), *samples[4:]]


def test_equal_snapshots_have_no_differences(
    small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    publish_samples(small_index, samples, small_source)
    diff = compare_states(IndexFolder(small_index), None, None)
    assert (diff.entered, diff.left, diff.moved, diff.overlap, diff.changed) == ((), (), (), 1.0, ())
    assert max(shift for _, shift in diff.shifts) == pytest.approx(0, abs=1e-5)


def test_products_categories_and_recommendations_are_compared(
    small_index: Path, samples: list[SampleProduct], small_source: Path
) -> None:
    folder = IndexFolder(small_index)
    first = folder.current_name()
    second = publish_samples(small_index, change_catalogue(samples), small_source)
    diff = compare_states(folder, first, second)
    assert (diff.entered, diff.left) == ((), ("p00", "p01"))
    assert diff.moved == (("p02", "relógio", "bolsa"),)
    assert diff.overlap is not None
    assert 0 < diff.overlap < 1
    assert diff.changed[0].overlap == min(change.overlap for change in diff.changed)
    assert {name for name, shift in diff.shifts if shift > 1e-4} == {"bolsa", "relógio", "tênis"}
    reverse = compare_states(folder, second, first)
    assert (reverse.entered, reverse.overlap) == (diff.left, diff.overlap)


def test_changes_of_the_journal_are_differences(small_index: Path) -> None:
    folder = IndexFolder(small_index)
    with Catalogue.open(small_index) as catalogue:
        catalogue.delete("p05")
    assert compare_states(folder, folder.current_name(), None).left == ("p05",)
    with pytest.raises(SnapshotMissing, match="nothing to compare with"):
        compare_states(folder, None, None)


def test_the_command_prints_a_summary_and_writes_a_page(
    small_index: Path, samples: list[SampleProduct], small_source: Path, tmp_path: Path
) -> None:
    publish_samples(small_index, change_catalogue(samples), small_source)
    arguments = ["diff", "--index", str(small_index), "--output", str(tmp_path / "diff.html")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "of the top 10 stayed" in result.stdout
    result_json = json.loads(CliRunner().invoke(main, [*arguments[:3], "--json"]).stdout)
    assert result_json["left"] == ["p00", "p01"]
    data = json.loads(
        (tmp_path / "diff.html").read_text("utf-8").split('id="data">')[1].split("</script>")[0]
    )
    assert (data["left"]["count"], data["moved"]["count"]) == (2, 1)
    assert {"p00", "p02", "p03"} <= data["pictures"].keys()
    assert CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "diff.txt")]).exit_code == 2
