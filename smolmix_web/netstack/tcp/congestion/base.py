"""What the sender asks of a congestion controller. The sender owns loss detection, the count of bytes in flight and the
measurement of the delivery rate (rate.py); a controller only decides how many bytes may be in flight.

All quantities are bytes and seconds. Growth counts acknowledged bytes, not ACKs, so that coalesced ACKs do not slow it
(RFC 3465).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..rate import RateSample


class SharedPath:
    """What all connections of a stack know of the path that they share, the tunnel: the shortest round trip, and a
    time when they all send less, to see it without their queue. Alone, a newcomer would take the queue of the others
    for the path (the trouble of BBR that RFC 9040 sharing cures)."""

    __slots__ = ("_bandwidth", "_candidate", "_drain_from", "_drain_until", "_flows", "_seen_at", "min_rtt")

    LIFETIME = 40.0  # seconds without a round trip as short
    NEAR = 1.05
    STEP = 1.3  # that the minimum may grow by at once

    def __init__(self) -> None:
        self.min_rtt = float("inf")
        self._seen_at = 0.0
        self._candidate = float("inf")
        self._drain_from = 0.0  # from then on the drain has had its effect
        self._drain_until = 0.0
        self._bandwidth = 0.0  # of all flows together, bytes per second
        self._flows = 0

    def count(self, bandwidth: float, flows: int) -> None:
        """So much is to be added to what the flows of this path have, and to their number."""
        self._bandwidth += bandwidth
        self._flows += flows

    @property
    def fair_share(self) -> float:
        """Bytes per second, of those flows that are not limited by their applications."""
        return self._bandwidth / self._flows if self._flows else 0.0

    def sample(self, rtt: float, now: float) -> None:
        if rtt <= self.min_rtt * self.NEAR:
            self._seen_at = now
            if rtt < self.min_rtt:
                self.min_rtt = rtt
        if self._drain_from <= now and rtt < self._candidate:
            self._candidate = rtt

    def draining(self, now: float, mean_rtt: float) -> bool:
        """Asked once for each ACK: begins a drain when the minimum is old, ends it after a round trip."""
        if self._drain_until:
            if now < self._drain_until:
                return True
            self._drain_until = 0.0
            self._seen_at = now
            # Not all at once: perhaps others did not drain, or it was too short.
            limit = self.min_rtt * self.STEP
            if self._candidate > limit:
                self._seen_at -= 0.75 * self.LIFETIME
            self.min_rtt = min(self._candidate, limit)
        elif now - self._seen_at > self.LIFETIME:
            if now - self._seen_at > 2 * self.LIFETIME:  # nothing was sent meanwhile: what comes now is news enough
                self._seen_at = now - self.LIFETIME / 2
                return False
            self._drain_from = now + mean_rtt
            self._drain_until = now + 2 * mean_rtt
            self._candidate = float("inf")
            return True
        return False


class CongestionControl(Protocol):
    cwnd: int
    ssthresh: int

    def join(self, path: SharedPath) -> None:
        """Before anything is sent: the path that this connection shares with others."""
        ...

    def leave(self) -> None:
        """The connection is over."""
        ...

    def on_sent(self, size: int) -> None:
        """A segment of `size` went out, new or again."""
        ...

    def on_delivered(self, sample: RateSample, now: float) -> None:
        """An ACK showed something delivered, by its number or by SACK, in any phase."""
        ...

    def on_ack(self, acked: int, in_flight: int, now: float, srtt: float | None) -> None:
        """`acked` bytes were newly acknowledged outside fast recovery; `in_flight` is from before the ACK."""
        ...

    def on_loss(self, in_flight: int, flight_size: int, now: float) -> None:
        """Fast recovery begins: once per window of data. `flight_size` counts what was SACKed before, too."""
        ...

    def on_timeout(self, in_flight: int, now: float, first: bool) -> None:
        """The retransmission timer fired; `first` unless this very data had timed out before."""
        ...

    def on_recovery_exit(self, in_flight: int, now: float) -> None:
        """All data that was outstanding when recovery began is acknowledged."""
        ...

    def undo(self) -> None:
        """The latest reduction was for nothing: what seemed lost had arrived."""
        ...

    def on_idle(self, now: float) -> None:
        """Nothing was sent for longer than one RTO (RFC 5681 4.1)."""
        ...

    def set_mss(self, mss: int) -> None: ...


CongestionFactory = Callable[[int, int], CongestionControl]  # (mss, initial window)


def initial_window(mss: int, segments: int) -> int:
    """RFC 6928: `min(10 * MSS, max(2 * MSS, 14600))` for ten segments."""
    return min(segments * mss, max(2 * mss, segments * 1460))
