"""How long an exit remembers us: our data, and what the mixnet has delivered of it (docs/protocol/ipr.md 5.6).

An exit gives the addresses of a client to others, without a word, once it has had no data of that client for 60 s. When
it had the last one we know within bounds: not after the newest that left, and not before the newest whose ack, or that
of something later, has come back.
"""

from __future__ import annotations

FORGETS = 60.0  # s


class ExitMemory:
    """From a registration at `now` on."""

    def __init__(self, now: float) -> None:
        self._newest = now  # data of ours that left
        self._delivered = now  # the newest known to be there
        self._unsure: float | None = None  # what left first after that

    def data_sent(self, now: float) -> None:
        self._newest = now
        if self._unsure is None:
            self._unsure = now

    def path_proven(self, left: float) -> None:
        """Something that left then has arrived."""
        if self._unsure is not None and left >= self._unsure:
            self._delivered = self._unsure
            self._unsure = self._newest if self._newest > self._delivered else None

    def slept(self, seconds: float) -> None:
        """So much time went by that `now` does not count."""
        self._newest -= seconds
        self._delivered -= seconds

    def silence(self, now: float) -> float:
        """Seconds since the exit can have heard us last."""
        return now - self._newest

    def is_gone(self, now: float) -> bool:
        """The exit has certainly forgotten us."""
        return self.silence(now) >= FORGETS

    def may_be_gone(self, now: float) -> bool:
        return now - self._delivered >= FORGETS
