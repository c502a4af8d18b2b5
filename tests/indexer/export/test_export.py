"""The export command: errors before anything is written, and shop rules that cannot be applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.indexer.export.exports import RULES, run
from vitrine.indexer.cli.main import main


@pytest.mark.parametrize(
    ("exit_code", "arguments", "message"),
    [
        (2, ["--output", "lists.csv"], "must end in .parquet or .jsonl"),
        (2, ["--output", "no/where/lists.jsonl"], "folder no/where does not exist"),
        (2, ["--output", "lists.jsonl", "--where", "[1]"], "--where"),
        (2, ["--output", "lists.jsonl", "--where", '{"colour": 1}'], "no product has an attribute 'colour'"),
        (2, ["--output", "lists.jsonl", "--top", "0"], "--top"),
        (2, ["--output", "lists.jsonl", "--since", "20240101T000000000Z-abcd@x"], "is not a state"),
        (3, ["--output", "lists.jsonl", "--since", "20240101T000000000Z-abcd"], "no snapshot"),
    ],
)
def test_an_invalid_option_is_an_error_and_nothing_is_written(
    small_index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exit_code: int,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(small_index, *arguments)
    assert result.exit_code == exit_code, result.output
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_invalid_rule_stops_an_export_and_is_named(small_index: Path, tmp_path: Path) -> None:
    (small_index / "rules.toml").write_text("[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}\n")
    result = run(small_index, "--output", tmp_path / "lists.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rule 'no reds': where: no product has an attribute 'colour'" in result.stderr
    assert not (tmp_path / "lists.jsonl").exists()


def test_verify_checks_the_rules_and_lists_those_that_select_nothing(small_index: Path) -> None:
    def verified() -> Result:
        return CliRunner().invoke(main, ["verify", "--index", str(small_index), "--json"])

    assert json.loads(verified().stdout)["rules"] == 0
    (small_index / "rules.toml").write_text(RULES + "[[ban]]\nname = 'typo'\nhide = {id = 'p99'}\n", "utf-8")
    answer = json.loads(verified().stdout)
    assert (answer["rules"], answer["idle_rules"]) == (5, ["typo"])
    (small_index / "rules.toml").write_text("[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}\n")
    broken = verified()
    assert (broken.exit_code, broken.stdout) == (2, "")
    assert "rule 'no reds'" in broken.stderr
