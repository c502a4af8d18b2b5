"""The Milvus searcher without a server: which changes are visible, and when candidates suffice."""

from __future__ import annotations

import numpy as np
import pytest

from vitrine.service.stores import milvus
from vitrine.service.stores.milvus import _Candidates, _SyncProgress


def test_a_change_is_visible_some_time_after_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("vitrine.service.stores.milvus.time.monotonic", lambda: now_s)
    progress = _SyncProgress(3)
    progress.record(5)
    assert (progress.newest, progress.visible) == (5, 3)
    now_s = milvus.VISIBLE_AFTER_S
    assert progress.visible == 5
    progress.reset(3)
    assert (progress.newest, progress.visible) == (3, 3)


def candidates(scores: list[float], returned: int, worst: float) -> _Candidates:
    return _Candidates(np.arange(len(scores)), np.array(scores, np.float32), returned, worst)


@pytest.mark.parametrize(
    ("scores", "returned", "worst", "is_enough"),
    [
        ([0.9, 0.8, 0.7], 4, 0.5, True),  # the last match is worse than the second best
        ([0.9, 0.8], 4, 0.8, False),  # a row beyond the matches may tie with the second best
        ([0.9], 4, 0.5, False),  # too few
        ([0.9, 0.8], 3, 0.8, True),  # the collection has no more rows
    ],
)
def test_candidates_suffice_when_no_other_row_can_be_better(
    scores: list[float], returned: int, worst: float, is_enough: bool
) -> None:
    visible = np.ones(10, bool)
    assert candidates(scores, returned, worst).is_enough(2, 4, visible) is is_enough


def test_candidates_suffice_when_they_are_all_rows() -> None:
    assert candidates([0.9, 0.8], 4, 0.8).is_enough(5, 4, np.ones(2, bool))
