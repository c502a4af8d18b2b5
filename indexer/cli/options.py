"""What the commands have in common: --index, --json, --debug, and errors as one line and an exit code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from vitrine.indexer.cli.console import show_error
from vitrine.indexer.cli.errors import OneLineErrors
from vitrine.indexer.config import index_folder
from vitrine.indexer.snapshot.snapshot import IndexFolder

Command = Callable[..., Any]


class Group(OneLineErrors, click.Group):
    """A group whose commands are told apart in the hint of a usage error."""

    def tell(self, message: str) -> None:
        """Write the line."""
        show_error(Exception(message))

    def hint(self, error: click.ClickException) -> str:
        """Return where the help of the command at fault is."""
        context = getattr(error, "ctx", None)
        return f" (see `{context.command_path} --help`)" if context else ""


def common(command: Command) -> Command:
    """Add what every command takes: --index, --json, --debug."""

    @click.option(
        "--index", type=click.Path(), help="Index folder [default: $VITRINE_INDEX, else data/index]."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    @click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
    @functools.wraps(command)
    def wrapped(index: str | None, **options: Any) -> Any:
        return command(folder=IndexFolder(index_folder(index)), **options)

    return wrapped
