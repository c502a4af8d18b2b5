"""Exports: the lists that the service would answer, what changed since a state, and files that are whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from tests.indexes import Made, publish_made
from tests.pictures import jpeg
from vitrine.indexer.cli.main import main
from vitrine.indexer.export import Filters, product_lists
from vitrine.indexer.snapshot.folder import IndexFolder
from vitrine.indexer.state.catalogue_state import read_state
from vitrine.indexer.vectors.ranking import Stages
from vitrine.service import Catalogue

Lists = dict[str, list[tuple[str, float]]]


def run(index: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", "--index", str(index), *map(str, arguments)])


def exported(index: Path, output: Path, *arguments: str | Path) -> Lists:
    """Return the lists of an export by product; an empty one for a row of rank 0."""
    result = run(index, "--output", output, *arguments)
    assert result.exit_code == 0, result.output
    lists: Lists = {}
    for row in pq.read_table(output).to_pylist():
        if row["rank"]:
            lists.setdefault(row["product"], []).append((row["hit"], row["score"]))
            assert row["rank"] == len(lists[row["product"]])
        else:
            assert (row["hit"], row["score"]) == (None, None)
            lists[row["product"]] = []
    return lists


def answered(catalogue: Catalogue, top: int, **options: Any) -> Lists:
    """Return what the service recommends for every live product, by an exact search."""
    answers: Lists = {}
    for product in catalogue.products(limit=1000)["products"]:
        answer = catalogue.similar(product["id"], limit=top, exact=True, **options)
        if answer["hits"]:
            answers[product["id"]] = [(hit["id"], hit["score"]) for hit in answer["hits"]]
    return answers


def assert_same(lists: Lists, expected: Lists) -> None:
    assert lists.keys() == expected.keys()
    for product, hits in expected.items():
        assert [hit for hit, _ in lists[product]] == [hit for hit, _ in hits], product
        assert [score for _, score in lists[product]] == pytest.approx([score for _, score in hits], abs=1e-6)


QUERIES: list[tuple[list[str], dict[str, Any]]] = [
    ([], {}),
    (["--same-category"], {"same_category": True}),
    (["--category", "bolsa", "--category", "tênis"], {"category": ["bolsa", "tênis"]}),
    (
        ["--where", '{"price": {"lt": 60}, "brand": "acme"}'],
        {"where": {"price": {"lt": 60}, "brand": "acme"}},
    ),
    (["--min-score", "0.1"], {"min_score": 0.1}),
    (["--exclude", "p03", "--exclude", "unknown"], {"exclude": ["p03", "unknown"]}),
    (["--one-per-group"], {"one_per_group": True}),
    (["--collapse-duplicates", "0.1"], {"collapse_duplicates": 0.1}),
    (["--diversity", "0.4", "--one-per-group"], {"diversity": 0.4, "one_per_group": True}),
    (
        ["--same-category", "--one-per-group", "--min-score", "-0.5"],
        {"same_category": True, "one_per_group": True, "min_score": -0.5},
    ),
    (["--category", "nothing"], {"category": ["nothing"]}),
]


@pytest.mark.parametrize(("arguments", "options"), QUERIES)
def test_lists_are_those_that_the_service_answers(
    catalogue: Catalogue, small_index: Path, tmp_path: Path, arguments: list[str], options: dict[str, Any]
) -> None:
    catalogue.delete(["p02", "p07"])
    catalogue.add(jpeg(48, 32, 99), name="Novo", category="bolsa", id="a-new")
    catalogue.add(jpeg(48, 32, 4), name="Gêmeo", category="bolsa", id="z-twin", group="g1")
    lists = exported(small_index, tmp_path / "lists.parquet", "--top", "4", *arguments)
    assert_same(lists, answered(catalogue, 4, **options))
    assert all("p02" not in [hit for hit, _ in hits] for hits in lists.values())


def test_a_shorter_list_begins_a_longer_one_and_blocks_make_no_difference(small_index: Path) -> None:
    state = read_state(IndexFolder(small_index))
    filters = Filters(stages=Stages(one_per_group=True))
    long = {row: hits.rows.tolist() for row, hits in product_lists(state, filters, 8, block_rows=5)}
    short = {row: hits.rows.tolist() for row, hits in product_lists(state, filters, 3)}
    assert short == {row: rows[:3] for row, rows in long.items()}


def test_jsonl_says_the_same_as_parquet(small_index: Path, tmp_path: Path) -> None:
    lists = exported(small_index, tmp_path / "lists.parquet", "--top", "3")
    assert run(small_index, "--output", tmp_path / "lists.jsonl", "--top", "3").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == 36
    for row in rows:
        hit, score = lists[row["product"]][row["rank"] - 1]
        assert (row["hit"], row["score"]) == (hit, pytest.approx(score, abs=1e-6))


def test_since_a_state_only_products_whose_list_changed_are_written(
    catalogue: Catalogue, small_index: Path, tmp_path: Path
) -> None:
    before = exported(small_index, tmp_path / "a.parquet", "--top", "3")
    state = json.loads(run(small_index, "--output", tmp_path / "b.parquet", "--json").stdout)["state"]
    catalogue.delete("p05")
    after = exported(small_index, tmp_path / "c.parquet", "--top", "3")
    changed = exported(small_index, tmp_path / "d.parquet", "--top", "3", "--since", state)
    assert changed.pop("p05") == []
    assert changed == {product: hits for product, hits in after.items() if before[product] != hits}
    assert 0 < len(changed) < 11
    assert state.split("@")[0] == catalogue.status()["snapshot"]
    later = json.loads(
        run(small_index, "--output", tmp_path / "e.parquet", "--since", state, "--json").stdout
    )["state"]
    assert exported(small_index, tmp_path / "f.parquet", "--since", later) == {}
    catalogue.restore("p05")
    back = exported(small_index, tmp_path / "g.parquet", "--top", "3", "--since", later)
    assert back.keys() == changed.keys() | {"p05"}
    assert exported(small_index, tmp_path / "h.parquet", "--top", "3", "--since", state) == {}


def test_since_another_snapshot_new_products_and_emptied_lists_are_written(
    small_index: Path, made: list[Made], small_source: Path, tmp_path: Path
) -> None:
    first = IndexFolder(small_index).current_name()
    publish_made(small_index, made[3:], small_source)
    changed = exported(small_index, tmp_path / "a.parquet", "--top", "2", "--since", first)
    assert [product for product, hits in changed.items() if not hits] == ["p00", "p01", "p02"]
    publish_made(small_index, made, small_source)
    assert exported(small_index, tmp_path / "b.parquet", "--top", "2", "--since", first) == {}
    emptied = exported(
        small_index, tmp_path / "c.parquet", "--category", "bolsa", "--since", first, "--min-score", "1"
    )
    assert emptied == {}


RULES = """
[[pin]]
name = "house brand"
when = {category = ["bolsa", "relógio"]}
show = {where = {brand = "acme"}}
place = 2
limit = 2

