"""The timestamps option (RFC 7323 3 to 5): our clock, the peer's latest value, and PAWS.

Where this departs from the letter: a value that is older than TS.Recent only by `paws_tolerance` ticks is let pass. A
packet of a mix network may well arrive seconds after its own retransmission, and is no old duplicate: sequence numbers
would have to wrap within that time.
"""

from __future__ import annotations

from .segment import Segment, timestamp_option
from .seq import MASK

TICKS = 1000  # per second
OUTDATED = 24 * 86400.0  # seconds until TS.Recent says nothing any more (5.5)
_HALF = 0x80000000


class Timestamps:
    __slots__ = ("_offset", "_tolerance", "active", "last_ack_sent", "recent_at", "ts_recent")

    def __init__(self, offset: int, tolerance: int) -> None:
        self._offset = offset  # differs for each connection (5.4)
        self._tolerance = tolerance
        self.active = False  # both SYNs had the option
        self.ts_recent = 0
        self.recent_at = 0.0  # when `ts_recent` came
        self.last_ack_sent = 0

    def value(self, now: float) -> int:
        """TSval."""
        return (int(now * TICKS) + self._offset) & MASK

    def option(self, now: float) -> bytes:
        return timestamp_option((int(now * TICKS) + self._offset) & MASK, self.ts_recent)

    def age(self, echo: int, now: float) -> float | None:
        """Seconds since we sent the value that comes back; None when it cannot be ours."""
        ticks = (int(now * TICKS) + self._offset - echo) & MASK
        return ticks / TICKS if ticks < _HALF else None

    def from_syn(self, segment: Segment, seq: int, now: float) -> None:
        """The peer's SYN: the option is in use when it is there."""
        if segment.timestamp is not None:
            self.active = True
            self.ts_recent = segment.timestamp[0]
            self.recent_at = now
            self.last_ack_sent = seq + 1

    def is_old(self, segment: Segment, now: float) -> bool:
        """PAWS (5.3, R1): an old duplicate from an earlier turn of the sequence numbers."""
        if segment.timestamp is None:
            return False
        behind = (self.ts_recent - segment.timestamp[0]) & MASK
        return self._tolerance < behind < _HALF and now - self.recent_at < OUTDATED

    def remember(self, segment: Segment, seq: int, now: float) -> None:
        """TS.Recent follows segments at the left edge of the window (4.3), forward only."""
        stamp = segment.timestamp
        if stamp is None or seq > self.last_ack_sent:
            return
        if (stamp[0] - self.ts_recent) & MASK < _HALF or now - self.recent_at >= OUTDATED:
            self.ts_recent = stamp[0]
            self.recent_at = now
