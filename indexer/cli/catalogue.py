"""Commands about the whole catalogue: what it recommends, what is wrong in it, how it changed.

A thin shell, as `vitrine.indexer.cli.main`, which registers them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vitrine.indexer.cli.console import ConsoleProgress, show
from vitrine.indexer.cli.options import Command, common
from vitrine.indexer.errors import InputError
from vitrine.indexer.snapshot.snapshot import IndexFolder

MAX_TOP = 1000


def query_filters(command: Command) -> Command:
    """Add the options of a query that say what may be found."""
    for option in (
        click.option("--diversity", type=click.FloatRange(0, 1), default=0.0,
                     help="0 most similar first, 1 most varied (MMR)."),
        click.option("--collapse-duplicates", type=click.FloatRange(0, 1), metavar="COSINE",
                     help="Leave out a hit whose cosine with a better one reaches this."),
        click.option("--one-per-group", is_flag=True, help="Only the best hit of each group."),
        click.option("--exclude", multiple=True, metavar="ID", help="A product that is not to be a hit."),
        click.option("--min-score", type=click.FloatRange(-1, 1), help="Only hits of at least this cosine."),
        click.option("--where", metavar="JSON",
                     help='Conditions on attributes, such as \'{"price": {"lt": 50}, "in_stock": true}\'.'),
        click.option("--category", multiple=True, metavar="NAME", help="Only hits of this category."),
        click.option("--same-category", is_flag=True, help="Only hits of the product's own category."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.option("--top", type=click.IntRange(1, MAX_TOP), default=10, show_default=True,
              help="How many recommendations a product.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE.parquet|.jsonl",
              help="Where to; columns product, rank, hit, score, rule.")  # fmt: skip
@click.option("--since", metavar="SNAPSHOT[@SEQUENCE]",
              help="Only products whose list changed since this state (other hits, another order, or a score "
                   "by 0.001), all of its rows; rank 0 without a hit: no list any more.")  # fmt: skip
@query_filters
@common
def export(
    folder: IndexFolder, output: Path, top: int, since: str | None, as_json: bool, **query: Any
) -> None:
    """Write every live product's recommendations into a file, exact, with the filters of a query."""
    from vitrine.indexer.export import ExportOptions
    from vitrine.indexer.export import export as export_lists

    options = ExportOptions(output, top, _filters(query), since)
    show(export_lists(folder, options, ConsoleProgress(quiet=as_json)).as_json(), as_json=as_json)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE.html",
              help="Where to; pictures and all in one file.")  # fmt: skip
@common
def report(folder: IndexFolder, output: Path, as_json: bool) -> None:
    """Look for mistakes in the catalogue and write them, with evidence, into one page for the browser."""
    from vitrine.indexer.report import write_report

    show(write_report(folder, output, ConsoleProgress(quiet=as_json)).as_json(), as_json=as_json)


@click.command()
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.html", help="A page with pictures.")
@common
def diff(
    folder: IndexFolder, before: str | None, after: str | None, output: Path | None, as_json: bool
) -> None:
    """Say how the catalogue changed from state BEFORE to AFTER: products, categories, recommendations.

    A state is SNAPSHOT or SNAPSHOT@SEQUENCE. By default what stands now is compared with the snapshot before.
    """
    from vitrine.indexer.report.diff import compare_states, write_drift

    drift = compare_states(folder, before, after)
    if output is not None:
        write_drift(folder, drift, output, ConsoleProgress(quiet=as_json))
    if as_json:
        show(drift.as_json(), as_json=True)
        return
    counts = {"entered": len(drift.entered), "left": len(drift.left), "moved": len(drift.moved)}
    overlap = "nothing to compare" if drift.overlap is None else f"{drift.overlap:.0%} of the top 10 stayed"
    most = ", ".join(f"{name} {shift:.4f}" for name, shift in drift.shifts[:5])
    answer = {"from": drift.before, "to": drift.after, **counts, "recommendations": overlap}
    show(answer | {"centroids_moved_most": most or "none"}, as_json=False)


COMMANDS = (export, report, diff)


def _filters(query: dict[str, Any]) -> Any:
    from vitrine.indexer.export import Filters
    from vitrine.indexer.vectors.ranking import Stages

    names = ("min_score", "one_per_group", "collapse_duplicates", "diversity")
    stages = Stages(**{name: query[name] for name in names})
    where = _where(query["where"])
    return Filters(query["same_category"], query["category"], where, query["exclude"], stages)


def _where(text: str | None) -> dict[str, Any]:
    try:
        where = json.loads(text) if text else {}
    except ValueError:
        where = None
    if not isinstance(where, dict):
        raise InputError(f"--where {text!r} is not a JSON object")
    return where
