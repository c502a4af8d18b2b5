"""How many requests work at once, and how many bodies are on their way, so that slow clients stop nobody.

WSGI lends a thread to each request, and a client that sends its body slowly holds it. The server is given
more threads than may work: those that only wait for a body count apart, and past a bound are turned away.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooManyRequests

BODIES_AT_ONCE = 32


class Admission:
    """The places of one service. Inside a host's application, which has no `working`, only bodies count."""

    def __init__(self, at_work: int, bodies: int = BODIES_AT_ONCE) -> None:
        """at_work: requests that may work at once. bodies: bodies that may be on their way at once."""
        self._at_work = threading.BoundedSemaphore(at_work)
        self._bodies = threading.BoundedSemaphore(bodies)
        self._mine = threading.local()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Hold one of the places at work, waiting for it."""
        self._at_work.acquire()
        self._mine.works = True
        try:
            yield
        finally:
            self._mine.works = False
            self._at_work.release()

    @contextmanager
    def receiving(self) -> Iterator[None]:
        """Read a body: give the place at work to others meanwhile. Raises TooManyRequests."""
        if not self._bodies.acquire(blocking=False):
            raise TooManyRequests("too many bodies are on their way: try again shortly")
        works = getattr(self._mine, "works", False)
        if works:
            self._at_work.release()
        try:
            yield
        finally:
            self._bodies.release()
            if works:
                self._at_work.acquire()
