"""What packets cost this machine: measured time, of whatever is made and of what our own packets bring back.

The core has no clock. Who runs it tells how long each call took, and the client what the call did, counted in units of
about the same work, so that a packet with data and one of cover cost the same here. Of what comes in, only what our own
shape brings is counted: cover that returns, acks, the gateway's answers. Cover returns less often while real packets
take its turns, so that and the sending are known as multiples of what is made, over a long time: how fast the machine
is now is told by the making alone, of which there is as much in any case. So the figure is one of the machine, not of
its use.
"""

from __future__ import annotations

import math
from collections import deque

# Units, as measured in Chromium and CPython: a packet is its header, its ack's header and the payload.
PACKET, SURB = 3.5, 1.0
MEMORY, MOST = 2.0, 100  # s, and measurements, that the mean of what leaves remembers,
LONG_MEMORY, LONG_MOST = 60.0, 300  # and those of the rest
LEAST, NEWEST = 3, 5  # measurements whose median counts at first,
RISE = 1.5  # and again where it is so much above the mean

COLD, COLD_TIME = 24, 1.5  # measurements, and s, of code just loaded: browsers compile it while it runs,
COLDNESS = 3.0  # and so much slower it is than it will be
GUESS = 0.6  # of what is made: the rest of what a packet costs, until it is known

OUT = "out"  # made; the rest is
SENT, COVER_CAME, ACK_CAME, ANSWER_CAME = "sent", "cover", "ack", "answer"


class MeanCost:
    """Seconds per unit: the median of the newest at first, then a mean that forgets, and again the median where the
    machine became slower."""

    def __init__(self, memory: float = MEMORY, most: float = MOST, first: int = NEWEST, wait: float = 0.0) -> None:
        self._memory = memory
        self._most = most
        self._first, self._wait = first, wait  # measurements, and seconds, until the mean begins
        self._began = 0.0
        self._newest: deque[float] = deque(maxlen=NEWEST)
        self._seen = 0
        self._seconds = 0.0
        self._units = 0.0
        self._count = 0.0
        self._noted = 0.0

    @property
    def settled(self) -> bool:
        """Enough has been measured for a mean."""
        return self._units > 0

    @property
    def value(self) -> float | None:
        if self._units:
            return self._seconds / self._units
        return self._median if len(self._newest) >= LEAST else None

    @property
    def _median(self) -> float:
        return sorted(self._newest)[len(self._newest) // 2]

    def note(self, seconds: float, units: float, now: float) -> None:
        if not self._seen:
            self._began = now
        self._newest.append(seconds / units)
        self._seen += 1
        if self._units:
            kept = min(math.exp(-max(0.0, now - self._noted) / self._memory), self._most / self._count)
            self._count = self._count * kept + 1
            self._seconds = self._seconds * kept + seconds
            self._units = self._units * kept + units
        mean = self._seconds / self._units if self._units else 0.0
        enough = self._seen >= self._first and now >= self._began + self._wait
        if enough and self._median > RISE * mean:
            self._count, self._units = NEWEST, NEWEST * units
            self._seconds = self._units * self._median
        self._noted = now


class WorkMeter:
    """Adds up what one packet of our own shape costs."""

    def __init__(self) -> None:
        self._out = MeanCost(first=COLD, wait=COLD_TIME)
        # In units of what leaves.
        kinds = (SENT, COVER_CAME, ACK_CAME, ANSWER_CAME)
        self._rest = {kind: MeanCost(LONG_MEMORY, LONG_MOST) for kind in kinds}

    def note(self, kind: str, units: float, seconds: float, now: float, sent: int = 0) -> None:
        """`units` of this kind took `seconds` of the machine's time; the sending of `sent` packets is part of it."""
        if units <= 0 or seconds < 0:
            return
        if kind == OUT:
            sending = sent * (self._rest[SENT].value or 0.0) * (self._out.value or 0.0)
            self._out.note(max(seconds - sending, 0.0), units, now)
        elif unit := self._out.value:
            self._rest[kind].note(seconds / unit, units, now)

    @property
    def warm(self) -> bool:
        """What runs is no longer code that runs for the first time."""
        return self._out.settled

    @property
    def making(self) -> float:
        """Seconds to make a packet; 0 while unknown."""
        return PACKET * (self._out.value or 0.0)

    @property
    def packet(self) -> float | None:
        """Seconds that one packet takes, made, sent, answered, come back and acknowledged, once the code is warm; None
        while unknown. The rest is guessed until it is known."""
        unit = self._out.value
        if unit is None:
            return None
        if not self.warm:
            unit /= COLDNESS
        if self._rest[COVER_CAME].value is None:
            return unit * (1 + GUESS) * PACKET
        return unit * (PACKET + sum(cost.value or 0.0 for cost in self._rest.values()))
