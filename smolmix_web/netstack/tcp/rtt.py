"""Round-trip estimation and the retransmission timeout (RFC 6298).

The caller keeps Karn's rule: only segments that were sent once are sampled.
"""

from __future__ import annotations

ALPHA = 1 / 8
BETA = 1 / 4
K = 4
GRANULARITY = 0.001


class RttEstimator:
    """Seconds throughout. `rto` includes the back-off; `base_rto` does not."""

    __slots__ = ("_backoff", "base_rto", "latest", "max_rto", "min_rto", "min_rtt", "rttvar", "samples", "srtt")

    def __init__(self, initial_rto: float, min_rto: float, max_rto: float) -> None:
        self.min_rto = min_rto
        self.max_rto = max_rto
        self.base_rto = initial_rto
        self.srtt: float | None = None
        self.rttvar = 0.0
        self.latest = 0.0
        self.samples = 0
        self.min_rtt = float("inf")
        self._backoff = 1

    @property
    def rto(self) -> float:
        return min(self.base_rto * self._backoff, self.max_rto)

    def sample(self, rtt: float) -> None:
        self.latest = rtt
        self.samples += 1
        if rtt < self.min_rtt:
            self.min_rtt = rtt
        if self.srtt is None:
            self.srtt = rtt
            self.rttvar = rtt / 2
        else:
            self.rttvar += BETA * (abs(self.srtt - rtt) - self.rttvar)
            self.srtt += ALPHA * (rtt - self.srtt)
        self.base_rto = min(max(self.srtt + max(GRANULARITY, K * self.rttvar), self.min_rto), self.max_rto)

    def back_off(self) -> None:
        """A timeout: double (5.5). The factor stays bounded, `rto` is clamped anyway."""
        if self._backoff < 1 << 16:
            self._backoff <<= 1

    def progress(self) -> None:
        """New data was acknowledged: the back-off ends."""
        self._backoff = 1

    def reset(self, rto: float) -> None:
        """Start again with this timeout, as after a lost SYN (5.7)."""
        self.base_rto = rto
        self._backoff = 1
