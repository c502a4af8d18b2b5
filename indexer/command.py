"""What the commands have in common: --index, --json, --debug, and errors as one line and an exit code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from indexer.config import index_folder
from indexer.console import show_error
from indexer.errors import VitrineError
from indexer.snapshot import IndexFolder

Command = Callable[..., Any]


class Group(click.Group):
    """A group whose errors are one line on stderr and an exit code; --debug shows the traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line; exit 2 for a usage error, 3 for a snapshot, 4 for a model."""
        kwargs["standalone_mode"] = False
        try:
            raise SystemExit(super().main(*args, **kwargs) or 0)
        except click.exceptions.Abort:
            raise SystemExit(130) from None
        except click.ClickException as error:
            show_error(Exception(error.format_message() + _usage_hint(error)))
            raise SystemExit(error.exit_code) from None
        except VitrineError as error:
            if _wants_traceback():
                raise
            show_error(error)
            raise SystemExit(error.exit_code) from None


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context else ""


def _wants_traceback() -> bool:
    return "--debug" in sys.argv


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
