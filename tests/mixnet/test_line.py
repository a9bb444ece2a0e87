"""The gauge of the line: what the gateway has not answered, what that means, and when nothing more is added."""

from __future__ import annotations

from collections import deque

import pytest

from smolmix_web.mixnet.line import ALLOWED, FORGET, FULL, FULL_ANYWAY, SILENT, STUFFED, LineGauge
from smolmix_web.rand import SeededRandom

OWN, FOREIGN = 1700, 1700  # bytes of what comes down for each packet of ours, and for each of a download


class Line:
    """A line of `takes` packets per second, `delay` seconds there and back, and a client that sends `rate` of them."""

    def __init__(self, takes: float, delay: float = 0.06, *, trip: float | None = None, rate: float = 55.0) -> None:
        self.gauge = LineGauge()
        self.gauge.restart(rate, trip)
        self.takes, self.delay, self.rate = takes, delay, rate
        self.rng = SeededRandom(f"line {takes} {delay}")
        self.now = 10.0
        self._free = 0.0
        self._answers: deque[float] = deque()
        self.most = 0.0  # s of queue
        self.sent = 0
        self.stalled_until = 0.0  # nothing is answered before
        self.down_delay = 0.0  # s that answers wait behind a download

    def run(self, seconds: float, *, foreign: float = 0.0) -> float | None:
        """The capacity found first. `foreign`: bytes of a download per second."""
        end, due = self.now + seconds, self.now
        found = None
        while self.now < end:
            self.now += 0.005
            while self._answers and self._answers[0] <= self.now:
                self._answers.popleft()
                self.gauge.answered(1, self.now)
                self.gauge.received(OWN, self.now, own=True)
            if foreign:
                self.gauge.received(round(foreign * 0.005), self.now, own=False)
            while due <= self.now:
                due += self.rng.exponential(1 / self.rate)
                if not self.gauge.full(self.rate, self.now):
                    self._send()
            found = found or self.gauge.capacity(self.rate, self.now)
        return found

    def _send(self) -> None:
        self.gauge.sent(self.now)
        self.sent += 1
        self._free = max(self._free, self.now) + 1 / self.takes
        self.most = max(self.most, self._free - self.now)
        answer = max(self._free + self.delay + self.down_delay, self.stalled_until)
        self._answers.append(max(answer, self._answers[-1] if self._answers else 0.0))


@pytest.mark.parametrize("delay", [0.01, 0.06, 0.3, 0.6])
@pytest.mark.parametrize("takes", [90.0, 1000.0])
def test_a_line_that_keeps_up_limits_nothing(takes: float, delay: float) -> None:
    line = Line(takes, delay, trip=delay)
    assert line.run(30.0) is None
    assert line.gauge.takes is None and line.sent == pytest.approx(30 * 55, rel=0.1)


@pytest.mark.parametrize("takes", [40.0, 20.0, 10.0, 4.0])
def test_a_line_that_does_not_is_measured_and_holds_a_second_at_most(takes: float) -> None:
    line = Line(takes)
    found = line.run(4.0)
    assert found == pytest.approx(takes, rel=0.2)
    line.run(30.0)
    # The first packets leave before anything is known; then what waits is about a second's worth.
    assert line.most <= max((ALLOWED + 10) / takes, FULL + 0.7)
    late = line.gauge.waiting / takes
    assert late <= FULL + line.delay + max(0.6, 3 / takes)


def test_after_a_step_down_the_queue_leaves_first() -> None:
    line = Line(40.0)
    while line.run(0.1) is None:
        pass
    waited = line.gauge.waiting
    line.rate = 27.0
    line.gauge.follow(27.0, line.now)
    sent = line.sent
    line.run(0.7 * waited / 40.0)
    assert line.sent == sent and line.gauge.waiting < waited
    line.run(5.0)
    assert line.sent > sent + 60 and line.gauge.waiting <= 10


@pytest.mark.parametrize("known", [False, True])
def test_a_download_that_makes_answers_late_is_no_thin_line(known: bool) -> None:
    line = Line(40.0, rate=55.0 if known else 27.0)
    if known:
        line.run(4.0)
        assert line.gauge.takes == pytest.approx(40.0, rel=0.2)
        line.rate = 27.0
        line.gauge.follow(27.0, line.now)
    line.run(5.0)
    holds = line.sent
    line.run(0.3, foreign=80_000.0)
    line.down_delay = 1.5 if known else 0.7
    assert line.run(6.0, foreign=80_000.0) is None
    assert line.sent - holds == pytest.approx(6 * 27, rel=0.25), "and holds nothing back"


def test_whatever_comes_down_there_is_an_end() -> None:
    line = Line(40.0, rate=27.0)
    line.run(5.0)
    line.takes = 3.0
    found = line.run(15.0, foreign=80_000.0)
    assert found is not None and line.gauge.waiting / 27.0 <= FULL_ANYWAY + 1.0


def test_a_stall_is_no_thin_line() -> None:
    line = Line(500.0)
    line.run(10.0)
    for seconds in (0.8, 1.5):  # a retransmission of TCP, a change of cell
        line.stalled_until = line.now + seconds
        assert line.run(5.0) is None


def test_a_gateway_that_never_answers_is_not_waited_for() -> None:
    gauge = LineGauge()
    gauge.restart(55.0, 0.05)
    now, sent = 0.0, 0
    while now < 60.0:
        now += 0.02
        if not gauge.full(55.0, now):
            gauge.sent(now)
            sent += 1
    assert sent > 0.9 * (60.0 - SILENT) / 0.02
    assert gauge.waiting <= FORGET / 0.02 + 1 and gauge.capacity(55.0, now) is None
    # There the second gauge is the only one.
    gauge.note_buffered(STUFFED, now)
    assert gauge.capacity(55.0, now + 0.5) is None
    capacity = gauge.capacity(55.0, now + 1.5)
    assert capacity is not None and capacity < 55.0
    gauge.note_buffered(STUFFED - 1, now + 1.6)
    assert gauge.capacity(55.0, now + 9.0) is None


def test_answers_that_were_lost_are_forgotten() -> None:
    gauge = LineGauge()
    gauge.restart(55.0, 0.05)
    for number in range(20):
        gauge.sent(number / 10)
        gauge.answered(1, number / 10 + 0.05)
    for number in range(5):
        gauge.sent(3.0 + number / 10)
    assert gauge.full(1.0, 5.0)
    deadline = gauge.next_deadline()
    assert deadline == 3.0 + FORGET and gauge.full(1.0, deadline - 0.001)
    assert not gauge.full(1.0, deadline) and (gauge.waiting, gauge.forgotten) == (0, 5)
    gauge.answered(3, 20.0)  # they come after all
    assert gauge.waiting == 0


def test_while_anything_comes_answers_are_late_and_not_lost() -> None:
    """A download in front of them fills the way down for longer than silence would be believed."""
    gauge = LineGauge()
    gauge.restart(55.0, 0.05)
    gauge.sent(0.0)
    gauge.answered(1, 0.05)
    for number in range(4):
        gauge.sent(1.0 + number / 10)
    for second in range(1, 16):
        gauge.received(2452, float(second), own=False)
        gauge.full(1.0, second + 0.5)
    assert (gauge.waiting, gauge.forgotten) == (4, 0)
    gauge.answered(4, 16.0)
    assert gauge.waiting == 0 and gauge.trip == pytest.approx(14.7)
