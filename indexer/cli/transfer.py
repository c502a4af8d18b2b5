"""Commands that copy the current snapshot elsewhere: `push` and `pull` for replicas, `publish` for Milvus."""

from __future__ import annotations

import click

from vitrine.indexer.cli.console import ConsoleProgress, print_result
from vitrine.indexer.cli.options import common_options
from vitrine.indexer.config import KEEP_SNAPSHOTS
from vitrine.indexer.snapshot.folder import IndexFolder


@click.command()
@click.argument("place")
@click.option("--keep", type=click.IntRange(1), default=KEEP_SNAPSHOTS, show_default=True,
              help="Number of snapshots to keep in PLACE.")  # fmt: skip
@common_options
def push(folder: IndexFolder, place: str, keep: int, as_json: bool) -> None:
    """Copy the current snapshot to PLACE (a folder or an fsspec URL) for replicas to pull."""
    from vitrine.indexer.operations.replication import Remote, push_snapshot

    report = push_snapshot(folder, Remote(place), ConsoleProgress(quiet=as_json), keep=keep)
    print_result(report.as_json(), as_json=as_json)


@click.command()
@click.argument("place")
@click.option("--keep", type=click.IntRange(1), default=KEEP_SNAPSHOTS, show_default=True,
              help="Number of snapshots to keep in the index folder.")  # fmt: skip
@click.option(
    "--every", "interval_s", type=click.FloatRange(0.2), metavar="SECONDS", help="Repeat, for ever."
)
@common_options
def pull(folder: IndexFolder, place: str, keep: int, interval_s: float | None, as_json: bool) -> None:
    """Copy the current snapshot of PLACE into the index folder, check it and make it current."""
    from vitrine.indexer.operations.replication import Remote, follow_remote, pull_snapshot

    remote, progress = Remote(place), ConsoleProgress(quiet=as_json)
    report = pull_snapshot(remote, folder, progress, keep=keep)
    print_result(report.as_json(), as_json=as_json)
    if interval_s is not None:
        follow_remote(remote, folder, progress, interval_s)


@click.command()
@click.option("--store", required=True, metavar="milvus://HOST:PORT/COLLECTION", help="Vector store.")
@common_options
def publish(folder: IndexFolder, store: str, as_json: bool) -> None:
    """Load the current snapshot into a vector store and switch the store to it."""
    from vitrine.indexer.milvus.address import StoreAddress
    from vitrine.indexer.milvus.publish import publish_to_store

    report = publish_to_store(folder, StoreAddress.parse(store), ConsoleProgress(quiet=as_json))
    print_result(report.as_json(), as_json=as_json)


COMMANDS = (push, pull, publish)
