"""One WebSocket connection to the entry gateway, from "opened" to "closed", without I/O (gateway.md 2 to 7).

    opened -> probing -> authenticating (a key is at hand) -> claiming -> ready
                      -> registering    (no key yet)       ->

The owner passes every text and binary message to `receive`, sends what `poll` and `forward` return, polls at
`next_deadline`, and reports the end with `closed`. Each wait has a deadline; a missed one, a refusal, or a
gateway that is too old ends the session in `failed` with `error`. Once ready, nothing a gateway sends ends it:
strange frames are counted, only silence in spite of a probe, the close of the socket, or an allowance that is
gone and not renewed do.

A session never reconnects: the owner makes a new one with `shared_key` and, as authentications of one client
need growing timestamps, with `after_timestamp=session.timestamp`.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum

from ...crypto.provider import Crypto
from ...errors import GatewayError, StateError
from ...rand import RandomSource
from ..keys import IdentityKeys
from ..mix_packet import MixPacket
from . import control
from .auth import FORGET_CLIENT, NEWEST_PROTOCOL, ROTATION_PROTOCOL, choose_protocol, seal_request, sign_authentication
from .frames import FORWARD_V1, FORWARD_V2, NONCE_LENGTH, PUSHED, open_frame, seal_frame
from .handshake import ClientHandshake

UNDER_WAY = 1.0  # s in which what was on its way before a doubt may still arrive
NEVER = 60.0  # s

# of a refusal that no time heals
_CREDENTIALS = re.compile(r"credential|coconut|ticket|zk-?nym|e-?cash", re.IGNORECASE)


class GatewayState(Enum):
    CONNECTING = "connecting"
    PROBING = "probing"
    REGISTERING = "registering"
    AUTHENTICATING = "authenticating"
    CLAIMING = "claiming"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True)
class GatewayConfig:
    """Times in seconds, allowances in bytes."""

    connect_timeout: float = 15.0
    answer_timeout: float = 15.0  # each awaited answer of set-up
    handshake_timeout: float = 10.0  # the gateway itself gives up after 5 s
    claim_threshold: int = 40_000_000
    claim_interval: float = 5.0  # between claims when the allowance is gone
    claim_refused_interval: float = 60.0  # between claims when it is only low
    claim_attempts: int = 2  # refusals or silences in a row that end a session without allowance
    idle_probe: float | None = 25.0  # silence after which a sign of life is asked for; None: never
    probe_timeout: float = 10.0
    busy_probe: float = 5.0  # the same while packets wait for the answer this gateway otherwise gives
    busy_timeout: float = 4.5
    doubt_timeout: float = 2.0  # the same after a sleep, or where the host said that the network went or came
    max_bodies: int = 4096  # delivered but not taken
    register_apart: bool = False  # as the official client: close after registering, authenticate on another connection


@dataclass
class GatewayCounters:
    """What happened on this connection."""

    frames_received: int = 0
    bodies_received: int = 0
    bodies_dropped: int = 0  # not taken in time
    undecryptable: int = 0
    bad_frames: int = 0
    bad_texts: int = 0
    stray: int = 0  # well formed, but not expected now
    errors: int = 0  # `error` and `typedError` after set-up
    packets_forwarded: int = 0
    packets_answered: int = 0
    out_of_bandwidth: int = 0
    claims: int = 0
    probes: int = 0


class GatewaySession:
    """See the module. `identity`: the client's; `gateway_identity`: 32 bytes; `shared_key`: 32 bytes or None."""

    def __init__(
        self,
        crypto: Crypto,
        rng: RandomSource,
        identity: IdentityKeys,
        gateway_identity: bytes,
        shared_key: bytes | None = None,
        *,
        config: GatewayConfig | None = None,
        after_timestamp: int = 0,
    ) -> None:
        self._crypto = crypto
        self._rng = rng
        self._identity = identity
        self._gateway_identity = gateway_identity
        self._config = config or GatewayConfig()
        self.shared_key = shared_key
        self.registered = False  # true once this very session made `shared_key`: it is worth storing
        self.state = GatewayState.CONNECTING
        self.error: GatewayError | None = None
        self.protocol_version = 0
        self.bandwidth = 0  # bytes left, by the gateway's word less what was forwarded since
        self.upgrade_mode = False
        self.exhausted = False  # the gateway dropped a packet for lack of allowance
        self.last_complaint = ""  # text of the newest `error` after set-up
        self.timestamp = after_timestamp  # Unix second of the newest authentication request
        self.counters = GatewayCounters()
        self._handshake: ClientHandshake | None = None
        self._handshake_step = 0
        self._out: list[bytes | str] = []
        self._bodies: deque[bytes] = deque()
        self._deadline: float | None = None
        self._authenticate_at: float | None = None
        self._last_received = 0.0
        self._last_call = 0.0
        self._lag = 0.0
        self._forwarded: deque[float] = deque()  # when packets were that wait for their answers
        self._probe_deadline: float | None = None
        self._doubted = False
        self._must_answer = False
        self._doubted_at = 0.0
        self._claim_deadline: float | None = None
        self._next_claim = 0.0
        self._claims_failed = 0
        self._takes_only_credentials = False
        self._asked_at: float | None = None
        self.trip: float | None = None  # shortest seconds to an answer during set-up

    # -- the owner's side -------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        return self.state is GatewayState.READY

    @property
    def can_forward(self) -> bool:
        """Ready, and with an allowance: packets forwarded now are not known to be dropped."""
        return self.state is GatewayState.READY and not self.exhausted

    @property
    def unanswered(self) -> int:
        """Packets forwarded whose `send` answer is still out; 0 for a gateway that never answers."""
        if not self.counters.packets_answered:
            return 0
        return max(0, self.counters.packets_forwarded - self.answers)

    @property
    def answers(self) -> int:
        """Packets that the gateway has answered, well or not; in the order in which they were forwarded."""
        return self.counters.packets_answered + self.counters.errors

    @property
    def waiting_since(self) -> float | None:
        """When the oldest packet was forwarded that waits for its answer; None for none, or a gateway that gives
        none."""
        return self._forwarded[0] if self._forwarded and self.counters.packets_answered else None

    def connecting(self, now: float) -> None:
        """The owner began to open the socket: from here on opening has a deadline."""
        if self.state is GatewayState.CONNECTING:
            self._deadline = now + self._config.connect_timeout

    def opened(self, now: float) -> None:
        """The socket is open: ask for the protocol version."""
        if self.state is not GatewayState.CONNECTING:
            return
        self.state = GatewayState.PROBING
        self._last_received = self._last_call = now
        self._say(control.SupportedProtocolRequest())
        self._deadline = now + self._config.answer_timeout

    def closed(self, now: float, reason: str = "") -> None:
        """The socket is gone. A session that had not failed before has the error `gateway_closed`."""
        if self._over:
            return
        detail = f": {reason}" if reason else ""
        self.error = GatewayError(
            f"the gateway closed the connection while {self.state.value}{detail}",
            code="gateway_closed",
            phase="gateway",
        )
        self.state = GatewayState.CLOSED
        self._stop()

    def receive(self, frame: bytes | str, now: float, unix_time: float) -> None:
        """One message of the socket. Never raises: what is wrong is counted, or ends the session in `failed`."""
        if self._over:
            return
        self.counters.frames_received += 1
        self._last_received = self._last_call = now
        if not self._must_answer:
            self._probe_deadline = None
        elif self._probe_deadline is not None and now - self._lag >= self._doubted_at + UNDER_WAY:
            self._probe_deadline, self._must_answer = None, False
        if not isinstance(frame, str):
            self._binary(bytes(frame))
            return
        if self._asked_at is not None:
            trip, self._asked_at = now - self._asked_at, None
            self.trip = trip if self.trip is None else min(self.trip, trip)
        try:
            message = control.parse_response(frame)
        except GatewayError as error:
            self.counters.bad_texts += 1
            if error.code != "unknown_message" and self.state is not GatewayState.READY:
                # This was the answer: no other will come.
                problem = f"the gateway's answer while {self.state.value} cannot be read: {error.message}"
                self._fail(GatewayError(problem, code="gateway_malformed", phase="gateway"))
            return
        try:
            self._text(message, now, unix_time)
        except GatewayError as error:
            self._fail(error)

    def poll(self, now: float, unix_time: float, lag: float = 0.0) -> list[bytes | str]:
        """Messages to send now, in order; also runs the deadlines. `lag`: what came in the last so many seconds may
        not have been given to `receive` yet."""
        self._last_call = now
        self._lag = lag
        if self._deadline is not None and now - lag >= self._deadline:
            self._fail(
                GatewayError(
                    f"the gateway did not answer in time while {self.state.value}",
                    code="gateway_timeout",
                    phase="gateway",
                )
            )
        if self._authenticate_at is not None and now >= self._authenticate_at:
            self._authenticate(now, unix_time)
        if self.state is GatewayState.READY:
            self._maintain(now)
        out, self._out = self._out, []
        if out and self.state is not GatewayState.READY:
            self._asked_at = now
        return out

    def next_deadline(self) -> float | None:
        """When to poll although nothing arrived; not later than the last call while messages wait for `poll`."""
        if self._out:
            return self._last_call
        answers = [self._deadline, self._probe_deadline, self._claim_deadline]
        if self.state is GatewayState.READY and self._probe_deadline is None:
            answers.append(self._probe_at())
        times = [time + self._lag for time in answers if time is not None]
        if self._authenticate_at is not None:
            times.append(self._authenticate_at)
        if self.state is GatewayState.READY and self._claim_deadline is None and self._wants_claim():
            times.append(self._next_claim)
        return min(times, default=None)

    def forward(self, packet: MixPacket) -> bytes:
        """The binary message that asks the gateway to send `packet` to its first hop. `StateError` unless ready."""
        if self.state is not GatewayState.READY or self.shared_key is None:
            raise StateError(f"the gateway session is {self.state.value}", code="gateway_not_ready", phase="gateway")
        # An answer that has not come in a minute will not.
        while self._forwarded and self._last_call > self._forwarded[0] + NEVER:
            self._forwarded.popleft()
        self._forwarded.append(self._last_call)
        self.counters.packets_forwarded += 1
        self.bandwidth -= len(packet.packet)
        kind = FORWARD_V2 if self.protocol_version >= ROTATION_PROTOCOL else FORWARD_V1
        plaintext = packet.to_bytes(version=kind)
        return seal_frame(self._crypto, self.shared_key, self._rng.bytes(NONCE_LENGTH), kind, plaintext)

    def probe(self) -> None:
        """Ask for a sign of life at the next poll: the machine slept, or its network went or came. The connection may
        have died unnoticed, and what arrives in the next moments may have been under way before."""
        asked = self._must_answer and self._probe_deadline is not None
        if self.state is GatewayState.READY and not asked:
            self._doubted = self._must_answer = True
            self._probe_deadline = None  # one that is out has more time than this

    def take_bodies(self) -> list[bytes]:
        """Mixnet payloads pushed since the last call, in order (21 bytes: an ack; 1643: a message part)."""
        bodies = list(self._bodies)
        self._bodies.clear()
        return bodies

    def forget_client(self) -> None:
        """Ask the gateway to erase this client's key, inbox and allowance. `StateError` unless ready."""
        if self.state is not GatewayState.READY or self.shared_key is None:
            raise StateError(f"the gateway session is {self.state.value}", code="gateway_not_ready", phase="gateway")
        self._say(seal_request(self._crypto, self._rng, self.shared_key, FORGET_CLIENT))

    # -- incoming -----------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self.state in (GatewayState.FAILED, GatewayState.CLOSED)

    def _binary(self, frame: bytes) -> None:
        # Messages stored for us precede the answer to an authentication, and even `register`.
        key = self.shared_key or (self._handshake.shared_key if self._handshake else None)
        if key is None:
            self.counters.stray += 1
            return
        try:
            opened = open_frame(self._crypto, key, frame)
        except GatewayError as error:
            if error.code == "bad_tag":
                self.counters.undecryptable += 1
            else:
                self.counters.bad_frames += 1
            return
        if opened.kind != PUSHED:
            self.counters.stray += 1
        elif len(self._bodies) >= self._config.max_bodies:
            self.counters.bodies_dropped += 1
        else:
            self.counters.bodies_received += 1
            self._bodies.append(opened.plaintext)

    def _text(self, message: control.ControlMessage, now: float, unix_time: float) -> None:
        match self.state:
            case GatewayState.PROBING:
                self._on_probing(message, now, unix_time)
            case GatewayState.REGISTERING:
                self._on_registering(message, now)
            case GatewayState.AUTHENTICATING:
                self._on_authenticating(message, now)
            case GatewayState.CLAIMING:
                self._on_claiming(message, now)
            case GatewayState.READY:
                self._on_ready(message, now)
            case _:
                self.counters.stray += 1

    def _on_probing(self, message: control.ControlMessage, now: float, unix_time: float) -> None:
        match message:
            case control.SupportedProtocol(version):
                self.protocol_version = choose_protocol(version)
                if self.shared_key is not None:
                    self._begin_authentication(now, unix_time)
                else:
                    self._begin_registration(now)
            case control.Error(text):
                raise GatewayError(f"the gateway refuses: {text}", code="gateway_refused", phase="gateway")
            case _:
                self.counters.stray += 1

    def _on_registering(self, message: control.ControlMessage, now: float) -> None:
        assert self._handshake is not None
        match message:
            case control.HandshakePayload(version, data) if self._handshake_step < 2:
                try:
                    self._continue_registration(version, data, now)
                except GatewayError as error:
                    self._say(control.HandshakeError(error.message))
                    raise GatewayError(error.message, code="gateway_malformed", phase="gateway") from None
            case control.Register(version, status, upgrade_mode) if self._handshake_step == 2:
                if not status:
                    raise GatewayError("registration: status false", code="registration_refused", phase="gateway")
                self.shared_key = self._handshake.shared_key
                self._handshake = None
                self.registered = True
                self.protocol_version = min(version, NEWEST_PROTOCOL)
                self.upgrade_mode = upgrade_mode
                if self._config.register_apart:
                    self.state = GatewayState.CLOSED
                    self._stop()
                else:
                    self._claim_or_ready(now)
            case control.HandshakeError(text) | control.Error(text):
                raise GatewayError(f"registration refused: {text}", code="registration_refused", phase="gateway")
            case _:
                self.counters.stray += 1

    def _on_authenticating(self, message: control.ControlMessage, now: float) -> None:
        match message:
            case control.Authenticate(version, status, remaining, upgrade_mode) if self._authenticate_at is None:
                if not status:
                    raise GatewayError("authentication: status false", code="authentication_refused", phase="gateway")
                self.protocol_version = min(version, NEWEST_PROTOCOL)
                self.bandwidth = remaining
                self.upgrade_mode = upgrade_mode
                self._claim_or_ready(now)
            case control.Error(text):
                # The protocol has no codes here, only English; the owner may register anew on either.
                code = "not_registered" if "regist" in text.lower() else "authentication_refused"
                raise GatewayError(f"authentication refused: {text}", code=code, phase="gateway")
            case _:
                self.counters.stray += 1

    def _on_claiming(self, message: control.ControlMessage, now: float) -> None:
        match message:
            case control.Bandwidth(total, upgrade_mode):
                self.bandwidth = total
                self.upgrade_mode = upgrade_mode
                if total > 0 or upgrade_mode:
                    self._become_ready(now)
                else:
                    self._claim_refused_at_first(now, "the gateway granted nothing")
            case control.Error(text):
                self._claim_refused_at_first(now, text)
            case control.OtherTypedError(name):
                self._claim_refused_at_first(now, name)
            case control.OutOfBandwidth():
                self._claim_refused_at_first(now, "out of bandwidth")
            case _:
                self.counters.stray += 1

    def _on_ready(self, message: control.ControlMessage, now: float) -> None:
        match message:
            case control.Send(remaining, upgrade_mode):
                self._answered()
                self.bandwidth = remaining
                self.upgrade_mode = upgrade_mode
            case control.OutOfBandwidth(_, available):
                self.counters.out_of_bandwidth += 1
                self._answered()
                self.bandwidth = available
                self.exhausted = True
            case control.Bandwidth(total, upgrade_mode):
                self._claim_deadline = None
                self.bandwidth = total
                self.upgrade_mode = upgrade_mode
                if total > 0 or upgrade_mode:
                    self.exhausted = False
                    self._claims_failed = 0
                else:
                    self._claim_failed(now, "the gateway granted no bandwidth")
            case control.Error(text):
                self._complained(text)
                if self._claim_deadline is not None:
                    self._claim_failed(now, text)
            case control.OtherTypedError(name):
                self._complained(name)
            case control.SupportedProtocol():
                self._probe_deadline, self._must_answer = None, False  # a probe's answer
            case control.EncryptedResponse():
                pass  # an answer to `forget_client`
            case _:
                self.counters.stray += 1

    # -- steps ----------------------------------------------------------------------------------------

    def _begin_registration(self, now: float) -> None:
        self.state = GatewayState.REGISTERING
        self._handshake = ClientHandshake(self._crypto, self._rng, self._identity, self._gateway_identity)
        self._handshake_step = 0
        self._say(control.HandshakePayload(self.protocol_version, self._handshake.init()))
        self._deadline = now + self._config.handshake_timeout

    def _continue_registration(self, version: int, data: bytes, now: float) -> None:
        assert self._handshake is not None
        if version > NEWEST_PROTOCOL:
            raise GatewayError(
                f"registration: the gateway switched to protocol {version}", code="bad_message", phase="gateway"
            )
        if self._handshake_step == 0:
            self._say(control.HandshakePayload(self.protocol_version, self._handshake.answer(data)))
        else:
            self._handshake.finish(data)
        self._handshake_step += 1
        self._deadline = now + self._config.handshake_timeout

    def _begin_authentication(self, now: float, unix_time: float) -> None:
        self.state = GatewayState.AUTHENTICATING
        self._deadline = now + self._config.answer_timeout
        # A second request in the same second would be refused. A clock that was set back is not waited for.
        wait = self.timestamp + 1 - unix_time
        if 0 < wait <= 2:
            self._authenticate_at = now + wait
        else:
            self._authenticate(now, unix_time)

    def _authenticate(self, now: float, unix_time: float) -> None:
        assert self.shared_key is not None
        self._authenticate_at = None
        # Timers may fire a little early; the timestamp must still grow.
        second = int(unix_time)
        self.timestamp = second if second > self.timestamp or self.timestamp - second > 2 else self.timestamp + 1
        self._say(
            sign_authentication(
                self._crypto, self._rng, self._identity, self.shared_key, self.protocol_version, self.timestamp
            )
        )
        self._deadline = now + self._config.answer_timeout

    def _claim_or_ready(self, now: float) -> None:
        if self.bandwidth >= self._config.claim_threshold or self.upgrade_mode:
            self._become_ready(now)
            return
        self.state = GatewayState.CLAIMING
        self.counters.claims += 1
        self._say(control.ClaimFreeBandwidth())
        self._deadline = now + self._config.answer_timeout

    def _claim_refused_at_first(self, now: float, text: str) -> None:
        """What is left of an earlier allowance is still worth having."""
        error = self._bandwidth_refused(text)
        if self.bandwidth <= 0:
            raise error
        self._become_ready(now)
        self._next_claim = now + self._config.claim_refused_interval

    def _bandwidth_refused(self, text: str) -> GatewayError:
        """The gateway's words are English, not codes; those of one that enforces tickets name what it takes instead."""
        self._takes_only_credentials = _CREDENTIALS.search(text) is not None
        if not self._takes_only_credentials:
            return GatewayError(
                f"the gateway refuses bandwidth: {text}", code="bandwidth_refused", phase="gateway", reason="refused"
            )
        return GatewayError(
            "the gateway gives no free bandwidth: it takes only ticketbook credentials (zk-nyms), which this client "
            f"does not have; another gateway is needed (its words: {text})",
            code="bandwidth_refused",
            phase="gateway",
            reason="credentials_only",
        )

    def _become_ready(self, now: float) -> None:
        self.state = GatewayState.READY
        self._deadline = None
        self._next_claim = now + self._config.claim_interval

    # -- while ready ------------------------------------------------------------------------------------

    def _answered(self) -> None:
        self.counters.packets_answered += 1
        if self._forwarded:
            self._forwarded.popleft()

    def _complained(self, text: str) -> None:
        """Perhaps in place of an answer."""
        self.counters.errors += 1
        self.last_complaint = text
        if self._forwarded:
            self._forwarded.popleft()

    def _wants_claim(self) -> bool:
        if self.exhausted:
            return True
        low = self.bandwidth < self._config.claim_threshold and not self.upgrade_mode
        return low and not self._takes_only_credentials  # it would say the same again

    def _probe_at(self) -> float | None:
        """When the silence has lasted too long. One before the first unanswered packet was nobody's fault."""
        if self._doubted:
            return float("-inf")
        if self._config.idle_probe is None:
            return None
        if (since := self.waiting_since) is not None:
            return max(self._last_received, since) + self._config.busy_probe
        return self._last_received + self._config.idle_probe

    def _maintain(self, now: float) -> None:
        heard = now - self._lag
        if self._probe_deadline is not None and heard >= self._probe_deadline:
            self._fail(GatewayError("the gateway gives no sign of life", code="gateway_timeout", phase="gateway"))
            return
        if self._claim_deadline is not None and heard >= self._claim_deadline:
            self._claim_failed(now, "no answer to the claim")
            if self._over:
                return
        if self._claim_deadline is None and self._wants_claim() and now >= self._next_claim:
            self.counters.claims += 1
            self._say(control.ClaimFreeBandwidth())
            self._claim_deadline = now + self._config.answer_timeout
            self._next_claim = now + self._config.claim_interval
        probe_at = self._probe_at()
        if self._probe_deadline is None and probe_at is not None and heard >= probe_at:
            self.counters.probes += 1
            self._say(control.SupportedProtocolRequest())
            config = self._config
            if self._must_answer:
                self._doubted_at, self._doubted = now, False
                self._probe_deadline = now + config.doubt_timeout
            else:
                waits = self.waiting_since is not None
                self._probe_deadline = now + (config.busy_timeout if waits else config.probe_timeout)

    def _claim_failed(self, now: float, reason: str) -> None:
        self._claim_deadline = None
        self._claims_failed += 1
        error = self._bandwidth_refused(reason)
        if not self.exhausted:
            self._next_claim = now + self._config.claim_refused_interval
        elif self._takes_only_credentials or self._claims_failed >= self._config.claim_attempts:
            self._fail(error)
        else:
            self._next_claim = now + self._config.claim_interval

    # -- plumbing ---------------------------------------------------------------------------------------

    def _say(self, message: control.ControlMessage) -> None:
        self._out.append(message.encode())

    def _fail(self, error: GatewayError) -> None:
        self.error = error
        self.state = GatewayState.FAILED
        self._stop()

    def _stop(self) -> None:
        self._handshake = None
        self._deadline = self._authenticate_at = self._probe_deadline = self._claim_deadline = None
