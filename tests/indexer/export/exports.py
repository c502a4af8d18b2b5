"""Exports by the command line, the service's answers to compare them with, and options and rules to try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from vitrine.indexer.cli.main import main
from vitrine.service import Catalogue

# By product: (id of the hit, score).
Lists = dict[str, list[tuple[str, float]]]


def run(index: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", "--index", str(index), *map(str, arguments)])


def export_lists(index: Path, output: Path, *arguments: str | Path) -> Lists:
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


def service_lists(catalogue: Catalogue, top: int, **options: Any) -> Lists:
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
