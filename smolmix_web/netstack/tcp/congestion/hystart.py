"""HyStart++ (RFC 9406): slow start ends when round trips grow, before a loss ends it.

When the shortest round trip of a round exceeds that of the round before, slow start becomes conservative: a quarter
of the growth for up to five rounds. If round trips shrink again in that time it was jitter and slow start goes on,
else congestion avoidance begins.
"""

from __future__ import annotations

INFINITY = float("inf")
MIN_THRESHOLD = 0.004  # seconds
MAX_THRESHOLD = 0.016
DIVISOR = 8  # of the round trip, between those two
SAMPLES = 8  # that a round needs to be judged
GROWTH_DIVISOR = 4
ROUNDS = 5  # of conservative slow start


class HyStart:
    __slots__ = ("_baseline", "_current", "_last", "_left", "_samples")

    def __init__(self) -> None:
        self._last = self._current = INFINITY  # the shortest round trip of the last and of this round
        self._samples = 0
        self._baseline = INFINITY  # at which the conservative part began
        self._left = 0  # rounds of it

    @property
    def conservative(self) -> bool:
        return self._left > 0

    def on_round(self) -> bool:
        """A round trip begins. True when slow start is over."""
        self._last, self._current, self._samples = self._current, INFINITY, 0
        if self._left:
            self._left -= 1
            return not self._left
        return False

    def on_sample(self, rtt: float) -> None:
        self._samples += 1
        self._current = min(self._current, rtt)
        if self._samples < SAMPLES:
            return
        if self._left:
            if self._current < self._baseline:
                self._left = 0
        elif self._last != INFINITY:
            threshold = min(max(self._last / DIVISOR, MIN_THRESHOLD), MAX_THRESHOLD)
            if self._current >= self._last + threshold:
                self._baseline = self._current
                self._left = ROUNDS
