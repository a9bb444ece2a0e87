"""How much a peer may have on its way to us, so that no long queue stands in front of everybody else.

The slowest part of the way to us is the exit, which sends what it has SURBs for, first come first served. A download
whose sender knows nothing but loss (RFC 9438) fills that queue up to our window, and all other connections wait behind
it for many seconds. The receiver sees the queue in the round trips of its timestamps, and keeps it short by the window
it announces (RFC 9840 has the idea). Once in a round trip it looks:

    queue = least round trip since the last look - least round trip of the path
    more than the target:        window = best rate of late x (path + target)
    less than half of it:        window = four times what a round trip brings at that rate, because a sender in slow
                                 start doubles, and some stands behind holes; after a queue by half a window a time,
                                 and not before the step before has shown

The target is a fixed time, or a quarter of a long path. The path's round trip is the least of the last two periods.
Each period begins with half the window: then a queue of ours drains, and a path that has become longer shows. One that
stays long in spite of many narrow windows is not ours. Without timestamps the round trip is what our own half measures,
no queue shows, and only the second rule holds.
"""

from __future__ import annotations

from collections import deque

PERIOD = 15.0  # s
SHORTEST = 0.05  # s that are looked at
SAMPLES = 8  # segments
RATES = 4  # looks that the best rate is taken of
FLOOR = 4  # segments that are allowed whatever the queue
FUTILE = 12  # looks
PART = 0.25  # of the round trip that the queue may take if that is more than the target


class QueueLimit:
    """`window`: bytes beyond those that have arrived; `start` of them without a queue. `target`: seconds of it."""

    __slots__ = (
        "_before",
        "_bytes",
        "_from",
        "_least",
        "_over",
        "_path",
        "_period_ends",
        "_queued",
        "_rates",
        "_segments",
        "_start",
        "_target",
        "_undrained",
        "_wait",
        "queue",
        "window",
    )

    def __init__(self, target: float, start: int) -> None:
        self._target = target
        self._start = start
        self.window = start
        self.queue = 0.0  # seconds, as last seen
        self._queued = False  # there was one
        self._wait = 0  # looks until the window may grow
        self._over = 0  # looks in a row that found one
        self._path = self._before = float("inf")  # least round trip of this period and of the one before
        self._period_ends = 0.0
        self._undrained: int | None = None  # the window before the pause that drains the queue
        self._rates: deque[float] = deque(maxlen=RATES)  # bytes per second
        self._from: float | None = None  # since when the rest counts
        self._least = float("inf")
        self._bytes = self._segments = 0

    def arrived(self, size: int, round_trip: float, mss: int, now: float) -> None:
        """A segment of `size` bytes that answers what we sent `round_trip` seconds ago."""
        if self._from is None:
            self._period_ends = now + PERIOD
            self._look_again(now)
        self._bytes += size
        self._segments += 1
        self._least = min(self._least, round_trip)
        self._path = min(self._path, round_trip)
        assert self._from is not None
        elapsed = now - self._from
        if self._segments >= SAMPLES and elapsed >= max(self._least, SHORTEST):
            self._look(elapsed, FLOOR * mss, now)
            self._look_again(now)

    def _look_again(self, now: float) -> None:
        self._from = now
        self._least = float("inf")
        self._bytes = self._segments = 0

    def _look(self, elapsed: float, floor: int, now: float) -> None:
        path = min(self._path, self._before)
        self.queue = self._least - path
        self._wait = max(0, self._wait - 1)
        if self._undrained is not None:
            self.window, self._undrained, self._wait = self._undrained, None, 2
            return
        self._rates.append(self._bytes / elapsed)
        best = max(self._rates)
        target = max(self._target, path * PART)
        if self.queue > target:
            self._queued = True
            self._over += 1
            self.window = min(self.window, max(int(best * (path + target)), floor))
            if self._over >= FUTILE:
                self._over = 0
                self._path = self._before = self._least
        else:
            self._over = 0
            if self.queue < target / 2 and not self._wait:
                opened = max(int(4 * best * self._least), self._start)
                if self._queued:
                    opened = min(opened, self.window + self.window // 2)
                    self._wait = 2 if opened > self.window else 0
                self.window = opened
        if now >= self._period_ends:
            self._period_ends = now + PERIOD
            self._before, self._path = self._path, float("inf")
            if self._queued:
                self._undrained, self.window = self.window, max(self.window // 2, floor)
