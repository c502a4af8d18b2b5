"""Timing of the stages of a request. Outside a request, stages are not recorded."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter

_current: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


class Stopwatch:
    """Seconds spent in each stage of one request, in order of first use."""

    __slots__ = ("stages", "started")

    def __init__(self) -> None:
        """Start timing."""
        self.started = perf_counter()
        self.stages: dict[str, float] = {}

    @classmethod
    def start(cls) -> Stopwatch:
        """Return a stopwatch that records the stages of this thread from now on."""
        stopwatch = cls()
        _current.set(stopwatch)
        return stopwatch

    def elapsed_s(self) -> float:
        """Return the seconds since the start."""
        return perf_counter() - self.started


class stage:  # noqa: N801  (used as a context manager)
    """Context manager that adds the time of its block to the current request's stopwatch."""

    __slots__ = ("name", "started")

    def __init__(self, name: str) -> None:
        """name: one of a few fixed words, used as a metric label."""
        self.name = name
        self.started = 0.0

    def __enter__(self) -> None:
        """Start timing."""
        self.started = perf_counter()

    def __exit__(self, *_: object) -> None:
        """Record the time, also after an exception."""
        stopwatch = _current.get()
        if stopwatch is not None:
            elapsed_s = perf_counter() - self.started
            stopwatch.stages[self.name] = stopwatch.stages.get(self.name, 0.0) + elapsed_s
