"""A few answers kept beside the view they belong to, the oldest forgotten first. Thread-safe."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from vitrine.service.queries.view import View

Made = TypeVar("Made")
KEPT = 32


class Recent:
    """A memo with a bound."""

    def __init__(self, kept: int = KEPT) -> None:
        """kept: how many values are remembered."""
        self._kept = kept
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the value of `key`, calling `make` where it is not remembered.

        Two callers at once may both make it, so that neither waits for the other's other work.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                remembered: Made = self._values[key]
                return remembered
        made = make()
        with self._lock:
            self._values[key] = made
            while len(self._values) > self._kept:
                self._values.popitem(last=False)
        return made


def recent_answers(view: View) -> Recent:
    """Return the memo of a view."""
    return view.cached("recent answers", Recent)
