"""Stage timing: sums for each stage, errors, and stages outside a request."""

from __future__ import annotations

import contextvars

import pytest

from vitrine.service.timing import Stopwatch, stage


def measured() -> Stopwatch:
    stopwatch = Stopwatch.start()
    with stage("search"):
        pass
    with pytest.raises(RuntimeError), stage("table"):
        raise RuntimeError
    with stage("search"):
        pass
    return stopwatch


def test_stages_are_recorded_in_order_of_first_use() -> None:
    stopwatch = contextvars.copy_context().run(measured)
    assert list(stopwatch.stages) == ["search", "table"]
    assert 0 <= sum(stopwatch.stages.values()) <= stopwatch.elapsed_s()


def test_a_stage_outside_a_request_is_not_recorded() -> None:
    stopwatch = contextvars.copy_context().run(measured)
    before = dict(stopwatch.stages)
    with stage("search"):
        pass
    assert stopwatch.stages == before
