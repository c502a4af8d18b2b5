"""How a catalogue drifted between two states, against what was done to it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.indexes import Made, publish_made
from vitrine.indexer.cli.main import main
from vitrine.indexer.errors import SnapshotMissing
from vitrine.indexer.report.diff import compare_states
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue


def changed(made: list[Made]) -> list[Made]:
    """Return the products without p00 and p01, p02 in another category and p03 with another look."""
    moved = dataclasses.replace(made[2], product=dataclasses.replace(made[2].product, category="bolsa"))
    return [moved, dataclasses.replace(made[3], vector=-made[3].vector), *made[4:]]


def test_nothing_drifts_between_equal_snapshots(
    small_index: Path, made: list[Made], small_source: Path
) -> None:
    publish_made(small_index, made, small_source)
    drift = compare_states(IndexFolder(small_index), None, None)
    assert (drift.entered, drift.left, drift.moved, drift.overlap, drift.changed) == ((), (), (), 1.0, ())
    assert max(shift for _, shift in drift.shifts) == pytest.approx(0, abs=1e-5)


def test_who_came_who_left_and_what_changed(small_index: Path, made: list[Made], small_source: Path) -> None:
    folder = IndexFolder(small_index)
    first = folder.current_name()
    second = publish_made(small_index, changed(made), small_source)
    drift = compare_states(folder, first, second)
    assert (drift.entered, drift.left) == ((), ("p00", "p01"))
    assert drift.moved == (("p02", "relógio", "bolsa"),)
    assert drift.overlap is not None
    assert 0 < drift.overlap < 1
    assert drift.changed[0].overlap == min(each.overlap for each in drift.changed)
    assert {name for name, shift in drift.shifts if shift > 1e-4} == {"bolsa", "relógio", "tênis"}
    back = compare_states(folder, second, first)
    assert (back.entered, back.overlap) == (drift.left, drift.overlap)


def test_live_changes_are_drift_too(small_index: Path) -> None:
    folder = IndexFolder(small_index)
    with Catalogue.open(small_index) as catalogue:
        catalogue.delete("p05")
    assert compare_states(folder, folder.current_name(), None).left == ("p05",)
    with pytest.raises(SnapshotMissing, match="nothing to compare with"):
        compare_states(folder, None, None)


def test_the_command_prints_and_writes_a_page(
    small_index: Path, made: list[Made], small_source: Path, tmp_path: Path
) -> None:
    publish_made(small_index, changed(made), small_source)
    arguments = ["diff", "--index", str(small_index), "--output", str(tmp_path / "drift.html")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "of the top 10 stayed" in result.stdout
    answer = json.loads(CliRunner().invoke(main, [*arguments[:3], "--json"]).stdout)
    assert answer["left"] == ["p00", "p01"]
    data = json.loads(
        (tmp_path / "drift.html").read_text("utf-8").split('id="data">')[1].split("</script>")[0]
    )
    assert (data["left"]["count"], data["moved"]["count"]) == (2, 1)
    assert {"p00", "p02", "p03"} <= data["pictures"].keys()
    assert CliRunner().invoke(main, [*arguments[:-1], str(tmp_path / "drift.txt")]).exit_code == 2
