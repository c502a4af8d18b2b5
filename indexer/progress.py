"""How long work tells that it goes on. Knows nothing of terminals: bars and plain lines live in the CLI."""

from typing import Protocol


class Progress(Protocol):
    """Told of one stage after another: `start`, any number of `advance` and `note`, `done`.

    Calls may come from several threads.
    """

    def start(self, total: int | None, what: str) -> None:
        """A stage of `total` steps begins (None: unknown); `what` names it, with its unit."""

    def advance(self, steps: int) -> None:
        """So many more steps of the stage are over."""

    def note(self, text: str) -> None:
        """Something worth one line, such as which model is used and why."""

    def done(self) -> None:
        """The stage is over."""


class Silent:
    """Progress that nobody watches."""

    def start(self, total: int | None, what: str) -> None:
        """Ignore it."""

    def advance(self, steps: int) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def done(self) -> None:
        """Ignore it."""
