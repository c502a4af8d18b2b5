"""Lists compared with the answers of the service, with and without shop rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.indexer.export.exports import QUERIES, RULES, assert_same, export_lists, service_lists
from tests.pictures import jpeg
from vitrine.indexer.export import ListFilters, product_lists
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import read_state
from vitrine.indexer.vectors.ranking import Stages
from vitrine.service import Catalogue


@pytest.mark.parametrize(("arguments", "options"), QUERIES)
def test_lists_equal_the_answers_of_the_service(
    catalogue: Catalogue, small_index: Path, tmp_path: Path, arguments: list[str], options: dict[str, Any]
) -> None:
    catalogue.delete(["p02", "p07"])
    catalogue.add(jpeg(48, 32, 99), name="Novo", category="bolsa", id="a-new")
    catalogue.add(jpeg(48, 32, 4), name="Gêmeo", category="bolsa", id="z-twin", group="g1")
    lists = export_lists(small_index, tmp_path / "lists.parquet", "--top", "4", *arguments)
    assert_same(lists, service_lists(catalogue, 4, **options))
    assert all("p02" not in [hit for hit, _ in hits] for hits in lists.values())


def test_a_shorter_list_begins_a_longer_one_and_blocks_make_no_difference(small_index: Path) -> None:
    state = read_state(IndexFolder(small_index))
    filters = ListFilters(stages=Stages(one_per_group=True))
    long = {row: hits.rows.tolist() for row, hits in product_lists(state, filters, 8, block_rows=5)}
    short = {row: hits.rows.tolist() for row, hits in product_lists(state, filters, 3)}
    assert short == {row: rows[:3] for row, rows in long.items()}


@pytest.mark.parametrize(("arguments", "options"), QUERIES)
def test_lists_under_rules_equal_the_answers_of_the_service(
    small_index: Path, tmp_path: Path, arguments: list[str], options: dict[str, Any]
) -> None:
    (small_index / "rules.toml").write_text(RULES, encoding="utf-8")
    with Catalogue.open(small_index) as catalogue:
        catalogue.delete("p07")
        for top in (2, 5):
            lists = export_lists(small_index, tmp_path / "lists.parquet", "--top", str(top), *arguments)
            assert_same(lists, service_lists(catalogue, top, **options))
        rules = {
            (row["product"], row["hit"]): row["rule"]
            for row in pq.read_table(tmp_path / "lists.parquet").to_pylist()
        }
        for product in lists:
            for hit in catalogue.similar(product, limit=5, exact=True, **options)["hits"]:
                assert rules[product, hit["id"]] == hit["rule"]


def test_a_pin_past_the_end_of_a_list_leaves_no_gap_in_it(small_index: Path, tmp_path: Path) -> None:
    late = "[[pin]]\nname = 'late'\nshow = {where = {price = {gte = 0}}}\nplace = 9\nlimit = 1\n"
    (small_index / "rules.toml").write_text(late)
    lists = export_lists(small_index, tmp_path / "lists.parquet", "--top", "2")
    with Catalogue.open(small_index) as catalogue:
        assert_same(lists, service_lists(catalogue, 2))
