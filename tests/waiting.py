"""Waiting for events in tests, with one limit that is generous enough for a busy machine.

No test asserts that something is fast: the limit only ends a test that would otherwise hang.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# For every wait of a test: conditions, threads, processes, HTTP requests and the browser.
LIMIT_S = 600.0
LIMIT_MS = 1000 * LIMIT_S
_PAUSE_S = 0.01


def wait_until(condition: Callable[[], T]) -> T:
    """Call `condition` until it returns a true value, and return that. Fails after LIMIT_S."""
    deadline = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition was still false after {LIMIT_S:.0f} s"
        time.sleep(_PAUSE_S)
    return value
