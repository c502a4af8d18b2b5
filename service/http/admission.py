"""Concurrency limits: requests that work at once, and request bodies that are being received.

WSGI gives a thread to each request, and a client that sends its body slowly occupies it. The server therefore
has more threads than may work at once: threads that wait for a body are counted separately, and a body past
that limit is refused.

Working requests take turns. Python runs one thread at a time, and passing its lock back and forth within
every request costs more than the requests themselves. A request that has waited TURN_S for its turn starts
without one, so that a long computation outside Python does not block the others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vitrine.service.errors import TooManyRequests

BODIES_AT_ONCE = 32
TURN_S = 0.02


class Admission:
    """The concurrency limits of one service.

    A blueprint inside a host application does not use `working`: there only bodies are limited.
    """

    def __init__(self, max_working: int, max_bodies: int = BODIES_AT_ONCE) -> None:
        """max_working: requests that may work at once. max_bodies: bodies received at once."""
        self._working = threading.BoundedSemaphore(max_working)
        self._bodies = threading.BoundedSemaphore(max_bodies)
        self._thread = threading.local()
        self._turn = threading.Lock()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count as a working request, after waiting for a free slot."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def receiving(self, *, turn: bool = True) -> Iterator[None]:
        """Release the working slot while a body is received. Raises TooManyRequests.

        turn: False for a request that will compute outside Python, and so needs no turn afterwards.
        """
        if not self._bodies.acquire(blocking=False):
            raise TooManyRequests("too many request bodies are being received: try again shortly")
        is_working = getattr(self._thread, "is_working", False)
        if is_working:
            self._leave()
        try:
            yield
        finally:
            self._bodies.release()
            if is_working:
                self._enter(turn)

    def _enter(self, turn: bool = True) -> None:
        self._thread.has_turn = turn and self._turn.acquire(timeout=TURN_S)
        self._working.acquire()
        self._thread.is_working = True

    def _leave(self) -> None:
        self._thread.is_working = False
        if self._thread.has_turn:
            self._turn.release()
        self._working.release()
