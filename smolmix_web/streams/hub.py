"""All streams of a client, on its mixnet client: who gets what arrives, who may send, and who may open one.

    engine.receive -> hub.receive -> Stream.receive, or a new Stream for the listener, or the mailbox
    engine.poll    -> hub.poll    -> Stream.take, in turns -> MixnetClient.send or send_reply

A dialer knows the acceptor's address; an acceptor knows a sender tag, and pays a reply SURB for every packet. The pile
of SURBs at the acceptor is kept up as that of an exit. Everything from strangers is bounded: streams, those nobody has
accepted, frames without a stream, answers to frames of streams that are over.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from ..errors import DirectoryError, MessageError, SmolmixError, StateError, StreamError
from ..mixnet.addresses import Recipient
from ..mixnet.client import Delivery, Lane, MixnetClient, ReceivedMessage
from ..mixnet.fragments import UNLINKED_HEADER
from ..mixnet.lp_frame import CONTROL, HEADER_SIZE, OPEN, LpFrame, is_stream_frame
from ..mixnet.messages import REPLIABLE_OVERHEAD, REPLY_OVERHEAD
from ..mixnet.reply_keys import TokenBucket
from ..rand import RandomSource
from ..sphinx.constants import REGULAR
from . import control as codes
from .control import EXTENDED, Control, Reset
from .mailbox import Mailbox
from .orphans import Orphans
from .stream import QUEUE_FULL, Outgoing, Peer, Stream

_PLAINTEXT = REGULAR.fragment - UNLINKED_HEADER - 1 - HEADER_SIZE
DIALED_SIZE = _PLAINTEXT - REPLIABLE_OVERHEAD  # bytes of data in one packet of the dialer,
ACCEPTED_SIZE = _PLAINTEXT - REPLY_OVERHEAD  # and of the acceptor
MAX_STREAMS = 256  # dialed, and as many accepted
BACKLOG = 32  # accepted that nobody has taken yet
MAX_GONE, GONE_FOR = 512, 300.0  # streams that are over and remembered, s
STARVING = 128  # frames of an acceptor that wait for SURBs: so many are asked for in a round trip
LANE_ROOM = 40  # packets: more than any frame takes, with 100 SURBs on it
OPEN_SURBS = 10  # as the reference: three packets
MOVED_SURBS = 10
SURBS_LOW, SURBS_HIGH, SURBS_PATIENCE = 40, 120, 1.0  # what an acceptor holds of us, s
RETRY = 5.0  # s until a recipient that no route leads to is tried again
ANSWER_RATE, ANSWERS = 2.0, 20  # answers to frames of no stream, per second and at once
ROUNDING = 1e-6  # s
LATE = 5.0  # s; a poll this late means that the machine slept


@dataclass(slots=True)
class StreamStatistics:
    """Counters since the start."""

    opened: int = 0
    accepted: int = 0
    refused: int = 0  # Opens of others
    ended: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    repeated: int = 0
    malformed: int = 0
    foreign: int = 0  # frames of no stream, or of one that is somebody else's


@dataclass(slots=True, eq=False)
class _Entry:
    """A stream and whom it leads to: the dialed recipient (`known`: earlier addresses too), or a tag."""

    stream: Stream
    recipient: Recipient | None = None
    tag: bytes = b""
    known: tuple[Recipient | bytes, ...] = ()
    due: float | None = None
    hold_until: float = float("-inf")

    @property
    def key(self) -> tuple[bool, int]:
        return self.stream.dialed, self.stream.stream_id

    @property
    def size(self) -> int:
        return DIALED_SIZE if self.stream.dialed else ACCEPTED_SIZE


@dataclass(slots=True)
class _Gone:
    until: float
    farewell: Control | None


class StreamHub:
    """See the module. `on_incoming(stream)` of `listen` may take the stream at once, or leave it for `accept`."""

    def __init__(self, rng: RandomSource, mixnet: MixnetClient, now: float) -> None:
        self.statistics = StreamStatistics()
        self.mailbox = Mailbox()
        self._rng = rng
        self._mixnet = mixnet
        self._entries: dict[tuple[bool, int], _Entry] = {}
        self._touched: dict[_Entry, None] = {}
        self._ready: OrderedDict[_Entry, None] = OrderedDict()
        self._ended: deque[tuple[_Entry, Outgoing, str | None]] = deque()
        self._gone: OrderedDict[tuple[bool, int], _Gone] = OrderedDict()
        self._orphans = Orphans()
        self._answers = TokenBucket(ANSWER_RATE, ANSWERS, now)
        self._on_incoming: Callable[[], None] | None = None
        self._backlog: deque[Stream] = deque()
        self._lag = 0.0  # s in which there was no gateway, or the machine slept
        self._paused_at: float | None = None
        self._polled = now
        self._due: float | None = None
        self._moves = 0
        self._goodbye = False

    # -- the application ------------------------------------------------------------------------------------

    @property
    def streams(self) -> int:
        return len(self._entries)

    @property
    def listening(self) -> bool:
        return self._on_incoming is not None

    def listen(self, on_incoming: Callable[[], None]) -> None:
        """From now on Opens are taken; `on_incoming` is called when there is one to `accept`."""
        if self._on_incoming is not None:
            raise StateError("there is a listener already", code="listener_taken", phase="stream")
        self._on_incoming = on_incoming

    def unlisten(self) -> None:
        """Opens are refused again; streams that nobody accepted are reset."""
        self._on_incoming = None
        while self._backlog:
            self._backlog.popleft().abort(code=codes.REFUSED)

    def accept(self) -> Stream | None:
        """The next incoming stream."""
        while self._backlog:
            stream = self._backlog.popleft()
            if stream.error is None or stream.available:
                return stream
        return None

    def open(self, recipient: Recipient, now: float, *, surbs: int = OPEN_SURBS) -> Stream:
        """A stream to `recipient`, with so many SURBs on its Open. Raises `StateError` `too_many_streams`,
        `DirectoryError` `gateway_unknown`."""
        topology = self._mixnet.topology
        if topology is not None and not topology.knows(recipient.gateway):
            raise DirectoryError("no route leads to the peer's gateway", code="gateway_unknown", phase="stream")
        self._check_room(dialed=True)
        stream_id = int.from_bytes(self._rng.bytes(8), "big")
        clock = self._clock(now)
        stream = Stream(self._rng, stream_id, clock, dialed=True, surbs=surbs)
        entry = self._enter(_Entry(stream, recipient=recipient, known=(recipient,)))
        stream.moved_to = partial(self._peer_moved, entry)
        self._mixnet.keep_stock(recipient, SURBS_LOW, SURBS_HIGH, now, patience=SURBS_PATIENCE)
        self.statistics.opened += 1
        return stream

    def end_all(self, error: SmolmixError) -> None:
        """The client is going: every stream ends with this error, and peers of ours are told."""
        self._on_incoming = None
        self._goodbye = self._goodbye or bool(self._entries)
        for entry in list(self._entries.values()):
            entry.stream.abort(error, codes.CLOSED if entry.stream.drained else codes.FAILED, "the client ended")

    @property
    def leaving(self) -> bool:
        """After `end_all`: are there peers that have not been told?"""
        return self._goodbye and (bool(self._entries) or self._mixnet.queue_length > 0)

    def _check_room(self, *, dialed: bool) -> None:
        if sum(key[0] is dialed for key in self._entries) >= MAX_STREAMS:
            raise StateError(f"{MAX_STREAMS} streams are open", code="too_many_streams", phase="stream")

    def _enter(self, entry: _Entry) -> _Entry:
        self._entries[entry.key] = entry
        entry.stream.touched = partial(self._touch, entry)
        self._touch(entry)
        return entry

    def _touch(self, entry: _Entry) -> None:
        self._touched[entry] = None

    # -- what arrives -----------------------------------------------------------------------------------------

    def receive(self, message: ReceivedMessage, now: float) -> None:
        """A message that is not the exit's. Never raises."""
        self._settle(now)
        if not is_stream_frame(message.data):
            self.mailbox.deliver(message)
            return
        try:
            frame = LpFrame.from_bytes(message.data)
            if message.source is not None:
                self._receive_reply(frame, message.source, now)
            elif message.sender_tag is not None:
                self._receive_from(frame, message.sender_tag, now)
            else:
                self.statistics.foreign += 1  # nobody could be answered
        except MessageError:
            self.statistics.malformed += 1

    def _receive_reply(self, frame: LpFrame, source: Recipient, now: float) -> None:
        entry = self._entries.get((True, frame.stream_id))
        if entry is not None and source in entry.known:
            self.statistics.frames_received += 1
            entry.stream.receive(frame, self._clock(now))
        elif entry is None and frame.message_type == CONTROL:
            told = Control.from_bytes(frame.payload).address
            if told is not None and told[:2] == source[:2]:
                source = told  # it has moved since
            self._answer_stranger((True, frame.stream_id), frame, partial(self._send_to, source, now), now)
        else:
            self.statistics.foreign += 1

    def _receive_from(self, frame: LpFrame, tag: bytes, now: float) -> None:
        key = (False, frame.stream_id)
        entry = self._entries.get(key)
        clock = self._clock(now)
        if entry is not None:
            if tag not in entry.known:
                if entry.stream.peer is not Peer.OURS or len(entry.known) > 64:
                    self.statistics.foreign += 1
                    return
                # Whoever knows the id is the peer: it has moved, and its old SURBs lead nowhere.
                entry.tag, entry.known = tag, (*entry.known, tag)
                entry.stream.rerouted()
            self.statistics.frames_received += 1
            if frame.message_type == OPEN:
                entry.stream.opened()
            else:
                entry.stream.receive(frame, clock)
        elif frame.message_type == OPEN and key not in self._gone:
            self._incoming(frame, tag, now)
        elif key not in self._gone and self.listening:
            self._orphans.add(frame, tag, clock)
        elif frame.message_type == CONTROL:
            self._answer_stranger(key, frame, partial(self._reply_to, tag, now), now)
        else:
            self.statistics.foreign += 1

    def _incoming(self, frame: LpFrame, tag: bytes, now: float) -> None:
        accepted = sum(not key[0] for key in self._entries)
        busy = len(self._backlog) >= BACKLOG or accepted >= MAX_STREAMS
        if self._on_incoming is None or busy:
            self.statistics.refused += 1
            if frame.reserved == EXTENDED and self._answers.take(1, now):
                self._reply_to(tag, now, frame.stream_id, Reset(codes.BUSY if busy else codes.REFUSED))
            return
        clock = self._clock(now)
        stream = Stream(self._rng, frame.stream_id, clock, dialed=False, extended=frame.reserved == EXTENDED)
        entry = self._enter(_Entry(stream, tag=tag, known=(tag,)))
        if self._moves:
            stream.own_address = (self._moves, self._mixnet.address)
        self.statistics.accepted += 1
        self._backlog.append(stream)
        for one in (frame, *self._orphans.take(frame.stream_id)):
            try:
                entry.stream.receive(one, clock)
            except MessageError:
                self.statistics.malformed += 1
        self._on_incoming()

    def _answer_stranger(
        self, key: tuple[bool, int], frame: LpFrame, send: Callable[[int, Reset | Control], None], now: float
    ) -> None:
        """A peer of ours still believes in a stream that is over here, or that we have never heard of."""
        record = Control.from_bytes(frame.payload)
        gone = self._gone.get(key)
        said = Reset(codes.UNKNOWN) if gone is None else gone.farewell
        if record.reset is None and said is not None and self._answers.take(1, now):
            send(key[1], said)
        else:
            self.statistics.foreign += 1

    def _peer_moved(self, entry: _Entry, address: Recipient) -> None:
        """The acceptor says where it is now. Its keys are what they were."""
        old = entry.recipient
        if old is None or address[:2] != old[:2] or address == old or len(entry.known) > 64:
            return
        self._leave(entry)
        entry.recipient, entry.known = address, (*entry.known, address)
        self._mixnet.keep_stock(address, SURBS_LOW, SURBS_HIGH, self._polled, patience=SURBS_PATIENCE)
        entry.stream.moved(MOVED_SURBS, self._clock(self._polled))
        entry.stream.rerouted()

    # -- what leaves ------------------------------------------------------------------------------------------

    def poll(self, now: float, room: int) -> None:
        """Run the timers that are due, and hand at most `room` frames to the mixnet, in turns."""
        self._notice_sleep(now)
        self._settle(now)
        clock = self._clock(now)
        for tag, frames in self._orphans.expire(clock):
            self._answer_orphans(tag, frames, now)
        if self._due is not None and clock >= self._due:
            self._touched.update((entry, None) for entry in self._entries.values() if (entry.due or clock) <= clock)
        self._look(clock)
        for entry in list(self._ready):
            if room <= 0:
                break
            room -= self._send_turn(entry, clock, now)
        while room > 0 and self._ready:
            before = room
            for entry in list(self._ready):
                if room <= 0:
                    break
                room -= self._send_turn(entry, clock, now)
            if room == before:
                break
        self._look(clock)
        self._due = min((entry.due for entry in self._entries.values() if entry.due is not None), default=None)

    def _look(self, clock: float) -> None:
        """At all streams that something happened to."""
        while self._touched:
            entry, _ = self._touched.popitem()
            stream = entry.stream
            if self._entries.get(entry.key) is not entry:
                continue
            stream.poll(clock)
            self._touched.pop(entry, None)
            if stream.over:
                self._forget(entry, clock)
                continue
            entry.due = stream.next_deadline()
            if stream.ready(entry.size):
                self._ready.setdefault(entry)
            else:
                self._ready.pop(entry, None)

    def _send_turn(self, entry: _Entry, clock: float, now: float) -> int:
        """One frame of this stream, if it may; how many were sent."""
        stream, mixnet = entry.stream, self._mixnet
        self._ready.move_to_end(entry)
        starves = not stream.dialed and mixnet.replies_waiting(entry.tag) >= STARVING and not stream.urgent
        if clock < entry.hold_until or starves:
            return 0
        if min(mixnet.room(Lane.SMALL), mixnet.room(Lane.BULK)) < LANE_ROOM:
            return 0
        outgoing = stream.take(entry.size, clock)
        self._touch(entry)
        if outgoing is None:
            self._ready.pop(entry)
            return 0
        if not stream.ready(entry.size):
            self._ready.pop(entry)
        delivery = Delivery(lambda one: self._ended.append((entry, outgoing, one.failure)))
        data, lane = outgoing.frame.to_bytes(), Lane.BULK if outgoing.bulk else Lane.SMALL
        try:
            if entry.recipient is not None:
                mixnet.send(
                    entry.recipient,
                    data,
                    surbs=outgoing.surbs,
                    fill=not outgoing.bulk,
                    lane=lane,
                    delivery=delivery,
                    now=now,
                )
            else:
                mixnet.send_reply(entry.tag, data, lane=lane, delivery=delivery, urgent=outgoing.urgent, now=now)
        except DirectoryError:
            # The peer's gateway left the network; the peer may still tell where it went.
            entry.hold_until = clock + RETRY
            self._ended.append((entry, outgoing, "unroutable"))
        except StateError as error:
            if error.code == "unknown_sender_tag":
                stream.unsendable(StreamError("the peer's SURBs are gone", code="no_surbs", phase="stream"))
            else:
                entry.hold_until = clock + 0.1  # the lane is full of somebody else's packets
                self._ended.append((entry, outgoing, QUEUE_FULL))
            return 0
        self.statistics.frames_sent += 1
        return 1

    def _settle(self, now: float) -> None:
        """Tell the streams what became of their frames."""
        clock = self._clock(now)
        while self._ended:
            entry, outgoing, failure = self._ended.popleft()
            entry.stream.sent(outgoing, failure, clock)

    def _answer_orphans(self, tag: bytes, frames: list[LpFrame], now: float) -> None:
        for frame in frames:
            if frame.message_type == CONTROL and self._answers.take(1, now):
                self._reply_to(tag, now, frame.stream_id, Reset(codes.UNKNOWN))
                break

    def _reply_to(self, tag: bytes, now: float, stream_id: int, said: Reset | Control) -> None:
        if self._mixnet.surbs_held(tag):
            self._say(stream_id, said, lambda data: self._mixnet.send_reply(tag, data, lane=Lane.SMALL, now=now))

    def _send_to(self, recipient: Recipient, now: float, stream_id: int, said: Reset | Control) -> None:
        self._say(stream_id, said, lambda data: self._mixnet.send(recipient, data, lane=Lane.SMALL, now=now))

    def _say(self, stream_id: int, said: Reset | Control, send: Callable[[bytes], None]) -> None:
        record = Control(0, 0, reset=said) if isinstance(said, Reset) else said
        try:
            send(LpFrame(stream_id, CONTROL, 0, record.to_bytes()).to_bytes())
        except (DirectoryError, StateError):
            self.statistics.foreign += 1  # it will ask again

    # -- the end of a stream ----------------------------------------------------------------------------------

    def _forget(self, entry: _Entry, clock: float) -> None:
        del self._entries[entry.key]
        self._ready.pop(entry, None)
        self._leave(entry)
        self.statistics.ended += 1
        self.statistics.repeated += entry.stream.repeated
        self._gone[entry.key] = _Gone(clock + GONE_FOR, entry.stream.farewell())
        while self._gone and (len(self._gone) > MAX_GONE or next(iter(self._gone.values())).until <= clock):
            self._gone.popitem(last=False)

    def _leave(self, entry: _Entry) -> None:
        """One stream less to a recipient: the last one takes no SURBs there any more."""
        recipient = entry.recipient
        others = (one for one in self._entries.values() if one is not entry)
        if recipient is not None and all(one.recipient != recipient for one in others):
            self._mixnet.keep_stock(recipient, 0, 0, self._polled)

    # -- the gateway, and time ----------------------------------------------------------------------------------

    def pause(self, now: float) -> None:
        """There is no gateway: nothing arrives, and nobody is to blame for that."""
        if self._paused_at is None:
            self._paused_at = now

    def resume(self, now: float, *, moved: bool) -> None:
        """There is one again. `moved`: another one, so that our address is new and SURBs lead to the old one."""
        if self._paused_at is not None:
            self._lag += now - self._paused_at
            self._paused_at = None
        self._polled = now
        recipients: dict[Recipient, bool] = {}
        for entry in self._entries.values():
            ours = entry.stream.peer is Peer.OURS or not entry.stream.heard
            if entry.recipient is not None:
                recipients[entry.recipient] = recipients.get(entry.recipient, False) or ours
        if moved:
            self._moves += 1
        for recipient, ours in recipients.items():
            if moved and ours:
                # Under a new name: by the old one it would first use up the SURBs that lead nowhere.
                self._mixnet.forget_recipient(recipient)
                self._mixnet.keep_stock(recipient, SURBS_LOW, SURBS_HIGH, now, patience=SURBS_PATIENCE)
            else:
                self._mixnet.restock(recipient, now)
        for entry in self._entries.values():
            if moved and not entry.stream.dialed:
                entry.stream.own_address = (self._moves, self._mixnet.address)
            entry.stream.moved(MOVED_SURBS if moved else 2, self._clock(now))

    def _clock(self, now: float) -> float:
        """The streams' time: it stands still while there is no gateway."""
        return (now if self._paused_at is None else self._paused_at) - self._lag

    def _notice_sleep(self, now: float) -> None:
        late = now - max(self._polled, now if self._due is None else self._due + self._lag)
        if late > LATE and self._entries:
            self._lag += late
        self._polled = now

    def next_deadline(self) -> float | None:
        """When to poll although nothing happened; frames that wait for room or SURBs wait for the mixnet's turns."""
        if self._paused_at is not None:
            return None
        if self._touched or self._ended:
            return self._polled
        holds = [entry.hold_until for entry in self._ready if entry.hold_until > self._polled - self._lag]
        times = [self._due, self._orphans.next_deadline(), *holds]
        # Never early, not even by the rounding of the difference of two clocks.
        late = self._lag + (ROUNDING if self._lag else 0.0)
        return min((time + late for time in times if time is not None), default=None)

    def to_dict(self) -> dict[str, int]:
        """Counters, and the mailbox's."""
        names = {f"messages_{name}": count for name, count in asdict(self.mailbox.statistics).items()}
        repeated = sum(entry.stream.repeated for entry in self._entries.values())
        own = {**asdict(self.statistics), "repeated": self.statistics.repeated + repeated}
        return {**{f"streams_{name}": count for name, count in own.items()}, "streams_open": self.streams, **names}
