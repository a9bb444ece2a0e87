"""How fast to try again while something is away: back-off with jitter, and haste while somebody waits for it.

Two clients of one gateway or exit must not return in step, and an outage of hours must cost nobody much; but whoever
asks for something now should not wait for a back-off that has grown meanwhile, nor for an attempt that began before
there was anybody to answer it. So a request makes the next attempt due soon and shortens the gaps for a while, and an
attempt that stays without success is begun anew: after `patience` seconds, then twice as many, so that a network that
is slow and not broken gets its time.
"""

from __future__ import annotations

from ..rand import RandomSource

WANTED = 90.0  # s that a request counts as waiting
WANTED_GAP = 4.0  # s, the longest back-off meanwhile
SOON = 1.0  # s at least between the end of an attempt and one that a request asks for, and up to as much again
MAX_DOUBLINGS = 16


class Pace:
    """`first`, `longest`: the back-off in seconds, half of it random; `patience`: see the module."""

    def __init__(self, rng: RandomSource, *, first: float, longest: float, patience: float) -> None:
        self._rng = rng
        self._first = first
        self._longest = longest
        self._first_patience = self._patience = patience
        self._wanted_until = float("-inf")
        self._ended = float("-inf")
        self.failures = 0  # the exponent of the back-off

    def reset(self) -> None:
        """It is back."""
        self.failures = 0
        self._patience = self._first_patience
        self._wanted_until = self._ended = float("-inf")

    def again(self, now: float, longest: float | None = None) -> float:
        """An attempt ended in vain: when to make the next."""
        self._ended = now
        longest = self._longest if longest is None else longest
        if now < self._wanted_until:
            longest = min(longest, WANTED_GAP)
        full = min(longest, self._first * 2.0 ** min(self.failures, MAX_DOUBLINGS))
        return now + full / 2 + full / 2 * self._rng.uniform()

    def want(self, now: float) -> float:
        """Somebody waits from now on: when the next attempt may be made, if none is under way."""
        self._wanted_until = now + WANTED
        return max(now, self._ended + SOON * (1 + self._rng.uniform()))

    def until(self, begun: float) -> float | None:
        """When an attempt begun then is to be begun anew; None: it has all the time it gives itself."""
        until = begun + self._patience
        return until if until < self._wanted_until else None

    def impatient(self) -> None:
        """An attempt was begun anew."""
        self._patience *= 2
