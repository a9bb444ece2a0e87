"""What becomes of a message: all its fragments acknowledged, or given up and why.

An ack comes from the gateway of the recipient, which has the fragment or has given it to the recipient. It is not the
recipient's word.
"""

from __future__ import annotations

from collections.abc import Callable


class Delivery:
    """Follows one message; hand a new one to `send` or `send_reply`. It ends once, and then calls `on_end`.

    `failure`: None, or `not_acknowledged`, `unroutable` (the recipient's gateway left the network, or its key is of no
    use), `no_surbs`.
    """

    __slots__ = ("_missing", "ended", "failure", "on_end")

    def __init__(self, on_end: Callable[[Delivery], None] | None = None) -> None:
        self._missing = 0
        self.ended = False
        self.failure: str | None = None
        self.on_end = on_end

    @property
    def delivered(self) -> bool:
        return self.ended and self.failure is None

    def expect(self, fragments: int) -> None:
        """The message was queued and has so many."""
        self._missing = fragments

    def acknowledged(self) -> None:
        """One fragment more was."""
        self._missing -= 1
        if self._missing == 0:
            self._end(None)

    def give_up(self, reason: str) -> None:
        self._end(reason)

    def _end(self, failure: str | None) -> None:
        if self.ended:
            return
        self.ended, self.failure = True, failure
        if self.on_end is not None:
            self.on_end(self)
