"""The command `vitrine-indexer`: a thin shell over the library that parses options. Errors: `command`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from vitrine.indexer.cli import catalogue as cli_catalogue
from vitrine.indexer.cli.console import ConsoleProgress, quiet_decoders, show, show_tables
from vitrine.indexer.cli.options import Group, common
from vitrine.indexer.config import parse_bytes
from vitrine.indexer.errors import InputError
from vitrine.indexer.snapshot.snapshot import IndexFolder


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="vitrine", prog_name="vitrine-indexer")
def main() -> None:
    """Turn a catalogue of product photos into a snapshot for visual recommendations."""


@main.command()
@click.argument("source")
@click.option("--model", default="bit-m-r50x1", show_default=True,
              help="Name, TF Hub handle, SavedModel folder or weight file; see `models`.")  # fmt: skip
@click.option("--image-size", type=click.IntRange(32, 1024), help="Side in pixels that the model sees.")
@click.option("--fit", type=click.Choice(["squash", "letterbox"]), default="squash", show_default=True,
              help="Give pictures that shape by squashing, or whole on a white page.")  # fmt: skip
@click.option("--trim", is_flag=True, help="Cut off near-white borders of pictures first.")
@click.option(
    "--recipe", default="auto", show_default=True, help="auto, flat, hnsw, ivf or a FAISS factory string."
)
@click.option("--target-recall", type=click.FloatRange(0.5, 1.0), default=0.99, show_default=True,
              help="recall@10 the index must hold against exact search.")  # fmt: skip
@click.option("--memory", help="Most memory the index may take, such as 4GiB.")
@click.option("--transform", type=click.Choice(["auto", "none", "centre", "adapt"]), default="auto",
              show_default=True, help="What is done to the model's vectors.")  # fmt: skip
@click.option("--category-from", default="auto", show_default=True,
              help="auto, folder, filename, or a regular expression with one group.")  # fmt: skip
@click.option("--column", "columns", multiple=True, metavar="FIELD=NAME",
              help="Which manifest column holds a field, such as category=label.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Index only the first N products.")
@click.option("--max-failures", metavar="N|P%", help="Stop when more pictures than this cannot be used.")
@click.option("--batch-size", type=click.IntRange(1, 512), help="Pictures a batch [default: calibrated].")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Where pictures are embedded.")  # fmt: skip
@click.option("--ray-address", metavar="HOST:PORT", help="A running Ray cluster [default: one started here].")
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Snapshots to keep.")
@click.option("--force", is_flag=True, help="Make the snapshot live even if the publish gate objects.")
@common
def build(folder: IndexFolder, source: str, as_json: bool, **options: Any) -> None:
    """Index SOURCE (a folder, or a CSV, Parquet or JSONL manifest) and make the snapshot live."""
    from vitrine.indexer.build.build import build as build_snapshot

    quiet_decoders()
    report = build_snapshot(source, folder, _build_options(options), ConsoleProgress(quiet=as_json))
    answer = report.as_json()
    if not as_json:
        del answer["model_why"]  # said when the model was chosen
    show(answer, as_json=as_json)
    if report.failed and not as_json:
        path = folder.path_of(report.snapshot) / "failures.parquet"
        click.echo(f"{report.failed} pictures cannot be used: see {path}", err=True)


def _build_options(options: dict[str, Any]) -> Any:
    from vitrine.indexer.build.build import BuildOptions
    from vitrine.indexer.embedding.pipeline import EmbeddingOptions
    from vitrine.indexer.recipes import RecipeRequest

    return BuildOptions(
        model=options["model"],
        image_size=options["image_size"],
        fit=options["fit"],
        trim=options["trim"],
        recipe=RecipeRequest(options["recipe"], options["target_recall"], _memory(options["memory"])),
        transform=options["transform"],
        category_from=options["category_from"],
        columns=dict(map(_column, options["columns"])),
        limit=options["limit"],
        embedding=EmbeddingOptions(
            batch_size=options["batch_size"], max_failures=_max_failures(options["max_failures"])
        ),
        engine=options["engine"],
        ray_address=options["ray_address"],
        force=options["force"],
        keep=options["keep"],
    )


def _memory(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise InputError(f"--memory: {error}") from None


def _column(text: str) -> tuple[str, str]:
    field, equals, name = text.partition("=")
    if not (field and equals and name):
        raise InputError(f"--column {text!r}: expected FIELD=NAME, such as category=label")
    return field, name


def _max_failures(text: str | None) -> int | float | None:
    """Return a count, or a share in 0..1 for P%; None for no bound."""
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


@main.command()
@click.option("--snapshot", help="Another snapshot than the live one.")
@common
def status(folder: IndexFolder, snapshot: str | None, as_json: bool) -> None:
    """Say what the live snapshot holds."""
    manifest = folder.manifest(snapshot)
    with folder.journal() as journal:
        waiting = len(journal.since(manifest.journal_sequence))
    answer = {
        "snapshot": manifest.snapshot,
        "live": manifest.snapshot == folder.current_or_none(),
        "products": manifest.products,
        "deleted": manifest.deleted,
        "failed": manifest.failed,
        "categories": manifest.categories,
        "model": manifest.model.name,
        "model_digest": manifest.model.digest,
        "preprocessing": manifest.model.preprocessing,
        "dimension": manifest.dimension,
        "transform": manifest.transform["name"],
        "transform_why": manifest.transform.get("why", ""),
        "recipe": manifest.recipe["recipe"],
        "recipe_why": manifest.recipe["why"],
        "factory": manifest.recipe["factory"],
        "index_bytes": manifest.recipe["memory_bytes"],
        "recall_at_10": manifest.recall_at_10,
        **manifest.latency,
        "built_at": manifest.built_at,
        "source": manifest.source,
        "journal_sequence": manifest.journal_sequence,
        "changes_since": waiting,
    }
    show(answer, as_json=as_json)


@main.command()
@click.option("--snapshot", help="Another snapshot than the live one.")
@common
def verify(folder: IndexFolder, snapshot: str | None, as_json: bool) -> None:
    """Read every byte of a snapshot, check it against its manifest, and the rules of the shop against it."""
    from vitrine.indexer.state.catalogue_state import read_state
    from vitrine.indexer.state.compiled_rules import Rowed, Rulings
    from vitrine.indexer.state.rules import read_rules

    opened = folder.open(snapshot, full_check=True)
    total = sum(record.bytes for record in opened.manifest.files.values())
    answer = {"snapshot": opened.name, "ok": True, "files": len(opened.manifest.files), "bytes": total}
    standing, rules = read_state(folder, snapshot), read_rules(folder.layout.rules)
    rowed = Rowed(standing.segments.tables, standing.categories, standing.category_codes)
    answer |= {"rules": len(rules.names), "idle_rules": list(Rulings.of(rules, rowed).idle)}
    show(answer, as_json=as_json)


@main.command()
@common
def history(folder: IndexFolder, as_json: bool) -> None:
    """List the snapshots that can be made live again, newest first."""
    live = folder.current_or_none()
    snapshots = []
    for name in reversed(folder.names()):
        manifest = folder.manifest(name)
        snapshots.append(
            {
                "snapshot": name,
                "live": name == live,
                "kind": manifest.kind,
                "products": manifest.products,
                "deleted": manifest.deleted,
                "model": manifest.model.name,
                "recipe": manifest.recipe["recipe"],
                "recall_at_10": manifest.recall_at_10,
                "built_at": manifest.built_at,
            }
        )
    lines = [
        f"{'*' if row['live'] else ' '} {row['snapshot']}  {row['kind']:<8} {row['products']:>9,} products  "
        f"{row['model']}, {row['recipe']}, recall@10 {row['recall_at_10']:.3f}"
        for row in snapshots
    ]
    show({"snapshots": snapshots}, as_json=as_json, lines=lines or ["no snapshot yet"])


@main.command()
@click.argument("snapshot", required=False)
@common
def rollback(folder: IndexFolder, snapshot: str | None, as_json: bool) -> None:
    """Make SNAPSHOT live again; without a name, the one published before the live one."""
    from vitrine.indexer.snapshot.snapshot import roll_back

    before, after = roll_back(folder, snapshot)
    show({"snapshot": after, "before": before}, as_json=as_json)


@main.command()
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Snapshots to keep.")
@common
def compact(folder: IndexFolder, keep: int, as_json: bool) -> None:
    """Write what is deleted now into a new snapshot's table; nothing is embedded again."""
    from vitrine.indexer.operations.compact import compact as compact_folder

    show(compact_folder(folder, keep=keep).as_json(), as_json=as_json)


