"""The cache of computed values: its bound, its locks, its errors."""

from __future__ import annotations

import threading

import pytest

from tests.waiting import LIMIT_S
from vitrine.service.queries.memo import Memo


def test_a_value_is_computed_once() -> None:
    memo, values = Memo(), iter(["first", "second"])
    assert [memo.get("key", lambda: next(values)) for _ in range(3)] == ["first"] * 3


def test_the_least_recently_used_value_is_dropped() -> None:
    memo: Memo = Memo(max_entries=2)
    computed: list[int] = []

    def compute(key: int) -> int:
        computed.append(key)
        return key

    for key in (1, 2, 1, 3, 1, 2):
        assert memo.get(key, lambda key=key: compute(key)) == key  # type: ignore[misc]
    assert computed == [1, 2, 3, 2]


def test_callers_of_one_key_share_a_computation_and_other_keys_do_not_wait() -> None:
    memo, computed = Memo(), []
    started, finish = threading.Event(), threading.Event()

    def compute_slowly() -> str:
        computed.append("slow")
        started.set()
        assert finish.wait(LIMIT_S)
        return "slow value"

    values: list[str] = []
    threads = [
        threading.Thread(target=lambda: values.append(memo.get("slow", compute_slowly))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert started.wait(LIMIT_S)
    assert memo.get("quick", lambda: 1) == 1
    finish.set()
    for thread in threads:
        thread.join(LIMIT_S)
    assert values == ["slow value"] * 3
    assert computed == ["slow"]


def test_a_failed_computation_is_tried_again() -> None:
    memo = Memo()

    def fail() -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        memo.get("key", fail)
    assert memo.get("key", lambda: 2) == 2


def test_a_computation_may_use_the_memo() -> None:
    memo = Memo()
    assert memo.get("outer", lambda: memo.get("inner", lambda: 1) + 1) == 2
