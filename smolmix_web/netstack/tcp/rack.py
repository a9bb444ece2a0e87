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
_DSACK_GROWTH = 1.5


class Rack:
    __slots__ = ("_end", "_lateness", "_order", "_sent_at", "reordering", "rtt")

    def __init__(self) -> None:
        self._order: deque[tuple[Sent, int]] = deque()  # by time of transmission, with its number
        self._sent_at = -INFINITY  # of the latest transmission known delivered, and its end
        self._end = 0
        self.rtt = 0.0
        self.reordering = False
        self._lateness = 0.0

    def sent(self, record: Sent) -> None:
        self._order.append((record, record.transmissions))

    def delivered(self, records: Iterable[Sent], now: float, min_rtt: float) -> None:
        """Newly acknowledged or SACKed records (RFC 8985 6.2 steps 1 to 3, and the measure of lateness)."""
        for record in records:
            rtt = now - record.sent_at
            later = record.sent_at > self._sent_at or (record.sent_at == self._sent_at and record.end > self._end)
            if record.transmissions > 1:
                if rtt < min_rtt:
                    continue  # the answer to an earlier transmission
            elif not later and self._end:
                self.reordering = True
                self._learn(rtt - self.rtt)
            if later:
                self._sent_at = record.sent_at
                self._end = record.end
                self.rtt = rtt

    def _learn(self, late: float) -> None:
        if late > self._lateness:
            self._lateness = late
        else:
            self._lateness -= (self._lateness - max(late, 0.0)) * _FORGET

    def spurious(self, srtt: float, limit: float) -> None:
        """A D-SACK: something was sent again although it had arrived."""
        self.reordering = True
        self._lateness = min(max(self._lateness * _DSACK_GROWTH, srtt / 8), limit)

    def window(self, min_rtt: float, limit: float, sure: bool) -> float:
        """The reordering window; `sure` when enough was delivered behind a hole to call it a loss anyway.

        RFC 8985 caps it at one smoothed round trip; exponential delays reach further, so `limit` is the timeout.
        """
        if not self.reordering:
            return 0.0 if sure else min(min_rtt / 4, limit)
        return min(max(self._lateness * _MARGIN, min_rtt / 4), limit)

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
