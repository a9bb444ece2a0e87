"""What packets cost this machine: measured time, of whatever is made and of what our own packets bring back.

The core has no clock. Who runs it tells how long each call took, and the client what the call did, counted in units of
about the same work, so that a packet with data and one of cover cost the same here. Of what comes in, only what our own
shape brings is counted: cover that returns, acks, the gateway's answers. So the figure is one of the machine, not of
what it is used for.
"""

from __future__ import annotations

import math

PACKET, SURB, SENDING = 2.5, 1.0, 0.25  # units: a packet is its header, its ack's header and the payload
MEMORY, MOST = 2.0, 100  # s, and measurements, that a mean remembers
FIRST = 5  # measurements that are judged by their median: what runs for the first time takes longer

GUESS = 0.6  # of what leaves: what comes in for it

OUT = "out"  # made or sent; what comes in is
COVER_CAME, ACK_CAME, ANSWER_CAME = "cover", "ack", "answer"


class MeanCost:
    """Seconds per unit: the median at first, then a mean that forgets."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._seconds = 0.0
        self._units = 0.0
        self._count = 0.0
        self._noted = 0.0

    @property
    def value(self) -> float | None:
        if self._units:
            return self._seconds / self._units
        return sorted(self._first)[len(self._first) // 2] if self._first else None

    def note(self, seconds: float, units: float, now: float) -> None:
        if not self._units:
            self._first.append(seconds / units)
            if len(self._first) == FIRST:
                self._count, self._units = FIRST, FIRST * units
                self._seconds = self._units * sorted(self._first)[FIRST // 2]
        else:
            kept = min(math.exp(-max(0.0, now - self._noted) / MEMORY), MOST / self._count)
            self._count = self._count * kept + 1
            self._seconds = self._seconds * kept + seconds
            self._units = self._units * kept + units
        self._noted = now


class WorkMeter:
    """Adds up what one packet of our own shape costs."""

    def __init__(self) -> None:
        self._costs = {kind: MeanCost() for kind in (OUT, COVER_CAME, ACK_CAME, ANSWER_CAME)}

    def note(self, kind: str, units: float, seconds: float, now: float) -> None:
        """`units` of this kind took `seconds` of the machine's time."""
        if units > 0 and seconds >= 0:
            self._costs[kind].note(seconds, units, now)

    @property
    def making(self) -> float:
        """Seconds to make a packet; 0 before the first."""
        return PACKET * (self._costs[OUT].value or 0.0)

    @property
    def packet(self) -> float | None:
        """Seconds that one packet takes: made, sent, answered, come back and acknowledged; None before the first. What
        comes in is guessed until it is known."""
        unit = self._costs[OUT].value
        if unit is None:
            return None
        out = (PACKET + SENDING) * unit
        cover = self._costs[COVER_CAME].value
        if cover is None:
            return (1 + GUESS) * out
        return out + cover + (self._costs[ACK_CAME].value or 0.0) + (self._costs[ANSWER_CAME].value or 0.0)
