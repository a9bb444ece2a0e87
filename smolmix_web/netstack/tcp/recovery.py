"""What arriving ACKs say: progress, loss, needless repetitions (RFC 5681, 6675, 8985; without SACK, RFC 6582).

* Recovery: with SACK by RACK (rack.py) or RFC 6675; without, NewReno on the same accounting, each duplicate ACK
  standing for one segment that left the network. Limited transmit (RFC 3042) follows from both.
* What was for nothing is taken back: Eifel detection by timestamps (RFC 3522), without them F-RTO (RFC 5682), and
  D-SACK (RFC 3708).
"""

from __future__ import annotations

from collections.abc import Sequence

from .rack import CLOCK
from .scoreboard import Sent
from .sender_state import INFINITY, Doubt, Phase, SenderState


class LossRecovery(SenderState):
    __slots__ = ()

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
        if acked or blocks:
            self.buffer.grow(self.snd_nxt - una)
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
        if self._doubt:
            self._judge_timeout(ack, delivered, now)
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

    def _judge_tail(self, in_flight: int, now: float) -> None:
        """All that a tail loss probe stood for is acknowledged. Data that was sent later too, and no D-SACK: the probe
        has repaired a loss that nothing else shows (RFC 8985 7.4.2)."""
        end, self._tail_end = self._tail_end, None
        if self._tail_at is not None and end is not None and self.snd_una > end and self.phase is Phase.OPEN:
            self._tail_at = None
            self.congestion.on_loss(in_flight, self._flight_size, now)
            self.congestion.on_recovery_exit(self.in_flight, now)

    @property
    def _flight_size(self) -> int:
        """RFC 5681 2, without what limited transmit has added to the window (3.2 step 2, RFC 6675 5 step 4.2)."""
        return min(self.snd_nxt - self.snd_una, self.congestion.cwnd)

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
        if self.phase is Phase.RECOVERY and self._resent > 1:
            return  # this one was late, but others were sent again too: left to D-SACKs, which tell of each
        self._take_back(resent_at)

    def _judge_timeout(self, ack: int, delivered: list[Sent], now: float) -> None:
        """F-RTO (RFC 5682 2.1, with SACK 3.1): is what was in flight before the timeout still arriving? The ACK of the
        one segment that was sent again does not tell: what stood behind it may have waited for it. So new data goes
        out, and the ACK after that decides."""
        doubt = self._doubt
        advanced = ack == self.snd_una and bool(delivered) and delivered[0].end <= ack
        original = any(record.transmissions == 1 and record.end <= self._recovery_point for record in delivered)
        if doubt is Doubt.TIMED_OUT:
            if advanced:  # nothing was sent again, and an answer comes
                self._take_back(now)
        elif doubt is Doubt.REPEATED:
            if advanced:
                more = self.snd_una < self._recovery_point and self._unsent() > 0
                usable = self.snd_una + self.snd_wnd > self.snd_nxt
                self._doubt = Doubt.PROBING if more and usable else Doubt.NONE
                self._doubt_limit = self.snd_nxt + 2 * self.mss
            elif not self.sack_permitted and ack == self.snd_una:
                self._doubt = Doubt.NONE
        elif original:
            self._take_back(now)
        elif delivered or not self.sack_permitted:
            self._doubt = Doubt.NONE  # new data arrives, the old does not

    def _take_back(self, since: float) -> None:
        """The present recovery or timeout was for nothing: what was not sent again after `since` is on its way."""
        self.spurious += 1
        self.board.unmark(since)
        self.rack.resume(self.board.records)
        self.phase = Phase.OPEN
        self._doubt = Doubt.NONE
        self._first_resent_at = None
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
        if self._size_probe_end is not None and self.snd_una >= self._size_probe_end:  # the path takes it
            self._size_probe_end, self._size_probe_at, self._mss_limit = None, INFINITY, 0xFFFF
            self.set_mss(self._path_mss)
        if self._tail_end is not None and self.snd_una >= self._tail_end:
            self._judge_tail(in_flight, now)
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
            self._doubt = Doubt.NONE
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
        self.congestion.on_loss(in_flight, self._flight_size, now)
