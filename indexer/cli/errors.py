"""Error handling of the commands: one line on stderr and an exit code. Imports no heavy library."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from vitrine.indexer.config import TRUE_VALUES
from vitrine.indexer.errors import VitrineError


class OneLineErrorCommand(click.Command):
    """A command that prints an error as one line on stderr and exits with its code.

    The option --debug or VITRINE_DEBUG=1 shows the traceback instead.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command.

        Exit codes: 2 for a usage error or wrong input, 3 for a snapshot or store, 4 for a model, 130 if
        aborted.
        """
        kwargs["standalone_mode"] = False
        try:
            raise SystemExit(super().main(*args, **kwargs) or 0)
        except click.exceptions.Abort:
            raise SystemExit(130) from None
        except click.ClickException as error:
            self.print_error_line(f"{error.format_message()}{self.help_hint(error)}")
            raise SystemExit(error.exit_code) from None
        except VitrineError as error:
            if "--debug" in sys.argv or os.environ.get("VITRINE_DEBUG", "").strip().lower() in TRUE_VALUES:
                raise
            self.print_error_line(str(error))
            raise SystemExit(error.exit_code) from None

    def print_error_line(self, message: str) -> None:
        """Print a message on stderr."""
        click.echo(f"{self.name}: {message}", err=True)

    def help_hint(self, error: click.ClickException) -> str:  # noqa: ARG002 (for subclasses)
        """Return a reference to the help, which is appended to the message of a usage error."""
        return f" (see {self.name} --help)"
