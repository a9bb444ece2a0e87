"""The mirror of the exit's pile of our SURBs (docs/protocol/ipr.md 4.5 and 4.6, client-behaviour.md 5.8).

When the pile is empty the exit can neither answer nor ask for more, so the client watches: given minus spent. Spent
replies are known even when lost, by the sequence numbers of data replies. What the mirror cannot see are SURBs that
never arrived; a request for more corrects it, since the exit asks only below a known mark.
"""

from __future__ import annotations

LOW = 30  # below: top up
CEILING = 200  # above: the exit has plenty, attach none
REQUEST_MARK = 60  # the exit asks when fewer than reserve 10 plus buffer 50 are left
TOP_UP = 24  # seven packets exactly
TOP_UP_INTERVAL = 2.0  # s, so that a wrong mirror cannot flood


class SurbAccount:
    def __init__(self, low: int = LOW, ceiling: int = CEILING) -> None:
        self._low = low
        self._ceiling = ceiling
        self._next_top_up = 0.0
        self.balance = 0  # SURBs the exit should still hold
        self.given = 0
        self.spent = 0

    def start(self, now: float) -> None:
        """Connected: the exit sends a request of its own along with its answer, so leave it the first word."""
        self._next_top_up = now + TOP_UP_INTERVAL

    def give(self, count: int) -> None:
        self.given += count
        self.balance += count

    def spend(self, count: int) -> None:
        self.spent += count
        self.balance = max(0, self.balance - count)

    def requested(self) -> None:
        """A SURB request arrived: one spent, and fewer than the mark were left."""
        self.spend(1)
        self.balance = min(self.balance, REQUEST_MARK)

    @property
    def wants_fill(self) -> bool:
        """Whether free room in a packet should carry SURBs; building them costs time, so not beyond the ceiling."""
        return self.balance < self._ceiling

    def top_up(self, now: float) -> int:
        """SURBs to send right now in a message of their own; 0 if none are needed."""
        if self.balance >= self._low or now < self._next_top_up:
            return 0
        self._next_top_up = now + TOP_UP_INTERVAL
        return TOP_UP

    def next_deadline(self) -> float | None:
        return self._next_top_up if self.balance < self._low else None
