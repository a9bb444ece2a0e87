"""The window that keeps the queue in front of us short, against a path simulated here: a rate, a delay, one queue."""

from __future__ import annotations

import pytest

from smolmix_web.netstack.tcp.queue_limit import FLOOR, FUTILE, PERIOD, QueueLimit
from smolmix_web.rand import SeededRandom

MSS = 1380
START = 65_536
TARGET = 0.15


class Path:
    """A sender that always uses the whole window, through a bottleneck of `rate` bytes per second."""

    def __init__(self, limit: QueueLimit, rate: float, delay: float, jitter: float = 0.0) -> None:
        self.limit, self.rate, self.delay, self.jitter = limit, rate, delay, jitter
        self.now = 0.0
        self.edge = 0  # the window never shrinks
        self.arrived = 0
        self.sent = 0
        self.free_at = 0.0  # when the bottleneck is
        self.on_way: list[tuple[float, float]] = []  # arrival, and when its ACK had left
        self._rng = SeededRandom("path")

    def run(self, seconds: float) -> tuple[float, float]:
        """(bytes per second that arrived, longest wait at the bottleneck)"""
        end, before, longest = self.now + seconds, self.arrived, 0.0
        start = self.now
        while self.now < end:
            self.edge = max(self.edge, self.arrived + self.limit.window)
            while self.sent + MSS <= self.edge:
                reached = self.now + self.delay / 2
                self.free_at = max(self.free_at, reached) + MSS / self.rate
                longest = max(longest, self.free_at - reached)
                late = self._rng.exponential(self.jitter) if self.jitter else 0.0
                self.on_way.append((self.free_at + self.delay / 2 + late, self.now))
                self.sent += MSS
            self.on_way.sort()
            arrival, asked = self.on_way.pop(0)
            self.now = arrival
            self.arrived += MSS
            self.limit.arrived(MSS, arrival - asked, MSS, arrival)
        return (self.arrived - before) / (self.now - start), longest


def feed(limit: QueueLimit, segments: int, step: float, round_trip: float, since: float = 0.0) -> int:
    """Full segments, one every `step` seconds; the narrowest window they meet."""
    narrowest = limit.window
    for number in range(segments):
        limit.arrived(MSS, round_trip, MSS, since + (number + 1) * step)
        narrowest = min(narrowest, limit.window)
    return narrowest


@pytest.mark.parametrize("jitter", [0.0, 0.03])
@pytest.mark.parametrize(("rate", "delay"), [(200_000, 0.2), (200_000, 1.0), (1_000_000, 0.25), (50_000, 0.3)])
def test_the_path_is_full_and_the_queue_short(rate: int, delay: float, jitter: float) -> None:
    path = Path(QueueLimit(TARGET, START), rate, delay, jitter)
    path.run(10.0 + 10 * delay)
    goodput, longest = path.run(60.0)
    assert goodput >= 0.9 * rate
    # By what one look is late, and by chance where segments are few.
    assert longest <= TARGET + delay + 2 * jitter + 4 * MSS / rate


def test_without_it_the_queue_is_as_long_as_the_window() -> None:
    """What the tests above are about: the same path with a window that only grows."""
    path = Path(QueueLimit(float("inf"), 2_000_000), 200_000, 0.2)
    assert path.run(30.0)[1] > 8.0


def test_two_share_a_path_that_one_had_filled() -> None:
    """The window of one follows what the other leaves it."""
    limit = QueueLimit(TARGET, START)
    path = Path(limit, 400_000, 0.3)
    path.run(20.0)
    before = limit.window
    path.rate = 200_000
    path.run(10.0)
    assert limit.window < 0.8 * before
    goodput, longest = path.run(20.0)
    assert goodput >= 0.9 * 200_000 and longest <= TARGET + 0.3
    path.rate = 400_000
    path.run(20.0)
    assert path.run(20.0)[0] >= 0.9 * 400_000


def test_a_path_that_becomes_longer_is_not_taken_for_a_queue_for_long() -> None:
    path = Path(QueueLimit(TARGET, START), 200_000, 0.2)
    path.run(20.0)
    path.delay = 0.8
    path.run(2 * PERIOD + FUTILE * 0.8)
    assert path.run(20.0)[0] >= 0.9 * 200_000


def test_a_queue_that_is_not_ours_is_given_up_on() -> None:
    """Round trips stay long however narrow the window: others fill the queue, and yielding would be for ever."""
    limit = QueueLimit(TARGET, START)
    feed(limit, 100, 0.02, 0.2)
    narrowest = feed(limit, FUTILE * 60, 0.02, 0.8, since=2.0)
    assert limit.queue < TARGET and narrowest >= FLOOR * MSS
    feed(limit, 600, 0.02, 0.8, since=2.0 + FUTILE * 60 * 0.02)
    assert limit.window >= 4 * 0.8 * MSS / 0.02 * 0.9


def test_a_window_that_nobody_fills_stays_open() -> None:
    """A conversation with pauses: neither its low rate nor the chance of few segments narrows it below the start."""
    limit = QueueLimit(TARGET, START)
    rng = SeededRandom("pauses")
    now = 0.0
    for _ in range(500):
        now += rng.exponential(0.5)
        limit.arrived(200, 0.2 + rng.exponential(0.03), MSS, now)
        assert limit.window == START


def test_round_trips_without_timestamps_bound_the_window_by_the_rate() -> None:
    limit = QueueLimit(TARGET, START)
    feed(limit, 1000, 0.005, 0.25)
    assert 3.5 * 0.25 * MSS / 0.005 <= limit.window <= 4.5 * 0.25 * MSS / 0.005
