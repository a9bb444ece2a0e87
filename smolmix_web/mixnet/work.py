"""What packets cost this machine: measured time, of whatever is made and of what our own packets bring back.

The core has no clock. Who runs it tells how long each call took, and the client what the call did, counted in units of
about the same work, so that a packet with data and one of cover cost the same here. Of what comes in, only what our own
shape brings is counted: cover that returns, acks, the gateway's answers. Cover returns less often while real packets
take its turns, so what comes in is known as a multiple of what leaves, over a long time: how fast the machine is now is
told by what leaves alone, of which there is as much in any case. So the figure is one of the machine, not of its use.
"""

from __future__ import annotations

import math
from collections import deque

PACKET, SURB, SENDING = 2.5, 1.0, 0.25  # units: a packet is its header, its ack's header and the payload
MEMORY, MOST = 2.0, 100  # s, and measurements, that the mean of what leaves remembers,
LONG_MEMORY, LONG_MOST = 60.0, 300  # and those of what comes in
FIRST = 5  # measurements that are judged by their median: what runs for the first time takes longer,
RISE = 1.5  # and as many are believed at once when they are as much above the mean

GUESS = 0.45  # of what leaves: what comes in for it

OUT = "out"  # made or sent; what comes in is
COVER_CAME, ACK_CAME, ANSWER_CAME = "cover", "ack", "answer"


class MeanCost:
    """Seconds per unit: the median at first, then a mean that forgets, and at once where a machine became slower."""

    def __init__(self, memory: float = MEMORY, most: float = MOST) -> None:
        self._memory = memory
        self._most = most
        self._newest: deque[float] = deque(maxlen=FIRST)
        self._seconds = 0.0
        self._units = 0.0
        self._count = 0.0
        self._noted = 0.0

    @property
    def value(self) -> float | None:
        if self._units:
            return self._seconds / self._units
        return self._median if self._newest else None

    @property
    def _median(self) -> float:
        return sorted(self._newest)[len(self._newest) // 2]

    def note(self, seconds: float, units: float, now: float) -> None:
        self._newest.append(seconds / units)
        if self._units:
            kept = min(math.exp(-max(0.0, now - self._noted) / self._memory), self._most / self._count)
            self._count = self._count * kept + 1
            self._seconds = self._seconds * kept + seconds
            self._units = self._units * kept + units
        mean = self.value
        if len(self._newest) == FIRST and (not self._units or (mean is not None and self._median > RISE * mean)):
            self._count, self._units = FIRST, FIRST * units
            self._seconds = self._units * self._median
        self._noted = now


class WorkMeter:
    """Adds up what one packet of our own shape costs."""

    def __init__(self) -> None:
        self._out = MeanCost()
        # In units of what leaves.
        self._in = {kind: MeanCost(LONG_MEMORY, LONG_MOST) for kind in (COVER_CAME, ACK_CAME, ANSWER_CAME)}

    def note(self, kind: str, units: float, seconds: float, now: float) -> None:
        """`units` of this kind took `seconds` of the machine's time."""
        if units <= 0 or seconds < 0:
            return
        if kind == OUT:
            self._out.note(seconds, units, now)
        elif unit := self._out.value:
            self._in[kind].note(seconds / unit, units, now)

    @property
    def making(self) -> float:
        """Seconds to make a packet; 0 before the first."""
        return PACKET * (self._out.value or 0.0)

    @property
    def packet(self) -> float | None:
        """Seconds that one packet takes: made, sent, answered, come back and acknowledged; None before the first. What
        comes in is guessed until it is known."""
        unit = self._out.value
        if unit is None:
            return None
        out = PACKET + SENDING
        if self._in[COVER_CAME].value is None:
            return unit * (1 + GUESS) * out
        return unit * (out + sum(cost.value or 0.0 for cost in self._in.values()))
