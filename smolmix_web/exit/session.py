"""The client's conversation with an exit: connect, data both ways, liveness, disconnect (docs/protocol/ipr.md 2 to 5).

Sans I/O. The owner passes mixnet payloads to `receive`, IP packets to `send_packets`, calls `poll` when
`next_deadline` is due, and takes messages for the mixnet, IP packets and events from it.

    IDLE -> CONNECTING -> CONNECTED -> CLOSING -> CLOSED
                       \\-> FAILED <-/

The first version of `versions` is tried for `ATTEMPT_TIMEOUT`, then the next, each with its own stream id, so that
a late answer to an earlier attempt is told from the present one.

After the owner had no gateway for a while the exit has to prove that it still knows us (`link_up`, `proven`): only an
answer to a question asked since, or what comes too late to have been under way before, is a proof. Where the exit has
forgotten us for certain nobody asks, and where it may have, little patience is enough (memory.py).
"""

from __future__ import annotations

import enum
import functools
import ipaddress
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ExitError, MessageError, StateError, TimeoutExpired, UsageError
from ..mixnet.lp_frame import DATA, OPEN, OPEN_ACK, PING, PONG, LpFrame
from ..rand import RandomSource
from . import liveness, messages
from .bincode import EPOCH, Timestamp, malformed
from .bundles import join, split
from .downlink import MODULUS, Downlink
from .events import (
    ExitConnected,
    ExitDenied,
    ExitDisconnected,
    ExitEvent,
    ExitNotice,
    Health,
    OutgoingMessage,
    PolicyDenied,
    Pong,
)
from .liveness import Liveness, Verdict
from .memory import ExitMemory
from .pending import PendingRequests
from .probes import PUBLIC_RESOLVERS, Prober, Server
from .statistics import ExitStatistics
from .uplink import Uplink, asks

ATTEMPT_TIMEOUT = 15.0  # s for a version that has a successor
REQUEST_TIMEOUT = 30.0  # s for ping and health
CLOSE_TIMEOUT = 5.0  # s for the answer to our disconnect
DEFAULT_MTU = 1420  # what exits use; only version 10 says so itself
MIN_MTU, MAX_MTU = 576, 1500
SMALL_BUNDLE = 639  # bytes: two SURBs still fit beside it
MAX_EVENTS = 1024
MAX_INBOUND = 4096  # packets
MAX_PONGS = 16  # messages that wait to leave, beyond which no Ping is answered
UNDER_WAY = 1.0  # s in which what was on its way before an outage may still arrive


class State(enum.Enum):
    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(frozen=True)
class _Attempt:
    version: int
    stream_id: int
    request_id: int
    deadline: float


