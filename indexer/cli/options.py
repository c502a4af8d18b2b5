"""Options and error messages that all commands of `vitrine-indexer` share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from vitrine.indexer.cli.console import print_error
from vitrine.indexer.cli.errors import OneLineErrorCommand
from vitrine.indexer.config import resolve_index_folder
from vitrine.indexer.snapshot.folder import IndexFolder

CommandFunction = Callable[..., Any]


class CommandGroup(OneLineErrorCommand, click.Group):
    """A group of commands. The hint of a usage error names the command at fault."""

    def print_error_line(self, message: str) -> None:
        """Print a message on stderr, after "error: "."""
        print_error(message)

    def help_hint(self, error: click.ClickException) -> str:
        """Return a reference to the help of the command at fault."""
        context = getattr(error, "ctx", None)
        return f" (see `{context.command_path} --help`)" if context else ""


def common_options(command: CommandFunction) -> CommandFunction:
    """Add the options of every command: --index, --json and --debug.

    The command function gets `folder` (IndexFolder) and `as_json` (bool).
    """

    @click.option(
        "--index", type=click.Path(), help="Index folder [default: $VITRINE_INDEX, else data/index]."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
    @click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback on errors.")
    @functools.wraps(command)
    def wrapped(index: str | None, **options: Any) -> Any:
        return command(folder=IndexFolder(resolve_index_folder(index)), **options)

    return wrapped
