from __future__ import annotations

from typing import Any

import pytest

from localnet.scheduler import Scheduler


def test_actions_run_in_order_of_time_then_of_arrival(hand_loop: Any) -> None:
    scheduler, seen = Scheduler(hand_loop), []
    for name, when in (("c", 100.3), ("a", 100.1), ("b1", 100.2), ("b2", 100.2)):
        assert scheduler.at(when, seen.append, name)
    hand_loop.turn(0.15)
    assert seen == ["a"]
    hand_loop.turn(1)
    assert seen == ["a", "b1", "b2", "c"]
    assert len(scheduler) == 0


def test_only_one_timer_is_armed(hand_loop: Any) -> None:
    scheduler = Scheduler(hand_loop)
    for index in range(50):
        scheduler.at(110 - index / 10, lambda: None)
    assert hand_loop.armed() == 1


def test_what_an_action_schedules_runs_too(hand_loop: Any) -> None:
    scheduler, seen = Scheduler(hand_loop), []
    scheduler.at(100.1, lambda: scheduler.at(100.2, seen.append, "later"))
    hand_loop.turn(0.3)
    assert seen == ["later"]


def test_a_full_scheduler_refuses(hand_loop: Any) -> None:
    scheduler = Scheduler(hand_loop, limit=2)
    assert [scheduler.at(101, lambda: None) for _ in range(3)] == [True, True, False]


def test_clear_forgets_everything(hand_loop: Any) -> None:
    scheduler, seen = Scheduler(hand_loop), []
    scheduler.at(100.1, seen.append, 1)
    scheduler.clear()
    hand_loop.turn(1)
    assert seen == [] and hand_loop.armed() == 0


def test_an_action_that_raises_does_not_stop_the_rest(hand_loop: Any) -> None:
    scheduler, seen = Scheduler(hand_loop), []
    scheduler.at(100.1, lambda: 1 / 0)
    scheduler.at(100.1, seen.append, "after")
    with pytest.raises(ZeroDivisionError):
        hand_loop.turn(0.2)
    hand_loop.turn(0.2)
    assert seen == ["after"]
