"""IP packets on their way to the exit: bundled for a few milliseconds, up to what one Sphinx packet carries.

An acknowledgement of 40 bytes costs a whole Sphinx packet when it travels alone; thirty of them fit one
(docs/protocol/ipr.md 4.6, D6).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..netstack import ip
from .budget import BUNDLE_ROOM, SMALLEST_ITEM
from .bundles import BundleEncoder

_SYN_FIN = 0x03


def asks(packet: bytes) -> bool:
    """Does this IP packet want an answer? All but segments of TCP that only acknowledge or reset."""
    try:
        if packet[0] >> 4 == 4:
            start, protocol, end = (packet[0] & 15) << 2, packet[9], packet[2] << 8 | packet[3]
        else:
            start, protocol, end = 40, packet[6], 40 + (packet[4] << 8 | packet[5])
        if protocol != ip.TCP:
            return True
        return start + (packet[start + 12] >> 4 << 2) < end or bool(packet[start + 13] & _SYN_FIN)
    except IndexError:
        return True


class Uplink:
    """Holds at most `limit` packets; a bundle is ready when full or `delay` seconds after its first packet."""

    def __init__(self, delay: float, limit: int) -> None:
        self._delay = delay
        self._limit = limit
        self._encoder = BundleEncoder(BUNDLE_ROOM)
        self._ready: list[bytes] = []
        self._ready_packets = 0
        self._flush_at: float | None = None

    @property
    def space(self) -> int:
        """Packets that `append` takes right now."""
        return max(0, self._limit - self.waiting)

    @property
    def waiting(self) -> int:
        """Packets taken that `take` has not given."""
        return self._ready_packets + self._encoder.packets

    def append(self, packets: Sequence[bytes], now: float) -> int:
        """Take as many packets as there is space for; returns how many."""
        taken = min(len(packets), self.space)
        for packet in packets[:taken]:
            waiting = self._encoder.packets
            full = self._encoder.append(packet)
            if full is not None:
                self._ready.append(full)
                self._ready_packets += waiting or 1
                self._flush_at = None
            if len(self._encoder) > BUNDLE_ROOM - SMALLEST_ITEM:
                self.flush()
            elif len(self._encoder) and self._flush_at is None:
                self._flush_at = now + self._delay
        return taken

    def flush(self) -> None:
        """Make a bundle of what waits."""
        self._flush_at = None
        self._ready_packets += self._encoder.packets
        bundle = self._encoder.flush()
        if bundle is not None:
            self._ready.append(bundle)

    def take(self, now: float) -> list[bytes]:
        """The bundles that are ready."""
        if self._flush_at is not None and now >= self._flush_at:
            self.flush()
        ready, self._ready = self._ready, []
        self._ready_packets = 0
        return ready

    def clear(self) -> None:
        self.flush()
        self._ready = []
        self._ready_packets = 0

    def next_deadline(self) -> float | None:
        """-inf when bundles are ready."""
        return float("-inf") if self._ready else self._flush_at
