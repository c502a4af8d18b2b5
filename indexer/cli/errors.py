"""Errors of a command as one line and an exit code. Imports nothing heavy."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from vitrine.indexer.config import TRUE
from vitrine.indexer.errors import VitrineError


class OneLineErrors(click.Command):
    """A command whose errors are one line on stderr and an exit code.

    --debug or VITRINE_DEBUG shows the traceback.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run: exit 2 for a usage error or wrong input, 3 for a snapshot or store, 4 for a model."""
        kwargs["standalone_mode"] = False
        try:
            raise SystemExit(super().main(*args, **kwargs) or 0)
        except click.exceptions.Abort:
            raise SystemExit(130) from None
        except click.ClickException as error:
            self.tell(f"{error.format_message()}{self.hint(error)}")
            raise SystemExit(error.exit_code) from None
        except VitrineError as error:
            if "--debug" in sys.argv or os.environ.get("VITRINE_DEBUG", "").strip().lower() in TRUE:
                raise
            self.tell(str(error))
            raise SystemExit(error.exit_code) from None

    def tell(self, message: str) -> None:
        """Write the line."""
        click.echo(f"{self.name}: {message}", err=True)

    def hint(self, error: click.ClickException) -> str:  # noqa: ARG002 (for those that look at it)
        """Return where help is, to stand behind a usage error."""
        return f" (see {self.name} --help)"
