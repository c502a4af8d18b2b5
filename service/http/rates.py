"""Rate limits by client, within one service and one process."""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from vitrine.indexer.errors import InputError
from vitrine.service.errors import TooManyRequests


class Rates:
    """A moving-window rate limit for each client. An empty rate sets no limit."""

    def __init__(self, rate: str) -> None:
        """rate: such as "600/minute" or "10/second". Raises InputError for anything else."""
        self._item: RateLimitItem | None = None
        if rate:
            try:
                self._item = parse(rate)
            except ValueError as error:
                raise InputError(f"{rate!r} is not a rate such as 600/minute") from error
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, client: str) -> None:
        """Count one request. Raises TooManyRequests when the window is full."""
        if self._item is not None and not self._limiter.hit(self._item, client):
            self._refuse(self._item, client)

    def test(self, client: str) -> None:
        """Raise TooManyRequests when the window is full, without counting."""
        if self._item is not None and not self._limiter.test(self._item, client):
            self._refuse(self._item, client)

    def _refuse(self, item: RateLimitItem, client: str) -> None:
        window_end = self._limiter.get_window_stats(item, client).reset_time
        wait_s = max(math.ceil(window_end - time.time()), 1)
        raise TooManyRequests(f"more than {item}: try again in {wait_s} s", retry_after_s=wait_s)
