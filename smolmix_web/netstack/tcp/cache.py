"""What connections learn about the tunnel and leave to the next one (RFC 9040): round trips and reordering.

One entry for all destinations: nearly all of a round trip is the mix network's, and so is the reordering.
"""

from __future__ import annotations

from .config import TcpConfig
from .congestion import SharedPath
from .rtt import RttEstimator

LIFETIME = 900.0  # seconds without news


class PathCache:
    __slots__ = ("_at", "_known_lateness", "_rtt", "lateness", "shared")

    def __init__(self, config: TcpConfig) -> None:
        self._rtt = RttEstimator(config.initial_rto, config.min_rto, config.max_rto)
        self._at = float("-inf")
        self.shared = SharedPath()
        self._known_lateness = config.lateness
        self.lateness = config.lateness  # seconds that packets arrive after later ones

    def sample(self, rtt: float, now: float) -> None:
        """A handshake was answered after this time."""
        if now - self._at > LIFETIME:
            self._rtt.srtt = None
        self._rtt.sample(rtt)
        self._at = now

    def reordering(self, lateness: float) -> None:
        """What a connection had seen when it ended; old news fade."""
        self.lateness = max(lateness, self.lateness * 0.75, self._known_lateness)

    def initial_rto(self, config: TcpConfig, now: float) -> float:
        """For the first SYN: `config.initial_rto` until a round trip is known."""
        if now - self._at > LIFETIME:
            return config.initial_rto
        return min(max(self._rtt.base_rto, config.min_rto), config.max_rto)
