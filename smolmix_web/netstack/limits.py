"""Bounds that several flows share: events per second, and bytes of memory."""

from __future__ import annotations


class TokenBucket:
    """So many events per second, with a burst of one second's worth."""

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._tokens = rate
        self._at = float("-inf")

    def take(self, now: float) -> bool:
        if now > self._at:
            if self._at != float("-inf"):
                self._tokens = min(self.rate, self._tokens + (now - self._at) * self.rate)
            self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Budget:
    """Bytes that buffers may grow by, all together."""

    __slots__ = ("left",)

    def __init__(self, total: int) -> None:
        self.left = total

    def take(self, wanted: int) -> int:
        """As many as there are, at most `wanted`."""
        granted = min(wanted, self.left)
        self.left -= granted
        return granted

    def give(self, count: int) -> None:
        self.left += count
