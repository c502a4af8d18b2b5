"""The command `build`, and the parsing of its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vitrine.indexer.cli.console import ConsoleProgress, print_result, silence_picture_warnings
from vitrine.indexer.cli.options import common_options
from vitrine.indexer.config import KEEP_SNAPSHOTS, parse_bytes
from vitrine.indexer.errors import InputError
from vitrine.indexer.snapshot.folder import IndexFolder

if TYPE_CHECKING:
    from vitrine.indexer.build.build import BuildOptions


@click.command()
@click.argument("source")
@click.option("--model", default="bit-m-r50x1", show_default=True,
              help="Name, TF Hub handle, SavedModel folder or weight file; see `models`.")  # fmt: skip
@click.option("--model-output", metavar="NAME",
              help="Output of a SavedModel that has several.")  # fmt: skip
@click.option("--image-size", type=click.IntRange(32, 1024), help="Side of the model's input in pixels.")
@click.option("--fit", type=click.Choice(["squash", "letterbox"]), default="squash", show_default=True,
              help="Fit pictures to the square input: stretched, or on a white background.")  # fmt: skip
@click.option("--trim", is_flag=True, help="Crop near-white borders of pictures first.")
@click.option(
    "--recipe", default="auto", show_default=True, help="auto, flat, hnsw, ivf or a FAISS factory string."
)
@click.option("--target-recall", type=click.FloatRange(0.5, 1.0), default=0.99, show_default=True,
              help="recall@10 of the index against exact search.")  # fmt: skip
@click.option("--memory", help="Maximum memory of the index, such as 4GiB.")
@click.option("--transform", type=click.Choice(["auto", "none", "centre", "adapt"]), default="auto",
              show_default=True, help="Transform of the model's vectors.")  # fmt: skip
@click.option("--category-from", default="auto", show_default=True,
              help="auto, folder, filename, or a regular expression with one group.")  # fmt: skip
@click.option("--column", "columns", multiple=True, metavar="FIELD=NAME",
              help="Manifest column of a field, such as category=label.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Index only the first N products.")
@click.option("--max-failures", metavar="N|P%", help="Stop if more pictures than this cannot be used.")
@click.option("--batch-size", type=click.IntRange(1, 512), help="Pictures in a batch [default: calibrated].")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Engine that embeds the pictures.")  # fmt: skip
@click.option("--ray-address", metavar="HOST:PORT",
              help="Address of a running Ray cluster [default: start one].")  # fmt: skip
@click.option("--keep", type=click.IntRange(1), default=KEEP_SNAPSHOTS, show_default=True,
              help="Number of snapshots to keep.")  # fmt: skip
@click.option("--force", is_flag=True, help="Publish the snapshot even if the publish gate refuses it.")
@common_options
def build(folder: IndexFolder, source: str, as_json: bool, **options: Any) -> None:
    """Index SOURCE (a folder, or a CSV, Parquet or JSONL manifest) and publish the snapshot."""
    from vitrine.indexer.build.build import build_snapshot

    silence_picture_warnings()
    report = build_snapshot(source, folder, _parse_options(options), ConsoleProgress(quiet=as_json))
    result = report.as_json()
    if not as_json:
        del result["model_why"]  # printed when the model was chosen
    print_result(result, as_json=as_json)
    if report.failed and not as_json:
        path = folder.snapshot_path(report.snapshot) / "failures.parquet"
        click.echo(f"{report.failed} pictures cannot be used: see {path}", err=True)


COMMANDS = (build,)


def _parse_options(options: dict[str, Any]) -> BuildOptions:
    """Return the options of the command line as BuildOptions. Raises InputError."""
    from vitrine.indexer.build.build import BuildOptions
    from vitrine.indexer.embedding.pipeline import EmbeddingOptions
    from vitrine.indexer.recipes import RecipeRequest

    return BuildOptions(
        model="#".join(filter(None, (options["model"], options["model_output"]))),
        image_size=options["image_size"],
        fit=options["fit"],
        trim=options["trim"],
        recipe=RecipeRequest(options["recipe"], options["target_recall"], _parse_memory(options["memory"])),
        transform=options["transform"],
        category_from=options["category_from"],
        columns=dict(map(_parse_column, options["columns"])),
        limit=options["limit"],
        embedding=EmbeddingOptions(
            batch_size=options["batch_size"], max_failures=_parse_max_failures(options["max_failures"])
        ),
        engine=options["engine"],
        ray_address=options["ray_address"],
        force=options["force"],
        keep=options["keep"],
    )


def _parse_memory(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise InputError(f"--memory: {error}") from None


def _parse_column(text: str) -> tuple[str, str]:
    """Return (field, column) from FIELD=NAME."""
    field, equals, column = text.partition("=")
    if not (field and equals and column):
        raise InputError(f"--column {text!r}: expected FIELD=NAME, such as category=label")
    return field, column


def _parse_max_failures(text: str | None) -> int | float | None:
    """Return a count, a share in 0..1 for P%, or None for no limit."""
    if text is None:
        return None
    try:
        if text.endswith("%"):
            share = float(text[:-1]) / 100
            if not 0 <= share <= 1:
                raise ValueError
            return share
        if (count := int(text)) < 0:
            raise ValueError
        return count
    except ValueError:
        raise InputError(
            f"--max-failures {text!r}: expected a number such as 20, or a share such as 5%"
        ) from None
