"""A gateway's side of one client's session, without I/O: gateway.md 2 to 6 and 9 as a state machine on messages.

Before authentication a mistake ends the connection; afterwards it costs an `error` text and the connection stays.
Whatever carries the messages derives from this: it calls `handle`, `expired`, `pong` and `lost`, with its clock's
Unix time, and does what the abstract methods say.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

from smolmix_web.errors import GatewayError, MessageError
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import GatewayHandshake
from smolmix_web.mixnet.mix_packet import MixPacket

from .clients import ClientRecord
from .gateway_core import GatewayCore

FIRST_MESSAGE_TIMEOUT = 10.0
HANDSHAKE_TIMEOUT = 5.0
PONG_TIMEOUT = 1.0
MAX_WAITING = 1000
"""Messages held while an older connection of the same client is asked for a sign of life."""


class State(enum.Enum):
    UPGRADING = "upgrading"
    FRESH = "fresh"  # upgraded, not authenticated
    REGISTERING = "registering"
    CHECKING = "checking"  # asking the older connection of the same client for a sign of life
    ACTIVE = "active"
    ENDING = "ending"  # the last words are on their way
    CLOSED = "closed"


class GatewaySession(ABC):
    """One connection of one client."""

    def __init__(self, gateway: GatewayCore) -> None:
        self.gateway = gateway
        self.state = State.UPGRADING
        self.identity = b""
        self.since = 0.0
        """The time that a newer connection of the same client must exceed (gateway 4.2)."""
        self.protocol_version = 0
        self._record: ClientRecord | None = None
        self._handshake: GatewayHandshake | None = None
        self._awaited = ""
        self._waiting: deque[str | bytes] = deque()
        self._check: tuple[GatewaySession, control.AuthenticateV2, ClientRecord] | None = None
        self._doubters: list[GatewaySession] = []
        """Newer connections of the same client, which wait for this one's pong."""

    # -- what carries it ------------------------------------------------------------------------------
    @abstractmethod
    def say(self, message: control.ControlMessage) -> None:
        """Send a text."""

    @abstractmethod
    def push(self, payload: bytes) -> None:
        """Send one mixnet payload, sealed, in a frame of its own (gateway 5.5)."""

    @abstractmethod
    def drop(self) -> None:
        """Cut the connection at once, without a word, then `lost`."""

    @abstractmethod
    def _finish(self) -> None:
        """End the connection when all that was said is sent, then `lost`."""

    @abstractmethod
    def _ping(self) -> None:
        """Ask the client's WebSocket for a sign of life, and call `pong` when it comes."""

    @abstractmethod
    def _wake(self, seconds: float | None) -> None:
        """Call `expired` after so many seconds, and not at the time set before; None: not at all."""

    def seen(self, what: str, data: bytes) -> None:  # noqa: B027 - most have nobody to tell
        """For an observer (`observed.py`): what the gateway has just seen of this client."""

    # -- events -----------------------------------------------------------------------------------------
    def opened(self) -> None:
        """The WebSocket is there."""
        self.gateway.counters.add("sessions")
        self.state = State.FRESH
        self._deadline(FIRST_MESSAGE_TIMEOUT, "first message")

    def handle(self, message: str | bytes, unix_time: float) -> None:
        """One message of the client."""
        if self.state is State.ACTIVE:
            if isinstance(message, str):
                self._active_text(message, unix_time)
            else:
                self._active_binary(message, unix_time)
        elif self.state is State.FRESH:
            self._fresh(message, unix_time)
        elif self.state is State.REGISTERING:
            self._registering(message, unix_time)
        elif self.state is State.CHECKING:
            if len(self._waiting) >= MAX_WAITING:
                self.early("too much before authentication")
            else:
                self._waiting.append(message)

    def expired(self, unix_time: float) -> None:
        """The time asked for with `_wake` has passed."""
        if self.state is State.FRESH:
            self._refuse(control.Error(f"timed out waiting for the {self._awaited}"), why="timeout")
        elif self.state is State.REGISTERING:
            self._handshake_failed(f"timed out waiting for the {self._awaited}")
        elif self.state is State.CHECKING:
            self._replace_older(unix_time)
        elif self.state is State.UPGRADING:
            self.gateway.counters.add("refused.timeout")
            self.drop()

    def pong(self) -> None:
        """The client's WebSocket is alive: whoever wanted its place is refused."""
        doubters, self._doubters = self._doubters, []
        for doubter in doubters:
            doubter._refuse_duplicate()

    def lost(self) -> None:
        """The connection is gone; nothing can be sent."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._waiting.clear()
        self._wake(None)
        self._end_check()
        if self.gateway.active.get(self.identity) is self:
            del self.gateway.active[self.identity]
        # Those who wait for a sign of life need not wait any longer.
        for doubter in self._doubters:
            doubter._wake(0.0)
        self._doubters = []

    def early(self, problem: str) -> None:
        """A mistake before authentication."""
        self.gateway.counters.add("bad.early")
        self._refuse(control.Error(problem), why="early")

    # -- the end ----------------------------------------------------------------------------------------
    def _refuse(self, *messages: control.ControlMessage, why: str) -> None:
        """Send the last words, however slow the link, and end the connection."""
        if self.state in (State.ENDING, State.CLOSED):
            return
        self._wake(None)
        self._end_check()
        self.gateway.counters.add(f"refused.{why}")
        self.state = State.ENDING
        for message in messages:
            self.say(message)
        self._finish()

    def _deadline(self, seconds: float, awaited: str) -> None:
        self._awaited = awaited
        self._wake(seconds)

    # -- before authentication ----------------------------------------------------------------------------
    def _fresh(self, message: str | bytes, unix_time: float) -> None:
        if isinstance(message, bytes):
            self.early("a binary message before authentication")
            return
        try:
            request = control.parse_request(message)
        except GatewayError as error:
            self.early(error.message)
            return
        if isinstance(request, control.SupportedProtocolRequest):
            self.say(control.SupportedProtocol(self.gateway.protocol))
            self._deadline(FIRST_MESSAGE_TIMEOUT, "first message")
        elif isinstance(request, control.HandshakePayload):
            self._begin_registration(request)
        elif isinstance(request, control.AuthenticateV2):
            self._authenticate(request, unix_time)
        else:
            self.early(f"{request.type or getattr(request, 'name', 'request')} is not possible before authentication")

    # -- registration (gateway 3) ---------------------------------------------------------------------------
    def _handshake_failed(self, problem: str) -> None:
        error = control.Error(problem)
        self._refuse(control.HandshakeError(problem), error, error, why="registration")

    def _begin_registration(self, request: control.HandshakePayload) -> None:
        gateway = self.gateway
        identity = request.data[:32]
        if len(identity) == 32 and identity in gateway.active:
            error = control.Error("a connection of this client is active already")
            self._refuse(error, error, why="duplicate")
            return
        # A version above ours is answered with ours; the client decides (gateway 2.1).
        self.protocol_version = min(request.protocol_version, gateway.protocol)
        handshake = GatewayHandshake(gateway.crypto, gateway.rng, gateway.identity)
        try:
            answer = handshake.answer(request.data)
        except GatewayError as error:
            text = control.Error(error.message)
            self._refuse(text, text, why="registration")
            return
        self._handshake = handshake
        self.state = State.REGISTERING
        self.say(control.HandshakePayload(self.protocol_version, answer))
        self._deadline(HANDSHAKE_TIMEOUT, "third handshake message")

    def _registering(self, message: str | bytes, unix_time: float) -> None:
        """Message 3; anything that is neither envelope is ignored meanwhile (gateway 3.2)."""
        if isinstance(message, bytes):
            return
        try:
            request = control.parse_request(message)
        except GatewayError:
            return
        if isinstance(request, control.HandshakeError):
            error = control.Error(f"the client gave up: {request.message[:200]}")
            self._refuse(error, error, why="registration")
            return
        if not isinstance(request, control.HandshakePayload):
            return
        handshake = self._handshake
        assert handshake is not None
        try:
            confirmation = handshake.finish(request.data)
        except GatewayError as failure:
            self._handshake_failed(failure.message)
            return
        assert handshake.client_identity is not None and handshake.shared_key is not None
        self._handshake = None
        gateway = self.gateway
        if handshake.client_identity in gateway.active:
            self._handshake_failed("a connection of this client is active already")
            return
        self._record = gateway.clients.register(handshake.client_identity, handshake.shared_key)
        gateway.counters.add("registered")
        self.say(control.HandshakePayload(self.protocol_version, confirmation))
        self.say(control.Register(self.protocol_version, True))
        # The session's own time has fractions: an authentication signed in the same second is stale (gateway 4.2).
        self._activate(handshake.client_identity, unix_time)

    def _activate(self, identity: bytes, since: float) -> None:
        self._wake(None)
        self.identity = identity
        self.since = since
        self.state = State.ACTIVE
        self.gateway.active[identity] = self

    # -- authentication (gateway 4) ----------------------------------------------------------------------------
    def _authenticate(self, request: control.AuthenticateV2, unix_time: float) -> None:
        gateway = self.gateway
        record = gateway.clients.get(request.client_identity)
        try:
            auth.verify_authentication(
                gateway.crypto,
                request,
                record.shared_key if record is not None else None,
                unix_time=unix_time,
                newest_protocol=gateway.protocol,
                last_timestamp=record.last_timestamp if record is not None else None,
            )
        except GatewayError as failure:
            self._refuse_authentication(failure.message, failure.code)
            return
        assert record is not None
        older = gateway.active.get(request.client_identity)
        if older is None:
            self._authenticated(request, record, unix_time)
        elif request.timestamp <= older.since:
            self._refuse_authentication("the active connection of this client is newer", "stale")
        else:
            self._check_older(older, request, record)

    def _refuse_authentication(self, problem: str, why: str) -> None:
        error = control.Error(problem)
        self._refuse(error, error, why=why)

    def _refuse_duplicate(self) -> None:
        self._refuse_authentication("a connection of this client is active already", "duplicate")

    def _check_older(self, older: GatewaySession, request: control.AuthenticateV2, record: ClientRecord) -> None:
        """Ping the older connection: alive within a second, this one is refused; else it takes its place."""
        self.state = State.CHECKING
        self._check = older, request, record
        self._wake(PONG_TIMEOUT)
        older._doubters.append(self)
        if len(older._doubters) == 1:
            older._ping()

    def _end_check(self) -> None:
        if self._check is not None and self in self._check[0]._doubters:
            self._check[0]._doubters.remove(self)
        self._check = None

    def _replace_older(self, unix_time: float) -> None:
        assert self._check is not None
        older, request, record = self._check
        self._end_check()
        if self.gateway.active.get(request.client_identity, older) is not older:
            # Another newcomer asked at the same time, and was first.
            self._refuse_duplicate()
            return
        older.drop()
        self._authenticated(request, record, unix_time)
        while self._waiting:  # emptied when the session ends
            self.handle(self._waiting.popleft(), unix_time)

    def _authenticated(self, request: control.AuthenticateV2, record: ClientRecord, unix_time: float) -> None:
        gateway = self.gateway
        record.last_timestamp = request.timestamp
        self._record = record
        self.protocol_version = request.protocol_version
        self.state = State.ACTIVE
        # Stored messages come before the answer (gateway 7.2).
        for message in gateway.clients.take_stored(request.client_identity, unix_time):
            gateway.counters.add("delivered")
            self.push(message)
        self.say(control.Authenticate(self.protocol_version, True, record.available(unix_time)))
        gateway.counters.add("authenticated")
        self._activate(request.client_identity, float(request.timestamp))

    def _sealed(self, payload: bytes) -> bytes:
        """The frame that carries a payload to the client."""
        assert self._record is not None
        return frames.seal_push(self.gateway.crypto, self.gateway.rng, self._record.shared_key, payload)

    # -- traffic (gateway 5, 6) ----------------------------------------------------------------------------------
    def _complain(self, problem: str) -> None:
        """A mistake after authentication: the connection stays (gateway 9.2)."""
        self.gateway.counters.add("bad.request")
        self.say(control.Error(problem))

    def _active_binary(self, message: bytes, unix_time: float) -> None:
        record, gateway = self._record, self.gateway
        assert record is not None
        try:
            kind, plaintext = frames.open_frame(gateway.crypto, record.shared_key, message)
            if kind not in (frames.FORWARD_V1, frames.FORWARD_V2):
                self._complain(f"binary frame: unknown kind {kind}")
                return
            packet = MixPacket.from_bytes(plaintext, 1 if kind == frames.FORWARD_V1 else 2)
        except (GatewayError, MessageError) as error:
            self._complain(error.message)
            return
        self.seen("packet", plaintext)
        size = len(packet.packet)
        left = self._charge(record, size, unix_time)
        if left is not None:
            gateway.counters.add("out_of_allowance")
            self.say(control.OutOfBandwidth(size, left))
            return
        gateway.forward(packet)
        self.say(control.Send(record.allowance))

    def _charge(self, record: ClientRecord, size: int, unix_time: float) -> int | None:
        """Take a packet's bytes from the allowance; None, or what is left of one that is too small."""
        return None if record.charge(size, unix_time) else record.available(unix_time)

    def _active_text(self, message: str, unix_time: float) -> None:
        gateway, record = self.gateway, self._record
        assert record is not None
        try:
            request = control.parse_request(message)
        except GatewayError as error:
            self._complain(error.message)
            return
        if isinstance(request, control.SupportedProtocolRequest):
            self.say(control.SupportedProtocol(gateway.protocol))
        elif isinstance(request, control.ClaimFreeBandwidth):
            amount = gateway.free_grant()
            if amount is None:
                gateway.counters.add("refused.claim")
                self.say(control.Error("This gateway is only accepting coconut credentials for bandwidth"))
            else:
                gateway.counters.add("claims")
                self.say(control.Bandwidth(record.grant(amount, unix_time)))
        elif isinstance(request, control.EncryptedRequest):
            self._encrypted(request, record)
        else:
            self._complain(f"{request.type or getattr(request, 'name', 'request')} is not possible now")

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
        if isinstance(forget, dict) and isinstance(forget.get("client"), bool) and len(body) == 1:
            answer = {"ForgetMeAck": {}}
            if forget["client"]:
                gateway.clients.forget(self.identity)
        elif isinstance(body.get("RememberMe"), dict) and len(body) == 1:
            answer = {"RememberMeAck": {}}
        else:
            self._complain("encryptedRequest: unknown request")
            return
        self.say(auth.seal_response(gateway.crypto, gateway.rng, record.shared_key, answer))
