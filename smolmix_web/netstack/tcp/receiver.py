"""The receiving half of a connection: reassembly, window, acknowledgement policy.

* Reassembly (RFC 9293 3.10.7.4) holds any number of holes; the window is the only limit.
* SACK blocks (RFC 2018): the range of the latest arrival first, then by recency; D-SACK (RFC 2883).
* The right edge of the window never moves left, and moves right in steps worth a packet (silly window, 3.8.6.2.2). It
  ends where the buffer does, or before: where more would only wait in a queue (queue_limit.py).
* ACKs (RFC 5681 4.2): at once for gaps, duplicates, FIN, the end of a burst and a window that is used up; else after
  `ack_every` segments or `ack_delay` seconds. Each costs a packet of the mix network, so once a transfer is under way
  they are thinned out (RFC 9000 13.2.2 has the same idea): up to `ack_every_max` segments or an eighth of a round trip,
  and behind known holes one in a sixteenth of a round trip. A hole younger than `gap_patience` is not told at all:
  packets that were delayed each on their own overtake each other all the time, and a peer that is told of it takes it
  for loss, repeats, and halves its rate. Asking is a flag; the ACK itself is made when the stack is
  polled, so that what arrives together is answered together.

Positions are unwrapped (tcp/seq.py).
"""

from __future__ import annotations

from bisect import bisect_right

from ..limits import Budget
from .config import TcpConfig
from .queue_limit import QueueLimit
from .segment import MAX_SACK_BLOCKS
from .seq import wrap

INFINITY = float("inf")
GAPS_PER_ACK = 3  # changed ranges that one ACK tells of


class _Range:
    """A run of bytes behind a hole."""

    __slots__ = ("data", "start", "touched")

    def __init__(self, start: int, data: bytearray, touched: int) -> None:
        self.start = start
        self.data = data
        self.touched = touched

    @property
    def end(self) -> int:
        return self.start + len(self.data)


def _start(item: _Range) -> int:
    return item.start


