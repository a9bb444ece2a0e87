"""What the sender asks of a congestion controller. The sender owns loss detection, the count of bytes in flight and the
measurement of the delivery rate (rate.py); a controller only decides how many bytes may be in flight.

All quantities are bytes and seconds. Growth counts acknowledged bytes, not ACKs, so that coalesced ACKs do not slow it
(RFC 3465).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..rate import RateSample

INFINITY = float("inf")


class SharedPath:
    """What all connections of a stack know of the path that they share, the tunnel: the shortest round trip, and a
    time when they all send less, to see it without their queue. Alone, a newcomer would take the queue of the others
    for the path (the trouble of BBR that RFC 9040 sharing cures).

    A path may become longer, too, and the old minimum then looks like a queue that never drains. Two things tell them
    apart before the minimum is old: a segment that was sent when nothing of ours was on its way found no queue of
    ours; and where a queue of ours stands, the round trip is in proportion to what is in flight (`doubt`)."""

    __slots__ = (
        "_bandwidth",
        "_candidate",
        "_doubt_from",
        "_doubted",
        "_drain_from",
        "_drain_until",
        "_flight_after",
        "_flight_before",
        "_flows",
        "_heard_at",
        "_patience",
        "_seen_at",
        "in_flight",
        "min_rtt",
    )

    LIFETIME = 40.0  # seconds without a round trip as short
    PATIENCE = (5.0, 20.0)  # seconds after a doubt that was wrong: twice as many each time, up to
    LONGER = 1.5  # than the minimum: not the path that we knew
    SURE = 1.2
    NEAR = 1.05
    STEP = 1.3  # that the minimum may grow by at once

    def __init__(self) -> None:
        self.min_rtt = INFINITY
        self._seen_at = 0.0
        self._candidate = INFINITY
        self._drain_from = 0.0  # from then on the drain has had its effect
        self._drain_until = 0.0
        self._bandwidth = 0.0  # of all flows together, bytes per second
        self._flows = 0
        self._heard_at = 0.0  # the latest sample of any flow
        self._doubt_from = 0.0
        self._doubted = 0.0  # the round trip that this drain is to explain, or 0
        self._flight_before = self._flight_after = 0
        self._patience = self.PATIENCE[0]
        self.in_flight = 0  # bytes of all flows, each as of its latest ACK

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
        elif rtt > self.min_rtt * self.LONGER and now - self._heard_at > rtt:
            # What was on its way before this segment would have been heard of by now: the segment was alone.
            self._seen_at = now
            self.min_rtt = rtt
        self._heard_at = now
        if self._drain_from <= now and rtt < self._candidate:
            if self._candidate == INFINITY:
                self._flight_after = self.in_flight
            self._candidate = rtt

    def starting(self, until: float) -> None:
        """A flow looks for what the path takes: a queue before this time is likely its."""
        self._doubt_from = max(self._doubt_from, until)

    @property
    def in_doubt(self) -> bool:
        return self._doubted > 0.0

    def doubt(self, rtt: float, now: float) -> None:
        """For some round trips none was shorter than `rtt`, though the window is below what the path is known to
        take: all drain, to see whether this is our queue."""
        if not self._drain_until and now >= self._doubt_from:
            self._doubted = rtt
            self._flight_before = self.in_flight
            self._drain(now, rtt)

    def _drain(self, now: float, rtt: float) -> None:
        self._drain_from = now + rtt
        self._drain_until = now + 2 * rtt
        self._candidate = INFINITY

    def draining(self, now: float, mean_rtt: float) -> bool:
        """Asked once for each ACK: begins a drain when the minimum is old, ends it after a round trip."""
        if self._drain_until:
            if now < self._drain_until:
                return True
            self._drain_until = 0.0
            if self._doubted:
                self._judge(now)
                return False
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
            self._drain(now, mean_rtt)
            return True
        return False

    def _judge(self, now: float) -> None:
        """After a drain for a doubt: was the round trip still in proportion to what was in flight? If not, no queue
        of ours stood any more. Without a sample the path became longer still, and nothing is known yet."""
        before, self._doubted = self._doubted, 0.0
        if self._candidate == INFINITY:
            return
        old = self.min_rtt
        if self._candidate * self._flight_before > self.SURE * before * self._flight_after:
            self.min_rtt = self._candidate
            self._seen_at = now
        if self.min_rtt > old * self.SURE:
            self._patience = self.PATIENCE[0]
        else:
            self._doubt_from = now + self._patience
            self._patience = min(2 * self._patience, self.PATIENCE[1])


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
