"""How many requests work at once, and how many bodies are on their way, so that slow clients stop nobody.

WSGI lends a thread to each request, and a client that sends its body slowly holds it. The server is given
more threads than may work: those that only wait for a body count apart, and past a bound are turned away.

Those at work take turns: Python runs one of them at a time anyway, and handing its lock to and fro within
every request costs more than the requests. Who has waited a moment for a turn goes ahead without one, so that
a request that computes for long outside of Python holds up nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vitrine.service.errors import TooManyRequests

BODIES_AT_ONCE = 32
TURN_S = 0.02


class Admission:
    """The places of one service. Inside a host's application, which has no `working`, only bodies count."""

    def __init__(self, at_work: int, bodies: int = BODIES_AT_ONCE) -> None:
        """at_work: requests that may work at once. bodies: bodies that may be on their way at once."""
        self._at_work = threading.BoundedSemaphore(at_work)
        self._bodies = threading.BoundedSemaphore(bodies)
        self._mine = threading.local()
        self._turn = threading.Lock()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold one of the places at work, waiting for it."""
        self._come()
        try:
            yield
        finally:
            self._go()

    @contextmanager
    def receiving(self, *, turn: bool = True) -> Iterator[None]:
        """Read a body: give the place at work to others meanwhile. Raises TooManyRequests.

        turn: False for what will compute outside of Python, and is to hold up nobody.
        """
        if not self._bodies.acquire(blocking=False):
            raise TooManyRequests("too many bodies are on their way: try again shortly")
        works = getattr(self._mine, "works", False)
        if works:
            self._go()
        try:
            yield
        finally:
            self._bodies.release()
            if works:
                self._come(turn)

    def _come(self, turn: bool = True) -> None:
        self._mine.has_turn = turn and self._turn.acquire(timeout=TURN_S)
        self._at_work.acquire()
        self._mine.works = True

    def _go(self) -> None:
        self._mine.works = False
        if self._mine.has_turn:
            self._turn.release()
        self._at_work.release()
