"""Rate limits of one service in one process, by client. Knows nothing of requests."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from vitrine.indexer.errors import InputError
from vitrine.service.errors import TooManyRequests


class Rates:
    """At most so many hits of each client in each window. An empty rate limits nothing."""

    def __init__(self, rate: str) -> None:
        """rate: "600/minute", "10/second". Raises InputError when it is not one."""
        self._item: RateLimitItem | None = None
        if rate:
            try:
                self._item = parse(rate)
            except ValueError as error:
                raise InputError(f"{rate!r} is not a rate such as 600/minute") from error
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, client: str) -> None:
        """Count one. Raises TooManyRequests when the window is full."""
        if self._item is not None and not self._limiter.hit(self._item, client):
            self._refuse(self._item, client)

    def test(self, client: str) -> None:
        """Raise TooManyRequests when the window is full; counts nothing."""
        if self._item is not None and not self._limiter.test(self._item, client):
            self._refuse(self._item, client)

    def _refuse(self, item: RateLimitItem, client: str) -> None:
        ends = self._limiter.get_window_stats(item, client).reset_time
        wait_s = max(math.ceil(ends - time.time()), 1)
        raise TooManyRequests(f"more than {item}: try again in {wait_s} s", retry_after_s=wait_s)
