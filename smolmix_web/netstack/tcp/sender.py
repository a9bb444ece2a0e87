"""The sending half of a connection: buffer, what may be sent next, ACK processing, loss recovery, its timer.

* What may go out: lost segments first, then new data within the peer's window and the congestion window, with sender
  side silly-window avoidance and Nagle (RFC 9293 3.8.6.2.1, 3.7.4). Segments are cut when the stack is polled.
* Recovery: with SACK by RACK (rack.py) or RFC 6675; without, NewReno (RFC 6582) on the same accounting, each duplicate
  ACK standing for one segment that left the network. Limited transmit (RFC 3042) follows from both.
* One timer for retransmission (RFC 6298 5), tail loss probes (RFC 8985 7), zero-window probes (RFC 9293 3.8.6.1) and
  the user timeout.
* What was for nothing is taken back: Eifel detection by timestamps (RFC 3522), D-SACK (RFC 3708).

Positions are unwrapped (tcp/seq.py). The SYN is not in here: data starts at `iss + 1`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from ..limits import Budget
from .config import TcpConfig
from .congestion import CongestionControl, SharedPath, initial_window
from .rack import CLOCK, Rack
from .rate import RateEstimator
from .rtt import RttEstimator
from .scoreboard import Scoreboard, Sent
from .send_buffer import SendBuffer

INFINITY = float("inf")
BLACK_HOLE_TIMEOUTS = 3  # of one large segment, and each further two: it may be too large (RFC 2923 2.1)
BLACK_HOLE_SIZES = (1200, 512)


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
    again: bool = False  # a retransmission


class Sender:
    __slots__ = (
        "_config",
        "_duplicate_bytes",
        "_first_resent_at",
        "_force",
        "_mss_limit",
        "_option_size",
        "_peer_mss",
        "_progress_at",
        "_recovery_point",
        "_resent",
        "_rtt_mark",
        "_sent_at",
        "_shared",
        "_tail_armed",
        "_tail_at",
        "_tail_pair",
        "_tail_probes",
        "_timeouts",
        "_wl1",
        "_wl2",
        "board",
        "buffer",
        "congestion",
        "duplicate_acks",
        "fin_at",
        "fin_queued",
        "max_window",
        "mss",
        "phase",
        "probe_due",
        "rack",
        "rate",
        "recoveries",
        "reorder_at",
        "retransmits",
        "rtt",
        "sack_permitted",
        "snd_max",
        "snd_nxt",
        "snd_una",
        "snd_wnd",
        "spurious",
        "tail_needless",
        "tail_probes",
        "timeouts",
        "timer_at",
        "window_scale",
    )

    def __init__(
        self,
        config: TcpConfig,
        rtt: RttEstimator,
        start: int,
        mss: int,
        budget: Budget | None = None,
        shared: SharedPath | None = None,
    ) -> None:
        self._config = config
        self._shared = shared
        self.rtt = rtt
        self.mss = mss
        self._peer_mss = mss
        self._option_size = 0
        self.congestion: CongestionControl = config.congestion(mss, initial_window(mss, config.initial_window_segments))
        self.board = Scoreboard()
        self.rack = Rack()
        self.rate = RateEstimator()
        self.buffer = SendBuffer(config, start, budget)
        self.snd_una = self.snd_nxt = self.snd_max = start
        self.snd_wnd = 0
        self.max_window = 0
        self.window_scale = 0
        self.sack_permitted = False
        self.fin_queued = False
        self.fin_at: int | None = None  # position of the FIN once it was sent
        self.timer_at = INFINITY
        self.reorder_at = INFINITY  # a missing segment will have been waited for long enough
        self.probe_due = False  # of a tail or of a closed window
        self.duplicate_acks = 0
        self.retransmits = self.timeouts = self.recoveries = 0  # statistics
        self.spurious = 0  # timeouts and recoveries that were taken back
        self.tail_probes = self.tail_needless = 0
        self._wl1 = 0
        self._wl2 = 0
        self.phase = Phase.OPEN
        self._recovery_point = start  # the phase lasts until this is acknowledged
        self._duplicate_bytes = 0  # without SACK: what duplicate ACKs say has left the network
        self._force = False  # the next retransmission passes the congestion window (RFC 6675 5, step 4.3)
        self._timeouts = 0  # in a row
        self._tail_armed = False  # the timer is that of a tail loss probe
        self._tail_probes = 0  # in a row
        self._tail_pair = False  # a second segment goes with this probe
        self._tail_at: int | None = None  # where the latest one that repeated something began
        self._first_resent_at: float | None = None  # of the present recovery or timeout, until it is judged
        self._mss_limit = 0xFFFF  # what black-hole detection leaves
        self._resent = 0  # retransmissions of the present recovery that no D-SACK has called needless
        self._rtt_mark = start  # the next sample is taken from data at or behind this position
        self._progress_at = 0.0
        self._sent_at = -INFINITY

    # -- the application's side

    @property
    def space(self) -> int:
        return self.buffer.space

    @property
    def queued(self) -> int:
        """Bytes not yet acknowledged."""
        return len(self.buffer)

    def enqueue(self, data: bytes | bytearray | memoryview) -> int:
        return self.buffer.write(data)

    def discard(self) -> None:
        """Forget everything; the connection is over."""
        self.buffer.discard(self.snd_nxt)
        self.board = Scoreboard()
        self.rack = Rack()
        self.timer_at = self.reorder_at = INFINITY
        self.probe_due = False

    @property
    def fin_acknowledged(self) -> bool:
        return self.fin_at is not None and self.snd_una > self.fin_at

    def writable(self) -> bool:
        """True once when a writer that was cut short should try again."""
        buffer = self.buffer
        if buffer.want_space and buffer.space >= min(4 * self.mss, buffer.capacity // 2):
            buffer.want_space = False
            return True
        return False

    # -- set-up and changes of the path

    def set_window(self, window: int, seq: int, ack: int) -> None:
        """The window of a handshake segment, in bytes."""
        self.snd_wnd = window
        self.max_window = max(self.max_window, window)
        self._wl1, self._wl2 = seq, ack

    def limit_mss(self, mss: int, options: int = 0) -> None:
        """The peer's announcement, and the size of the options that every segment will carry (RFC 6691)."""
        self._peer_mss = mss
        self._option_size = options

    def set_mss(self, mss: int) -> None:
        """What the path takes has changed; the peer's own limit stays."""
        mss = min(mss, self._peer_mss, self._mss_limit) - self._option_size
        if mss < self.mss:
            self.board.mark_larger(mss)
            self._force = self.board.lost > 0
        self.mss = mss
        self.congestion.set_mss(mss)

    def start_window(self, segments: int) -> None:
        """Begin congestion control anew with this many segments."""
        self.congestion = self._config.congestion(self.mss, initial_window(self.mss, segments))
        if self._shared is not None:
            self.congestion.join(self._shared)

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
        return self.buffer.end - self.snd_nxt + self.fin_queued

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

    def _new_length(self, reserve: int = 0) -> int:
        """Sequence space of the new segment that may go now; 0 for none. `reserve` bytes of it are for options."""
        waiting = self._unsent()
        if not waiting:
            return 0
        usable = self.snd_una + self.snd_wnd - self.snd_nxt
        mss = self.mss - reserve
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

    def next_segment(self, now: float, reserve: int = 0) -> Cut | None:
        """Cut the next segment and count it as sent. New data leaves `reserve` bytes of a full segment free."""
        at = self._resend_index()
        if at is not None:
            self._force = False
            return self._cut_again(at, now)
        length = self._new_length(reserve)
        if length:
            return self._cut_new(length, now)
        if self.probe_due:
            self.probe_due = False
            return self._cut_probe(now) if self.snd_nxt == self.snd_una else self._cut_tail(now)
        return None

    def _cut(self, seq: int, end: int, again: bool = False) -> Cut:
        fin = self.fin_at is not None and end > self.fin_at
        return Cut(seq, self.buffer.slice(seq, end - fin), end >= self.buffer.end, fin, again)

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
        record = self.board.resend(at, self.mss, now)
        self.rack.sent(record)
        self.rate.sent(record)
        self.congestion.on_sent(record.end - record.seq)
        self._resent += 1
        self.retransmits += 1
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
        return self._cut_again(at, now)

    # -- the timer

    def _arm(self, now: float) -> None:
        if self.timer_at != INFINITY:
            return
        delay = self.rtt.rto
        self._tail_armed = self._may_probe_tail()
        if self._tail_armed:
            delay = min(delay, self._probe_timeout())
        # Clipped so that the user timeout is exact.
        self.timer_at = min(now + delay, self._progress_at + self._config.user_timeout)

    def _may_probe_tail(self) -> bool:
        """Only where the round trip is known from several samples: jitter does not show in one."""
        config = self._config
        return (
            self._tail_probes < config.tail_probes
            and self.sack_permitted
            and not self._timeouts
            and self.snd_nxt > self.snd_una
            and self.snd_wnd > 0
            and self.rtt.samples >= config.tail_probe_samples
        )

    def _probe_timeout(self) -> float:
        """PTO (RFC 8985 7.2), longer where packets arrive late one by one."""
        rtt = self.rtt
        srtt = rtt.srtt or rtt.base_rto
        timeout = max(2 * srtt, srtt + 4 * rtt.rttvar) + self.rack.lateness
        if self.snd_nxt - self.snd_una <= self.mss:
            timeout += self._config.peer_ack_delay
        return timeout * (1 << self._tail_probes)

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
        if self._tail_armed and self.snd_nxt > self.snd_una and self.snd_wnd:
            self._tail_probes += 1
            self.probe_due = True
            self._arm(now)
            return True
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
        if self._timeouts == 1:
            self._first_resent_at = None
        self.reorder_at = INFINITY
        self._suspect_black_hole()
        return True

    def _suspect_black_hole(self) -> None:
        """A large segment that times out again and again may be too large, and nobody says so (RFC 2923 2.1)."""
        beyond = self._timeouts - BLACK_HOLE_TIMEOUTS
        if beyond < 0 or beyond & 1:
            return
        first = self.board.records[0]
        size = next((size for size in BLACK_HOLE_SIZES if size < min(first.end - first.seq, self.mss)), None)
        if size is not None:
            self._mss_limit = size + self._option_size
            self.set_mss(self._mss_limit)

    # -- arriving ACKs

    def acceptable(self, ack: int) -> bool:
        """RFC 5961 5: not older than the largest window seen, not of data never sent."""
        return self.snd_una - max(self.max_window, 0xFFFF) <= ack <= self.snd_max

    def on_ack(
        self,
        seq: int,
        ack: int,
        window: int,
        blocks: Sequence[tuple[int, int]],
        has_text: bool,
        now: float,
        age: float | None = None,
    ) -> int:
        """An acceptable ACK; `window` in bytes, `blocks` as positions, `age` of the timestamp that it echoes, in
        seconds. Returns the bytes newly acknowledged."""
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
        board = self.board
        lost = board.marked
        if acked:
            delivered = self._advance(ack, now)
            age = self._verified(age, delivered, now)
        else:
            delivered, age = [], None
        if blocks:
            delivered += board.sack(blocks)
        if delivered:
            self._sample(delivered, age, now)
            sample = self.rate.on_delivered(delivered, now, self.rtt.min_rtt)
        if acked:
            if age is not None and self._first_resent_at is not None:
                self._judge(delivered[0], age, now)
            self._on_progress(acked, in_flight, now)
        elif self.snd_nxt == una or not self.snd_wnd:
            # The peer lives: a window may stay closed as long as it says so (RFC 9293 3.8.6.1).
            self._timeouts = 0
            self._progress_at = now
        elif not self.sack_permitted and ack == una and not has_text and not window_changed:
            self._on_duplicate(in_flight, now)
        if delivered:
            if self.sack_permitted:
                self._detect(delivered, in_flight, age, now)
                if self._tail_armed and self.timer_at != INFINITY:
                    self.timer_at = INFINITY
                    if self.snd_nxt > self.snd_una:
                        self._arm(now)
            sample.sack = self.sack_permitted
            sample.in_flight = in_flight
            sample.pipe = self.in_flight
            sample.lost = board.marked - lost
            sample.progress = acked > 0
            self.congestion.on_delivered(sample, now)
        self.update_timer(now)
        return acked

    def _detect(self, delivered: list[Sent], in_flight: int, age: float | None, now: float) -> None:
        """Loss detection after an ACK that said something new."""
        board = self.board
        if self._config.rack:
            self.rack.delivered(delivered, now, self.rtt.min_rtt, age)
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
        window = self.rack.window(min(rtt.min_rtt, srtt), srtt, rtt.base_rto, sure)
        marked, self.reorder_at = self.rack.detect(board, self.snd_una, window, now)
        if marked and self.phase is Phase.OPEN:
            self._enter_recovery(in_flight, now)

    def on_reorder_timer(self, now: float) -> None:
        self.reorder_at = INFINITY
        if self.snd_nxt > self.snd_una:
            self._detect_by_time(self.in_flight, now)

    def on_dsack(self, start: int, end: int, now: float) -> None:
        """The peer got this twice. When every retransmission of a recovery was needless, so was the recovery."""
        if self._tail_at is not None and start <= self._tail_at < end:
            self._tail_at = None
            self.tail_needless += 1
            return
        self.rack.spurious(self.rtt.srtt or self.rtt.base_rto, now)
        if self._resent:
            self._resent -= 1
            if not self._resent:
                self.spurious += 1
                self.congestion.undo()

    @staticmethod
    def _verified(age: float | None, delivered: list[Sent], now: float) -> float | None:
        """The age of an echo, when it is of the segment at the left edge. TS.Recent never goes back, so for a late
        segment behind a retransmission the peer echoes something else."""
        if age is None or not delivered:
            return None
        first, sent_at = delivered[0], now - age
        if abs(first.sent_at - sent_at) < CLOCK or abs(first.first_sent_at - sent_at) < CLOCK:
            return age
        return None

    def _judge(self, first: Sent, age: float, now: float) -> None:
        """Eifel (RFC 3522): does the first ACK of something sent again speak of the original?"""
        resent_at = self._first_resent_at
        if first.transmissions == 1 or resent_at is None:
            return
        self._first_resent_at = None
        if now - age >= resent_at - CLOCK:
            return
        self.spurious += 1
        self.board.unmark(resent_at)
        self.rack.resume(self.board.records)
        self.phase = Phase.OPEN
        self._force = False
        self._resent = 0
        self.congestion.undo()

    def _advance(self, ack: int, now: float) -> list[Sent]:
        """Take an ACK of new data in; returns the records that it, not an earlier SACK, shows delivered."""
        buffer = self.buffer
        if ack > self.snd_nxt:  # the probe was taken after all
            if self.fin_queued and self.fin_at is None and ack > buffer.end:
                self.fin_at = ack - 1
            self.snd_nxt = ack
        gone = self.board.acknowledge(ack)
        buffer.grow(self.snd_nxt - self.snd_una)
        buffer.free(ack if self.fin_at is None else min(ack, self.fin_at))
        self.snd_una = ack
        return [record for record in gone if not record.sacked]

    def _sample(self, records: list[Sent], age: float | None, now: float) -> None:
        """One sample in a round trip, of a segment that was sent once (RFC 6298 3, 4), or by timestamps (RFC 7323 4).

        Without SACK, an ACK that also covers a retransmission may tell of a hole that was filled, not of the path.
        """
        sample = None
        ambiguous = False
        for record in records:
            if record.transmissions > 1:
                ambiguous = True
            elif sample is None and record.seq >= self._rtt_mark:
                sample = record
        if sample is not None and (self.sack_permitted or not ambiguous):
            self.rtt.sample(now - sample.sent_at)
        elif age is not None and records[-1].seq >= self._rtt_mark:
            self.rtt.sample(age)
        else:
            return
        self._rtt_mark = self.snd_nxt

    def _on_progress(self, acked: int, in_flight: int, now: float) -> None:
        self._timeouts = self._tail_probes = 0
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
                self.rack.recovered()
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
        self._first_resent_at = None
        self.congestion.on_loss(in_flight, now)
