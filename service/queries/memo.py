"""Values that are made once and kept beside what they were made from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Made = TypeVar("Made")


class Memo:
    """Values made once each; thread-safe. While one is made, nobody waits who wants another."""

    def __init__(self) -> None:
        """Begin empty."""
        self._values: dict[Hashable, Any] = {}
        self._making: dict[Hashable, threading.RLock] = {}

    def get(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return the value of `key`, calling `make` the first time."""
        if key not in self._values:
            with self._making.setdefault(key, threading.RLock()):
                if key not in self._values:
                    self._values[key] = make()
        value: Made = self._values[key]
        return value
