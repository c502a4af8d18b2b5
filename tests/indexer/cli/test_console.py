"""Tests of vitrine.indexer.cli.console: progress lines, results as text and as JSON, and error lines."""

import json

import pytest
from rich.table import Table

from vitrine.indexer.cli.console import ConsoleProgress, print_error, print_result, print_tables


def test_progress_without_a_terminal_is_one_line_for_each_stage(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress()
    progress.start(10, "pictures")
    progress.advance(10)
    progress.done()
    progress.note("done")
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["pictures: 10", "done"]


def test_quiet_progress_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ConsoleProgress(quiet=True)
    progress.start(None, "pictures")
    progress.advance(1)
    progress.done()
    progress.note("done")
    assert capsys.readouterr().err == ""


def test_results_are_text_for_people_and_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    result = {"live": True, "ok": False, "since": None, "size": {"first": None, "rows": [True, 1234]}}
    print_result(result, as_json=False)
    values = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert values == ["yes", "no", "\u2013", "first \u2013, rows yes, 1,234"]
    print_result(result, as_json=True)
    assert json.loads(capsys.readouterr().out) == result


def test_tables_are_printed_with_titles_and_missing_values(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("name", "value")
    table.add_row("recall", "0.99")
    print_tables({"recall": 0.99}, {"Quality": table}, ["no held-out products"], as_json=False)
    output = capsys.readouterr().out
    assert output.startswith("Quality\n")
    assert "0.99" in output
    assert output.endswith("missing: no held-out products\n")


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("first line\nsecond line")
    assert capsys.readouterr().err == "error: first line second line\n"
