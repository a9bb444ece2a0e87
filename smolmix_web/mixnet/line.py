"""What waits on the line to the gateway, seen by the gateway's answers: it answers every packet, in order.

A browser's and a system's buffers take a second's worth and more without showing it (`bufferedAmount` stays 0). The age
of the oldest packet without an answer, beyond the shortest trip there and back, is what stands in them, or in front of
the answers: a download that fills the way down makes them late as well. So while much comes down that is not our own
shape's, late answers prove nothing where the line is known to take our rate, and little where nothing is known of it.

A gateway that never answers leaves this gauge silent; then `bufferedAmount` is the only one.
"""

from __future__ import annotations

import math
from collections import deque

LATE, LATE_TRIPS = 0.25, 0.5  # s, and shortest trips, beyond the shortest: the line takes less than we send
ENOUGH, ENOUGH_TIME = 3, 0.3  # late answers in a row, and seconds from the first of them: no stall makes so many
RECENT = 2.0  # s of late answers that tell what the line takes
FULL = 1.0  # s beyond the shortest trip, and as much by number: nothing more is added;
FULL_ANYWAY = 3.0  # s, whatever else comes down
FORGET = 6.0  # s in which nothing came, after which answers that are missing do not either
KEEPS_UP = 0.95  # of our rate: a line that takes as much is not too thin, its answers are only late
FOREIGN = 0.25  # share of what comes down, beyond which it may be what makes answers late
MEMORY = 1.0  # s of what came down that are remembered
USUAL_TRIP = 0.1  # s; of a gateway of which nothing is known
ALLOWED = 12  # packets at least that leave before the first answer,
SILENT = 2.0  # s after which a gateway that has not answered any does not count as one that answers
# Where no packet was ever answered: packets in the socket's own buffer, seconds that they stay as many, and what part
# of our rate the line then seems to take.
STUFFED, STUFFED_TIME, STUFFED_SHARE = 32, 1.0, 0.7


