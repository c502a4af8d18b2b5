"""What commands show on a terminal: progress on stderr, results on stdout. The only place that prints."""

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
from rich.progress import Progress as RichBar
from rich.table import Table

PLAIN_EVERY_S = 10.0
# A pipe has no width: what reads it does not want cells cut or folded.
PIPE_WIDTH = 160


class ConsoleProgress:
    """Progress for people: a bar with rate and time left on a terminal, plain lines elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        """quiet: say nothing, for --json."""
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False)
        self._bar: RichBar | None = None
        self._task: TaskID | None = None
        self._what, self._total, self._done = "", 0, 0
        self._started = self._told = time.monotonic()

    def start(self, total: int | None, what: str) -> None:
        """Begin a stage."""
        self.done()
        self._what, self._total, self._done = what, total or 0, 0
        self._started = self._told = time.monotonic()
        if self._console.is_terminal and not self._quiet:
            self._bar = RichBar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, rate="")

    def advance(self, steps: int) -> None:
        """Count steps; at most one plain line every ten seconds."""
        self._done += steps
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=steps, rate=self._rate())
        elif time.monotonic() - self._told >= PLAIN_EVERY_S:
            self._told = time.monotonic()
            self._say(f"{self._what}: {self._done}/{self._total or '?'}, {self._rate()}")

    def note(self, text: str) -> None:
        """Print one line."""
        self._say(text)

    def done(self) -> None:
        """End the stage."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._what and self._done:
            self._say(f"{self._what}: {self._done}, {self._rate()}")
        self._what = ""

    def _rate(self) -> str:
        return f"{self._done / max(time.monotonic() - self._started, 1e-3):.1f}/s"

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)


def show(answer: Mapping[str, Any], *, as_json: bool, lines: list[str] | None = None) -> None:
    """Print one result: a JSON object, or the lines made for people (default: the fields, aligned)."""
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False, default=str))
        return
    if lines is None:
        width = max((len(name) for name in answer), default=0)
        lines = [f"{name.replace('_', ' '):<{width}}  {_text(value)}" for name, value in answer.items()]
    for line in lines:
        click.echo(line)


def show_tables(
    answer: Mapping[str, Any], tables: Mapping[str, Table], notes: Sequence[str], *, as_json: bool
) -> None:
    """Print one result: a JSON object, or tables by title for people, and below them what they lack."""
    if as_json:
        show(answer, as_json=True)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_WIDTH)
    for title, table in tables.items():
        console.print(title, style="bold", markup=False)
        console.print(table)
        console.print()
    for note in notes:
        console.print(f"missing: {note}", markup=False)


def show_error(error: BaseException) -> None:
    """Print one line on stderr."""
    click.echo(f"error: {' '.join(str(error).split())}", err=True)


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def quiet_decoders() -> None:
    """Keep Pillow from logging every flaw of a broken picture: failures.parquet says it once."""
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
