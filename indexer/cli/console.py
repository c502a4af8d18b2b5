"""Terminal output of the commands: progress and errors on stderr, results on stdout."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table

LINE_INTERVAL_S = 10.0
# Width of tables in a pipe, which has none of its own: cells must be neither cut nor wrapped.
PIPE_WIDTH = 160


class ConsoleProgress:
    """Progress on stderr: on a terminal a bar with rate and time left, otherwise plain lines."""

    def __init__(self, *, quiet: bool = False) -> None:
        """quiet: print nothing, as for --json."""
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._description, self._total, self._finished = "", 0, 0
        self._started_at = self._last_line_at = time.monotonic()

    def start(self, total: int | None, description: str) -> None:
        """Begin a stage of `total` steps, None if unknown."""
        self.done()
        self._description, self._total, self._finished = description, total or 0, 0
        self._started_at = self._last_line_at = time.monotonic()
        if self._console.is_terminal and not self._quiet:
            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(description, total=total, rate="")

    def advance(self, steps: int) -> None:
        """Count steps. Without a terminal, print at most one line every ten seconds."""
        self._finished += steps
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=steps, rate=self._rate())
        elif time.monotonic() - self._last_line_at >= LINE_INTERVAL_S:
            self._last_line_at = time.monotonic()
            self._print(f"{self._description}: {self._finished}/{self._total or '?'}, {self._rate()}")

    def note(self, text: str) -> None:
        """Print one line."""
        self._print(text)

    def done(self) -> None:
        """End the stage."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._description and self._finished:
            self._print(f"{self._description}: {self._finished}, {self._rate()}")
        self._description = ""

    def _rate(self) -> str:
        return f"{self._finished / max(time.monotonic() - self._started_at, 1e-3):.1f}/s"

    def _print(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)


def print_result(result: Mapping[str, Any], *, as_json: bool, lines: list[str] | None = None) -> None:
    """Print a result as one JSON object, or as text: `lines`, by default one aligned line for each field."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, default=str))
        return
    if lines is None:
        width = max((len(name) for name in result), default=0)
        lines = [f"{name.replace('_', ' '):<{width}}  {_as_text(value)}" for name, value in result.items()]
    for line in lines:
        click.echo(line)


def print_tables(
    result: Mapping[str, Any], tables: Mapping[str, Table], missing: Sequence[str], *, as_json: bool
) -> None:
    """Print a result as one JSON object, or as tables.

    tables: by title. missing: reasons why some values are missing, printed below the tables.
    """
    if as_json:
        print_result(result, as_json=True)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    for title, table in tables.items():
        console.print(title, style="bold", markup=False)
        console.print(table)
        console.print()
    for reason in missing:
        console.print(f"missing: {reason}", markup=False)


def print_error(message: str) -> None:
    """Print an error as one line on stderr."""
    click.echo(f"error: {' '.join(message.split())}", err=True)


def _as_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_as_text, value)) or "none"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def silence_picture_warnings() -> None:
    """Disable the log of Pillow, which reports every flaw of a damaged picture.

    failures.parquet lists the picture once.
    """
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
