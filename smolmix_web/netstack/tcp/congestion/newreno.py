"""NewReno (RFC 5681, 6582, 6928): slow start, congestion avoidance, halving. The frame of CUBIC, too."""

from __future__ import annotations

from ..rate import RateSample
from .base import SharedPath
from .prr import Prr


class NewReno:
    """Slow start, congestion avoidance and halving; recovery by PRR where the peer sends SACKs."""

    __slots__ = ("_before", "_credit", "_initial", "_prr", "cwnd", "mss", "ssthresh")

    BETA = 0.5  # what a loss leaves of the window

    def __init__(self, mss: int, initial_window: int) -> None:
        self.mss = mss
        self.cwnd = initial_window
        self.ssthresh = 1 << 62
        self._initial = initial_window
        self._before: tuple[int, int] | None = None  # cwnd and ssthresh before the latest reduction
        self._credit = 0  # bytes acknowledged since the last step of congestion avoidance
        self._prr = Prr()

    def join(self, path: SharedPath) -> None:
        pass

    def leave(self) -> None:
        pass

    def on_sent(self, size: int) -> None:
        if self._prr.active:
            self._prr.sent(size)

    def on_delivered(self, sample: RateSample, now: float) -> None:
        if self._prr.active and sample.sack:
            self.cwnd = self._prr.window(sample.delivered, sample.pipe, self.mss, sample.progress and not sample.lost)

    def on_ack(self, acked: int, in_flight: int, now: float, srtt: float | None) -> None:
        # A window that is not used proves nothing about the path (RFC 7661): it does not grow.
        if self.cwnd < self.ssthresh:
            if self.cwnd < 2 * in_flight:
                self.cwnd = min(self.cwnd + self._growth(acked), max(self.ssthresh, self.cwnd + self.mss))
        elif in_flight + 2 * self.mss >= self.cwnd:
            self._avoid(acked, now, srtt)

    def _growth(self, acked: int) -> int:
        """Bytes that the window grows by in slow start."""
        return acked

    def _avoid(self, acked: int, now: float, srtt: float | None) -> None:
        """Congestion avoidance: one segment in a round trip."""
        self._credit += acked
        while self._credit >= self.cwnd:
            self._credit -= self.cwnd
            self.cwnd += self.mss

    def _reduce(self, flight_size: int) -> None:
        self._before = (self.cwnd, self.ssthresh)
        self.ssthresh = max(int(flight_size * self.BETA), 2 * self.mss)
        self._credit = 0

    def on_loss(self, in_flight: int, flight_size: int, now: float) -> None:
        self._reduce(flight_size)
        self._prr.start(in_flight, self.ssthresh)
        self.cwnd = self.ssthresh

    def on_timeout(self, in_flight: int, now: float, first: bool) -> None:
        if first:
            self._reduce(in_flight)
        self._prr.stop()
        self.cwnd = self.mss

    def on_recovery_exit(self, in_flight: int, now: float) -> None:
        # RFC 6582 3.2 step 3, option 2: what may burst out is bounded by the caller's poll limit.
        self._prr.stop()
        self.cwnd = self.ssthresh

    def undo(self) -> None:
        if self._before is not None:
            self._prr.stop()
            self.cwnd = max(self.cwnd, self._before[0])
            self.ssthresh = max(self.ssthresh, self._before[1])
            self._before = None

    def on_idle(self, now: float) -> None:
        self.cwnd = min(self.cwnd, self._initial)

    def set_mss(self, mss: int) -> None:
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)
