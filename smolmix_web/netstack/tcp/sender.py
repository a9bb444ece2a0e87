"""The sending half of a connection: buffer, what may be sent next, ACK processing, loss recovery, its timer.

* What may go out: lost segments first, then new data within the peer's window and the congestion window, with sender
  side silly-window avoidance and Nagle (RFC 9293 3.8.6.2.1, 3.7.4). Segments are cut when the stack is polled.
* Recovery: with SACK by RFC 6675; without, NewReno (RFC 6582) on the same accounting, each duplicate ACK standing for
  one segment that left the network. Limited transmit (RFC 3042) follows from both.
* One timer for retransmission (RFC 6298 5), zero-window probes (RFC 9293 3.8.6.1) and the user timeout.

Positions are unwrapped (tcp/seq.py). The SYN is not in here: data starts at `iss + 1`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from .config import TcpConfig
from .congestion import CongestionControl, initial_window
from .rack import Rack
from .rtt import RttEstimator
from .scoreboard import Scoreboard, Sent

INFINITY = float("inf")


class Phase(enum.IntEnum):
    OPEN = 0
    RECOVERY = 1  # fast recovery: losses are known from ACKs
    LOSS = 2  # after a timeout: everything not SACKed counts as lost


class Cut(NamedTuple):
    """A segment to build: `payload` starts at position `seq`."""

    seq: int
    payload: bytearray
    push: bool
    fin: bool


class Sender:
    __slots__ = (
        "_buffer",
        "_buffer_at",
        "_config",
        "_duplicate_bytes",
        "_force",
        "_peer_mss",
        "_progress_at",
        "_recovery_point",
        "_resent",
        "_rtt_mark",
        "_sent_at",
        "_timeouts",
        "_wl1",
        "_wl2",
        "board",
        "congestion",
        "duplicate_acks",
        "fin_at",
        "fin_queued",
        "max_window",
        "mss",
        "phase",
        "probe_due",
        "rack",
        "recoveries",
        "reorder_at",
        "retransmits",
        "rtt",
        "sack_permitted",
        "snd_max",
        "snd_nxt",
        "snd_una",
        "snd_wnd",
        "timeouts",
        "timer_at",
        "want_space",
        "window_scale",
    )

    def __init__(self, config: TcpConfig, rtt: RttEstimator, start: int, mss: int) -> None:
        self._config = config
        self.rtt = rtt
        self.mss = mss
        self._peer_mss = mss
        self.congestion: CongestionControl = config.congestion(mss, initial_window(mss, config.initial_window_segments))
        self.board = Scoreboard()
        self.rack = Rack()
        self.snd_una = self.snd_nxt = self.snd_max = start
        self.snd_wnd = 0
        self.max_window = 0
        self.window_scale = 0
        self.sack_permitted = False
        self.fin_queued = False
        self.fin_at: int | None = None  # position of the FIN once it was sent
        self.timer_at = INFINITY
        self.reorder_at = INFINITY  # a missing segment will have been waited for long enough
        self.probe_due = False
        self.want_space = False  # a write was cut short
        self.duplicate_acks = 0
        self.retransmits = self.timeouts = self.recoveries = 0  # statistics
        self._buffer = bytearray()
        self._buffer_at = start  # position of the first byte of the buffer
        self._wl1 = 0
        self._wl2 = 0
        self.phase = Phase.OPEN
        self._recovery_point = start  # the phase lasts until this is acknowledged
        self._duplicate_bytes = 0  # without SACK: what duplicate ACKs say has left the network
        self._force = False  # the next retransmission passes the congestion window (RFC 6675 5, step 4.3)
        self._timeouts = 0  # in a row
        self._resent = 0  # retransmissions of the present recovery that no D-SACK has called needless
        self._rtt_mark = start  # the next sample is taken from data at or behind this position
        self._progress_at = 0.0
        self._sent_at = -INFINITY

    # -- the application's side

    @property
    def space(self) -> int:
        return max(0, self._config.send_buffer - len(self._buffer))

    @property
    def queued(self) -> int:
        """Bytes not yet acknowledged."""
        return len(self._buffer)

    def enqueue(self, data: bytes | bytearray | memoryview) -> int:
        taken = min(len(data), self.space)
        if taken < len(data):
            self.want_space = True
            with memoryview(data) as view:
                self._buffer += view[:taken]
        else:
            self._buffer += data
        return taken

    def discard(self) -> None:
        """Forget everything; the connection is over."""
        self._buffer = bytearray()
        self._buffer_at = self.snd_nxt
        self.board = Scoreboard()
        self.rack = Rack()
        self.timer_at = self.reorder_at = INFINITY
        self.probe_due = False

    @property
    def fin_acknowledged(self) -> bool:
        return self.fin_at is not None and self.snd_una > self.fin_at

    def writable(self) -> bool:
        """True once when a writer that was cut short should try again."""
        if self.want_space and self.space >= min(4 * self.mss, self._config.send_buffer // 2):
            self.want_space = False
            return True
        return False

    # -- set-up and changes of the path

    def set_window(self, window: int, seq: int, ack: int) -> None:
        """The window of a handshake segment, in bytes."""
        self.snd_wnd = window
        self.max_window = max(self.max_window, window)
        self._wl1, self._wl2 = seq, ack

    def limit_mss(self, mss: int) -> None:
        """The peer's announcement."""
        self._peer_mss = mss

    def set_mss(self, mss: int) -> None:
        """What the path takes has changed; the peer's own limit stays."""
        mss = min(mss, self._peer_mss)
        if mss < self.mss:
            self.board.mark_larger(mss)
            self._force = self.board.lost > 0
        self.mss = mss
        self.congestion.set_mss(mss)

    def start_window(self, segments: int) -> None:
        """Begin congestion control anew with this many segments."""
        self.congestion = self._config.congestion(self.mss, initial_window(self.mss, segments))

    # -- what goes out

    @property
    def in_flight(self) -> int:
        """`pipe` of RFC 6675."""
        board = self.board
        return max(0, self.snd_nxt - self.snd_una - board.sacked - board.lost - self._duplicate_bytes)

    def _unsent(self) -> int:
        """Sequence space that waits: data, and one for the FIN."""
        if self.fin_at is not None:
            return 0
        return self._buffer_at + len(self._buffer) - self.snd_nxt + self.fin_queued

    def _resend_index(self) -> int | None:
        """What must be sent again now, if the congestion window lets it."""
        board = self.board
        at = board.next_lost() if board.lost else None
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

    def _new_length(self) -> int:
        """Sequence space of the new segment that may go now; 0 for none."""
        waiting = self._unsent()
        if not waiting:
            return 0
        usable = self.snd_una + self.snd_wnd - self.snd_nxt
        mss = self.mss
        length = waiting if waiting < mss else mss
        if length > usable:
            length = usable
        if length <= 0:
            return 0
        if length < mss:
            idle = self.snd_una == self.snd_nxt
            if length == waiting:
                if not (self._config.nodelay or idle or self.fin_queued):
                    return 0
            elif not (idle and length * 2 >= self.max_window):
                return 0
        in_flight = self.in_flight
        if in_flight and in_flight + length > self.congestion.cwnd:
            return 0
        return length

    def can_send(self) -> bool:
        return self._resend_index() is not None or self._new_length() > 0

    def next_segment(self, now: float) -> Cut | None:
        """Cut the next segment and count it as sent."""
        board = self.board
        at = self._resend_index()
        if at is None:
            length = self._new_length()
            if length:
                return self._cut_new(length, now)
            if self.probe_due:
                self.probe_due = False
                return self._cut_probe(now)
            return None
        self._force = False
        record = board.resend(at, self.mss, now)
        self.rack.sent(record)
        self._resent += 1
        self.retransmits += 1
        self._sent_at = now
        self._arm(now)
        return self._cut(record.seq, record.end)

    def _cut(self, seq: int, end: int) -> Cut:
        start = seq - self._buffer_at
        stop = end - self._buffer_at
        fin = self.fin_at is not None and end > self.fin_at
        return Cut(seq, self._buffer[start : stop - fin], stop >= len(self._buffer), fin)

    def _cut_new(self, length: int, now: float) -> Cut:
        seq = self.snd_nxt
        if seq == self.snd_una:
            if now - self._sent_at > self.rtt.rto:
                self.congestion.on_idle(now)
            self._progress_at = now
        end = seq + length
        if self.fin_queued and end > self._buffer_at + len(self._buffer):
            self.fin_at = end - 1
        self.rack.sent(self.board.sent(seq, end, now))
        self.snd_nxt = end
        if end > self.snd_max:
            self.snd_max = end
        self.probe_due = False
        self._sent_at = now
        self._arm(now)
        return self._cut(seq, end)

    def _cut_probe(self, now: float) -> Cut | None:
        """A zero-window probe: one position of new data that is not counted as sent."""
        if not self._unsent() or self.snd_nxt > self.snd_una:
            return None
        usable = self.snd_una + self.snd_wnd - self.snd_nxt
        if usable > 0:  # the override of silly-window avoidance
            return self._cut_new(min(usable, self._unsent(), self.mss), now)
        self.snd_max = max(self.snd_max, self.snd_nxt + 1)
        start = self.snd_nxt - self._buffer_at
        payload = self._buffer[start : start + 1]
        return Cut(self.snd_nxt, payload, True, not payload)

    # -- the timer

    def _arm(self, now: float) -> None:
        if self.timer_at == INFINITY:
            # Clipped so that the user timeout is exact.
            self.timer_at = min(now + self.rtt.rto, self._progress_at + self._config.user_timeout)

    def update_timer(self, now: float) -> None:
        """After a change: watch for a window that stays closed, or stop."""
        if self.snd_nxt > self.snd_una:
            return
        if self._unsent() and not self._new_length():
            if self.timer_at == INFINITY:
                self._progress_at = now
                self._arm(now)
        elif self.timer_at != INFINITY:
            self.timer_at = INFINITY
            self.probe_due = False
            self.rtt.progress()

    def on_timer(self, now: float) -> bool:
        """The timer fired. False when the connection must be given up."""
        self.timer_at = INFINITY
        if now >= self._progress_at + self._config.user_timeout or self._timeouts >= self._config.retries:
            return False
        self._timeouts += 1
        self.rtt.back_off()
        if self.snd_nxt == self.snd_una:
            self.probe_due = True
            self._arm(now)
            return True
        self.timeouts += 1
        self._force = True
        self._duplicate_bytes = self.duplicate_acks = 0
        board = self.board
        if not self.snd_wnd:  # the window was closed over data in flight: no sign of congestion
            board.mark_first()
            return True
        self.congestion.on_timeout(self.snd_nxt - self.snd_una, now, self._timeouts == 1)
        # The second time SACKs are not believed any more: a receiver may discard data behind a hole (RFC 2018 8).
        board.mark_all(forget_sacks=self._timeouts > 1)
        if not board.lost:
            board.mark_all(forget_sacks=True)
        self._recovery_point = self.snd_nxt
        self.phase = Phase.LOSS
        self._resent = 0
        self.reorder_at = INFINITY
        return True

    # -- arriving ACKs

    def acceptable(self, ack: int) -> bool:
        """RFC 5961 5: not older than the largest window seen, not of data never sent."""
        return self.snd_una - max(self.max_window, 0xFFFF) <= ack <= self.snd_max

    def on_ack(
        self, seq: int, ack: int, window: int, blocks: Sequence[tuple[int, int]], has_text: bool, now: float
    ) -> int:
        """An acceptable ACK; `window` in bytes, `blocks` as positions. Returns the bytes newly acknowledged."""
        in_flight = self.in_flight
        una = self.snd_una
        window_changed = False
        if ack >= una and (self._wl1 < seq or (self._wl1 == seq and self._wl2 <= ack)):
            window_changed = window != self.snd_wnd
            self.snd_wnd = window
            if window > self.max_window:
                self.max_window = window
            self._wl1, self._wl2 = seq, ack
        acked = ack - una if ack > una else 0
        delivered = self._advance(ack, now) if acked else []
        if blocks:
            delivered += self.board.sack(blocks)
        if delivered:
            self._sample(delivered, now)
        if acked:
            self._on_progress(acked, in_flight, now)
        elif self.snd_nxt == una or not self.snd_wnd:
            # The peer lives: a window may stay closed as long as it says so (RFC 9293 3.8.6.1).
            self._timeouts = 0
            self._progress_at = now
        elif not self.sack_permitted and ack == una and not has_text and not window_changed:
            self._on_duplicate(in_flight, now)
        if self.sack_permitted and delivered:
            self._detect(delivered, in_flight, now)
        self.update_timer(now)
        return acked

    def _detect(self, delivered: list[Sent], in_flight: int, now: float) -> None:
        """Loss detection after an ACK that said something new."""
        board = self.board
        if self._config.rack:
            self.rack.delivered(delivered, now, self.rtt.min_rtt)
            if board.sacked or self.phase is not Phase.OPEN:
                self._detect_by_time(in_flight, now)
            else:
                self.reorder_at = INFINITY
        elif board.detect(self._config.dup_thresh, self.mss) and self.phase is Phase.OPEN:
            self._enter_recovery(in_flight, now)

    def _detect_by_time(self, in_flight: int, now: float) -> None:
        rtt, board = self.rtt, self.board
        srtt = rtt.srtt if rtt.srtt is not None else rtt.base_rto
        sure = self.phase is not Phase.OPEN or board.sacked >= self._config.dup_thresh * self.mss
        window = self.rack.window(min(rtt.min_rtt, srtt), rtt.base_rto, sure)
        marked, self.reorder_at = self.rack.detect(board, self.snd_una, window, now)
        if marked and self.phase is Phase.OPEN:
            self._enter_recovery(in_flight, now)

    def on_reorder_timer(self, now: float) -> None:
        self.reorder_at = INFINITY
        if self.snd_nxt > self.snd_una:
            self._detect_by_time(self.in_flight, now)

    def on_dsack(self) -> None:
        """The peer got something twice. When every retransmission of a recovery was needless, so was the recovery."""
        self.rack.spurious(self.rtt.srtt or self.rtt.base_rto, self.rtt.base_rto)
        if self._resent:
            self._resent -= 1
            if not self._resent:
                self.congestion.undo()

    def _advance(self, ack: int, now: float) -> list[Sent]:
        """Take an ACK of new data in; returns the records that it, not an earlier SACK, shows delivered."""
        if ack > self.snd_nxt:  # the probe was taken after all
            if self.fin_queued and self.fin_at is None and ack > self._buffer_at + len(self._buffer):
                self.fin_at = ack - 1
            self.snd_nxt = ack
        gone = self.board.acknowledge(ack)
        del self._buffer[: ack - self._buffer_at]
        self._buffer_at = ack if self.fin_at is None else min(ack, self.fin_at)
        self.snd_una = ack
        return [record for record in gone if not record.sacked]

    def _sample(self, records: list[Sent], now: float) -> None:
        """One sample in a round trip, of a segment that was sent once (RFC 6298 3, 4).

        Without SACK, an ACK that also covers a retransmission may tell of a hole that was filled, not of the path.
        """
        sample = None
        for record in records:
            if record.transmissions > 1:
                if not self.sack_permitted:
                    return
            elif sample is None and record.seq >= self._rtt_mark:
                sample = record
        if sample is not None:
            self.rtt.sample(now - sample.sent_at)
            self._rtt_mark = self.snd_nxt

    def _on_progress(self, acked: int, in_flight: int, now: float) -> None:
        self._timeouts = 0
        self._progress_at = now
        self.rtt.progress()
        self.duplicate_acks = 0
        self.timer_at = INFINITY
        if self.snd_nxt > self.snd_una:
            self._arm(now)  # RFC 6298 5.3
        if self.phase is Phase.OPEN:
            self._duplicate_bytes = 0
            self.congestion.on_ack(acked, in_flight, now, self.rtt.srtt)
        elif self.snd_una >= self._recovery_point:
            if self.phase is Phase.RECOVERY:
                self.congestion.on_recovery_exit(self.in_flight, now)
            self.phase = Phase.OPEN
            self._duplicate_bytes = 0
            self._force = False
            if self.board.lost:  # of data that was sent after the recovery began
                self._enter_recovery(in_flight, now)
        elif self.phase is Phase.LOSS:
            self.congestion.on_ack(acked, in_flight, now, self.rtt.srtt)
        elif not self.sack_permitted:  # a partial ACK names the next loss (RFC 6582 3.2 step 3)
            self._duplicate_bytes = max(0, self._duplicate_bytes - acked)
            if self.board.records[0].transmissions == 1:
                self.board.mark_first()
                self._force = True

    def _on_duplicate(self, in_flight: int, now: float) -> None:
        self.duplicate_acks += 1
        limit = self.snd_nxt - self.snd_una - self.mss
        self._duplicate_bytes = max(0, min(self._duplicate_bytes + self.mss, limit))
        if self.phase is Phase.OPEN and self.duplicate_acks >= self._config.dup_thresh:
            self.board.mark_first()
            self._enter_recovery(in_flight, now)

    def _enter_recovery(self, in_flight: int, now: float) -> None:
        self.recoveries += 1
        self.phase = Phase.RECOVERY
        self._recovery_point = self.snd_nxt
        self._force = True
        self._resent = 0
        self.congestion.on_loss(in_flight, now)
