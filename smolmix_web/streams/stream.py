"""One stream between two clients: both directions, how it opens, what it says about itself, how it ends.

    dialer     Open ->                 <- OpenAck              acceptor
               Data 0, 1, 2 ... ->     <- Data 0, 1, 2 ...
    ours only  Control ->              <- Control              acknowledged, credit, end, reset, address

The peer is `UNKNOWN` to a dialer until it has shown that it is one of `OURS`, or has not done so in time and is taken
for a `REFERENCE` client: that one neither acknowledges nor ends, and drops what it does not know. With a peer of ours
whatever is lost is repeated, until the peer has been silent for `DEAD`. With a reference client a hole that does not
close, and data that nobody reads, end the stream with an error: bytes never vanish without a word.

Times are seconds of the hub's clock, which stands still while there is no gateway.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Cancelled, SmolmixError, StateError, StreamError, TimeoutExpired
from ..mixnet.addresses import Recipient
from ..mixnet.lp_frame import CONTROL, DATA, OPEN, OPEN_ACK, PING, PONG, LpFrame
from ..rand import RandomSource
from . import control as codes
from .control import EXTENDED, MAX_RANGES, Control, Reset
from .receiver import MODULUS, Arrival, Receiver
from .sender import Flight, Sender

CAPACITY = 1024 * 1024  # bytes that wait for the reader
REFERENCE_EARLY = 256  # frames out of order, beyond which a reference client would skip
SEND_BUFFER = 128 * 1024
JUDGEMENT = 6.0  # s after the Open has arrived in which a peer of ours has shown what it is
OPEN_REPEATS, OPEN_AGAIN = 3, 8.0  # times, and s at first, that a silent peer is sent the Open once more
ACK_DELAY, ACK_FRAMES = 0.3, 16  # what arrived is acknowledged after so long, or so many
ASK_FIRST, ASK_BACKOFF, ASK_MAX = 6.0, 1.5, 30.0  # s of silence after which somebody who waits asks
KEEPALIVE = 45.0  # s of silence after which somebody who does not wait asks
DEAD = 180.0  # s of silence in spite of that
IDLE = 1800.0  # s without any frame, with a peer that cannot be asked
HOLE = 120.0  # s that a reference client's frame may be missing: its mixnet has given up by then
STUCK = 300.0  # s that a frame may be repeated to a peer that answers
SLOW = 20.0  # s after which a peer that turned out to be ours has said that it has what its gateway had
LINGER = 120.0  # s that a closed stream works on what was written
MAX_PONGS = 4
QUEUE_FULL = "queue_full"  # a frame that the mixnet did not even take
MAX_CONTROLS = 4  # at once; each tells all, so others can wait


class Peer(enum.Enum):
    UNKNOWN = "unknown"
    REFERENCE = "reference"
    OURS = "ours"


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """A frame for the mixnet. `surbs`: at least so many with it where we are anonymous; `bulk`: nobody waits for it;
    `urgent`: the last SURB may be spent on it."""

    frame: LpFrame
    surbs: int = 0
    bulk: bool = False
    urgent: bool = False
    flight: Flight | None = None
    tells_end: bool = False


class Stream:
    """See the module. `on_event` is called when there may be more to read, room to write, or an end.

    `surbs`: reply SURBs on the Open. `extended`: what an acceptor saw in the Open.
    """

    def __init__(
        self, rng: RandomSource, stream_id: int, now: float, *, dialed: bool, extended: bool = False, surbs: int = 0
    ) -> None:
        self.stream_id = stream_id
        self.dialed = dialed
        self.peer = Peer.UNKNOWN if dialed else Peer.OURS if extended else Peer.REFERENCE
        self.error: SmolmixError | None = None  # of both directions
        self.write_error: SmolmixError | None = None
        self.on_event: Callable[[], None] | None = None
        self.touched: Callable[[], None] = _nothing  # the hub must look
        self.moved_to: Callable[[Recipient], None] | None = None  # the hub hears that the peer is elsewhere
        self.own_address: tuple[int, Recipient] | None = None  # told to a peer of ours once we moved
        self._rng = rng
        self._surbs = surbs
        self._receiver = Receiver(CAPACITY)
        self._sender = Sender(SEND_BUFFER)
        self._sender.opening = dialed
        self._pings = False  # the peer is a client of the coming release
        self._open_due, self._open_ack_due = dialed, not dialed
        self._opens = 0
        self._open_again: float | None = None
        self._judge_at: float | None = None
        self._pongs: deque[int] = deque()
        self._control_due = False
        self._control_surbs = 2
        self._moved_at = float("-inf")
        self._controls_out = 0  # that the mixnet has and is not done with
        self._ack_at: float | None = None
        self._unacknowledged = 0
        self._told_credit = self._receiver.credit
        self._final_heard = False
        self._end_told = False
        self._asking = False
        self._asked = now
        self._asks = 0
        self._heard_at = now
        self._heard_any = not dialed
        self._active_at = now
        self._peer_moves = 0
        self._lacks_since: float | None = None  # the peer waits for what we took for arrived
        self._closing = False
        self._closing_since: float | None = None  # as far as `poll` knows
        self._reset: Reset | None = None  # to be said
        self._over = False
        if self.peer is Peer.OURS:
            self._sender.trust(0)
        elif not dialed:
            self._judged(now)

    # -- the application ------------------------------------------------------------------------------------

    @property
    def available(self) -> int:
        """Bytes that can be read."""
        return self._receiver.available

    @property
    def eof(self) -> bool:
        """The peer has ended, and everything was read."""
        return self._receiver.eof

    @property
    def space(self) -> int:
        """Bytes that `write` takes."""
        return self._sender.space if self.error is None and self.write_error is None else 0

    @property
    def heard(self) -> bool:
        """Has the peer shown that it is there?"""
        return self._heard_any

    @property
    def drained(self) -> bool:
        """Everything written has arrived: at a peer of ours, or else at the gateway of the peer."""
        return self._sender.done

    @property
    def repeated(self) -> int:
        """Frames sent once more."""
        return self._sender.repeated

    @property
    def quiet(self) -> bool:
        """Open both ways with nothing to read."""
        return (
            self.error is None
            and self.write_error is None
            and not self._sender.finished
            and not self.available
            and not self._receiver.ended
        )

    def read(self, limit: int) -> bytes:
        """What is there, up to `limit` bytes."""
        piece = self._receiver.read(limit)
        if self._receiver.credit - self._told_credit >= CAPACITY // 4 and self.error is None:
            self._say_control()
        return piece

    def write(self, data: bytes | memoryview) -> int:
        """Take what there is room for. Raises the stream's error, `StateError` after `finish`."""
        if self.error is not None or self.write_error is not None:
            raise self.error or self.write_error or AssertionError
        if self._sender.finished:
            raise StateError("write after the end of the stream", phase="stream")
        taken = self._sender.write(data)
        self.touched()
        return taken

    def finish(self) -> None:
        """No more will be written. A peer of ours reads the end after all that was; others hear nothing."""
        if not self._sender.finished:
            self._sender.finished = True
            if self._sender.final is not None:
                self._say_control()

    def close(self) -> None:
        """The end for this side: what was written is sent, nothing more is read."""
        if not self._closing and self.error is None:
            self._closing = True
            self._receiver.discard()
            self.finish()
            self.touched()

    def abort(self, error: SmolmixError | None = None, code: int = codes.FIRST_OWN, text: str = "") -> None:
        """At once. A peer of ours is told the code (from 256 on) and the text."""
        self._fail(error or Cancelled("the stream was aborted", phase="stream"), Reset(code, text))

    # -- what arrives -----------------------------------------------------------------------------------------

    def opened(self) -> None:
        """The acceptor has the Open once more: its answer was lost."""
        if self.peer is Peer.OURS:
            self._open_ack_due = True
            self.touched()

    def receive(self, frame: LpFrame, now: float) -> None:
        """A frame of the peer. Raises `MessageError` for a control record that cannot be read."""
        if self._over:
            return
        record = None
        if frame.message_type == CONTROL or (frame.message_type == OPEN_ACK and frame.reserved == EXTENDED):
            record = Control.from_bytes(frame.payload)
        self._heard_at = self._active_at = now
        self._heard_any = True
        self._sender.opening = False
        self._judge_soon(now)
        self._open_again = None
        self._asks = 0
        kind = frame.message_type
        if record is not None:
            self._take_control(record, now)
        elif kind == DATA:
            self._take_data(frame, now)
        elif kind == OPEN and not self.dialed:
            self._receiver.prefix(frame.payload)
        elif kind in (OPEN_ACK, PING, PONG):
            self._pings = True
            if kind == PING and len(self._pongs) < MAX_PONGS:
                self._pongs.append(frame.sequence)
        self.touched()
        self._event()

    def _take_data(self, frame: LpFrame, now: float) -> None:
        receiver = self._receiver
        arrival = receiver.insert(receiver.number(frame.sequence), frame.payload, now)
        if self.peer is Peer.REFERENCE and self._overrun():
            return
        self._unacknowledged += arrival is Arrival.TAKEN
        if receiver.ended or self._unacknowledged >= ACK_FRAMES:
            self._control_due = True
        elif self._ack_at is None:
            self._ack_at = now + ACK_DELAY

    def _take_control(self, record: Control, now: float) -> None:
        receiver, sender = self._receiver, self._sender
        self.peer = Peer.OURS
        self._judge_at = None
        if record.reset is not None:
            self._was_reset(record.reset)
            return
        sender.trust(record.credit)
        contradicts = record.final is not None and (
            record.final < receiver.expected or receiver.final not in (None, record.final)
        )
        if contradicts or not sender.acknowledge(record.received, record.ranges, now):
            error = StreamError("the peer contradicts itself", code="stream_reset", phase="stream", reason="malformed")
            self._fail(error, Reset(codes.FAILED, "contradiction"))
            return
        if not sender.lacks(record.received):
            self._lacks_since = None
        elif self._lacks_since is None:
            self._lacks_since = now  # it may only be slow
            self._asking = self._control_due = True
        elif now >= self._lacks_since + SLOW:
            self._lost("not_acknowledged")
            return
        if record.final is not None and receiver.final is None:
            receiver.final = record.final
            self._control_due = True
        if record.heard and sender.final is not None:
            self._final_heard = True
        if record.ask:
            self._control_due = True
        if record.address is not None and record.moves > self._peer_moves and self.moved_to is not None:
            self._peer_moves = record.moves
            self.moved_to(record.address)

    def _was_reset(self, reset: Reset) -> None:
        if reset.code == codes.CLOSED and self._receiver.ended:
            self.write_error = StreamError("the peer has closed the stream", code="stream_closed", phase="stream")
            self._sender.clear()
            self._over = True
            return
        name = codes.NAMES.get(reset.code, f"code {reset.code}")
        reason = f"{name}: {reset.text}" if reset.text else name
        refused = reset.code in (codes.REFUSED, codes.BUSY)
        code = "peer_refused" if refused else "stream_reset"
        error = StreamError(f"the peer ended the stream: {reason}", code=code, phase="stream", reason=reason)
        error.reset_code = reset.code if reset.code >= codes.FIRST_OWN else None
        self._fail(error)

    # -- what leaves ------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """The hub may forget it: nothing will be sent any more."""
        return self._over and self._reset is None

    def ready(self, size: int) -> bool:
        """Is there a frame to send now? `size`: bytes of payload that one may carry."""
        if self._reset is not None:
            return True
        if self._over:
            return False
        return bool(
            self._open_due
            or self._open_ack_due
            or self._pongs
            or self._control_ready
            or self._ping_due
            or self._sender.ready(size)
        )

    @property
    def _control_ready(self) -> bool:
        return self._control_due and self.peer is Peer.OURS and self._controls_out < MAX_CONTROLS

    @property
    def urgent(self) -> bool:
        """Is there something that must be said with the last SURB? Where we are now: else none will come."""
        return self._control_ready and self.own_address is not None and self._unsettled

    @property
    def _unsettled(self) -> bool:
        return self._heard_at <= self._moved_at

    @property
    def _ping_due(self) -> bool:
        return self._asking and self.peer is not Peer.OURS

    def take(self, size: int, now: float) -> Outgoing | None:
        """The frame to send now. Tell `sent` what became of it."""
        if self._reset is not None:
            reset, self._reset = self._reset, None
            self._event()
            return self._control_frame(Control(self._receiver.expected, self._receiver.credit, reset=reset))
        if self._over:
            return None
        self._active_at = now
        if self._open_due:
            self._open_due = False
            self._opens += 1
            return Outgoing(LpFrame(self.stream_id, OPEN, 0, reserved=EXTENDED), self._surbs)
        if self._open_ack_due:
            self._open_ack_due = False
            if self.peer is not Peer.OURS:
                return Outgoing(LpFrame(self.stream_id, OPEN_ACK, 0))
            return Outgoing(LpFrame(self.stream_id, OPEN_ACK, 0, self._control(now).to_bytes(), EXTENDED))
        if self._pongs:
            return Outgoing(LpFrame(self.stream_id, PONG, self._pongs.popleft()), 2)
        if self._control_ready:
            self._controls_out += 1
            return self._control_frame(self._control(now))
        if self._ping_due:
            self._asking = False
            return Outgoing(LpFrame(self.stream_id, PING, self._rng.below(MODULUS)), 2)
        flight = self._sender.take(size, now)
        if flight is None:
            return None
        if self._sender.finished and not self._sender.unsent:
            self._control_due = True  # the end
        frame = LpFrame(self.stream_id, DATA, flight.number % MODULUS, flight.payload)
        return Outgoing(frame, bulk=self._sender.unsent > 0 or len(flight.payload) == size, flight=flight)

    def _control(self, now: float) -> Control:
        receiver, sender = self._receiver, self._sender
        self._control_due = False
        self._ack_at = None
        self._unacknowledged = 0
        self._told_credit = receiver.credit
        asking, self._asking = self._asking, False
        moves, address = self.own_address or (0, None)
        return Control(
            receiver.expected,
            receiver.credit,
            receiver.ranges(MAX_RANGES),
            sender.final,
            receiver.final is not None,
            None,
            moves,
            address,
            asking,
        )

    def _control_frame(self, record: Control) -> Outgoing:
        surbs, self._control_surbs = self._control_surbs, 2
        tells_end = self._receiver.ended and record.heard
        frame = LpFrame(self.stream_id, CONTROL, 0, record.to_bytes())
        return Outgoing(frame, surbs, urgent=record.address is not None and self._unsettled, tells_end=tells_end)

    def sent(self, outgoing: Outgoing, failure: str | None, now: float) -> None:
        """The mixnet is done with a frame: its recipient's gateway has it, or it was given up (`failure`)."""
        flight, kind = outgoing.flight, outgoing.frame.message_type
        self._controls_out = max(0, self._controls_out - (kind == CONTROL))
        if self._over:
            return
        if failure is None:
            if flight is not None:
                self._sender.delivered(flight, now)
                self._event()
            elif kind == OPEN and not self._heard_any:
                self._sender.opening = False
                self._judge_soon(now)
                self._open_again = now + OPEN_AGAIN * 2 ** (self._opens - 1) if self._opens <= OPEN_REPEATS else None
            elif outgoing.tells_end:
                self._end_told = True
        elif flight is not None and (failure == QUEUE_FULL or self.peer is not Peer.REFERENCE or flight.repeats < 1):
            self._sender.undelivered(flight)
        elif flight is not None:
            self._lost(failure)
        elif kind == OPEN and failure == QUEUE_FULL:
            self._open_due = True
        elif kind == OPEN and not self._heard_any:
            self._fail(StreamError("the Open did not arrive", code="peer_unreachable", phase="stream", reason=failure))
        elif kind == OPEN_ACK:
            self._open_ack_due = self.peer is Peer.OURS
        elif kind == CONTROL:
            self._control_due = True
        self.touched()

    def unsendable(self, error: SmolmixError) -> None:
        """The mixnet does not take frames of this stream any more."""
        self._fail(error)

    def rerouted(self) -> None:
        """The peer is elsewhere, and frames go there from now on: those on their way will hardly find it."""
        self._controls_out = 0
        self._sender.reroute()
        self._say_control()

    def moved(self, surbs: int, now: float) -> None:
        """Our own address is another one: the peer needs SURBs that lead there, or to hear of it."""
        self._control_surbs = surbs
        self._moved_at = now
        self._controls_out = 0  # those that wait for SURBs would be too late
        if not self._heard_any:
            # Its answer may have been lost with our gateway, and says what it is.
            self._open_due, self._judge_at, self._opens = True, None, 0
        self._say_control()

    # -- time -------------------------------------------------------------------------------------------------

    def poll(self, now: float) -> None:
        """Run the timers that are due, and draw conclusions."""
        if self._over:
            return
        if self._judge_at is not None and now >= self._judge_at:
            self._judge_at = None
            self.peer = Peer.REFERENCE
            self._judged(now)
        if self._open_again is not None and now >= self._open_again:
            self._open_again = None
            self._open_due = True
        if self._ack_at is not None and now >= self._ack_at:
            self._ack_at = None
            self._control_due = True
        self._sender.poll(now)
        self._conclude(now)
        if self._over:
            return
        ask_at = self._ask_at()
        if ask_at is not None and now >= ask_at:
            self._asked = now
            self._asks += 1
            self._asking = True
            self._control_due = self._control_due or self.peer is Peer.OURS
        self._judge_silence(now)

    def _judge_soon(self, now: float) -> None:
        if self.peer is Peer.UNKNOWN and self._judge_at is None:
            self._judge_at = now + JUDGEMENT

    def _judged(self, now: float) -> None:
        """The peer is a reference client."""
        self._receiver.max_early = REFERENCE_EARLY + 1
        self._sender.settle(now)
        self._overrun()
        self._event()

    def _overrun(self) -> bool:
        """Has a peer that repeats nothing sent what had to be dropped, or what it would drop itself?"""
        if self._receiver.early > REFERENCE_EARLY:
            self._gap(f"{self._receiver.early} frames wait for one that is missing")
        elif self._receiver.refused:
            self._fail(StreamError("the peer sends more than is read", code="stream_overflow", phase="stream"))
        return self._over

    def _conclude(self, now: float) -> None:
        """Is it over?"""
        if self._closing and self._closing_since is None:
            self._closing_since = now
        receiver, sender = self._receiver, self._sender
        if self.peer is Peer.OURS:
            if sender.final is None or not sender.done or not self._final_heard:
                pass
            elif receiver.ended:
                self._over = self._end_told
            elif self._closing:
                self._reset, self._over = Reset(codes.CLOSED), True
        elif self.peer is Peer.REFERENCE and self._closing and sender.done and not self._open_due:
            self._over = True
        if self._over:
            self._event()
        if not self._over and self._closing_since is not None and now >= self._closing_since + LINGER:
            self._fail(TimeoutExpired("the rest of a closed stream did not arrive", code="stream_timeout"))

    def _ask_at(self) -> float | None:
        """When to ask for a sign of life."""
        if self.peer is Peer.OURS:
            waits = (
                self._sender.in_flight
                or self._lacks_since is not None
                or self._sender.blocked
                or (self._sender.finished and not self._final_heard)
            )
            wait = min(ASK_MAX, ASK_FIRST * ASK_BACKOFF ** min(self._asks, 8)) if waits else KEEPALIVE
        elif self._pings:
            wait = KEEPALIVE
        else:
            return None
        return max(self._heard_at, self._asked) + wait

    def _silent_at(self) -> float:
        """When the peer counts as gone."""
        if self.peer is Peer.OURS or self._pings:
            return self._heard_at + DEAD
        return self._active_at + IDLE

    def _judge_silence(self, now: float) -> None:
        hole = self._receiver.hole_since
        if now >= self._silent_at():
            asked = self.peer is Peer.OURS or self._pings
            text = f"no sign of the peer for {now - self._heard_at:.0f} s"
            code = "peer_timeout" if asked else "stream_idle"
            self._fail(TimeoutExpired(text, code=code, phase="stream"))
        elif hole is not None and self.peer is not Peer.OURS and now >= hole + HOLE:
            self._gap(f"frame {self._receiver.expected} has been missing for {now - hole:.0f} s")
        elif self.peer is Peer.OURS and self._sender.in_flight and now >= self._sender.progress + STUCK:
            self._lost("not_acknowledged")

    def next_deadline(self) -> float | None:
        """When `poll` has something to do."""
        if self._over:
            return None
        hole = self._receiver.hole_since
        times = [self._judge_at, self._open_again, self._sender.next_deadline(), self._ask_at(), self._silent_at()]
        if self.peer is Peer.OURS:
            times.append(self._ack_at)
            times.append(self._sender.progress + STUCK if self._sender.in_flight else None)
        elif hole is not None:
            times.append(hole + HOLE)
        if self._closing_since is not None:
            times.append(self._closing_since + LINGER)
        return min(time for time in times if time is not None)

    # -- endings ----------------------------------------------------------------------------------------------

    def farewell(self) -> Control | None:
        """What is answered to a peer of ours that has not understood that the stream is over."""
        if self.peer is not Peer.OURS:
            return None
        receiver, sender = self._receiver, self._sender
        if self.error is not None:
            return Control(receiver.expected, receiver.credit, reset=Reset(codes.FAILED, self.error.code))
        if not receiver.ended:
            return Control(receiver.expected, receiver.credit, reset=Reset(codes.CLOSED))
        return Control(receiver.expected, receiver.credit, final=sender.next, heard=True)

    def _gap(self, text: str) -> None:
        error = StreamError(f"data of the peer is lost: {text}", code="stream_gap", phase="stream")
        self._fail(error, Reset(codes.FAILED, "gap"))

    def _lost(self, reason: str) -> None:
        error = StreamError("data did not reach the peer", code="stream_lost", phase="stream", reason=reason)
        self._fail(error, Reset(codes.FAILED, "lost"))

    def _fail(self, error: SmolmixError, reset: Reset | None = None) -> None:
        """It is over with this error. What has arrived in order can still be read."""
        if self._over:
            return
        self.error = error
        self._over = True
        self._sender.clear()
        # A reference client drops it; it costs one packet, and an unknown peer may be one of ours.
        self._reset = reset if self.peer is not Peer.REFERENCE else None
        self.touched()
        self._event()

    def _say_control(self) -> None:
        self._control_due = True
        self.touched()

    def _event(self) -> None:
        if self.on_event is not None:
            self.on_event()


def _nothing() -> None:
    """Until the hub has its say."""
