"""How long a server keeps a connection that lies idle: what it says, and what was seen of it (RFC 9112 9.3, 9.5).

A connection that the server closes while a request is on its way costs a round trip and the request is sent twice. So
a connection is given up here a little before the server will: a request that leaves now arrives half a round trip
later, and its answer had left the server half a round trip before it was here.
"""

from __future__ import annotations

import re

from .headers import Headers, get_all

# Not registered, but what Apache, Node and others send (RFC 2068 19.7.1.1).
_TIMEOUT = re.compile(r"(?<![\w-])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)

BRIEFEST = 0.5  # s idle; an end that comes sooner has other reasons
APART = 1.0  # s between two ends that count: a server that stops ends many connections at once
BELIEVED = 600.0  # s; a server may change its ways
JITTER = 0.25  # s


def announced(headers: Headers) -> float | None:
    """The seconds of `Keep-Alive: timeout=N`, the smallest where there are several; None: not said, or not readable."""
    found = [float(seconds) for value in get_all(headers, "keep-alive") for seconds in _TIMEOUT.findall(value)]
    return min(found, default=None)


def usable(kept: float, round_trip: float) -> float:
    """For how many seconds of idleness a request still arrives in time; zero or less: never."""
    return kept - 1.5 * round_trip - JITTER


class IdleEnds:
    """When connections of one origin were ended that lay idle. Two at about the same age are a habit."""

    def __init__(self) -> None:
        self._age: float | None = None
        self._at = 0.0
        self._kept: float | None = None

    def seen(self, now: float, age: float) -> None:
        """The server ended a connection that had been idle for `age` seconds."""
        if age < BRIEFEST or (self._age is not None and now - self._at < APART):
            return
        if self._age is not None and abs(age - self._age) <= max(1.0, 0.25 * age):
            self._kept = min(age, self._age)
        self._age, self._at = age, now

    def kept(self, now: float) -> float | None:
        """After how many seconds the server is expected to end a connection; None: nothing is known."""
        return self._kept if now - self._at <= BELIEVED else None
