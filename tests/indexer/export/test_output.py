"""Output files: the same rows in both formats, a description, and the previous file after an error."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.indexer.export.exports import export_lists, run
from vitrine.indexer.errors import InputError
from vitrine.indexer.export.output import SCHEMA, ExportRows, check_output_path, open_output


def test_an_empty_list_is_a_row_of_rank_0(tmp_path: Path) -> None:
    rows = ExportRows()
    rows.add_list("a", ["b", "c"], [0.9, 0.8], [None, "pinned"])
    rows.add_list("d", [], [])
    assert len(rows) == 3
    for name in ("rows.parquet", "rows.jsonl"):
        with open_output(tmp_path / name, {"state": "s"}) as writer:
            writer.write(rows)
    read = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()]
    assert [row["rank"] for row in read] == [1, 2, 0]
    assert read[1] == {"product": "a", "rank": 2, "hit": "c", "score": 0.8, "rule": "pinned"}
    assert read[2] == {"product": "d", "rank": 0, "hit": None, "score": None, "rule": None}
    table = pq.read_table(tmp_path / "rows.parquet")
    assert table.schema.equals(SCHEMA)
    assert table.column("rank").to_pylist() == [1, 2, 0]


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    check_output_path(tmp_path / "lists.PARQUET")
    with pytest.raises(InputError, match=r"must end in \.parquet or \.jsonl"):
        check_output_path(tmp_path / "lists.csv")
    with pytest.raises(InputError, match=r"folder .*missing does not exist"):
        check_output_path(tmp_path / "missing" / "lists.jsonl")


def test_json_lines_and_parquet_hold_the_same(small_index: Path, tmp_path: Path) -> None:
    lists = export_lists(small_index, tmp_path / "lists.parquet", "--top", "3")
    assert run(small_index, "--output", tmp_path / "lists.jsonl", "--top", "3").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 36
    for row in rows:
        hit, score = lists[row["product"]][row["rank"] - 1]
        assert (row["hit"], row["score"]) == (hit, pytest.approx(score, abs=1e-6))


def test_a_parquet_file_describes_its_export(small_index: Path, tmp_path: Path) -> None:
    output = tmp_path / "lists.parquet"
    report = json.loads(run(small_index, "--output", output, "--top", "2", "--json").stdout)
    assert (report["products"], report["rows"], report["emptied"]) == (12, 24, 0)
    about = json.loads(pq.read_schema(output).metadata[b"vitrine"])
    assert about == {"state": report["state"], "since": None, "top": 2}


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_a_full_disk_is_exit_3_and_leaves_the_earlier_file(
    small_index: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / f"lists.{ending}"
    output.write_text("earlier")

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", no_space)
    result = run(small_index, "--output", output)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[-1].startswith("error: no space left to write")
    assert output.read_text() == "earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", output.name]
