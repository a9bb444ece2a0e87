"""The sending half of a connection: what goes out. Lost segments first, then new data within the peer's window and the
congestion window, with sender side silly-window avoidance and Nagle (RFC 9293 3.8.6.2.1, 3.7.4), then probes. Segments
are cut when the stack is polled.

What it is based on: sender_state.py (buffer, window, timer) and recovery.py (arriving ACKs).
"""

from __future__ import annotations

from typing import NamedTuple

from .recovery import LossRecovery
from .sender_state import SIZE_PROBE_INTERVAL_MAX, Doubt, Phase

__all__ = ["Cut", "Phase", "Sender"]


class Cut(NamedTuple):
    """A segment to build: `payload` starts at position `seq`."""

    seq: int
    payload: bytearray
    push: bool
    fin: bool
    again: bool = False  # a retransmission


class Sender(LossRecovery):
    __slots__ = ()

    def _resend_index(self) -> int | None:
        """What must be sent again now, if the congestion window lets it."""
        board = self.board
        at = board.next_lost() if board.lost else None
        if at is not None and self._doubt and not self._force:
            return None  # one is enough to learn whether the timeout was needed
        if at is None:
            # RFC 6675 4, NextSeg (3): nothing known lost, nothing new to send, but a hole stands open.
            if self._config.rack or self.phase is not Phase.RECOVERY or not board.sacked or self._new_length():
                return None
            at = board.next_hole()
            if at is None:
                return None
        record = board.records[at]
        size = min(record.end - record.seq, self.mss)
        if self._force or self.in_flight + size <= self.congestion.cwnd:
            return at
        return None

    def can_send(self) -> bool:
        return self._resend_index() is not None or self._new_length() > 0

    def next_segment(self, now: float, reserve: int = 0) -> Cut | None:
        """Cut the next segment and count it as sent. New data leaves `reserve` bytes of a full segment free."""
        at = self._resend_index()
        if at is not None:
            self._force = False
            return self._cut_again(at, now)
        length = self._new_length(reserve)
        if length:
            if now >= self._size_probe_at:
                length = self._size_probe(length, now)
            return self._cut_new(length, now)
        if self.probe_due:
            self.probe_due = False
            return self._cut_probe(now) if self.snd_nxt == self.snd_una else self._cut_tail(now)
        return None

    def _cut(self, seq: int, end: int, again: bool = False) -> Cut:
        fin = self.fin_at is not None and end > self.fin_at
        return Cut(seq, self.buffer.slice(seq, end - fin), end >= self.buffer.end, fin, again)

    def _size_probe(self, length: int, now: float) -> int:
        """One segment as large as the path was before black-hole detection lowered the MSS, to see whether it takes
        them again (RFC 4821 7); when it is lost, only it has to be sent again, in pieces."""
        size = min(self._path_mss, self._peer_mss) - self._option_size
        usable = self.snd_una + self.snd_wnd - self.snd_nxt
        room = self.congestion.cwnd - self.in_flight
        if size <= self.mss or self.phase is not Phase.OPEN or min(self.buffer.end - self.snd_nxt, usable, room) < size:
            return length
        self._size_probe_end = self.snd_nxt + size
        self._size_probe_interval = min(2 * self._size_probe_interval, SIZE_PROBE_INTERVAL_MAX)
        self._size_probe_at = now + self._size_probe_interval
        return size

    def _cut_new(self, length: int, now: float) -> Cut:
        seq = self.snd_nxt
        if seq == self.snd_una:
            if now - self._sent_at > self.rtt.rto:
                self.congestion.on_idle(now)
            self._progress_at = now
            self.rate.begin_flight(now)
        end = seq + length
        if self.fin_queued and end > self.buffer.end:
            self.fin_at = end - 1
        record = self.board.sent(seq, end, now)
        self.rack.sent(record)
        self.rate.sent(record)
        self.congestion.on_sent(length)
        self.snd_nxt = end
        if end > self.snd_max:
            self.snd_max = end
        self.probe_due = False
        self._sent_at = now
        self._arm(now)
        if not self._unsent() and (in_flight := self.in_flight) + self.mss <= self.congestion.cwnd:
            self.rate.limited_by_application(in_flight)
        return self._cut(seq, end)

    def _cut_again(self, at: int, now: float) -> Cut:
        if self._size_probe_end == self.board.records[at].end:
            self._size_probe_end = None  # lost
        record = self.board.resend(at, self.mss, now)
        self.rack.sent(record)
        self.rate.sent(record)
        self.congestion.on_sent(record.end - record.seq)
        self._resent += 1
        self.retransmits += 1
        if self._doubt is Doubt.TIMED_OUT:
            self._doubt = Doubt.NONE if self.echoes else Doubt.REPEATED
        if self._first_resent_at is None and self.phase is not Phase.OPEN:
            self._first_resent_at = now
        self._sent_at = now
        self._arm(now)
        return self._cut(record.seq, record.end, again=True)

    def _cut_probe(self, now: float) -> Cut | None:
        """A zero-window probe: one position of new data that is not counted as sent."""
        if not self._unsent():
            return None
        usable = self.snd_una + self.snd_wnd - self.snd_nxt
        if usable > 0:  # the override of silly-window avoidance
            return self._cut_new(min(usable, self._unsent(), self.mss), now)
        self.snd_max = max(self.snd_max, self.snd_nxt + 1)
        payload = self.buffer.slice(self.snd_nxt, self.snd_nxt + 1)
        return Cut(self.snd_nxt, payload, True, not payload)

    def _cut_tail(self, now: float) -> Cut | None:
        """A tail loss probe (RFC 8985 7.3): new data, else the last segment, whose SACK shows what came before it.
        With holes open the first hole, which also opens the window. After a probe without an answer both ends."""
        board = self.board
        self.tail_probes += 1
        pair, self._tail_pair = self._tail_pair, False
        if not board.sacked and not pair:
            length = min(self._unsent(), self.mss, self.snd_una + self.snd_wnd - self.snd_nxt)
            if length > 0:
                return self._cut_new(length, now)
        at = board.first_open() if board.sacked or pair else board.last_open()
        if at is None:
            return None
        if self._tail_probes > 1 and not pair:
            self.probe_due = self._tail_pair = True
        self._tail_at = board.records[at].seq
        self._tail_end = self.snd_nxt
        return self._cut_again(at, now)
