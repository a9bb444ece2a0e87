"""Numbers that a stranger must not guess: local ports (RFC 6056 3.3.1) and initial sequence numbers (RFC 6528)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ..errors import NetworkError
from ..rand import RandomSource

_TRIES = 64


class Identifiers:
    def __init__(self, rng: RandomSource, ports: tuple[int, int]) -> None:
        self._rng = rng
        self._first, self._last = ports
        self._secret = rng.bytes(32)

    def initial_sequence_number(self, key: bytes, now: float) -> int:
        """`M + F(connection)`: a 4 microsecond clock, and a keyed hash that differs for each four-tuple."""
        digest = hashlib.blake2s(key, key=self._secret, digest_size=4).digest()
        return (int(now * 250_000) + int.from_bytes(digest, "big")) & 0xFFFFFFFF

    def port(self, taken: Callable[[int], bool]) -> int:
        """A random port that is not `taken`. Raises NetworkError (code `no_ports`)."""
        span = self._last - self._first + 1
        for _ in range(_TRIES):
            port = self._first + self._rng.below(span)
            if not taken(port):
                return port
        start = self._rng.below(span)
        for step in range(span):
            port = self._first + (start + step) % span
            if not taken(port):
                return port
        raise NetworkError("all local ports are in use", code="no_ports", phase="connect")
