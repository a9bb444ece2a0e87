"""Loss detection by time, after RACK (RFC 8985 6), with a reordering window that is learned.

A segment is lost when one that was sent later has been delivered, and this one is still missing a reordering window
after it should have arrived. RFC 8985 takes a quarter of the minimum round trip for that window; a mix network delays
each packet by itself and needs more. So the window follows what is seen: a segment that was sent once and arrives
after later ones shows how long waiting would have been right, and a D-SACK (RFC 2883) shows that it was too short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .scoreboard import Scoreboard, Sent

INFINITY = float("inf")
_MARGIN = 1.5  # over the longest lateness seen
_FORGET = 1 / 1024  # per late arrival that was shorter
PATIENCE = 16  # recoveries
CLOCK = 0.002  # seconds that two readings of the timestamp clock may be wrong by


class Rack:
    __slots__ = (
        "_end",
        "_highest",
        "_lateness",
        "_order",
        "_patience",
        "_sent_at",
        "_spurious_at",
        "_steps",
        "reordering",
        "rtt",
        "timestamps",
    )

    def __init__(self) -> None:
        self._order: deque[tuple[Sent, int]] = deque()  # by time of transmission, with its number
        self._sent_at = -INFINITY  # of the latest transmission known delivered, and its end
        self._end = 0
        self._highest = 0  # the end of the highest segment known delivered
        self.rtt = 0.0
        self.reordering = False
        self._lateness = 0.0
        self._steps = 1  # quarters of the minimum round trip, for what D-SACKs say
        self._patience = 0
        self._spurious_at = -INFINITY
        self.timestamps = False  # lateness can be read from echoes

    def sent(self, record: Sent) -> None:
        self._order.append((record, record.transmissions))

    def delivered(self, records: Iterable[Sent], now: float, min_rtt: float, age: float | None = None) -> None:
        """Newly acknowledged or SACKed records (RFC 8985 6.2 steps 1 to 3), and the measure of lateness.

        `age` is that of the timestamp which the ACK echoes, when it acknowledged something new. It is of the very
        segment that filled the hole at the left edge, be it sent once or twice, so lateness is read from it alone:
        without it, a lost ACK looks like a late segment.
        """
        # Compared with what was known before this ACK: what it shows for the first time may have come in any order.
        highest, sent_at, usual = self._highest, self._sent_at, self.rtt
        if age is not None:
            self.timestamps = True
            if now - age < sent_at - CLOCK:
                self.reordering = True
                self._learn(age - usual)
        for record in records:
            rtt = now - record.sent_at
            end = record.end
            if record.transmissions > 1:
                if rtt < min_rtt:
                    continue  # the answer to an earlier transmission
            elif end <= highest and record.sent_at <= sent_at and not self.timestamps:
                self.reordering = True
                self._learn(rtt - usual)
            if end > self._highest:
                self._highest = end
            if record.sent_at > self._sent_at or (record.sent_at == self._sent_at and end > self._end):
                self._sent_at = record.sent_at
                self._end = end
                self.rtt = rtt

    @property
    def lateness(self) -> float:
        """How late packets were seen to arrive, in seconds."""
        return self._lateness if self.reordering else 0.0

    def expect(self, lateness: float) -> None:
        """Other connections on this path saw packets arrive so late."""
        if lateness > 0.0:
            self.reordering = True
            self._lateness = max(self._lateness, lateness)

    def resume(self, records: Iterable[Sent]) -> None:
        """Begin again with these in flight, as after a timeout that was for nothing. What seemed the delivery of a
        repetition was that of the original, so it says nothing of what was sent between the two."""
        waiting = sorted((r for r in records if not r.sacked and not r.lost), key=lambda record: record.sent_at)
        self._order = deque((record, record.transmissions) for record in waiting)
        self._sent_at = -INFINITY
        self._end = 0

    def _learn(self, late: float) -> None:
        if late > self._lateness:
            self._lateness = late
        else:
            self._lateness -= (self._lateness - max(late, 0.0)) * _FORGET

    def spurious(self, srtt: float, now: float) -> None:
        """A D-SACK: something was sent again although it had arrived. Counts once in a round trip (6.2 step 4)."""
        self.reordering = True
        self._patience = PATIENCE
        if now >= self._spurious_at + srtt:
            self._spurious_at = now
            self._steps += 1

    def recovered(self) -> None:
        """A recovery is over; after PATIENCE of them without a D-SACK the window is as learned from arrivals."""
        if self._patience:
            self._patience -= 1
            if not self._patience:
                self._steps = 1

    def window(self, min_rtt: float, srtt: float, limit: float, sure: bool) -> float:
        """The reordering window; `sure` when enough was delivered behind a hole to call it a loss anyway.

        RFC 8985 caps it at one smoothed round trip; exponential delays reach further, so `limit` is the timeout.
        """
        if not self.reordering:
            return 0.0 if sure else min(min_rtt / 4, limit)
        return min(max(self._lateness * _MARGIN, min(self._steps * min_rtt / 4, srtt)), limit)

    def detect(self, board: Scoreboard, una: int, window: float, now: float) -> tuple[int, float]:
        """Mark what is lost; returns the bytes newly marked and when to look again (infinity for not)."""
        order = self._order
        marked = 0
        while order:
            record, transmission = order[0]
            if record.sacked or record.lost or record.end <= una or record.transmissions != transmission:
                order.popleft()
                continue
            if record.sent_at > self._sent_at or (record.sent_at == self._sent_at and record.end >= self._end):
                break
            due = record.sent_at + self.rtt + window
            if due > now:
                return marked, due
            order.popleft()
            marked += board.mark(record)
        return marked, INFINITY
