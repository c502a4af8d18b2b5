"""The protocol for progress reports. Terminal output is in `vitrine.indexer.cli.console`."""

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress reports: for each stage `start`, then `advance` and `note`, then `done`.

    Implementations are thread-safe: calls may come from several threads.
    """

    def start(self, total: int | None, description: str) -> None:
        """Begin a stage of `total` steps, None if unknown. description: names the stage and its unit."""

    def advance(self, steps: int) -> None:
        """Count `steps` more steps of the stage as finished."""

    def note(self, text: str) -> None:
        """Report one line of information, such as which model is used and why."""

    def done(self) -> None:
        """End the stage."""


class SilentProgress:
    """Progress reports that are discarded."""

    def start(self, total: int | None, description: str) -> None:
        """Do nothing."""

    def advance(self, steps: int) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def done(self) -> None:
        """Do nothing."""
