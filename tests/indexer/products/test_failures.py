"""The file of failed pictures."""

from pathlib import Path

from vitrine.indexer.products.failures import read_failures, write_failures


def test_failures_round_trip(tmp_path: Path) -> None:
    write_failures(tmp_path / "none.parquet", [])
    write_failures(tmp_path / "one.parquet", [("a", "a.jpg", "empty file")])
    assert read_failures(tmp_path / "none.parquet") == []
    assert read_failures(tmp_path / "one.parquet") == [{"id": "a", "image": "a.jpg", "reason": "empty file"}]
