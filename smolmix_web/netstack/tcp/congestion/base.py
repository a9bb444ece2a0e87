"""What the sender asks of a congestion controller. The sender owns loss detection, the count of bytes in flight and the
measurement of the delivery rate (rate.py); a controller only decides how many bytes may be in flight.

All quantities are bytes and seconds. Growth counts acknowledged bytes, not ACKs, so that coalesced ACKs do not slow it
(RFC 3465).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..rate import RateSample


class CongestionControl(Protocol):
    cwnd: int
    ssthresh: int

    def on_sent(self, size: int) -> None:
        """A segment of `size` went out, new or again."""
        ...

    def on_delivered(self, sample: RateSample, now: float) -> None:
        """An ACK showed something delivered, by its number or by SACK, in any phase."""
        ...

    def on_ack(self, acked: int, in_flight: int, now: float, srtt: float | None) -> None:
        """`acked` bytes were newly acknowledged outside fast recovery; `in_flight` is from before the ACK."""
        ...

    def on_loss(self, in_flight: int, now: float) -> None:
        """Fast recovery begins: once per window of data."""
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