class ExitSession:
    """One session with one exit; a new one is needed to connect again.

    `versions`: of 9 and 10, in order of preference. `open_surbs`: on the Open and on the connect message each; together
    they must exceed the 10 that the exit keeps in reserve. `data_surbs`: at least so many on small data messages; the
    owner fills the free room of every message with more, and keeps the account of them. `connect_timeout`: s, over all
    versions. `buffer_timeout`: ms the exit may wait to fill a bundle. `bundle_delay`: s that a packet of ours waits for
    company. `reorder_window` (frames) and `reorder_hold` (s): see downlink.py. `max_queued`: packets that wait for
    `poll`. `keepalive` and what follows: see liveness.py. `resolvers`: whom probes ask, see probes.py.
    """

    def __init__(
        self,
        rng: RandomSource,
        *,
        versions: Sequence[int] = (messages.V10, messages.V9),
        open_surbs: int = 10,
        data_surbs: int = 2,
        connect_timeout: float = 60.0,
        attempt_timeout: float = ATTEMPT_TIMEOUT,
        buffer_timeout: int | None = None,
        bundle_delay: float = 0.005,
        reorder_window: int = 0,
        reorder_hold: float = 0.1,
        data_retransmissions: int = 1,
        max_queued: int = 256,
        keepalive: float = liveness.KEEPALIVE,
        suspicion: float = liveness.SUSPICION,
        probe_timeout: float = liveness.PROBE_TIMEOUT,
        probe_attempts: int = liveness.PROBE_ATTEMPTS,
        resolvers: Sequence[Server] = PUBLIC_RESOLVERS,
    ) -> None:
        if not versions or any(version not in (messages.V9, messages.V10) for version in versions):
            raise UsageError(f"versions must be out of 9 and 10, got {list(versions)}")
        if buffer_timeout is not None and not 1 <= buffer_timeout <= 1000:
            raise UsageError(f"buffer_timeout must be 1 to 1000 ms, got {buffer_timeout}")
        if not 0 <= reorder_window <= 32 or not 0 <= reorder_hold <= 0.25:
            raise UsageError("the reorder window is at most 32 frames and 0.25 s")
        self.state = State.IDLE
        self.statistics = ExitStatistics()
        self.error: ExitError | TimeoutExpired | None = None
        self._rng = rng
        self._versions = tuple(versions)
        self._open_surbs = open_surbs
        self._data_surbs = data_surbs
        self._connect_timeout = connect_timeout
        self._attempt_timeout = attempt_timeout
        self._buffer_timeout = buffer_timeout
        self._reorder = (reorder_window, reorder_hold)
        self._data_retransmissions = data_retransmissions
        self._new_liveness = functools.partial(
            Liveness, rng, keepalive=keepalive, suspicion=suspicion, timeout=probe_timeout, attempts=probe_attempts
        )
        self._resolvers = tuple(resolvers)

        self._lag = 0.0
        self._unix_offset: float | None = None
        self._attempt: _Attempt | None = None
        self._next_version = 0
        self._connect_deadline = 0.0
        self._connected: ExitConnected | None = None
        self._liveness: Liveness | None = None
        self._prober: Prober | None = None
        self._asking = False  # among the packets that wait
        self._wants_check = False
        self._downlink = Downlink(*self._reorder)
        self._sequence = 0
        self._pending = PendingRequests()
        self._close_id = 0
        self._close_deadline = 0.0
        self.attempts = 0  # to connect; each is a stream of its own
        self._memory: ExitMemory | None = None
        self._unproven_since: float | None = None
        self._prove_by: float | None = None

        self._control: deque[OutgoingMessage] = deque()
        self._uplink = Uplink(bundle_delay, max_queued)
        self._inbound: deque[bytes] = deque()
        self._events: deque[ExitEvent] = deque()

    # -- what the owner asks for --------------------------------------------------------------------------------------

    def start(self, now: float, unix_time: float | None = None) -> None:
        """Connect. With `unix_time` (s) requests carry its second and drawn milliseconds, without it a constant."""
        if self.state is not State.IDLE:
            raise StateError(f"an exit session starts once; this one is {self.state.value}", phase="exit")
        self._unix_offset = None if unix_time is None else unix_time - now
        self.state = State.CONNECTING
        self._connect_deadline = now + self._connect_timeout
        self._try_next_version(now)

    @property
    def connection(self) -> ExitConnected | None:
        """Addresses, MTU and version, once connected."""
        return self._connected

    @property
    def send_space(self) -> int:
        """Packets that `send_packets` takes right now."""
        return self._uplink.space if self.state is State.CONNECTED else 0

    @property
    def waiting(self) -> int:
        """IP packets taken that no message carries yet."""
        return self._uplink.waiting

    def send_packets(self, packets: Sequence[bytes], now: float) -> int:
        """IP packets to the exit; returns how many were taken, see `send_space`. The rest is the caller's."""
        if self.state is not State.CONNECTED:
            return 0
        taken = self._uplink.append(packets, now)
        self._asking = self._asking or any(asks(packet) for packet in packets[:taken])
        self.statistics.packets_sent += taken
        return taken

    def ping(self, now: float, timeout: float = REQUEST_TIMEOUT) -> int:
        """Ask the exit process for a sign of life; a `Pong` or `RequestFailed` event with the returned id follows."""
        return self._ask("ping", now, timeout)

    def health(self, now: float, timeout: float = REQUEST_TIMEOUT) -> int:
        """Ask for the exit's build; a `Health` or `RequestFailed` event with the returned id follows."""
        return self._ask("health", now, timeout)

    def disconnect(self, now: float) -> None:
        """Give the addresses back. `ExitDisconnected` follows within `CLOSE_TIMEOUT`; at once if never started."""
        if self.state in (State.CLOSING, State.CLOSED, State.FAILED):
            return
        if self.state is State.IDLE:
            self._end(State.CLOSED, ExitDisconnected("requested"))
            return
        self._uplink.flush()
        self._close_id = self._new_id()
        self._close_deadline = now + CLOSE_TIMEOUT
        self.state = State.CLOSING
        request = messages.DisconnectRequest(self._close_id, self._timestamp(now))
        self._queue_request(request, deadline=self._close_deadline)

    def path_proven(self, left: float, now: float) -> None:
        """A packet of the owner's own that left at `left` has come back to it, by whatever way."""
        if self._liveness is not None and self._memory is not None:
            self._liveness.path_proven(left, now)
            self._memory.path_proven(left)

    def take_check(self) -> bool:
        """Should the owner send a packet to itself now, for `path_proven`?"""
        wanted, self._wants_check = self._wants_check, False
        return wanted

    def link_down(self, now: float) -> None:
        """The mixnet client lost its gateway: stop judging the exit until `link_up`."""
        if self._liveness is not None:
            self._liveness.pause()

    def link_up(self, now: float, patience: float = 2.0) -> None:
        """The mixnet client has a gateway again, or the machine slept: the exit must prove that it knows us. Where it
        may have forgotten us meanwhile, it gets `patience` seconds for that."""
        if self.state is not State.CONNECTED:
            return
        assert self._liveness is not None and self._memory is not None and self._connected is not None
        if self._memory.is_gone(now):
            self._die(f"the exit has forgotten us: it has heard nothing for {self._memory.silence(now):.0f} s")
            return
        self._unproven_since = now
        self._prove_by = now + patience if self._memory.may_be_gone(now) else None
        self._prober = Prober(self._rng, self._resolvers, (self._connected.ipv4, self._connected.ipv6))
        self._liveness.doubt(now)

    def slept(self, seconds: float) -> None:
        """See `ExitMemory`."""
        if self._memory is not None:
            self._memory.slept(seconds)

    def rotated(self, now: float) -> None:
        """The key rotation changed: answers by the SURBs of an attempt under way would hardly be delivered."""
        if self.state is State.CONNECTING:
            self._next_version -= 1
            self._try_next_version(now)

    @property
    def proven(self) -> bool:
        """Connected, and no reason to believe that the exit does not know us any more."""
        return self._liveness is not None and self._unproven_since is None and not self._liveness.in_doubt

    @property
    def replies_missing(self) -> int:
        """Data replies that have not arrived although later ones have: each took a SURB of ours."""
        return self._downlink.missing

    # -- time ---------------------------------------------------------------------------------------------------------

    def poll(self, now: float, lag: float = 0.0) -> list[OutgoingMessage]:
        """Everything that is due: expire waits, flush bundles, and the messages to send, control first. `lag`: what
        came in the last so many seconds may not have been given to `receive` yet, so no answer is missed so long."""
        self._lag = lag
        if self.state is State.CONNECTING:
            self._poll_connecting(now)
        elif self.state is State.CLOSING and now >= self._close_deadline:
            self._end(State.CLOSED, ExitDisconnected("requested"))
        if self.state is State.CONNECTED:
            self._poll_connected(now)
        for failure in self._pending.expired(now - lag):
            self._emit(failure)
        self._deliver(self._downlink.poll(now), now)
        out = list(self._control)
        self._control.clear()
        bundles = self._uplink.take(now)
        if bundles and self._liveness is not None:
            self._note_data(now, asks=self._asking)
            self._asking = self._uplink.waiting > 0 and self._asking
        out += [self._data_message(bundle) for bundle in bundles]
        self.statistics.messages_sent += len(out)
        return out

    def next_deadline(self) -> float | None:
        """When `poll` has something to do; -inf when it has already."""
        if self._control:
            return float("-inf")
        answers = [self._pending.next_deadline()]
        times = [self._uplink.next_deadline(), self._downlink.next_deadline()]
        if self.state is State.CONNECTING:
            assert self._attempt is not None
            answers.append(min(self._attempt.deadline, self._connect_deadline))
        elif self.state is State.CLOSING:
            times.append(self._close_deadline)
        elif self.state is State.CONNECTED:
            assert self._liveness is not None
            answers.append(self._prove_by)
            times.append(self._liveness.next_deadline(self._lag))
        times += [None if time is None else time + self._lag for time in answers]
        return min((time for time in times if time is not None), default=None)

    # -- what came in -------------------------------------------------------------------------------------------------

    def receive(self, message: bytes, now: float) -> None:
        """One mixnet payload of the exit. Never raises: what cannot be used is counted."""
        if self.state not in (State.CONNECTING, State.CONNECTED, State.CLOSING):
            self.statistics.unexpected += 1
            return
        assert self._attempt is not None
        try:
            frame = LpFrame.from_bytes(message)
            if frame.stream_id != self._attempt.stream_id:
                self.statistics.foreign += 1
                return
            if frame.message_type in (OPEN_ACK, PING, PONG):
                self._receive_sign(frame, now)
                return
            version, response = messages.decode_response(frame.payload)
        except (ExitError, MessageError) as error:
            self._malformed(error)
            return
        if isinstance(response, messages.DataResponse) and frame.sequence and version == self._attempt.version:
            self._receive_data(frame.sequence, response.bundle, now)
            return
        # Everything else is out of band: the exit sends it with sequence 0, at any time (ipr.md 4.3).
        mismatch = isinstance(response, messages.InfoResponse) and isinstance(response.reply, messages.VersionMismatch)
        if version == self._attempt.version or mismatch:
            self._receive_control(response, now)
        else:
            self.statistics.foreign += 1

    def take_packets(self) -> list[bytes]:
        """IP packets from the exit."""
        packets = list(self._inbound)
        self._inbound.clear()
        return packets

    def take_events(self) -> list[ExitEvent]:
        events = list(self._events)
        self._events.clear()
        return events

    # -- connecting ---------------------------------------------------------------------------------------------------

    def _try_next_version(self, now: float) -> None:
        """Open a fresh stream and send the connect along with it; the two may arrive in any order."""
        version = self._versions[self._next_version]
        self._next_version += 1
        self.attempts += 1
        last = self._next_version == len(self._versions)
        deadline = self._connect_deadline if last else min(self._connect_deadline, now + self._attempt_timeout)
        self._attempt = _Attempt(version, int.from_bytes(self._rng.bytes(8), "big"), self._new_id(), deadline)
        self._sequence = 0
        self._downlink = Downlink(*self._reorder)
        self._control.clear()  # what an earlier attempt has not sent yet is moot
        self._queue_open(self._open_surbs, deadline)
        request = messages.ConnectRequest(self._attempt.request_id, self._buffer_timeout, self._timestamp(now))
        self._queue_request(request, surbs=self._open_surbs, deadline=deadline)

    def _poll_connecting(self, now: float) -> None:
        assert self._attempt is not None
        heard = now - self._lag
        if heard >= self._connect_deadline:
            tried = ", ".join(str(version) for version in self._versions[: self._next_version])
            error = TimeoutExpired(
                f"the exit did not answer a connect of version {tried} within {self._connect_timeout:g} s",
                code="exit_timeout",
                phase="exit",
            )
            self._end(State.FAILED, ExitDenied(error.code, error), error)
        elif heard >= self._attempt.deadline:
            self._try_next_version(now)

    def _receive_connect(self, response: messages.ConnectSuccess | messages.ConnectFailure, now: float) -> None:
        assert self._attempt is not None
        if self.state is not State.CONNECTING or response.request_id != self._attempt.request_id:
            self.statistics.unexpected += 1
            return
        if isinstance(response, messages.ConnectFailure):
            reason = response.reason.name.lower()
            text = f": {response.text}" if response.text else ""
            error = ExitError(f"the exit refused to connect: {reason}{text}", code="exit_refused", phase="exit")
            self._end(State.FAILED, ExitDenied(error.code, error), error)
            return
        mtu = DEFAULT_MTU if response.mtu is None else min(response.mtu, MAX_MTU)
        if mtu < MIN_MTU:
            self._malformed(malformed("mtu", 0, f"{mtu} is below {MIN_MTU}"))
            mtu = DEFAULT_MTU
        self.state = State.CONNECTED
        self._liveness = self._new_liveness(now)
        self._memory = ExitMemory(now)
        self._prober = Prober(self._rng, self._resolvers, (response.ipv4, response.ipv6))
        self._connected = ExitConnected(response.ipv4, response.ipv6, mtu, self._attempt.version)
        self._emit(self._connected)

    # -- connected ----------------------------------------------------------------------------------------------------

    def _poll_connected(self, now: float) -> None:
        assert self._liveness is not None
        assert self._prober is not None
        verdict = self._liveness.poll(now, self._lag)
        if verdict is Verdict.DEAD or (self._prove_by is not None and now - self._lag >= self._prove_by):
            self._die("the exit no longer answers for our addresses")
            return
        if verdict is Verdict.CHECK:
            self._wants_check = True
        if verdict is Verdict.PROBE:
            # After an outage at once as after a first silence: all ways to answer, and SURBs.
            attempt = self._liveness.attempt + (self._unproven_since is not None)
            self.statistics.probes += 1
            self._note_data(now)
            # Ahead of the queue. The SURBs of a second one revive an exit that ran out of them unnoticed; a first one
            # takes only those that the owner adds, or every keep-alive would raise the pile.
            for _ in range(1 if self._prove_by is None else 2):  # by two routes where there is no time for a second try
                self._queue_request(
                    messages.DataRequest(join(self._prober.packets(attempt, now))),
                    surbs=max(2, self._data_surbs) if attempt > 1 else 0,
                    deadline=self._liveness.answer_by,
                )

    def _note_data(self, now: float, *, asks: bool = True) -> None:
        assert self._liveness is not None and self._memory is not None
        self._liveness.data_sent(now, asks=asks)
        self._memory.data_sent(now)

    def _die(self, problem: str) -> None:
        error = ExitError(problem, code="exit_dead", phase="exit")
        self._end(State.FAILED, ExitDisconnected(error.code, error), error)

    def _data_message(self, bundle: bytes) -> OutgoingMessage:
        data = self._frame(messages.DataRequest(bundle))
        surbs = self._data_surbs if len(bundle) <= SMALL_BUNDLE else 0
        return OutgoingMessage(data, surbs, "data", self._data_retransmissions)

    def _receive_data(self, sequence: int, bundle: bytes, now: float) -> None:
        before = self._downlink.duplicates
        bundles = self._downlink.receive(sequence, bundle, now)
        self.statistics.duplicates += self._downlink.duplicates - before
        self._alive(now)
        self._deliver(bundles, now)

    def _deliver(self, bundles: Sequence[bytes], now: float) -> None:
        if self._prober is None:
            return  # cannot be ours: nothing has an address yet
        for bundle in bundles:
            packets, clean = split(bundle)
            if not clean:
                self._malformed(malformed("bundle", 0, "truncated"))
            for packet in packets:
                if not packet:
                    self._malformed(malformed("bundle", 0, "an empty packet"))
                elif self._prober.answered(packet):
                    self._alive(now, answer=True)
                elif len(self._inbound) >= MAX_INBOUND:
                    self.statistics.overflowed += 1
                else:
                    self._inbound.append(packet)
                    self.statistics.packets_received += 1

    def _receive_sign(self, frame: LpFrame, now: float) -> None:
        """A sign of life of an exit that is newer than we are; none takes a number of the data."""
        assert self._attempt is not None
        self._alive(now)
        if frame.message_type == PING:
            pong = LpFrame(self._attempt.stream_id, PONG, frame.sequence)
            if len(self._control) < MAX_PONGS:
                self._queue_control(pong.to_bytes(), 2, now + REQUEST_TIMEOUT)

    def _receive_control(self, response: messages.Response, now: float) -> None:
        match response:
            case messages.DataResponse(bundle):
                self._alive(now)
                self._deliver((bundle,), now)
            case messages.ConnectSuccess() | messages.ConnectFailure():
                self._receive_connect(response, now)
            case messages.DisconnectSuccess() | messages.DisconnectFailure():
                self._receive_disconnect(response)
            case messages.UnrequestedDisconnect(reason, text):
                self._ended_by_exit(reason.name.lower() + (f": {text}" if text else ""))
            case messages.PongResponse(request_id):
                if (took := self._answered(request_id, "ping", now)) is not None:
                    self._emit(Pong(request_id, took))
            case messages.HealthResponse(request_id, build, routable):
                if (took := self._answered(request_id, "health", now)) is not None:
                    self._emit(Health(request_id, took, build, routable))
            case messages.InfoResponse():
                self._receive_info(response, now)

    def _receive_info(self, info: messages.InfoResponse, now: float) -> None:
        match info.reply:
            case messages.PolicyRefusal(destination):
                self._receive_refusal(destination, now)
            case messages.VersionMismatch(request_version, response_version):
                assert self._attempt is not None
                if self.state is not State.CONNECTING or request_version != self._attempt.version:
                    self.statistics.unexpected += 1
                elif self._next_version < len(self._versions):
                    self._try_next_version(now)
                else:
                    error = ExitError(
                        f"the exit speaks version {response_version}, not {request_version}",
                        code="exit_version",
                        phase="exit",
                    )
                    self._end(State.FAILED, ExitDenied(error.code, error), error)
            case messages.GenericInfo(text):
                self._emit(ExitNotice(info.level, text))

    def _receive_refusal(self, destination: str, now: float) -> None:
        """A refusal proves that the exit knows our addresses; for our own probe that is all it says to the owner."""
        host, _, port = destination.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
            if not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
                raise ValueError(port)
        except ValueError:
            self._malformed(malformed("refused destination", 0, f"{destination[:64]!r} is not address:port"))
            return
        ours = self._prober is not None and self._prober.refused(address, int(port))
        self._alive(now, answer=ours)
        if not ours:
            self._emit(PolicyDenied(address, int(port)))

    # -- requests and the end -----------------------------------------------------------------------------------------

    def _ask(self, what: str, now: float, timeout: float) -> int:
        if self.state is not State.CONNECTED:
            raise StateError(f"{what}: the exit session is {self.state.value}", phase="exit")
        request_id = self._new_id()
        self._pending.add(request_id, what, now, timeout)
        kind = messages.PingRequest if what == "ping" else messages.HealthRequest
        self._queue_request(kind(request_id, self._timestamp(now)), deadline=now + timeout)
        return request_id

    def _answered(self, request_id: int, what: str, now: float) -> float | None:
        took = self._pending.answered(request_id, what, now)
        self.statistics.unexpected += took is None
        return took

    def _receive_disconnect(self, response: messages.DisconnectSuccess | messages.DisconnectFailure) -> None:
        if self.state is State.CLOSING:
            if response.request_id == self._close_id:
                self._end(State.CLOSED, ExitDisconnected("requested"))
            else:
                self.statistics.unexpected += 1
        else:
            self._ended_by_exit("disconnected")

    def _ended_by_exit(self, reason: str) -> None:
        if self.state is State.CLOSING:
            self._end(State.CLOSED, ExitDisconnected("requested"))
            return
        error = ExitError(f"the exit ended the session: {reason}", code="exit_disconnected", phase="exit")
        event = ExitDenied if self.state is State.CONNECTING else ExitDisconnected
        self._end(State.FAILED, event(error.code, error), error)

    def _end(self, state: State, event: ExitEvent, error: ExitError | TimeoutExpired | None = None) -> None:
        self.state = state
        self.error = error
        self._control.clear()
        self._uplink.clear()
        self._liveness = self._prove_by = None
        for failure in self._pending.end():
            self._emit(failure)
        self._emit(event)

    # -- small things -------------------------------------------------------------------------------------------------

    def _new_id(self) -> int:
        return int.from_bytes(self._rng.bytes(8), "big")

    def _timestamp(self, now: float) -> Timestamp:
        if self._unix_offset is None:
            return EPOCH
        return Timestamp.from_unix(now + self._unix_offset, self._rng.below(1000))

    def _frame(self, request: messages.Request) -> bytes:
        assert self._attempt is not None
        payload = messages.encode_request(self._attempt.version, request)
        sequence = self._sequence
        self._sequence = (sequence + 1) % MODULUS
        return LpFrame(self._attempt.stream_id, DATA, sequence, payload).to_bytes()

    def _queue_open(self, surbs: int, deadline: float | None) -> None:
        assert self._attempt is not None
        self._queue_control(LpFrame(self._attempt.stream_id, OPEN, 0).to_bytes(), surbs, deadline)

    def _queue_request(self, request: messages.Request, *, surbs: int = 2, deadline: float | None) -> None:
        """Every control message brings the SURBs for its answer."""
        self._queue_control(self._frame(request), surbs, deadline)

    def _queue_control(self, data: bytes, surbs: int, deadline: float | None) -> None:
        self._control.append(OutgoingMessage(data, surbs, "control", None, deadline))

    def _alive(self, now: float, *, answer: bool = False) -> None:
        """A sign of life; `answer`: to a question of ours that is not older than the last outage."""
        since = self._unproven_since
        if self._liveness is not None and (answer or since is None or now >= since + UNDER_WAY):
            self._unproven_since = self._prove_by = None
            self._liveness.alive()

    def _emit(self, event: ExitEvent) -> None:
        """The last word of a session always gets through; other events have a bound."""
        if len(self._events) >= MAX_EVENTS and not isinstance(event, (ExitDenied, ExitDisconnected)):
            self.statistics.overflowed += 1
        else:
            self._events.append(event)

    def _malformed(self, error: ExitError | MessageError) -> None:
        self.statistics.malformed += 1
        self.statistics.last_malformed = error.message