class LineGauge:
    """One connection's; `restart` begins the next one's. Times in seconds, rates in packets per second."""

    def __init__(self) -> None:
        self.forgotten = 0  # packets whose answer never came
        self.holds = 0  # times that the line was full
        self.restart(0.0)

    def restart(self, rate: float, trip: float | None = None) -> None:
        """Another connection. `rate`: of what will leave; `trip`: of a short message there and back, if known."""
        self._out: deque[float] = deque()  # when they left
        self.base: float | None = None  # the shortest trip
        self.trip = 0.0  # the newest
        self._heard_at = float("-inf")  # anything at all
        self.takes: float | None = None  # packets per second, once the line was found to be too thin
        self._late: deque[float] = deque()  # when late answers came, in a row
        self._own = self._foreign = 0.0  # bytes that came down lately
        self._came = 0.0
        self._stuffed_since: float | None = None
        self._draining = 0.0  # until then, or until an idle line is left
        # Until the line is known, what an idle line holds at this rate: the mean and three deviations of it.
        self._paced = rate > 0
        usual = rate * (USUAL_TRIP if trip is None else trip)
        self._allowed = max(ALLOWED, 4.0 + usual + 3 * math.sqrt(usual))

    @property
    def waiting(self) -> int:
        """Packets that left and have not been answered."""
        return len(self._out)

    @property
    def waiting_since(self) -> float | None:
        """When the oldest of them left; None for none, or a gateway that gives no answers."""
        return self._out[0] if self._out and self.base is not None else None

    def statistics(self) -> dict[str, int | None]:
        """Packets but for `trip_ms`, the newest trip to the gateway and back, and `holds`."""
        trip = None if self.base is None else round(self.trip * 1000)
        return {"waiting": self.waiting, "trip_ms": trip, "holds": self.holds, "forgotten": self.forgotten}

    # -- what happens -------------------------------------------------------------------------------

    def sent(self, now: float) -> None:
        self._out.append(now)

    def answered(self, count: int, now: float, came: float | None = None) -> None:
        """The gateway answered its next `count` packets. `came`: when the answer may have arrived, if it waited."""
        came = now if came is None else came
        # Without a rate of our own, what was never used was never shown not to be too much.
        grows = self._paced or 2 * len(self._out) > self._allowed
        for _ in range(min(count, len(self._out))):
            left = self._out.popleft()
            self.base = now - left if self.base is None else min(self.base, now - left)
            self.trip = trip = max(0.0, came - left)
            if trip - self.base <= LATE + LATE_TRIPS * self.base:
                self._allowed += grows
                self._late.clear()
            else:
                self._late.append(now)
                while len(self._late) > ENOUGH and now - self._late[0] > RECENT:
                    self._late.popleft()

    def received(self, size: int, now: float, *, own: bool) -> None:
        """Bytes came down; `own`: brought by our own shape, which is cover, acks and answers."""
        self._heard_at = now
        kept = math.exp(-max(0.0, now - self._came) / MEMORY)
        self._own, self._foreign, self._came = self._own * kept, self._foreign * kept, now
        if own:
            self._own += size
        else:
            self._foreign += size

    def note_buffered(self, packets: int, now: float) -> None:
        """The second gauge: what the socket itself shows of what waits."""
        if packets < STUFFED:
            self._stuffed_since = None
        elif self._stuffed_since is None:
            self._stuffed_since = now

    def follow(self, rate: float, now: float) -> None:
        """We send at this rate from now on, and what is late is counted anew. Where it was lowered for the sake of the
        line, what waits leaves first; where it is more than the line took, that is forgotten."""
        self._late.clear()
        if self.takes is not None and rate > self.takes:
            self.takes = None
        self._draining = now + len(self._out) / self.takes if self.takes else 0.0
        if self._stuffed_since is not None:
            self._stuffed_since = now

    # -- what it means ------------------------------------------------------------------------------

    def full(self, rate: float, now: float) -> bool:
        """Nothing more should leave, until answers come. `rate`: at which we send; 0 without a rate of our own."""
        if self._out and now >= self._forget_at:
            self.forgotten += len(self._out)
            self._out.clear()
        if not self._out:
            return False
        waiting, base = len(self._out), self.base
        if base is None:
            return waiting > self._allowed and now < self._out[0] + SILENT and not self.forgotten
        if now < self._draining and self.takes is not None and waiting > 1 + self.takes * base:
            return True
        self._draining = 0.0
        return waiting > self._allowed or self._much(rate, now)

    @property
    def _forget_at(self) -> float:
        return max(self._out[0], self._heard_at) + FORGET

    def next_deadline(self) -> float | None:
        """When a full line is looked at again although nothing is answered."""
        if not self._out:
            return None
        if self.base is None:
            return self._out[0] + SILENT
        return min(self._forget_at, self._draining or float("inf"))

    def capacity(self, rate: float, now: float) -> float | None:
        """What the line takes, while it has been late for some time; None while it keeps up."""
        if self.base is None:
            # Nothing is known but that this rate is too much.
            stuffed = self._stuffed_since is not None and now - self._stuffed_since > STUFFED_TIME
            return STUFFED_SHARE * rate if stuffed else None
        takes = self._measured
        if takes is None:
            return None
        if self._much_foreign or takes > KEEPS_UP * rate:
            # No more than one rung: what comes down may be the half of it, or the way became longer.
            return STUFFED_SHARE * rate if self._much(rate, now) else None
        self.takes = takes
        return takes

    @property
    def _measured(self) -> float | None:
        """The rate of late answers, once there are enough."""
        late = self._late
        if len(late) < ENOUGH or late[-1] - late[0] < ENOUGH_TIME:
            return None
        return (len(late) - 1) / (late[-1] - late[0])

    @property
    def _much_foreign(self) -> bool:
        return self._foreign > FOREIGN * (self._own + self._foreign)

    def _much(self, rate: float, now: float) -> bool:
        """Is it a second's worth by number, and not just in front of the answers?"""
        if not self._out or self.base is None:
            return False
        excess = now - self._out[0] - self.base
        if not rate:
            # Only what answers tell: without a rate of our own nothing says how many there should be.
            measured = self._measured if self._late and now - self._late[-1] < RECENT else None
            return excess > FULL and measured is not None and len(self._out) > measured * (FULL + self.base)
        if excess > FULL_ANYWAY:
            return True
        if self.takes is None:
            return excess > FULL and len(self._out) > rate * (FULL + self.base)
        fits = rate <= self.takes
        return len(self._out) > self.takes * (FULL + self.base) and not (fits and self._much_foreign)
