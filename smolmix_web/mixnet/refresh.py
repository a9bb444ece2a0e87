"""When to ask the directory for the topology again (directory.md 3.2, 8): by time, by its own clock, and after losses.

Regularly every `REGULAR` seconds. When the clock of epochs says that the keys rotate; a directory that still tells the
old rotation then is asked again soon. And when something is lost that old keys or a node that left would explain: at
once, but answers are `APART` seconds apart at least, twice as many each time until `REGULAR` seconds went by in peace.

Every time has its share of chance, so that the clients of one gateway, exit or rotation do not come together, and the
directory, which sees each of these requests, learns little from when they are made.
"""

from __future__ import annotations

from ..rand import RandomSource
from .topology import Topology

REGULAR = 300.0  # s
RETRY = 30.0  # s after an answer that failed, or that was behind the clock
AT_ONCE = 0.5  # s, the most that chance adds to "at once"
APART = 30.0  # s between answers, however much is lost; doubles up to REGULAR
FAILED_APART = 3.0  # s between requests that fail
SPREAD = 30.0  # s after a rotation in which clients learn of it, and at most a tenth of an epoch


class RefreshPlan:
    """From a first topology, got at `now`, on. `due` by the monotonic clock; `unix_time` in seconds."""

    def __init__(self, rng: RandomSource, topology: Topology, now: float, unix_time: float) -> None:
        self._rng = rng
        self._apart = APART
        self._behind = RETRY
        self._asked = now
        self._troubled = False  # the request to come is for a loss
        self.stale = False  # the last answer failed
        self.due = self._after(topology, now, unix_time)

    def trouble(self, now: float) -> None:
        """Something was lost, or the network is back."""
        apart = FAILED_APART if self.stale else self._apart
        soon = max(now + AT_ONCE * self._rng.uniform(), self._asked + self._about(apart))
        if soon < self.due:
            self.due, self._troubled = soon, True

    def succeeded(self, topology: Topology, now: float, unix_time: float) -> None:
        self._apart = min(2 * self._apart, REGULAR) if self._troubled else APART
        self._asked, self._troubled, self.stale = now, False, False
        self.due = self._after(topology, now, unix_time)

    def failed(self, now: float) -> None:
        self._asked, self.stale = now, True
        self.due = now + self._about(RETRY)

    def _after(self, topology: Topology, now: float, unix_time: float) -> float:
        regular = now + self._about(REGULAR)
        clock = topology.key_rotation
        if clock is None:
            return regular
        expected = clock.rotation_at(unix_time)
        if topology.rotation_id < expected:
            behind, self._behind = self._behind, min(2 * self._behind, REGULAR)
            return now + self._about(behind)
        self._behind = RETRY
        spread = min(SPREAD, clock.epoch_duration / 10)
        begins = clock.rotation_start(max(expected, topology.rotation_id) + 1)
        return min(regular, now + max(0.0, begins - unix_time) + 0.1 + spread * self._rng.uniform())

    def _about(self, seconds: float) -> float:
        return seconds * (0.75 + 0.5 * self._rng.uniform())
