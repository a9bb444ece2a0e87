"""CUBIC (RFC 9438): after a loss the window returns on a cubic curve to where the loss was, and beyond. Its first slow
start is that of HyStart++ (hystart.py)."""

from __future__ import annotations

from ..rate import RateSample
from .hystart import GROWTH_DIVISOR, HyStart
from .newreno import NewReno

C = 0.4  # segments per second cubed (4.1, 5.1)


class Cubic(NewReno):
    __slots__ = ("_before_w_max", "_epoch", "_hystart", "_k", "_w_est", "_w_max")

    BETA = 0.7

    def __init__(self, mss: int, initial_window: int) -> None:
        super().__init__(mss, initial_window)
        self._w_max = 0.0  # segments
        self._before_w_max = 0.0
        self._epoch: float | None = None  # when the present congestion avoidance began
        self._k = 0.0
        self._w_est = 0.0  # what Reno would have (4.3)

        self._hystart: HyStart | None = HyStart()  # until the first slow start ends (RFC 9406 4.3)

    def on_delivered(self, sample: RateSample, now: float) -> None:
        if self._hystart is not None:
            if sample.round_started and self._hystart.on_round():
                self.ssthresh = self.cwnd
                self._hystart = None
            elif sample.rtt is not None:
                self._hystart.on_sample(sample.rtt)
        super().on_delivered(sample, now)

    def _growth(self, acked: int) -> int:
        if self._hystart is not None and self._hystart.conservative:
            return acked // GROWTH_DIVISOR
        return acked

    def _avoid(self, acked: int, now: float, srtt: float | None) -> None:
        window = self.cwnd / self.mss
        if self._epoch is None:
            self._epoch = now
            self._w_est = window
            if self._w_max <= window:  # 4.8: no loss to return from
                self._w_max = window
            self._k = ((self._w_max - window) / C) ** (1 / 3)
        segments = acked / self.mss
        alpha = 1.0 if self._w_est >= self._w_max else 3 * (1 - self.BETA) / (1 + self.BETA)
        self._w_est += alpha * segments / window
        ahead = now - self._epoch + (srtt or 0.0) - self._k
        target = min(max(C * ahead**3 + self._w_max, window), 1.5 * window)
        window += (target - window) / window * segments
        self.cwnd = max(self.cwnd, int(max(window, self._w_est) * self.mss))

    def _reduce(self, flight_size: int) -> None:
        self._hystart = None
        window = self.cwnd / self.mss
        self._before_w_max = self._w_max
        # 4.7, fast convergence: a window that was lower than the last leaves room for newcomers.
        self._w_max = window * (1 + self.BETA) / 2 if window < self._w_max else window
        self._epoch = None
        super()._reduce(flight_size)

    def undo(self) -> None:
        if self._before is not None:
            self._w_max = self._before_w_max
            self._epoch = None
        super().undo()

    def on_idle(self, now: float) -> None:
        self._epoch = None  # 4.2: idle time does not count
        super().on_idle(now)
