"""How long each stage of one request takes. A stage outside a request costs nothing and is kept nowhere."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter

_current: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


class Stopwatch:
    """The stages of one request, in seconds, in the order in which they first began."""

    __slots__ = ("stages", "started")

    def __init__(self) -> None:
        """Start now."""
        self.started = perf_counter()
        self.stages: dict[str, float] = {}

    @classmethod
    def start(cls) -> Stopwatch:
        """Make a stopwatch that the stages of this thread are written into from now on."""
        stopwatch = cls()
        _current.set(stopwatch)
        return stopwatch

    def elapsed_s(self) -> float:
        """Return the seconds since the start."""
        return perf_counter() - self.started


class stage:  # noqa: N801  (a context manager reads as a word)
    """`with stage("search"):` adds the block's time to the request that is being answered."""

    __slots__ = ("name", "started")

    def __init__(self, name: str) -> None:
        """name: one of a few fixed words; it becomes a label of a metric."""
        self.name = name
        self.started = 0.0

    def __enter__(self) -> None:
        """Begin."""
        self.started = perf_counter()

    def __exit__(self, *_: object) -> None:
        """End, also when the block raised."""
        stopwatch = _current.get()
        if stopwatch is not None:
            took = perf_counter() - self.started
            stopwatch.stages[self.name] = stopwatch.stages.get(self.name, 0.0) + took