@main.command()
@click.option("--snapshot", help="Another snapshot than the live one.")
@click.option("--labels", type=click.Path(dir_okay=False, path_type=Path), metavar="CSV",
              help="Categories by id, in columns id and category, instead of the snapshot's.")  # fmt: skip
@click.option("--held-out", is_flag=True, help="Also learn from half of the products and judge the others.")
@click.option("--instances", type=click.IntRange(1), metavar="N",
              help="Also search for N products by crops and other light of their pictures.")  # fmt: skip
@common
def evaluate(folder: IndexFolder, labels: Path | None, as_json: bool, **options: Any) -> None:
    """Measure how often neighbours are of the same category, against simpler ways to compare pictures."""
    from vitrine.indexer.evaluation.evaluate import EvaluateOptions, evaluate_snapshot
    from vitrine.indexer.evaluation.evaluation_set import read_labels
    from vitrine.indexer.evaluation.tables import evaluation_tables

    quiet_decoders()
    options["instances"] = options["instances"] or 0
    asked = EvaluateOptions(labels=read_labels(labels) if labels else None, **options)
    found = evaluate_snapshot(folder, asked, ConsoleProgress(quiet=as_json))
    show_tables(found.as_json(), evaluation_tables(found), found.missing, as_json=as_json)


@main.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--yes", is_flag=True, help="Do not ask; there is no way back. --json does not ask, and needs it."
)
@common
def purge(folder: IndexFolder, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove everything that is stored of these products: vectors, pictures, older snapshots, cache."""
    from vitrine.indexer.operations.purge import purge as purge_products

    if not yes and as_json:
        raise InputError("nothing was purged: with --json nobody is asked, so give --yes as well")
    if not yes and not _agreed(
        f"Remove {', '.join(ids)} for good, and every older snapshot that holds them?"
    ):
        raise InputError("nothing was purged: answer y, or give --yes")
    show(purge_products(folder, ids).as_json(), as_json=as_json)


def _agreed(question: str) -> bool:
    """Ask on stderr; no answer is a no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        return False


@main.command()
@click.option("--store", required=True, metavar="milvus://HOST:PORT/COLLECTION", help="Where to.")
@common
def publish(folder: IndexFolder, store: str, as_json: bool) -> None:
    """Bring the live snapshot into a vector store and make it the one that is served from there."""
    from vitrine.indexer.milvus.address import StoreAddress
    from vitrine.indexer.milvus.publish import publish_store

    report = publish_store(folder, StoreAddress.parse(store), ConsoleProgress(quiet=as_json))
    show(report.as_json(), as_json=as_json)


@main.command()
@click.argument("place")
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Snapshots to keep there.")
@common
def push(folder: IndexFolder, place: str, keep: int, as_json: bool) -> None:
    """Copy the live snapshot to PLACE (a folder or an fsspec URL) for replicas to pull."""
    from vitrine.indexer.operations.replication import Place
    from vitrine.indexer.operations.replication import push as push_snapshot

    report = push_snapshot(folder, Place(place), ConsoleProgress(quiet=as_json), keep=keep)
    show(report.as_json(), as_json=as_json)


@main.command()
@click.argument("place")
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="Snapshots to keep here.")
@click.option(
    "--every", type=click.FloatRange(0.2), metavar="SECONDS", help="Pull again and again, for ever."
)
@common
def pull(folder: IndexFolder, place: str, keep: int, every: float | None, as_json: bool) -> None:
    """Copy the live snapshot of PLACE into the index folder, checked, and make it live."""
    from vitrine.indexer.operations.replication import Place, follow
    from vitrine.indexer.operations.replication import pull as pull_snapshot

    progress = ConsoleProgress(quiet=as_json)
    report = pull_snapshot(Place(place), folder, progress, keep=keep)
    show(report.as_json(), as_json=as_json)
    if every is not None:
        follow(Place(place), folder, progress, every)


@main.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models, where each comes from and whether it is at hand."""
    if context.invoked_subcommand:
        return
    from vitrine.indexer.models import list_models

    listing = [dataclasses.asdict(model) for model in list_models()]
    lines = [
        f"{'*' if row['at_hand'] else ' '} {row['name']:<20} D {row['dimension']:>5}  "
        f"{row['image_size_px']:>3} px  {row['origin']}  ({row['why']})"
        for row in listing
    ]
    show({"models": listing}, as_json=as_json, lines=[*lines, "* at hand"])


@models.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
def fetch(name: str, as_json: bool) -> None:
    """Get the weights of NAME, so that a build needs no network."""
    from vitrine.indexer.models import resolve

    source = resolve(name, progress=ConsoleProgress(quiet=as_json))
    show(
        {"name": source.name, "path": str(Path(source.path)), "digest": source.digest, "why": source.why},
        as_json=as_json,
    )


for command in cli_catalogue.COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main()
