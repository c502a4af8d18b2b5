"""The command `models`, which lists the models, and its subcommand `fetch`."""

from __future__ import annotations

from pathlib import Path

import click

from vitrine.indexer.cli.console import ConsoleProgress, print_result


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """List the models, the source of each, and whether its weights are on this machine."""
    if context.invoked_subcommand:
        return
    from vitrine.indexer.models import list_models

    listing = [model.as_json() for model in list_models()]
    lines = [
        f"{'*' if row['at_hand'] else ' '} {row['name']:<20} D {row['dimension']:>5}  "
        f"{row['image_size_px']:>3} px  {row['origin']}  ({row['why']})"
        for row in listing
    ]
    print_result({"models": listing}, as_json=as_json, lines=[*lines, "* available on this machine"])


@models.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
def fetch(name: str, as_json: bool) -> None:
    """Download the weights of NAME, so that later builds need no network."""
    from vitrine.indexer.models import resolve_model

    source = resolve_model(name, progress=ConsoleProgress(quiet=as_json))
    print_result(
        {"name": source.name, "path": str(Path(source.path)), "digest": source.digest, "why": source.reason},
        as_json=as_json,
    )


COMMANDS = (models,)
