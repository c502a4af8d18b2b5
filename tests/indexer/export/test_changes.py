"""Exports of the lists that changed since a state, a snapshot, or other shop rules."""

from __future__ import annotations

import json
from pathlib import Path

from tests.indexer.export.exports import export_lists, run
from tests.indexes import SampleProduct, publish_samples
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.service import Catalogue


def test_since_a_state_only_products_whose_list_changed_are_written(
    catalogue: Catalogue, small_index: Path, tmp_path: Path
) -> None:
    before = export_lists(small_index, tmp_path / "a.parquet", "--top", "3")
    state = json.loads(run(small_index, "--output", tmp_path / "b.parquet", "--json").stdout)["state"]
    catalogue.delete("p05")
    after = export_lists(small_index, tmp_path / "c.parquet", "--top", "3")
    changed = export_lists(small_index, tmp_path / "d.parquet", "--top", "3", "--since", state)
    assert changed.pop("p05") == []
    assert changed == {product: hits for product, hits in after.items() if before[product] != hits}
    assert 0 < len(changed) < 11
    assert state.split("@")[0] == catalogue.status()["snapshot"]
    later = json.loads(
        run(small_index, "--output", tmp_path / "e.parquet", "--since", state, "--json").stdout
    )["state"]
    assert export_lists(small_index, tmp_path / "f.parquet", "--since", later) == {}
    catalogue.restore("p05")
    back = export_lists(small_index, tmp_path / "g.parquet", "--top", "3", "--since", later)
    assert back.keys() == changed.keys() | {"p05"}
    assert export_lists(small_index, tmp_path / "h.parquet", "--top", "3", "--since", state) == {}


def test_since_another_snapshot_new_products_and_emptied_lists_are_written(
    small_index: Path, samples: list[SampleProduct], small_source: Path, tmp_path: Path
) -> None:
    first = IndexFolder(small_index).current_name()
    publish_samples(small_index, samples[3:], small_source)
    changed = export_lists(small_index, tmp_path / "a.parquet", "--top", "2", "--since", first)
    assert [product for product, hits in changed.items() if not hits] == ["p00", "p01", "p02"]
    publish_samples(small_index, samples, small_source)
    assert export_lists(small_index, tmp_path / "b.parquet", "--top", "2", "--since", first) == {}
    emptied = export_lists(
        small_index, tmp_path / "c.parquet", "--category", "bolsa", "--since", first, "--min-score", "1"
    )
    assert emptied == {}


def test_since_a_state_under_other_rules_every_list_is_written(small_index: Path, tmp_path: Path) -> None:
    def state(name: str, *arguments: str) -> str:
        result = run(small_index, "--output", tmp_path / name, "--json", *arguments)
        assert result.exit_code == 0, result.output
        tag: str = json.loads(result.stdout)["state"]
        return tag

    before = state("a.parquet")
    (small_index / "rules.toml").write_text(
        "[[ban]]\nname = 'all but two'\nhide = {where = {price = {gte = 20}}}\n"
    )
    after = state("b.parquet")
    assert after.partition("+")[0] == before
    assert "+" in after
    lists = export_lists(small_index, tmp_path / "c.parquet", "--since", before)
    assert sorted(lists) == [f"p{number:02d}" for number in range(12)]
    assert [hit for hit, _ in lists["p00"]] == ["p01"]
    assert export_lists(small_index, tmp_path / "d.parquet", "--since", after) == {}
    (small_index / "rules.toml").write_text("[[ban]]\nname = 'all'\nhide = {where = {price = {gte = 0}}}\n")
    emptied = export_lists(small_index, tmp_path / "e.parquet", "--since", after)
    assert emptied
    assert not any(emptied.values())
