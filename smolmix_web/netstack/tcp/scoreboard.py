"""What is in flight: one record per transmitted segment, and what the peer's SACKs say about it (RFC 6675 3, 4).

Records are kept in sequence order. Byte counts (`sacked`, `lost`) are kept up to date as records change, so that
`pipe` costs nothing. Loss detection by count is `detect`: a segment is lost when `dup_thresh` segments' worth of data
above it was SACKed (IsLost of RFC 6675 4). Detection by time stands in rack.py.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Mark(NamedTuple):
    """The state of delivery when a segment was sent."""

    delivered: int
    delivered_at: float
    first_sent_at: float  # of the flight that the segment belongs to
    app_limited: bool


class Sent:
    """One segment in flight: `seq <= position < end`; a FIN counts as the last position."""

    __slots__ = ("end", "first_sent_at", "lost", "mark", "sacked", "sent_at", "seq", "transmissions")

    def __init__(self, seq: int, end: int, sent_at: float) -> None:
        self.seq = seq
        self.end = end
        self.first_sent_at = sent_at
        self.sent_at = sent_at  # of the latest transmission
        self.transmissions = 1
        self.sacked = False
        self.lost = False  # believed lost and not yet sent again
        self.mark: Mark | None = None  # how much had been delivered when it was sent (rate.py)


def _seq(record: Sent) -> int:
    return record.seq


def _end(record: Sent) -> int:
    return record.end


class Scoreboard:
    __slots__ = ("_lost_below", "_lost_from", "_seen", "high_sacked", "lost", "marked", "records", "sacked")

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self.sacked = 0  # bytes
        self.lost = 0  # bytes marked lost, waiting to be sent again
        self.marked = 0  # bytes that were ever marked lost
        self.high_sacked = 0
        self._lost_below = 0  # everything under this position was judged already
        self._seen: dict[int, int] = {}  # blocks of the latest SACK
        self._lost_from = 0  # no lost record stands before this index

    def sent(self, seq: int, end: int, now: float) -> Sent:
        record = Sent(seq, end, now)
        self.records.append(record)
        return record

    def acknowledge(self, ack: int) -> list[Sent]:
        """Remove what `ack` covers, cutting a record it ends in; returns the records that are wholly covered."""
        records = self.records
        count = 0
        for record in records:
            if record.end > ack:
                break
            count += 1
            if record.sacked:
                self.sacked -= record.end - record.seq
            elif record.lost:
                self.lost -= record.end - record.seq
        gone = records[:count]
        del records[:count]
        self._lost_from = max(0, self._lost_from - count)
        if records and records[0].seq < ack:
            first = records[0]
            if first.sacked:
                self.sacked -= ack - first.seq
            elif first.lost:
                self.lost -= ack - first.seq
            first.seq = ack
        return gone

    def sack(self, blocks: Sequence[tuple[int, int]]) -> list[Sent]:
        """Mark what the blocks cover; returns the records newly SACKed. Edges are positions, already checked."""
        records = self.records
        fresh: list[Sent] = []
        seen, self._seen = self._seen, {}
        for start, end in blocks:
            if end > self.high_sacked:
                self.high_sacked = end
            self._seen[start] = end
            # A block mostly repeats the one before: go on where that ended.
            at = bisect_left(records, min(seen.get(start, start), end), key=_seq)
            if at and records[at - 1].seq >= start:
                at -= 1
            while at < len(records) and records[at].end <= end:
                record = records[at]
                at += 1
                if not record.sacked:
                    record.sacked = True
                    fresh.append(record)
                    size = record.end - record.seq
                    self.sacked += size
                    if record.lost:
                        record.lost = False
                        self.lost -= size
        return fresh

    def detect(self, dup_thresh: int, mss: int) -> int:
        """Mark as lost what enough SACKed data stands above of; returns the bytes newly marked.

        A record that was sent again is left to the retransmission timer.
        """
        records = self.records
        needed = (dup_thresh - 1) * mss
        above = 0
        at = bisect_right(records, self.high_sacked, key=_end) - 1
        low = self._lost_below
        while at >= 0 and above <= needed:
            record = records[at]
            if record.end <= low:
                return 0
            if record.sacked:
                above += record.end - record.seq
            at -= 1
        if above <= needed:
            return 0
        marked = 0
        threshold = records[at + 1].seq
        while at >= 0:
            record = records[at]
            if record.end <= low:
                break
            if not record.sacked and not record.lost and record.transmissions == 1:
                marked += self.mark(record)
            at -= 1
        self._lost_below = threshold
        return marked

    def mark(self, record: Sent) -> int:
        """This record is lost; returns its size."""
        record.lost = True
        self._lost_from = 0
        size = record.end - record.seq
        self.lost += size
        self.marked += size
        return size

    def mark_first(self) -> int:
        """The first record is lost by other evidence (duplicate ACKs, a partial ACK); bytes newly marked."""
        if not self.records or self.records[0].lost or self.records[0].sacked:
            return 0
        return self.mark(self.records[0])

    def mark_all(self, forget_sacks: bool) -> None:
        """A timeout: all that is not SACKed is lost (RFC 6675 5.1). With `forget_sacks` even what is, since a
        receiver may discard data behind a hole (RFC 2018 8)."""
        if forget_sacks:
            self._seen = {}
        for record in self.records:
            if record.sacked and forget_sacks:
                record.sacked = False
                self.sacked -= record.end - record.seq
            if not record.sacked and not record.lost:
                self.mark(record)

    def mark_larger(self, mss: int) -> None:
        """The path takes at most `mss`: larger segments cannot have arrived."""
        for record in self.records:
            if record.end - record.seq > mss and not record.sacked and not record.lost:
                self.mark(record)

    def next_lost(self) -> int | None:
        """Index of the first record to send again."""
        if not self.lost:
            return None
        records = self.records
        for at in range(self._lost_from, len(records)):
            if records[at].lost:
                self._lost_from = at
                return at
        return None

    def first_open(self) -> int | None:
        """Index of the first record that is neither SACKed nor waiting to be sent again."""
        for at, record in enumerate(self.records):
            if not record.sacked and not record.lost:
                return at
        return None

    def last_open(self) -> int | None:
        """Index of the last such record."""
        for at in range(len(self.records) - 1, -1, -1):
            if not self.records[at].sacked and not self.records[at].lost:
                return at
        return None

    def unmark(self, since: float) -> int:
        """What was marked lost and not sent again after `since` is on its way after all; bytes unmarked."""
        before = self.lost
        for record in self.records:
            if record.lost and record.sent_at < since:
                record.lost = False
                self.lost -= record.end - record.seq
        return before - self.lost

    def next_hole(self) -> int | None:
        """Index of the first unSACKed record below the highest SACK that was sent once (RFC 6675 4, NextSeg 3)."""
        for at, record in enumerate(self.records):
            if record.end > self.high_sacked:
                return None
            if not record.sacked and not record.lost and record.transmissions == 1:
                return at
        return None

    def resend(self, at: int, limit: int, now: float) -> Sent:
        """Record `at` goes out again; cut to `limit` bytes when it is larger."""
        record = self.records[at]
        if record.end - record.seq > limit:
            rest = Sent(record.seq + limit, record.end, record.sent_at)
            rest.transmissions = record.transmissions
            rest.lost = record.lost
            rest.first_sent_at = record.first_sent_at
            rest.mark = record.mark
            record.end = rest.seq
            self.records.insert(at + 1, rest)
        if record.lost:
            record.lost = False
            self.lost -= record.end - record.seq
        record.transmissions += 1
        record.sent_at = now
        return record
