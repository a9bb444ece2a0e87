"""A token bucket: so many events per second, with a burst of one second's worth."""

from __future__ import annotations


class TokenBucket:
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