class Receiver:
    """`rcv_nxt` counts everything received in order; `rcv_adv` is the right edge promised to the peer."""

    __slots__ = (
        "_arrivals",
        "_autosize_from",
        "_autosize_read",
        "_budget",
        "_buffer",
        "_config",
        "_dsack",
        "_gap_acked_at",
        "_gap_hidden_until",
        "_granted",
        "_hides_gaps",
        "_ranges",
        "_reported",
        "_taken",
        "_unacked_bytes",
        "_unreported",
        "ack_at",
        "ack_now",
        "capacity",
        "duplicate_acks",
        "duplicates",
        "fin_at",
        "fin_received",
        "mss",
        "out_of_order",
        "queue_limit",
        "rcv_adv",
        "rcv_nxt",
        "round_trip",
        "sack_permitted",
        "window_scale",
    )

    def __init__(
        self, config: TcpConfig, rcv_nxt: int, mss: int, window_scale: int, budget: Budget | None = None
    ) -> None:
        self._config = config
        self.rcv_nxt = rcv_nxt
        self.mss = mss  # the largest segment expected; grows with what arrives
        self.window_scale = window_scale
        self.capacity = config.receive_buffer
        self.rcv_adv = rcv_nxt + min(self.capacity, 0xFFFF)
        self.sack_permitted = False
        self.ack_now = False
        self.ack_at = INFINITY
        self.duplicate_acks = 0  # further ACKs owed to a peer without SACK, which counts them
        self.fin_at: int | None = None
        self.fin_received = False
        self.out_of_order = 0  # statistics: segments
        self.duplicates = 0
        self._buffer = bytearray()
        self._ranges: list[_Range] = []  # sorted, disjoint, not touching
        self._arrivals = 0
        # Half as much again as the first buffer: it must not be the limit before the first look.
        start = config.receive_buffer * 3 // 2
        self.queue_limit = QueueLimit(config.queue_target, start) if config.queue_target else None
        self._dsack: tuple[int, int] | None = None
        self._unacked_bytes = 0
        self._autosize_from = -INFINITY
        self._autosize_read = 0
        self._budget = budget
        self._granted = 0
        self._reported = 0  # `_arrivals` when the latest ACK left
        self._unreported = 0  # ranges that have changed since
        self._taken = 0  # bytes received in order
        self._gap_acked_at = -INFINITY
        self._hides_gaps = False
        self._gap_hidden_until = -INFINITY
        self.round_trip: float | None = None  # seconds, by timestamps that come back with data

    # -- what the application sees

    @property
    def available(self) -> int:
        return len(self._buffer)

    @property
    def buffered(self) -> int:
        """Bytes held, those behind holes included."""
        return len(self._buffer) + sum(len(item.data) for item in self._ranges)

    def read(self, limit: int, now: float, rtt: float) -> bytes:
        """At most `limit` bytes in order; asks for an ACK when the window opens enough to tell the peer."""
        buffer = self._buffer
        if limit >= len(buffer):
            data = bytes(buffer)
            self._buffer = bytearray()
        else:
            with memoryview(buffer) as view:
                data = bytes(view[:limit])
            del buffer[:limit]
        self._grow(len(data), now, rtt)
        self._offer_update()
        return data

    def _grow(self, count: int, now: float, rtt: float) -> None:
        """Dynamic right-sizing. The window that is told now bounds what is sent a round trip from now, when a sender in
        slow start sends twice as much, and half of that again may stand behind a hole: so four times what was read."""
        limit = self._config.receive_buffer_max
        if self.capacity >= limit:
            return
        if self.round_trip is not None:
            rtt = self.round_trip
        self._autosize_read += count
        elapsed = now - self._autosize_from
        if self._autosize_read * 4 > self.capacity:
            if self._autosize_from != -INFINITY or elapsed < rtt:
                self._enlarge(min(limit, max(self.capacity * 2, self._autosize_read * 4)))
        elif elapsed < rtt:
            return
        self._autosize_from = now
        self._autosize_read = 0

    def _enlarge(self, wanted: int) -> None:
        more = wanted - self.capacity
        if self._budget is not None:
            more = self._budget.take(more)
            self._granted += more
        self.capacity += more

    def on_round_trip(self, age: float, now: float) -> None:
        """Data came that answers something we sent `age` seconds ago; at most that is the round trip."""
        if self.round_trip is None or age < self.round_trip:
            self.round_trip = age
        else:
            self.round_trip += (age - self.round_trip) / 64

    def _offer_update(self) -> None:
        if self.fin_received:
            return
        promised = self.rcv_adv - self.rcv_nxt
        possible = min(self._room(), 0xFFFF << self.window_scale)
        growth = possible - promised
        half = self._limit // 2
        if growth >= half or (promised < 2 * self.mss and growth >= min(2 * self.mss, half)):
            self.ack_now = True

    def stop(self) -> None:
        """The connection is over: what came in order stays readable, the rest is forgotten."""
        self._ranges = []
        self.ack_now = False
        self.ack_at = INFINITY
        if self._budget is not None:
            self._budget.give(self._granted)
        self._granted = 0

    # -- arriving text

    def text(self, seq: int, payload: bytes, fin: bool, now: float, push: bool = False) -> bool:
        """Take a segment whose sequence number was found acceptable. True when something new is readable."""
        end = seq + len(payload)
        if end > self.rcv_adv:  # never more than was promised
            payload = payload[: self.rcv_adv - seq] if seq < self.rcv_adv else b""
            end = seq + len(payload)
            fin = False
            self.ack_now = True
        if fin and end != self.fin_at:
            # One in order counts, as RFC 9293 reads segments in order. Elsewhere the text cannot end at two places, nor
            # before text that has arrived: not believed, but answered (RFC 5961 in spirit).
            if seq <= self.rcv_nxt <= end or (self.fin_at is None and end >= self._highest):
                self.fin_at = end
            else:
                fin = False
                self._acknowledge_at_once()
        if self.fin_at is not None and end > self.fin_at:  # text behind the FIN
            payload = payload[: max(0, self.fin_at - seq)]
            end = seq + len(payload)
        if payload and len(payload) > self.mss:
            self.mss = len(payload)
        rcv_nxt = self.rcv_nxt
        if end <= rcv_nxt and payload:
            self.duplicates += 1
            self._dsack = (seq, end)
            self._acknowledge_at_once()
            return self._finish()
        if seq <= rcv_nxt:
            if payload:
                if seq < rcv_nxt:
                    self._dsack = (seq, rcv_nxt)
                    self._buffer += payload[rcv_nxt - seq :]
                else:
                    self._buffer += payload
                self.rcv_nxt = end
                if self._ranges:
                    first = self._ranges[0]
                    if first.start < end and seq == rcv_nxt:
                        self._dsack = (first.start, min(end, first.end))
                    self._absorb()
                    if self._hides_gaps:  # nobody was told of the hole
                        self._acknowledge_later(self.rcv_nxt - rcv_nxt, push, now)
                    else:
                        self._acknowledge_gap(now)  # a hole was filled: tell at once (RFC 5681 4.2)
                    self._hide_gaps(now)
                else:
                    self._acknowledge_later(end - rcv_nxt, push, now)
                self._taken += self.rcv_nxt - rcv_nxt
            return self._finish() or self.rcv_nxt > rcv_nxt
        if payload:
            self.out_of_order += 1
            if not self._ranges:
                self._hide_gaps(now)
            self._insert(seq, payload)
            # A hole holds the reader up, not the sender: the window must let it go on until the hole is filled.
            beyond = 2 * (end - rcv_nxt)
            if beyond > self.capacity and len(self._buffer) * 4 <= self.capacity:
                self._enlarge(min(beyond, max(self._config.receive_buffer_max, self.capacity)))
        if payload and self._hides_gaps and self._dsack is None:
            self.ack_at = min(self.ack_at, self._gap_hidden_until)
        elif payload:
            self._hides_gaps = False  # what comes twice was taken for lost already
            self._acknowledge_gap(now)
        elif fin:
            self._acknowledge_at_once()
        return False

    @property
    def _highest(self) -> int:
        """Where the text ends that has arrived, holes or not."""
        return self._ranges[-1].end if self._ranges else self.rcv_nxt

    def _finish(self) -> bool:
        if self.fin_at == self.rcv_nxt and not self.fin_received:
            self.fin_received = True
            self.rcv_nxt += 1
            self.rcv_adv = max(self.rcv_adv, self.rcv_nxt)
            self._ranges = []
            self.ack_now = True
            return True
        return False

    def _insert(self, seq: int, payload: bytes) -> None:
        ranges = self._ranges
        repeated: tuple[int, int] | None = None  # the first part of it (RFC 2883 4.2.3)
        self._arrivals += 1
        end = seq + len(payload)
        at = bisect_right(ranges, seq, key=_start)
        if at and ranges[at - 1].end >= seq:
            at -= 1
            into = ranges[at]
            self._unreported += into.touched <= self._reported
            into.touched = self._arrivals
            if end <= into.end:
                self.duplicates += 1
                self._dsack = (seq, end)
                return
            if seq < into.end:
                repeated = (seq, into.end)
            into.data += payload[into.end - seq :]
        else:
            self._unreported += 1
            into = _Range(seq, bytearray(payload), self._arrivals)
            ranges.insert(at, into)
        following = at + 1
        while following < len(ranges) and ranges[following].start <= into.end:
            other = ranges[following]
            if other.start < end and repeated is None:
                repeated = (other.start, min(end, other.end))
            if other.end > into.end:
                into.data += other.data[into.end - other.start :]
            following += 1
        del ranges[at + 1 : following]
        if repeated is not None:
            self._dsack = repeated

    def _absorb(self) -> None:
        """The hole in front of the first ranges was filled."""
        ranges = self._ranges
        while ranges and ranges[0].start <= self.rcv_nxt:
            first = ranges.pop(0)
            if first.end > self.rcv_nxt:
                self._buffer += first.data[self.rcv_nxt - first.start :] if first.start < self.rcv_nxt else first.data
                self.rcv_nxt = first.end

    # -- acknowledging

    def _acknowledge_at_once(self) -> None:
        if self.ack_now and not self.sack_permitted:
            self.duplicate_acks = min(self.duplicate_acks + 1, 16)
        self.ack_now = True

    def _acknowledge_gap(self, now: float) -> None:
        """Something changed about the holes. At once, but where reordering is chronic not for every packet."""
        if self.sack_permitted and self.round_trip is not None and self._unreported < GAPS_PER_ACK:
            due = self._gap_acked_at + min(self._config.ack_gap_interval, self.round_trip / 16)
            if due > now:
                self.ack_at = min(self.ack_at, due)
                return
        self._gap_acked_at = now
        self._acknowledge_at_once()

    def _hide_gaps(self, now: float) -> None:
        """The first hole is a new one: it may well fill by itself."""
        self._hides_gaps = self._config.gap_patience > 0 and self.sack_permitted
        self._gap_hidden_until = now + self._config.gap_patience

    def on_timer(self, now: float) -> None:
        """`ack_at` has come."""
        self.ack_at = INFINITY
        self.ack_now = True
        if now >= self._gap_hidden_until:
            self._hides_gaps = False

    def _acknowledge_later(self, count: int, push: bool, now: float) -> None:
        self._unacked_bytes = unacked = self._unacked_bytes + count
        config = self._config
        mss = self.mss
        if self.rcv_adv - self.rcv_nxt < mss:  # the peer can send no more until it is told
            self.ack_now = True
            return
        if unacked >= config.ack_every * mss:
            enough = min(config.ack_every_max * mss, self._limit >> 2)
            if push or self._taken < config.ack_bulk_after or unacked >= enough:
                self.ack_now = True
                return
        if self.ack_at == INFINITY:
            delay = config.ack_delay
            if self._taken >= config.ack_bulk_after and self.round_trip is not None:
                delay = max(delay, min(self.round_trip / 8, config.ack_delay_max))
            self.ack_at = now + delay

    def acknowledged(self) -> None:
        """A segment with the current ACK left."""
        self._unacked_bytes = self._unreported = 0
        self._reported = self._arrivals
        self.ack_at = self._gap_hidden_until if self._hides_gaps and self._ranges else INFINITY
        self._dsack = None
        if self.duplicate_acks:
            self.duplicate_acks -= 1
        else:
            self.ack_now = False

    @property
    def _limit(self) -> int:
        """The largest window at present."""
        return self.capacity if self.queue_limit is None else min(self.capacity, self.queue_limit.window)

    def _room(self) -> int:
        """Bytes beyond `rcv_nxt` that the peer may send."""
        room = max(0, self.capacity - len(self._buffer))
        if self._limit < room:
            # What has arrived behind holes is not on its way any more.
            room = min(room, self._limit + self.buffered - len(self._buffer))
        return room

    def window_field(self) -> int:
        """The window to send now, as the 16-bit field; moves the promised right edge."""
        edge = self.rcv_nxt + self._room()
        scale = self.window_scale
        if edge - self.rcv_adv >= self.mss or edge - self.rcv_adv >= self._limit >> 1:
            window = min((edge - self.rcv_nxt) >> scale, 0xFFFF)
            if self.rcv_nxt + (window << scale) > self.rcv_adv:
                self.rcv_adv = self.rcv_nxt + (window << scale)
                return window
        # Rounded down where the scale cannot express it, but what was promised is still taken: rounding up would let
        # a peer that sends byte by byte push the edge for ever.
        return min((self.rcv_adv - self.rcv_nxt) >> scale, 0xFFFF)

    @property
    def wants_sack(self) -> bool:
        """There is something that a SACK option would tell."""
        return self.sack_permitted and (bool(self._ranges and not self._hides_gaps) or self._dsack is not None)

    def sack_size(self, limit: int) -> int:
        """Bytes of the SACK option with at most `limit` blocks."""
        ranges = 0 if self._hides_gaps else len(self._ranges)
        return 4 + 8 * min(limit, ranges + (self._dsack is not None))

    def sack_blocks(self, limit: int = MAX_SACK_BLOCKS) -> list[tuple[int, int]]:
        """32-bit edges for the next ACK."""
        if not self.sack_permitted:
            return []
        blocks = []
        if self._dsack is not None:
            blocks.append((wrap(self._dsack[0]), wrap(self._dsack[1])))
        if self._ranges and not self._hides_gaps:
            recent = self._ranges
            if len(recent) > 1:
                recent = sorted(recent, key=lambda item: item.touched, reverse=True)[:limit]
            blocks += [(wrap(item.start), wrap(item.end)) for item in recent]
        return blocks[:limit]
