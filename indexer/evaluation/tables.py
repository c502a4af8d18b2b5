"""Tables of an evaluation, for the console. They are returned, not printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from vitrine.indexer.evaluation.evaluate import Evaluation

MEASURES = ("precision_at_1", "precision_at_5", "recall_at_10", "map")
INTERVAL_MEASURES = ("precision_at_1", "precision_at_5", "map")
HEADINGS = {"precision_at_1": "P@1", "precision_at_5": "P@5", "recall_at_10": "recall@10", "map": "mAP"}


def evaluation_tables(evaluation: Evaluation) -> dict[str, Table]:
    """Return the tables of the measured figures by title, in reading order."""
    tables = {}
    if evaluation.methods:
        title = f"{evaluation.evaluated} of {evaluation.products} products evaluated, each against all others"
        tables[title] = _method_table(evaluation.methods)
    if evaluation.held_out:
        title = "Held out: fitted on one half of each category and evaluated on the other, for both halves"
        tables[title] = _method_table(evaluation.held_out)
    if evaluation.instances:
        tables["Simulated photos: share whose product is found first"] = _instance_table(evaluation.instances)
    origin = {"snapshot": "in the snapshot", "held out": "held out"}[evaluation.categories_of]
    if evaluation.categories:
        tables[f"By category, {origin}, lowest mAP first (95 % intervals)"] = _category_table(
            evaluation.categories
        )
    if evaluation.confusion:
        tables[f"Nearest neighbours of another category, {origin}"] = _confusion_table(evaluation.confusion)
    return tables


def _table(text_columns: Sequence[str], *number_columns: str) -> Table:
    """Return an empty table: text columns first, then right-aligned columns of numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in text_columns:
        table.add_column(heading, overflow="fold")
    for heading in number_columns:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _method_table(methods: Mapping[str, Mapping[str, float]]) -> Table:
    table = _table(["method"], *(HEADINGS[name] for name in MEASURES))
    for name, figures in methods.items():
        table.add_row(name, *(_share(figures[measure]) for measure in MEASURES))
    return table


def _instance_table(instances: Mapping[str, Mapping[str, float]]) -> Table:
    columns = list(next(iter(instances.values())))
    table = _table(["method"], *columns)
    for name, figures in instances.items():
        table.add_row(name, *(_share(figures[column]) for column in columns))
    return table


def _category_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(["category"], "products", *(HEADINGS[name] for name in INTERVAL_MEASURES))
    for row in rows:
        figures = [
            f"{_share(row[name])} ({_share(row[f'{name}_low'])}–{_share(row[f'{name}_high'])})"
            for name in INTERVAL_MEASURES
        ]
        table.add_row(escape(row["category"]), str(row["products"]), *figures)
    return table


def _confusion_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(["category", "nearest neighbour"], "products", "of its category")
    for row in rows:
        names = escape(row["category"]), escape(row["neighbour"])
        table.add_row(*names, str(row["count"]), f"{row['share']:.0%}")
    return table


def _share(value: float) -> str:
    return f"{value:.3f}"
