"""A cache of computed values, kept beside the object that they were computed from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class Memo:
    """A thread-safe cache that computes each value once, with one lock per key.

    Callers that need the same missing value wait for one computation; callers of other keys do not wait.
    """

    def __init__(self, max_entries: int | None = None) -> None:
        """max_entries: past this number the least recently used value is dropped; by default none is."""
        self._max_entries = max_entries
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._key_locks: dict[Hashable, threading.RLock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """Return the value of `key`, calling `compute` where it is missing."""
        with self._lock:
            if key in self._values:
                return cast(Value, self._mark_used(key))
            key_lock = self._key_locks.setdefault(key, threading.RLock())
        with key_lock:
            with self._lock:
                if key in self._values:
                    return cast(Value, self._mark_used(key))
            try:
                value = compute()
            except BaseException:
                with self._lock:
                    self._key_locks.pop(key, None)
                raise
            with self._lock:
                self._key_locks.pop(key, None)
                self._values[key] = value
                while self._max_entries is not None and len(self._values) > self._max_entries:
                    self._values.popitem(last=False)
        return value

    def _mark_used(self, key: Hashable) -> Any:
        """Return a stored value, marked as the one used last. The caller holds the lock."""
        self._values.move_to_end(key)
        return self._values[key]
