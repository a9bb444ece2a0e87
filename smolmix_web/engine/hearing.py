"""How far behind are we in listening? A deadline passes only when all that came before it has been heard.

A machine that is too slow reads late, a line that is too thin brings late: what should have come by a deadline may be
here, unread, or on its way behind what we ourselves sent. So whoever waits for a sign of others judges by the time
that has been heard, which is `now` less the lag. Two things tell it:

* frames that arrived and are not read yet, and time in which our own loop could not take any (`read`);
* the gateway, which answers each packet in order, on the same line as all else: the oldest packet without its answer
  says how long the line is (`line`). A gateway that answers nothing says nothing.

On a machine and a line that keep up there is no lag. It counts up to `MOST`, so a peer that is really gone is found
at most so much later.
"""

from __future__ import annotations

USUAL = 1.0  # s that an answer of the gateway may take on any line
MOST = 30.0  # s of lag that count


class Hearing:
    """Set by the owner before each look at the clock; `own` and `lag` in seconds."""

    def __init__(self) -> None:
        self.own = 0.0
        self.lag = 0.0

    def note(self, now: float, read: float, waiting_since: float | None) -> None:
        """`read`: all that arrived before has been handled. `waiting_since`: when the oldest packet left that the
        gateway has not answered."""
        self.own = min(MOST, max(0.0, now - read))
        line = 0.0 if waiting_since is None else now - waiting_since - USUAL
        self.lag = min(MOST, max(self.own, line))
