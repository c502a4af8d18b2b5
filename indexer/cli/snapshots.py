"""Commands on the snapshots of an index folder: show, check, roll back, compact and purge."""

from __future__ import annotations

import click

from vitrine.indexer.cli.console import print_result
from vitrine.indexer.cli.options import common_options
from vitrine.indexer.config import KEEP_SNAPSHOTS
from vitrine.indexer.errors import InputError
from vitrine.indexer.snapshot.folder import IndexFolder


@click.command()
@click.option("--snapshot", help="Name of a snapshot [default: the current one].")
@common_options
def status(folder: IndexFolder, snapshot: str | None, as_json: bool) -> None:
    """Show a snapshot: its products, model, transform, recipe and recall."""
    manifest = folder.manifest(snapshot)
    with folder.journal() as journal:
        changes_since = len(journal.changes_since(manifest.journal_sequence))
    result = {
        "snapshot": manifest.snapshot,
        "live": manifest.snapshot == folder.current_name_or_none(),
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
        "changes_since": changes_since,
    }
    print_result(result, as_json=as_json)


@click.command()
@click.option("--snapshot", help="Name of a snapshot [default: the current one].")
@common_options
def verify(folder: IndexFolder, snapshot: str | None, as_json: bool) -> None:
    """Check every byte of a snapshot against its manifest, and the shop rules against its products."""
    from vitrine.indexer.state.catalogue_state import read_state
    from vitrine.indexer.state.compiled_rules import RowSelector, compile_rules
    from vitrine.indexer.state.rules import read_rules

    opened = folder.open(snapshot, full_check=True)
    size = sum(record.bytes for record in opened.manifest.files.values())
    result = {"snapshot": opened.name, "ok": True, "files": len(opened.manifest.files), "bytes": size}
    state, rules = read_state(folder, snapshot), read_rules(folder.layout.rules)
    result |= {
        "rules": len(rules.names),
        "idle_rules": list(compile_rules(rules, RowSelector.from_state(state)).idle),
    }
    print_result(result, as_json=as_json)


@click.command()
@common_options
def history(folder: IndexFolder, as_json: bool) -> None:
    """List the published snapshots, newest first. `rollback` makes one of them current again."""
    current = folder.current_name_or_none()
    snapshots = []
    for name in reversed(folder.snapshot_names()):
        manifest = folder.manifest(name)
        snapshots.append(
            {
                "snapshot": name,
                "live": name == current,
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
    print_result({"snapshots": snapshots}, as_json=as_json, lines=lines or ["no snapshot yet"])


@click.command()
@click.argument("snapshot", required=False)
@common_options
def rollback(folder: IndexFolder, snapshot: str | None, as_json: bool) -> None:
    """Make SNAPSHOT current again, by default the one published before the current one."""
    from vitrine.indexer.snapshot.folder import roll_back

    before, after = roll_back(folder, snapshot)
    print_result({"snapshot": after, "before": before}, as_json=as_json)


@click.command()
@click.option("--keep", type=click.IntRange(1), default=KEEP_SNAPSHOTS, show_default=True,
              help="Number of snapshots to keep.")  # fmt: skip
@common_options
def compact(folder: IndexFolder, keep: int, as_json: bool) -> None:
    """Publish a snapshot that contains the deletions and moves of the journal. Embeds nothing."""
    from vitrine.indexer.operations.compact import compact_snapshot

    print_result(compact_snapshot(folder, keep=keep).as_json(), as_json=as_json)


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation. Required with --json.")
@common_options
def purge(folder: IndexFolder, ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Remove all data stored for these products, for good: vectors, pictures, cache, older snapshots."""
    from vitrine.indexer.operations.purge import purge_products

    if not yes and as_json:
        raise InputError("nothing was purged: --json asks for no confirmation, so give --yes as well")
    if not yes and not _is_confirmed(
        f"Permanently remove {', '.join(ids)}, and every older snapshot that contains them?"
    ):
        raise InputError("nothing was purged: answer y, or give --yes")
    print_result(purge_products(folder, ids).as_json(), as_json=as_json)


COMMANDS = (status, verify, history, rollback, compact, purge)


def _is_confirmed(question: str) -> bool:
    """Ask on stderr; the end of the input means no."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)
        return False
