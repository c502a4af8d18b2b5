"""Commands on the whole catalogue: recommendation lists, quality report, changes, and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vitrine.indexer.cli.console import (
    ConsoleProgress,
    print_result,
    print_tables,
    silence_picture_warnings,
)
from vitrine.indexer.cli.options import CommandFunction, common_options
from vitrine.indexer.errors import InputError
from vitrine.indexer.snapshot.folder import IndexFolder

TOP_MAX = 1000


def filter_options(command: CommandFunction) -> CommandFunction:
    """Add the options that filter and rank the hits, as in a query."""
    for option in (
        click.option("--diversity", type=click.FloatRange(0, 1), default=0.0,
                     help="0 for the most similar hits, 1 for the most varied (MMR)."),
        click.option("--collapse-duplicates", type=click.FloatRange(0, 1), metavar="COSINE",
                     help="Drop hits whose cosine with a better hit is at least this."),
        click.option("--one-per-group", is_flag=True, help="Only the best hit of each group."),
        click.option("--exclude", multiple=True, metavar="ID", help="Never recommend this product."),
        click.option("--min-score", type=click.FloatRange(-1, 1), help="Only hits of at least this cosine."),
        click.option("--where", metavar="JSON",
                     help='Conditions on attributes, such as \'{"price": {"lt": 50}, "in_stock": true}\'.'),
        click.option("--category", multiple=True, metavar="NAME", help="Only hits of this category."),
        click.option("--same-category", is_flag=True, help="Only hits of the product's own category."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.option("--top", type=click.IntRange(1, TOP_MAX), default=10, show_default=True,
              help="Recommendations for each product.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE.parquet|.jsonl",
              help="Output file with columns product, rank, hit, score, rule.")  # fmt: skip
@click.option("--since", metavar="SNAPSHOT[@SEQUENCE]",
              help="Only products whose list changed since this state (other hits or order, or a score by "
                   "0.001), with all rows. Rank 0 without a hit: the list is empty now.")  # fmt: skip
@filter_options
@common_options
def export(
    folder: IndexFolder, output: Path, top: int, since: str | None, as_json: bool, **query: Any
) -> None:
    """Write the recommendations of every live product to a file, from an exact search."""
    from vitrine.indexer.export import ExportOptions
    from vitrine.indexer.export import export as export_lists

    options = ExportOptions(output, top, _parse_filters(query), since)
    answer = export_lists(folder, options, ConsoleProgress(quiet=as_json))
    print_result(answer.as_json(), as_json=as_json)


@click.command()
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="FILE.html",
              help="Output file, with its pictures inside.")  # fmt: skip
@common_options
def report(folder: IndexFolder, output: Path, as_json: bool) -> None:
    """Find likely mistakes in the catalogue and write them to an HTML page, with evidence."""
    from vitrine.indexer.report import write_report

    summary = write_report(folder, output, ConsoleProgress(quiet=as_json))
    print_result(summary.as_json(), as_json=as_json)


@click.command()
@click.argument("before", required=False)
@click.argument("after", required=False)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE.html", help="Write an HTML page with pictures."
)
@common_options
def diff(
    folder: IndexFolder, before: str | None, after: str | None, output: Path | None, as_json: bool
) -> None:
    """Show the changes from state BEFORE to AFTER: products, categories, recommendations.

    A state is SNAPSHOT or SNAPSHOT@SEQUENCE. By default the present state is compared with the previous
    snapshot.
    """
    from vitrine.indexer.report.diff import compare_states, write_diff_page

    difference = compare_states(folder, before, after)
    if output is not None:
        write_diff_page(folder, difference, output, ConsoleProgress(quiet=as_json))
    if as_json:
        print_result(difference.as_json(), as_json=True)
        return
    overlap, shifts = difference.overlap, difference.shifts[:5]
    result = {
        "from": difference.before,
        "to": difference.after,
        "entered": len(difference.entered),
        "left": len(difference.left),
        "moved": len(difference.moved),
        "recommendations": "nothing to compare" if overlap is None else f"{overlap:.0%} of the top 10 stayed",
        "centroids_moved_most": ", ".join(f"{name} {shift:.4f}" for name, shift in shifts) or "none",
    }
    print_result(result, as_json=False)


@click.command()
@click.option("--snapshot", help="Name of a snapshot [default: the current one].")
@click.option("--labels", type=click.Path(dir_okay=False, path_type=Path), metavar="CSV",
              help="Categories by id, in columns id and category, instead of the snapshot's.")  # fmt: skip
@click.option("--held-out", is_flag=True, help="Also fit on half of the products and evaluate on the others.")
@click.option("--instances", type=click.IntRange(1), metavar="N",
              help="Also search for N products by crops and other light of their pictures.")  # fmt: skip
@common_options
def evaluate(folder: IndexFolder, labels: Path | None, as_json: bool, **options: Any) -> None:
    """Measure how often neighbours have the same category, compared with simpler methods."""
    from vitrine.indexer.evaluation.evaluate import EvaluateOptions, evaluate_snapshot
    from vitrine.indexer.evaluation.evaluation_set import read_labels
    from vitrine.indexer.evaluation.tables import evaluation_tables

    silence_picture_warnings()
    options["instances"] = options["instances"] or 0
    evaluate_options = EvaluateOptions(labels=read_labels(labels) if labels else None, **options)
    evaluation = evaluate_snapshot(folder, evaluate_options, ConsoleProgress(quiet=as_json))
    tables = evaluation_tables(evaluation)
    print_tables(evaluation.as_json(), tables, evaluation.missing, as_json=as_json)


COMMANDS = (export, report, diff, evaluate)


def _parse_filters(query: dict[str, Any]) -> Any:
    from vitrine.indexer.export import ListFilters
    from vitrine.indexer.vectors.ranking import Stages

    names = ("min_score", "one_per_group", "collapse_duplicates", "diversity")
    stages = Stages(**{name: query[name] for name in names})
    where = _parse_where(query["where"])
    return ListFilters(query["same_category"], query["category"], where, query["exclude"], stages)


def _parse_where(text: str | None) -> dict[str, Any]:
    try:
        where = json.loads(text) if text else {}
    except ValueError:
        where = None
    if not isinstance(where, dict):
        raise InputError(f"--where {text!r} is not a JSON object")
    return where
