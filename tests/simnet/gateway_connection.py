"""The gateway's end of one client connection, without I/O: gateway.md 2 to 6 as a state machine on the real codecs.

Before authentication a mistake ends the connection, afterwards it costs an `error` text. Faults that a test may set
on the gateway (`GatewayFaults`) are looked at here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from localnet.clients import ClientRecord
from smolmix_web.errors import GatewayError, MessageError
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import GatewayHandshake
from smolmix_web.mixnet.mix_packet import MixPacket

from .events import Event
from .sockets import Frame, SimSocket

if TYPE_CHECKING:
    from .gateway import SimGateway

FIRST_MESSAGE_TIMEOUT = 10.0
HANDSHAKE_TIMEOUT = 5.0
PONG_TIMEOUT = 1.0

State = Literal["fresh", "registering", "checking", "active", "closed"]


class GatewayConnection:
    """Server side of one `SimSocket`. Active ones are in `gateway.active` under the client's identity."""

    def __init__(self, gateway: SimGateway, socket: SimSocket) -> None:
        self.gateway = gateway
        self.socket = socket
        self.state: State = "fresh"
        self.identity = b""
        self.since = 0.0  # what a newer connection's request time must exceed (gateway 4.2)
        self.protocol_version = 0
        self._record: ClientRecord | None = None
        self._handshake: GatewayHandshake | None = None
        self._waiting: list[Frame] = []
        self._timer: Event | None = None
        self._deadline(FIRST_MESSAGE_TIMEOUT, "first message")

    # -- the connection

    def receive(self, frame: Frame) -> None:
        if self.gateway.faults.deaf:
            return
        if self.state == "active":
            if isinstance(frame, str):
                self._active_text(frame)
            else:
                self._active_binary(frame)
        elif self.state == "fresh":
            self._fresh(frame)
        elif self.state == "registering":
            self._registering(frame)
        elif self.state == "checking":
            self._waiting.append(frame)

    def lost(self) -> None:
        if self.state == "closed":
            return
        self.state = "closed"
        self._no_deadline()
        self.gateway.forget_connection(self)

    def drop(self) -> None:
        """End it as the real gateway does: without a word."""
        self.socket.server_drop()
        self.lost()

    def say(self, message: control.ControlMessage) -> None:
        reply = self.gateway.faults.spoil(message)
        for text in reply:
            self.socket.server_send(text)

    def push(self, payload: bytes) -> None:
        """One mixnet payload, sealed, in a frame of its own (gateway 5.5)."""
        assert self._record is not None
        gateway = self.gateway
        self.socket.server_send(frames.seal_push(gateway.crypto, gateway.rng, self._record.shared_key, payload))

    def _refuse(self, *messages: control.ControlMessage, why: str) -> None:
        self.gateway.counters.add(f"refused.{why}")
        for message in messages:
            self.say(message)
        self.drop()

    def _early(self, problem: str) -> None:
        self.gateway.counters.add("bad.early")
        self._refuse(control.Error(problem), why="early")

    def _deadline(self, seconds: float, what: str) -> None:
        self._no_deadline()
        self._timer = self.gateway.queue.after(seconds, self._expired, what)

    def _no_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self, what: str) -> None:
        self._timer = None
        if self.state == "registering":
            self._handshake_failed(f"timed out waiting for the {what}")
        else:
            self._refuse(control.Error(f"timed out waiting for the {what}"), why="timeout")

    # -- before authentication

    def _fresh(self, frame: Frame) -> None:
        if isinstance(frame, bytes):
            self._early("a binary message before authentication")
            return
        try:
            request = control.parse_request(frame)
        except GatewayError as error:
            self._early(error.message)
            return
        if isinstance(request, control.SupportedProtocolRequest):
            self.say(control.SupportedProtocol(self.gateway.protocol))
            self._deadline(FIRST_MESSAGE_TIMEOUT, "first message")
        elif isinstance(request, control.HandshakePayload):
            self._begin_registration(request)
        elif isinstance(request, control.AuthenticateV2):
            self._authenticate(request)
        else:
            self._early(f"{request.type or 'this request'} is not possible before authentication")

    def _handshake_failed(self, problem: str) -> None:
        error = control.Error(problem)
        self._refuse(control.HandshakeError(problem), error, error, why="registration")

    def _begin_registration(self, request: control.HandshakePayload) -> None:
        gateway = self.gateway
        if request.data[:32] in gateway.active:
            error = control.Error("a connection of this client is active already")
            self._refuse(error, error, why="duplicate")
            return
        self.protocol_version = min(request.protocol_version, gateway.protocol)
        handshake = GatewayHandshake(gateway.crypto, gateway.rng, gateway.identity)
        try:
            answer = handshake.answer(request.data)
        except GatewayError as error:
            self._refuse(control.Error(error.message), why="registration")
            return
        self._handshake = handshake
        self.state = "registering"
        self.say(control.HandshakePayload(self.protocol_version, answer))
        self._deadline(HANDSHAKE_TIMEOUT, "third handshake message")

    def _registering(self, frame: Frame) -> None:
        """Message 3; what is neither envelope is ignored meanwhile (gateway 3.2)."""
        if isinstance(frame, bytes):
            return
        try:
            request = control.parse_request(frame)
        except GatewayError:
            return
        if isinstance(request, control.HandshakeError):
            self._refuse(control.Error(f"the client gave up: {request.message[:200]}"), why="registration")
            return
        if not isinstance(request, control.HandshakePayload):
            return
        handshake, gateway = self._handshake, self.gateway
        assert handshake is not None
        try:
            confirmation = handshake.finish(request.data)
        except GatewayError as failure:
            self._handshake_failed(failure.message)
            return
        assert handshake.client_identity is not None and handshake.shared_key is not None
        if handshake.client_identity in gateway.active:
            self._handshake_failed("a connection of this client is active already")
            return
        self._handshake = None
        self._record = gateway.clients.register(handshake.client_identity, handshake.shared_key)
        gateway.counters.add("registered")
        self.say(control.HandshakePayload(self.protocol_version, confirmation))
        self.say(control.Register(self.protocol_version, True))
        # A registration's own time has fractions: an authentication of the same second is stale (gateway 4.2).
        self._activate(handshake.client_identity, gateway.unix_time())

    def _activate(self, identity: bytes, since: float) -> None:
        self._no_deadline()
        self.identity = identity
        self.since = since
        self.state = "active"
        self.gateway.active[identity] = self

    def _authenticate(self, request: control.AuthenticateV2) -> None:
        gateway = self.gateway
        record = gateway.clients.get(request.client_identity)
        try:
            auth.verify_authentication(
                gateway.crypto,
                request,
                record.shared_key if record is not None else None,
                unix_time=gateway.unix_time(),
                newest_protocol=gateway.protocol,
                last_timestamp=record.last_timestamp if record is not None else None,
            )
        except GatewayError as failure:
            self._refuse_authentication(failure.message, failure.code)
            return
        assert record is not None
        older = gateway.active.get(request.client_identity)
        if older is None:
            self._authenticated(request, record)
        elif request.timestamp <= older.since:
            self._refuse_authentication("the active connection of this client is newer", "stale")
        else:
            self._check(older, request, record)

    def _refuse_authentication(self, problem: str, why: str) -> None:
        error = control.Error(problem)
        self._refuse(error, error, why=why)

    def _check(self, older: GatewayConnection, request: control.AuthenticateV2, record: ClientRecord) -> None:
        """Ping the older connection: alive within a second, the newcomer is refused; else it takes its place."""
        self.state = "checking"
        self._no_deadline()

        def alive() -> None:
            if self.state == "checking":
                verdict.cancel()
                self._refuse_authentication("a connection of this client is active already", "duplicate")

        def dead() -> None:
            if self.state == "checking":
                older.drop()
                self._authenticated(request, record)
                waiting, self._waiting = self._waiting, []
                for frame in waiting:
                    self.receive(frame)

        verdict = self.gateway.queue.after(PONG_TIMEOUT, dead)
        older.socket.ping(alive)

    def _authenticated(self, request: control.AuthenticateV2, record: ClientRecord) -> None:
        gateway = self.gateway
        now = gateway.unix_time()
        record.last_timestamp = request.timestamp
        self._record = record
        self.protocol_version = request.protocol_version
        # Stored messages come before the answer (gateway 7.2).
        for message in gateway.clients.take_stored(request.client_identity, now):
            gateway.counters.add("delivered")
            self.push(message)
        self.say(control.Authenticate(self.protocol_version, True, record.available(now)))
        gateway.counters.add("authenticated")
        self._activate(request.client_identity, float(request.timestamp))

    # -- traffic (gateway 5, 6)

    def _complain(self, problem: str) -> None:
        self.gateway.counters.add("bad.request")
        self.gateway.complaints.append(problem)
        self.say(control.Error(problem))

    def _active_binary(self, frame: bytes) -> None:
        record, gateway = self._record, self.gateway
        assert record is not None
        try:
            kind, plaintext = frames.open_frame(gateway.crypto, record.shared_key, frame)
            if kind not in (frames.FORWARD_V1, frames.FORWARD_V2):
                self._complain(f"binary frame: unknown kind {kind}")
                return
            packet = MixPacket.from_bytes(plaintext, 1 if kind == frames.FORWARD_V1 else 2)
        except (GatewayError, MessageError) as error:
            self._complain(error.message)
            return
        size, now = len(packet.packet), gateway.unix_time()
        if gateway.faults.exhausted or not record.charge(size, now):
            gateway.counters.add("out_of_allowance")
            self.say(control.OutOfBandwidth(size, 0 if gateway.faults.exhausted else record.available(now)))
            return
        gateway.forward(packet)
        if not gateway.faults.no_send_answers:
            self.say(control.Send(record.allowance))

    def _active_text(self, text: str) -> None:
        gateway, record = self.gateway, self._record
        assert record is not None
        try:
            request = control.parse_request(text)
        except GatewayError as error:
            self._complain(error.message)
            return
        if isinstance(request, control.SupportedProtocolRequest):
            self.say(control.SupportedProtocol(gateway.protocol))
        elif isinstance(request, control.ClaimFreeBandwidth):
            if gateway.faults.refuse_claims:
                gateway.counters.add("refused.claim")
                self.say(control.Error("only bandwidth credentials are accepted here"))
            else:
                gateway.counters.add("claims")
                self.say(control.Bandwidth(record.grant(gateway.faults.grant, gateway.unix_time())))
        elif isinstance(request, control.EncryptedRequest):
            self._encrypted(request, record)
        else:
            self._complain(f"{request.type or 'this request'} is not possible now")

    def _encrypted(self, request: control.EncryptedRequest, record: ClientRecord) -> None:
        """`ForgetMe` and `RememberMe` (gateway 5.4)."""
        gateway = self.gateway
        answer: dict[str, Any]
        try:
            body = auth.open_encrypted(gateway.crypto, record.shared_key, request)
        except GatewayError as error:
            self._complain(error.message)
            return
        forget = body.get("ForgetMe")
        if isinstance(forget, dict) and len(body) == 1:
            answer = {"ForgetMeAck": {}}
            if forget.get("client") is True:
                gateway.clients.forget(self.identity)
        elif isinstance(body.get("RememberMe"), dict) and len(body) == 1:
            answer = {"RememberMeAck": {}}
        else:
            self._complain("encryptedRequest: unknown request")
            return
        self.say(auth.seal_response(gateway.crypto, gateway.rng, record.shared_key, answer))
