"""Deadlines that know our own lateness, room by room."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address

import pytest

from smolmix_web.edge.deadline import Deadline, LoopClock
from smolmix_web.engine.hearing import MOST, USUAL, Hearing
from smolmix_web.errors import TimeoutExpired
from smolmix_web.exit.liveness import SUSPICION, Liveness, Verdict
from smolmix_web.netstack import Endpoint, Stack
from smolmix_web.rand import SeededRandom
from tests.virtual_loop import run_virtual


def test_the_lag_is_what_is_not_read_or_what_the_line_holds() -> None:
    hearing = Hearing()
    hearing.note(100.0, 100.0, None)
    assert (hearing.own, hearing.lag) == (0.0, 0.0)
    hearing.note(100.0, 97.0, None)
    assert (hearing.own, hearing.lag) == (3.0, 3.0)
    hearing.note(100.0, 100.0, 100.0 - USUAL)
    assert (hearing.own, hearing.lag) == (0.0, 0.0)
    hearing.note(100.0, 99.0, 100.0 - USUAL - 6.0)
    assert (hearing.own, hearing.lag) == (1.0, 6.0)
    hearing.note(100.0, 10.0, 5.0)
    assert (hearing.own, hearing.lag) == (MOST, MOST)


def test_tcp_repeats_nothing_whose_answer_may_wait_unread() -> None:
    stack = Stack([IPv4Address("10.0.0.2")], 1420, SeededRandom("lag"))
    connection = stack.tcp_connect(Endpoint(IPv4Address("203.0.114.10"), 80), 100.0, connect_timeout=20.0)
    assert len(stack.poll(100.0)) == 1
    due = stack.next_deadline()
    assert due is not None and stack.poll(due, lag=5.0) == []
    assert stack.next_deadline() == pytest.approx(due + 5.0)
    assert stack.poll(due + 4.9, lag=5.0) == [] and len(stack.poll(due + 5.0, lag=5.0)) == 1
    stack.poll(121.0, lag=5.0)
    assert connection.error is None
    stack.poll(125.0, lag=5.0)
    assert connection.error is not None and connection.error.code == "connect_timeout"


def test_an_exit_is_asked_when_its_silence_has_been_heard() -> None:
    liveness = Liveness(SeededRandom("lag"), 0.0)
    liveness.data_sent(0.0)
    assert liveness.poll(SUSPICION, 3.0) is Verdict.NOTHING
    assert liveness.next_deadline(3.0) == SUSPICION + 3.0
    assert liveness.poll(SUSPICION + 3.0, 3.0) is Verdict.PROBE
    # Our data leaves in time, whatever we hear.
    quiet = Liveness(SeededRandom("lag"), 0.0)
    due = quiet.next_deadline()
    assert due is not None and quiet.next_deadline(10.0) == due and quiet.poll(due, 10.0) is Verdict.PROBE


@pytest.mark.parametrize(("lag", "ends"), [(0.0, 2.0), (0.5, 4.0), (1.5, 4.0)])
def test_a_deadline_waits_for_what_is_not_read_and_at_most_twice_its_time(lag: float, ends: float) -> None:
    async def main() -> float:
        clock = LoopClock()
        begun = clock.now()
        with pytest.raises(TimeoutExpired):
            async with Deadline(clock, 2.0, "dns", lag=lambda: lag):
                await asyncio.sleep(60)
        return clock.now() - begun

    assert run_virtual(main()) == pytest.approx(ends)
