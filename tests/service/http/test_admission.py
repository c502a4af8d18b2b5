"""Tests of admission: requests take turns, a slow one blocks none for long, a pending body holds no slot."""

from __future__ import annotations

import threading
import time

import pytest

from tests.waiting import LIMIT_S
from vitrine.service.errors import TooManyRequests
from vitrine.service.http import admission as admission_module
from vitrine.service.http.admission import TURN_S, Admission


def test_requests_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "TURN_S", LIMIT_S)
    admission, at_once, most = Admission(4), 0, 0

    def work() -> None:
        nonlocal at_once, most
        with admission.working():
            at_once += 1
            most = max(most, at_once)
            time.sleep(TURN_S / 40)
            at_once -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_slow_request_holds_up_no_other_but_the_places_are_counted() -> None:
    admission, done = Admission(2), threading.Event()
    inside = threading.Barrier(3, timeout=LIMIT_S)

    def work() -> None:
        with admission.working():
            inside.wait()
            done.wait(LIMIT_S)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()  # both are at work, the second without a turn
    third = threading.Thread(target=lambda: admission.working().__enter__(), daemon=True)
    third.start()
    third.join(5 * TURN_S)
    assert third.is_alive()
    done.set()
    for thread in [*threads, third]:
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_a_body_on_its_way_holds_no_place_and_comes_back_to_one() -> None:
    admission = Admission(1, max_bodies=1)
    with admission.working():
        with admission.receiving():
            other = threading.Thread(target=_work_once, args=(admission,))
            other.start()
            other.join(LIMIT_S)
            assert not other.is_alive()
            with pytest.raises(TooManyRequests, match="bodies"), admission.receiving():
                pass
        other = threading.Thread(target=_work_once, args=(admission,), daemon=True)
        other.start()
        other.join(5 * TURN_S)
        assert other.is_alive()
    other.join(LIMIT_S)
    assert not other.is_alive()


def test_what_computes_outside_of_python_leaves_the_turn_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its release, the others would wait for a turn for longer than this test waits for them."""
    monkeypatch.setattr(admission_module, "TURN_S", 2 * LIMIT_S)
    admission = Admission(2)
    with admission.working():
        with admission.receiving(turn=False):
            pass
        for _ in range(5):
            other = threading.Thread(target=_work_once, args=(admission,))
            other.start()
            other.join(LIMIT_S)
            assert not other.is_alive()


def _work_once(admission: Admission) -> None:
    with admission.working():
        pass
