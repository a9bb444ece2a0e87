"""Congestion control behind a narrow interface, and NewReno (RFC 5681, 6582, 6928) behind it.

The sender owns loss detection and the count of bytes in flight; a controller only decides how many may be. All
quantities are bytes. Growth counts acknowledged bytes, not ACKs, so that coalesced ACKs do not slow it (RFC 3465).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class CongestionControl(Protocol):
    cwnd: int
    ssthresh: int

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


class NewReno:
    """Slow start, congestion avoidance and halving."""

    __slots__ = ("_before", "_credit", "_initial", "cwnd", "mss", "ssthresh")

    def __init__(self, mss: int, initial_window: int) -> None:
        self.mss = mss
        self.cwnd = initial_window
        self.ssthresh = 1 << 62
        self._initial = initial_window
        self._before: tuple[int, int] | None = None  # cwnd and ssthresh before the latest reduction
        self._credit = 0  # bytes acknowledged since the last step of congestion avoidance

    def on_ack(self, acked: int, in_flight: int, now: float, srtt: float | None) -> None:
        # A window that is not used proves nothing about the path (RFC 7661): it does not grow.
        if self.cwnd < self.ssthresh:
            if self.cwnd < 2 * in_flight:
                self.cwnd = min(self.cwnd + acked, max(self.ssthresh, self.cwnd + self.mss))
        elif in_flight + 2 * self.mss >= self.cwnd:
            self._credit += acked
            while self._credit >= self.cwnd:
                self._credit -= self.cwnd
                self.cwnd += self.mss

    def on_loss(self, in_flight: int, now: float) -> None:
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(in_flight // 2, 2 * self.mss)
        self.cwnd = self.ssthresh
        self._credit = 0

    def on_timeout(self, in_flight: int, now: float, first: bool) -> None:
        if first:
            self._before = (self.cwnd, self.ssthresh)
            self.ssthresh = max(in_flight // 2, 2 * self.mss)
        self.cwnd = self.mss
        self._credit = 0

    def on_recovery_exit(self, in_flight: int, now: float) -> None:
        # RFC 6582 3.2 step 3, option 2: what may burst out is bounded by the caller's poll limit.
        self.cwnd = self.ssthresh

    def undo(self) -> None:
        if self._before is not None:
            self.cwnd = max(self.cwnd, self._before[0])
            self.ssthresh = max(self.ssthresh, self._before[1])
            self._before = None

    def on_idle(self, now: float) -> None:
        self.cwnd = min(self.cwnd, self._initial)

    def set_mss(self, mss: int) -> None:
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)


def initial_window(mss: int, segments: int) -> int:
    """RFC 6928: `min(10 * MSS, max(2 * MSS, 14600))` for ten segments."""
    return min(segments * mss, max(2 * mss, segments * 1460))