[[pin]]
name = "new"
show = {id = ["p03", "p09", "p11"]}
place = 4

[[ban]]
name = "sold out"
when = {category = "tênis"}
hide = {where = {in_stock = false}}

[[never_together]]
name = "rivals"
one = {group = "g0"}
other = {category = "relógio"}
"""


@pytest.mark.parametrize(("arguments", "options"), QUERIES)
def test_lists_under_rules_are_those_that_the_service_answers(
    small_index: Path, tmp_path: Path, arguments: list[str], options: dict[str, Any]
) -> None:
    (small_index / "rules.toml").write_text(RULES, encoding="utf-8")
    with Catalogue.open(small_index) as catalogue:
        catalogue.delete("p07")
        for top in (2, 5):
            lists = exported(small_index, tmp_path / "lists.parquet", "--top", str(top), *arguments)
            assert_same(lists, answered(catalogue, top, **options))
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
    lists = exported(small_index, tmp_path / "lists.parquet", "--top", "2")
    with Catalogue.open(small_index) as catalogue:
        assert_same(lists, answered(catalogue, 2))


def test_since_a_state_under_other_rules_every_list_is_written(small_index: Path, tmp_path: Path) -> None:
    def state(name: str, *arguments: str) -> str:
        result = run(small_index, "--output", tmp_path / name, "--json", *arguments)
        assert result.exit_code == 0, result.output
        told: str = json.loads(result.stdout)["state"]
        return told

    before = state("a.parquet")
    (small_index / "rules.toml").write_text(
        "[[ban]]\nname = 'all but two'\nhide = {where = {price = {gte = 20}}}\n"
    )
    after = state("b.parquet")
    assert after.partition("+")[0] == before
    assert "+" in after
    lists = exported(small_index, tmp_path / "c.parquet", "--since", before)
    assert sorted(lists) == [f"p{number:02d}" for number in range(12)]
    assert [hit for hit, _ in lists["p00"]] == ["p01"]
    assert exported(small_index, tmp_path / "d.parquet", "--since", after) == {}
    (small_index / "rules.toml").write_text("[[ban]]\nname = 'all'\nhide = {where = {price = {gte = 0}}}\n")
    assert set(map(tuple, exported(small_index, tmp_path / "e.parquet", "--since", after).values())) == {()}


def test_rules_that_cannot_be_obeyed_stop_an_export_with_their_name(
    small_index: Path, tmp_path: Path
) -> None:
    (small_index / "rules.toml").write_text("[[ban]]\nname = 'no reds'\nhide = {where = {colour = 'red'}}\n")
    result = run(small_index, "--output", tmp_path / "lists.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "rule 'no reds': where: no product has an attribute 'colour'" in result.stderr
    assert not (tmp_path / "lists.jsonl").exists()


def test_verify_checks_the_rules_and_tells_which_choose_nothing(small_index: Path) -> None:
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


def test_a_file_tells_what_it_holds(small_index: Path, tmp_path: Path) -> None:
    output = tmp_path / "lists.parquet"
    report = json.loads(run(small_index, "--output", output, "--top", "2", "--json").stdout)
    assert (report["products"], report["rows"], report["emptied"]) == (12, 24, 0)
    about = json.loads(pq.read_schema(output).metadata[b"vitrine"])
    assert about == {"state": report["state"], "since": None, "top": 2}


@pytest.mark.parametrize(
    ("exit_code", "arguments", "said"),
    [
        (2, ["--output", "lists.csv"], "ends in .parquet or .jsonl"),
        (2, ["--output", "no/where/lists.jsonl"], "there is no folder no/where"),
        (2, ["--output", "lists.jsonl", "--where", "[1]"], "--where"),
        (2, ["--output", "lists.jsonl", "--where", '{"colour": 1}'], "no product has an attribute 'colour'"),
        (2, ["--output", "lists.jsonl", "--top", "0"], "--top"),
        (2, ["--output", "lists.jsonl", "--since", "20240101T000000000Z-abcd@x"], "is not a state"),
        (3, ["--output", "lists.jsonl", "--since", "20240101T000000000Z-abcd"], "no snapshot"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    small_index: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    exit_code: int,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(small_index, *arguments)
    assert result.exit_code == exit_code, result.output
    assert said in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


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
