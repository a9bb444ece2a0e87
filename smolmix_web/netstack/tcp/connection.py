"""A TCP connection: what the application calls, what goes out when the stack polls, and the timers.

What happens when a segment arrives stands in arrival.py, sending and receiving in sender.py and receiver.py.
A connection never calls the application except through `on_event`, and that only at the end of a stack call.
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import (
    ConnectionAborted,
    ConnectionReset,
    NetworkError,
    SmolmixError,
    StateError,
    TimeoutExpired,
)
from ..addresses import Endpoint
from ..limits import Budget
from .config import TcpConfig
from .congestion import SharedPath
from .host import Host
from .info import TcpInfo, snapshot
from .receiver import Receiver
from .rtt import RttEstimator
from .segment import (
    ACK,
    FIN,
    MAX_SACK_BLOCKS,
    MAX_WINDOW_SCALE,
    PSH,
    RST,
    SYN,
    TIMESTAMP_SIZE,
    Segment,
    SegmentBuilder,
    plain_syn_options,
    sack_option,
    syn_options,
)
from .sender import Sender
from .seq import wrap
from .states import MAY_RECEIVE, MAY_SEND, OPENING, TRANSMITTING, Event, State, next_state
from .timestamps import Timestamps

INFINITY = float("inf")
TIME_WAIT_REPEATED = 4  # as long as this many of it, at most
CLOCK = 0.002  # seconds that two readings of the timestamp clock may be wrong by


def window_scale_for(buffer: int) -> int:
    """The smallest shift that lets 16 bits express `buffer`."""
    return min(MAX_WINDOW_SCALE, max(0, buffer.bit_length() - 16))


class TcpConnection:
    """Made by `Stack.tcp_connect` or by a listener.

    `error` is None until the connection failed; then it is the typed reason: ConnectionRefused, ConnectionReset,
    ConnectionAborted, HostUnreachable (all NetworkError) or TimeoutExpired with the code `connect_timeout`,
    `transfer_timeout` or `keepalive_timeout`.
    """

    __slots__ = (
        "_builder",
        "_challenged_at",
        "_first_syn_at",
        "_host",
        "_syn_retries",
        "_time_wait_end",
        "config",
        "error",
        "handshake_at",
        "heap_at",
        "irs",
        "iss",
        "keepalive_at",
        "keepalive_probes",
        "key",
        "last_heard",
        "lifetime_at",
        "listener",
        "local",
        "notified",
        "on_event",
        "path_mss",
        "probe_due",
        "receiver",
        "released",
        "remote",
        "ring",
        "rtt",
        "sender",
        "soft_error",
        "state",
        "syn_due",
        "syn_sent_at",
        "timestamps",
        "window_scaling",
    )

    def __init__(
        self,
        host: Host,
        key: bytes,
        local: Endpoint,
        remote: Endpoint,
        builder: SegmentBuilder,
        config: TcpConfig,
        iss: int,
        mss: int,
        *,
        initial_rto: float | None = None,
        stamp_offset: int = 0,
        budget: Budget | None = None,
        shared: SharedPath | None = None,
    ) -> None:
        self._host = host
        self.key = key
        self.local = local
        self.remote = remote
        self._builder = builder
        self.config = config
        self.iss = iss
        self.irs = 0
        self.path_mss = mss  # what the path takes, as far as known; also what we announce
        self.state = State.CLOSED
        self.error: SmolmixError | None = None
        self.soft_error: NetworkError | None = None  # an ICMP error that may explain a later timeout
        self.on_event: Callable[[], None] | None = None
        self.listener: object | None = None
        self.released = False
        self.rtt = RttEstimator(initial_rto or config.initial_rto, config.min_rto, config.max_rto)
        self.sender = Sender(config, self.rtt, iss + 1, mss, budget, shared)
        self.timestamps = Timestamps(stamp_offset, config.paws_tolerance)
        self.window_scaling = True  # until the peer's SYN says otherwise
        scale = window_scale_for(max(config.receive_buffer, config.receive_buffer_max))
        self.receiver = Receiver(config, 0, min(mss, 536), scale, budget)
        if config.linux and 0xFFFF <= config.receive_buffer <= 0x10000:
            # A kernel's buffer: its next windows are the first one, rounded up to what the scale can say.
            unit = (1 << scale) - 1
            self.receiver.capacity = min(config.receive_buffer, (self._first_window + unit) & ~unit)
        # deadlines
        self.handshake_at = INFINITY  # next (re)transmission of the SYN
        self.keepalive_at = INFINITY
        self.lifetime_at = INFINITY  # connect timeout, unfinished close, orphaned FIN-WAIT-2, TIME-WAIT
        self._time_wait_end = INFINITY
        self.syn_due = False
        self.probe_due = False  # keep-alive
        self.keepalive_probes = 0
        self.last_heard = 0.0
        self.syn_sent_at = self._first_syn_at = -INFINITY
        self._syn_retries = 0
        self._challenged_at = -INFINITY
        # owned by the stack
        self.ring = 0
        self.heap_at = INFINITY
        self.notified = False

    def __repr__(self) -> str:
        return f"<TcpConnection {self.local} -> {self.remote} {self.state.name}>"

    # -- opening

    def open_active(self, now: float, timeout: float) -> None:
        self.move(Event.ACTIVE_OPEN)
        self.lifetime_at = now + timeout
        self.syn_due = True

    def open_passive(self, irs: int, timeout: float, now: float) -> None:
        self.move(Event.PASSIVE_OPEN)
        self.start_receiving(irs)
        self.lifetime_at = now + timeout
        self.syn_due = True

    def start_receiving(self, irs: int) -> None:
        self.irs = irs
        receiver = self.receiver
        receiver.rcv_nxt = irs + 1
        receiver.rcv_adv = receiver.rcv_nxt + min(receiver.capacity, 0xFFFF)

    @property
    def _first_window(self) -> int:
        """Of a SYN: whole segments, as a Linux kernel's whose first buffer is ours."""
        capacity = min(self.config.receive_buffer, 0xFFFF)
        if not self.config.linux:
            return capacity
        mss = self.config.announced_mss(self.path_mss, self.remote.address.version)
        return capacity - capacity % mss if capacity >= mss else capacity

    def apply_syn_options(self, syn: Segment, now: float) -> None:
        """Of the peer's SYN: RFC 9293 3.7.1 (default MSS), RFC 7323 2.2 and 3.2, RFC 2018 2."""
        sender, receiver, config = self.sender, self.receiver, self.config
        if config.timestamps:
            self.timestamps.from_syn(syn, self.irs, now)
            sender.echoes = self.timestamps.active
        announced = syn.mss or (536 if self.local.address.version == 4 else 1220)
        sender.limit_mss(max(announced, config.min_mss), TIMESTAMP_SIZE if self.timestamps.active else 0)
        sender.set_mss(self.path_mss)
        sender.start_window(config.initial_window_segments)
        if syn.window_scale is None:
            self.window_scaling = False
            receiver.window_scale = 0
        else:
            sender.window_scale = syn.window_scale
        if syn.sack_permitted and config.sack:
            sender.sack_permitted = receiver.sack_permitted = True

    def echo_age(self, segment: Segment, now: float) -> float | None:
        """Seconds since we sent the timestamp that this segment echoes."""
        stamps = self.timestamps
        if not stamps.active or segment.timestamp is None or not segment.flags & ACK:
            return None
        return stamps.age(segment.timestamp[1], now)

    def established(self, now: float, event: Event, age: float | None) -> None:
        """`age` as from `echo_age` of the segment that answered our SYN."""
        retries = self._syn_retries
        rtt: float | None = None
        if not retries:
            rtt = now - self.syn_sent_at
        else:
            rtt = age
            if rtt is None:
                self.rtt.reset(self.config.initial_rto)
            # One retransmission may only mean a long round trip; an answer to the first SYN says that it did.
            if retries > 1 and (age is None or age < now - self._first_syn_at - CLOCK):
                self.sender.start_window(1)
        if rtt is not None:
            self.rtt.sample(rtt)
            self.rtt.progress()
            self._host.round_trip(rtt, now)
        self.move(event)
        self.handshake_at = self.lifetime_at = INFINITY
        self.syn_due = False
        self.sender.set_mss(self.path_mss)  # it may have changed meanwhile
        self.heard(now)
        if self.config.keepalive is not None:
            self.keepalive_at = now + self.config.keepalive
        if self.sender.fin_queued:
            self._begin_close(now)
        self._host.notify(self)

    # -- the application's calls

    def info(self, now: float) -> TcpInfo:
        """The state of everything, at this instant (info.py)."""
        return snapshot(self, now)

    @property
    def send_space(self) -> int:
        """Bytes that `send` takes now."""
        return self.sender.space if self.state in MAY_SEND and not self.sender.fin_queued else 0

    @property
    def receive_available(self) -> int:
        return self.receiver.available

    @property
    def receive_eof(self) -> bool:
        """The peer's FIN came and everything before it was read."""
        return self.receiver.fin_received and not self.receiver.available

    def send(self, data: bytes | bytearray | memoryview, now: float) -> int:
        """Queue data; returns how many bytes were taken, 0 when the buffer is full (`on_event` tells when to retry).

        Raises the connection's `error`, or StateError (code `not_writable`) after `close`.
        """
        if self.error is not None:
            raise self.error
        if self.state not in MAY_SEND or self.sender.fin_queued:
            raise StateError(f"TCP: send in state {self.state.name}", code="not_writable")
        taken = self.sender.enqueue(data)
        if taken and self.state not in OPENING:
            self.sender.update_timer(now)
            self._host.changed(self)
        return taken

    def receive(self, limit: int, now: float) -> bytes:
        """At most `limit` bytes in order; b"" when there are none yet (or at `receive_eof`).

        Data that came before an error is handed out first; then the error is raised.
        """
        receiver = self.receiver
        if receiver.available:
            srtt = self.rtt.srtt
            data = receiver.read(limit, now, srtt if srtt is not None else self.config.initial_rto)
            if receiver.ack_now and self.state in MAY_RECEIVE:
                self._host.changed(self)
            return data
        if self.error is not None:
            raise self.error
        return b""

    def close(self, now: float) -> None:
        """End the sending half: FIN after all queued data. Receiving goes on. Idempotent."""
        sender = self.sender
        if sender.fin_queued or self.state not in MAY_SEND:
            return
        sender.fin_queued = True
        if self.state not in OPENING:  # else when the handshake is over
            self._begin_close(now)
            sender.update_timer(now)
        self._host.changed(self)
        self._host.notify(self)
        self._host.settle()

    def _begin_close(self, now: float) -> None:
        """From here on the peer has a deadline: one that acknowledges for ever, but takes nothing or a byte at a time,
        would hold the flow for ever (RFC 9293 3.8.6.1 has no bound; the user timeout does not see it)."""
        self.move(Event.CLOSE)
        self.lifetime_at = now + self.config.close_timeout + self.sender.queued / self.config.close_rate

    def fin_acknowledged(self, now: float) -> None:
        """FIN-WAIT-2: how long it may last is the application's business, as long as there is one."""
        self.move(Event.RECV_ACK_OF_FIN)
        self.lifetime_at = now + self.config.fin_wait_2 if self.released else INFINITY

    def release(self, now: float) -> None:
        """The application will neither read nor write again: close, refuse further data with a RST (RFC 9293 3.6.1),
        and do not wait for the peer's FIN longer than `fin_wait_2`. Unread data makes it an abort (RFC 2525 2.17)."""
        self.on_event = None
        if self.state is State.CLOSED or self.released:
            return
        self.released = True
        if self.state is State.SYN_SENT and not self.sender.queued:
            self.finish(None)  # nothing was asked of the peer yet (RFC 9293 3.10.4)
            return
        if self.receiver.available and self.state is not State.TIME_WAIT:
            self.abort(now)
            return
        self.close(now)
        if self.state is State.FIN_WAIT_2:
            self.lifetime_at = now + self.config.fin_wait_2
            self._host.changed(self)

    def abort(self, now: float) -> None:
        """Drop everything and tell the peer with a RST. Idempotent."""
        if self.state is State.CLOSED:
            return
        self.fail(ConnectionAborted("aborted by the application", phase=self.phase()), reset=True)
        self._host.settle()

    # -- ends

    def phase(self) -> str:
        return "connect" if self.state in OPENING else "transfer"

    def fail(self, error: SmolmixError, *, reset: bool) -> None:
        """Over by this error; with `reset`, a RST goes to a synchronized peer."""
        if reset and self.state not in (State.SYN_SENT, State.TIME_WAIT, State.CLOSED):
            self.emit(RST | ACK)
        if self.state is State.TIME_WAIT:
            self.finish(None)  # both directions had ended well
            return
        self.finish(error)

    def finish(self, error: SmolmixError | None) -> None:
        """To CLOSED, from any state. What was received stays readable."""
        if self.state is State.CLOSED:
            return
        old = self.state
        self.state = State.CLOSED
        self.error = error
        self.handshake_at = self.keepalive_at = self.lifetime_at = INFINITY
        self.syn_due = self.probe_due = False
        self.sender.discard()
        self.receiver.stop()
        self._host.moved(self, old)
        self._host.forget(self)
        self._host.notify(self)

    def move(self, event: Event) -> None:
        old = self.state
        self.state = next_state(old, event)
        self._host.moved(self, old)

    @property
    def time_wait(self) -> float:
        """Seconds: twice what a segment may live (RFC 9293 3.4.2), where a path is as long as this one. The peer may
        have to repeat its FIN three times, backing off, and packets may be as late as any that were seen."""
        config, rtt = self.config, self.rtt
        if rtt.srtt is None:
            return config.time_wait
        length = 8 * (rtt.srtt + 4 * rtt.rttvar + self.sender.rack.lateness)
        return min(max(length, config.time_wait_min), config.time_wait_max)

    def enter_time_wait(self, now: float) -> None:
        """Now, or anew because the peer repeats its FIN; which it may not do for ever."""
        if self._time_wait_end == INFINITY:
            self._time_wait_end = now + TIME_WAIT_REPEATED * self.time_wait
        self.lifetime_at = min(now + self.time_wait, self._time_wait_end)
        self.keepalive_at = INFINITY
        self.sender.discard()

    def heard(self, now: float) -> None:
        self.last_heard = now
        self.keepalive_probes = 0

    # -- timers

    @property
    def deadline(self) -> float:
        """When `on_timers` must run; infinity for never."""
        sender = self.sender
        answer = min(sender.timer_at, sender.reorder_at, self.handshake_at, self.keepalive_at, self.lifetime_at)
        return min(answer + self._host.lag, self.receiver.ack_at)

    def on_timers(self, now: float) -> None:
        # Whether the peer has said something is known up to here only.
        heard = now - self._host.lag
        if self.lifetime_at <= heard:
            self._lifetime_over()
            return
        if self.handshake_at <= heard:
            self.handshake_at = INFINITY
            if self._syn_retries < self.config.syn_retries:
                self._syn_retries += 1
                self.rtt.back_off()
                self.syn_due = True
            # Else the last word is the lifetime's: a late answer is still welcome.
        if self.receiver.ack_at <= now:
            self.receiver.on_timer(now)
        if self.sender.timer_at <= heard and not self.sender.on_timer(now):
            self._give_up("transfer_timeout", "no acknowledgement within the limit")
            return
        if self.sender.reorder_at <= heard:
            self.sender.on_reorder_timer(now)
        if self.keepalive_at <= heard:
            self._keep_alive(now)

    def _lifetime_over(self) -> None:
        if self.state in OPENING:
            self._give_up("connect_timeout", "no answer within the connect timeout")
        elif self.state is State.TIME_WAIT:
            self.finish(None)
        else:
            what = "close" if self.state is State.FIN_WAIT_2 else "take what was left"
            error = ConnectionReset(f"{self.remote} did not {what} in time", code="close_timeout", phase="close")
            self.fail(error, reset=True)

    def _give_up(self, code: str, message: str) -> None:
        phase = self.phase()
        if self.soft_error is not None:
            message = f"{message}; {self.soft_error.message}"
        self.fail(TimeoutExpired(f"{self.remote}: {message}", code=code, phase=phase), reset=True)

    def _keep_alive(self, now: float) -> None:
        """RFC 9293 3.8.4. The timer runs by itself and looks how long the line was silent."""
        interval = self.config.keepalive
        if interval is None or self.state in OPENING:
            self.keepalive_at = INFINITY
            return
        due = self.last_heard + interval
        if self.keepalive_probes == 0 and due > now:
            self.keepalive_at = due
            return
        self.keepalive_at = now + interval
        if self.sender.snd_nxt != self.sender.snd_una:
            return  # retransmission watches already
        if self.keepalive_probes >= self.config.keepalive_probes:
            self._give_up("keepalive_timeout", f"{self.keepalive_probes} keep-alive probes were not answered")
            return
        self.keepalive_probes += 1
        self.probe_due = True

    # -- output

    def urgency(self) -> int:
        """2: something must go before data; 1: data may go; 0: nothing."""
        if self.syn_due or self.probe_due or self.receiver.ack_now or self.sender.probe_due:
            return 2
        return 1 if self.state in TRANSMITTING and self.sender.can_send() else 0

    def produce(self, now: float) -> bytes | None:
        """The next packet of this connection. An ACK rides on data when there is some."""
        state = self.state
        if state in TRANSMITTING:
            receiver = self.receiver
            reserve = receiver.sack_size(MAX_SACK_BLOCKS - self.timestamps.active) if receiver.wants_sack else 0
            cut = self.sender.next_segment(now, reserve)
            if cut is not None:
                self.probe_due = False
                if cut.again:
                    self._host.repeated(self, cut.seq, len(cut.payload), now)
                flags = ACK
                if cut.push and cut.payload:
                    flags |= PSH
                if cut.fin:
                    flags |= FIN
                return self._segment(cut.seq, flags, cut.payload, now)
        elif self.syn_due:
            return self._produce_syn(now)
        if self.probe_due:
            self.probe_due = False
            return self._segment(self.sender.snd_nxt - 1, ACK, b"", now)
        if self.receiver.ack_now:
            return self._segment(self.sender.snd_nxt, ACK, b"", now)
        return None

    def _segment(self, seq: int, flags: int, payload: bytes | bytearray, now: float) -> bytes:
        receiver = self.receiver
        window = receiver.window_field()
        stamps = self.timestamps
        options = b""
        if stamps.active:
            options = stamps.option(now)
            stamps.last_ack_sent = receiver.rcv_nxt
        if receiver.wants_sack:
            blocks = receiver.sack_blocks(MAX_SACK_BLOCKS - stamps.active)
            if payload:  # where they fit: what is sent again keeps its size
                blocks = blocks[: max(0, (self.sender.mss - len(payload) - 4) // 8)]
            options += sack_option(blocks)
        packet = self._builder.build(wrap(seq), wrap(receiver.rcv_nxt), flags, window, options, payload)
        receiver.acknowledged()
        return packet

    def _produce_syn(self, now: float) -> bytes | None:
        self.syn_due = False
        if self.state not in OPENING:
            return None
        if self.syn_sent_at == -INFINITY:
            self._first_syn_at = now
        else:
            self._host.repeated(self, self.iss, 0, now)
        self.syn_sent_at = now
        self.handshake_at = now + self.rtt.rto
        passive = self.state is State.SYN_RECEIVED
        receiver = self.receiver
        receiver.ack_now = False
        # An answer carries only options the SYN had.
        scale = receiver.window_scale if self.window_scaling else None
        stamps = self.timestamps
        timestamp = None
        if self.config.timestamps and (not passive or stamps.active):
            timestamp = (stamps.value(now), stamps.ts_recent if passive else 0)
        sack = self.config.sack and (not passive or receiver.sack_permitted)
        mss = self.config.announced_mss(self.path_mss, self.remote.address.version)
        options = (syn_options if self.config.linux else plain_syn_options)(mss, scale, sack, timestamp)
        window = min(receiver.rcv_adv - receiver.rcv_nxt, self._first_window) if passive else self._first_window
        flags, ack = (SYN | ACK, wrap(receiver.rcv_nxt)) if passive else (SYN, 0)
        return self._builder.build(wrap(self.iss), ack, flags, window, options)

    def emit(self, flags: int) -> None:
        """A segment without text, now."""
        receiver = self.receiver
        nxt = self.iss + 1 if self.state in OPENING else self.sender.snd_nxt
        self._host.emit(
            self._builder.build(wrap(nxt), wrap(receiver.rcv_nxt), flags, 0 if flags & RST else receiver.window_field())
        )

    def emit_reset(self, seq: int) -> None:
        """A RST at this 32-bit number, in answer to an ACK of something never sent (RFC 9293 3.10.7.3)."""
        self._host.emit(self._builder.build(seq, 0, RST, 0))

    def accepted(self, now: float) -> None:
        """The handshake of a passive open is complete."""
        self._host.accepted(self, now)

    def announce(self) -> None:
        self._host.notify(self)

    def challenge(self, now: float) -> bool:
        """An ACK in answer to something implausible (RFC 5961 3-5), rarely enough that it cannot loop or probe."""
        if now - self._challenged_at < self.config.challenge_ack_interval:
            return False
        self._challenged_at = now
        self.receiver.ack_now = True
        return True

    def set_path_mss(self, mss: int) -> None:
        """What the path takes has changed (`Stack.set_mtu`, ICMP): sequence space per segment."""
        self.path_mss = mss
        if self.state not in OPENING:
            self.sender.set_mss(mss)
        self._host.changed(self)
