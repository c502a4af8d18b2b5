"""An evaluation as tables for people. Measures nothing and prints nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from vitrine.indexer.evaluation.evaluate import Evaluation

MEASURES = ("precision_at_1", "precision_at_5", "recall_at_10", "map")
INTERVALS = ("precision_at_1", "precision_at_5", "map")
HEADINGS = {"precision_at_1": "P@1", "precision_at_5": "P@5", "recall_at_10": "recall@10", "map": "mAP"}


def tables_of(found: Evaluation) -> dict[str, Table]:
    """Return the tables of what could be measured by their titles, in reading order."""
    tables = {}
    if found.ways:
        title = f"{found.judged} of {found.products} products judged, each against all others"
        tables[title] = _ways(found.ways)
    if found.held_out:
        title = "Held out: learnt from one half of each category, judged among the other; both ways round"
        tables[title] = _ways(found.held_out)
    if found.instances:
        tables["Photographed again: how often the product comes first"] = _instances(found.instances)
    whose = {"snapshot": "in the snapshot", "held out": "held out"}[found.categories_of]
    if found.categories:
        tables[f"By category, {whose}, the weakest first (95 % intervals)"] = _categories(found.categories)
    if found.confusion:
        tables[f"Nearest neighbours of another category, {whose}"] = _confusion(found.confusion)
    return tables


def _table(first: Sequence[str], *rest: str) -> Table:
    """Return an empty table: names on the left, numbers to the right of them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in first:
        table.add_column(heading, overflow="fold")
    for heading in rest:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _ways(ways: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table(["way"], *(HEADINGS[name] for name in MEASURES))
    for name, figures in ways.items():
        table.add_row(name, *(_share(figures[measure]) for measure in MEASURES))
    return table


def _instances(found: Mapping[str, Mapping[str, float]]) -> Table:
    kinds = list(next(iter(found.values())))
    table = _table(["way"], *kinds)
    for name, figures in found.items():
        table.add_row(name, *(_share(figures[kind]) for kind in kinds))
    return table


def _categories(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(["category"], "products", *(HEADINGS[name] for name in INTERVALS))
    for row in rows:
        figures = [
            f"{_share(row[name])} ({_share(row[f'{name}_low'])}–{_share(row[f'{name}_high'])})"
            for name in INTERVALS
        ]
        table.add_row(escape(row["category"]), str(row["products"]), *figures)
    return table


def _confusion(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(["category", "nearest neighbour"], "products", "of its category")
    for row in rows:
        names = escape(row["category"]), escape(row["neighbour"])
        table.add_row(*names, str(row["count"]), f"{row['share']:.0%}")
    return table


def _share(value: float) -> str:
    return f"{value:.3f}"
