"""One client's WebSocket at a gateway: probe, registration or authentication, then traffic (gateway.md 1 to 6, 9).

The gateway drops the TCP stream where the real one does, without a WebSocket close. What was sent by mistake before
authentication ends the connection; afterwards a mistake costs an `error` text and the connection stays.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from smolmix_web.errors import GatewayError, MessageError
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import GatewayHandshake
from smolmix_web.mixnet.mix_packet import MixPacket

from .clients import ClientRecord

if TYPE_CHECKING:
    from .gateway import Gateway

UPGRADE_TIMEOUT = 1.5
FIRST_MESSAGE_TIMEOUT = 10.0
HANDSHAKE_TIMEOUT = 5.0
PONG_TIMEOUT = 1.0
VERDICT_TIMEOUT = 2.0
MAX_SESSIONS = 8192
MAX_MESSAGE = 1 << 20
FROZEN_FRAMES = 4096
CLIENT_BUFFER = 8 * 1024 * 1024
"""Bytes waiting for a slow client; further pushes are dropped and counted."""


class State(enum.Enum):
    UPGRADING = "upgrading"
    FRESH = "fresh"  # upgraded, not authenticated
    REGISTERING = "registering"
    CHECKING = "checking"  # asking the older connection of the same client for a sign of life
    ACTIVE = "active"
    ENDING = "ending"  # the last words are on their way
    CLOSED = "closed"


class ClientSession(asyncio.Protocol):
    """Server side of one connection."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.state = State.UPGRADING
        self.identity = b""
        self.since = 0.0
        """The time that a newer connection of the same client must exceed (gateway 4.2)."""
        self.protocol_version = 0
        self._record: ClientRecord | None = None
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._ws = ServerProtocol(max_size=MAX_MESSAGE)
        self._timer: asyncio.TimerHandle | None = None
        self._handshake: GatewayHandshake | None = None
        self._out: list[bytes] = []
        self._flush_due = False
        self._fragments: list[bytes] = []
        self._fragment_kind = Opcode.TEXT
        self._waiting: deque[str | bytes] = deque()
        self._ping: tuple[bytes, asyncio.Future[bool]] | None = None
        self._check: asyncio.Task[None] | None = None

    # -- transport ----------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.gateway.faults.refuse_connections:
            self.gateway.counters.add("refused.connection")
            transport.abort()
            return
        if len(self.gateway.sessions) >= MAX_SESSIONS or not self.gateway.running:
            transport.abort()
            return
        self.gateway.sessions.add(self)
        self._deadline(UPGRADE_TIMEOUT, "upgrade")
        if self.gateway.frozen:
            self.freeze()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish()

    def data_received(self, data: bytes) -> None:
        ws = self._ws
        ws.receive_data(data)
        for event in ws.events_received():
            if self.state is State.CLOSED:
                break
            if isinstance(event, Request):
                self._upgrade(event)
            elif isinstance(event, Frame):
                self._frame(event)
        if self.state is not State.CLOSED:
            self._collect()
            if ws.parser_exc is not None or (self.state is State.UPGRADING and ws.handshake_exc is not None):
                self.gateway.counters.add("bad.websocket")
                self._close_after_flush()

    def eof_received(self) -> bool:
        if self.state is not State.CLOSED:
            self._ws.receive_eof()
        return False

    def _upgrade(self, request: Request) -> None:
        response = self._ws.accept(request)
        self._ws.send_response(response)
        self._collect()
        if response.status_code != 101:
            self.gateway.counters.add("bad.websocket")
            self._close_after_flush()
            return
        self.gateway.counters.add("sessions")
        self.state = State.FRESH
        self._deadline(FIRST_MESSAGE_TIMEOUT, "first message")

    def _frame(self, frame: Frame) -> None:
        """Reassemble messages; control frames count as a violation until the client is authenticated."""
        opcode = frame.opcode
        if opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if opcode is not Opcode.CONT:
                self._fragment_kind = opcode
            if frame.fin and not self._fragments:
                self._arrived(bytes(frame.data), self._fragment_kind)
                return
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                message = b"".join(self._fragments)
                self._fragments.clear()
                self._arrived(message, self._fragment_kind)
            return
        if opcode is Opcode.CLOSE:
            self._collect()
            self._close_after_flush()
        elif self.state in (State.FRESH, State.REGISTERING, State.CHECKING):
            self._early("a control frame before authentication")
        elif opcode is Opcode.PONG and self._ping is not None:
            body, answered = self._ping
            if frame.data == body and not answered.done():
                answered.set_result(True)

    def _arrived(self, data: bytes, kind: Opcode) -> None:
        message: str | bytes = data
        if kind is Opcode.TEXT:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self.gateway.counters.add("bad.websocket")
                self.drop()
                return
        self.gateway.up.send(len(data), self._message, message, control=kind is Opcode.TEXT)

    # -- sending --------------------------------------------------------------------------------------
    def _collect(self) -> None:
        """What the WebSocket layer itself wants to send: the upgrade, pongs, the echo of a close."""
        for data in self._ws.data_to_send():
            if data:
                self._write(data)

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def freeze(self) -> None:
        """Neither read nor write until `thaw`; the socket stays open."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def thaw(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._flush()

    def _flush(self) -> None:
        self._flush_due = False
        if self.gateway.frozen:
            return
        if self._transport is not None and self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _send_frame(self, payload: bytes, opcode: Opcode) -> None:
        if self.state is State.CLOSED:
            return
        data = Frame(opcode, payload).serialize(mask=False)
        framing = len(data) - len(payload)
        text = opcode is not Opcode.BINARY
        self.gateway.down.send(len(payload), self._write_if_open, data, control=text, framing=framing)

    def _write_if_open(self, data: bytes) -> None:
        if self.state is not State.CLOSED:
            self._write(data)

    def send_text(self, message: control.ControlMessage) -> None:
        instead = self.gateway.faults.text(message)
        if instead is not None:
            self.gateway.counters.add("faults.text")
        self._send_frame((instead or message.encode()).encode(), Opcode.TEXT)

    def push(self, payload: bytes) -> None:
        """One mixnet payload to the client, sealed, in a frame of its own (gateway 5.5)."""
        assert self._record is not None
        gateway = self.gateway
        slow = self._transport is not None and self._transport.get_write_buffer_size() > CLIENT_BUFFER
        if slow or (gateway.frozen and len(self._out) >= FROZEN_FRAMES):
            gateway.counters.add("overflow.client")
            return
        mistake, payload = gateway.faults.push(gateway.rng, payload)
        if mistake is not None:
            gateway.counters.add(f"faults.{mistake}")
        match mistake:
            case "push_garbage" | "push_short":
                self._send_frame(payload, Opcode.BINARY)
            case "binary_in_text":
                self._send_frame(payload, Opcode.TEXT)
            case _:
                sealed = frames.seal_push(gateway.crypto, gateway.rng, self._record.shared_key, payload)
                self._send_frame(sealed, Opcode.BINARY)

    # -- the end ----------------------------------------------------------------------------------------
    def drop(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()
        self._finish()

    def go_away(self) -> None:
        """An orderly end by the gateway: a close frame, then the connection."""
        if self.state is State.UPGRADING:
            self.drop()
        elif self.state is not State.CLOSED:
            self._ws.send_close(CloseCode.GOING_AWAY)
            self._collect()
            self._close_after_flush()

    def _close_after_flush(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._finish()

    def _refuse(self, *messages: control.ControlMessage, why: str) -> None:
        """Send the last words, however slow the link, and end the connection."""
        if self.state in (State.ENDING, State.CLOSED):
            return
        self._no_deadline()
        self.gateway.counters.add(f"refused.{why}")
        for message in messages:
            self.send_text(message)
        self.state = State.ENDING
        self.gateway.down.send(0, self._close_after_flush, control=True)

    def _finish(self) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._out.clear()
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._check is not None:
            self._check.cancel()
        if self._ping is not None and not self._ping[1].done():
            self._ping[1].set_result(False)
        gateway = self.gateway
        gateway.sessions.discard(self)
        if gateway.active.get(self.identity) is self:
            del gateway.active[self.identity]

    def _deadline(self, seconds: float, what: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._expired, what)

    def _no_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self, what: str) -> None:
        if self.gateway.frozen:
            self._deadline(UPGRADE_TIMEOUT, what)
            return
        if self.state is State.FRESH:
            self._refuse(control.Error(f"timed out waiting for the {what}"), why="timeout")
        elif self.state is State.REGISTERING:
            self._handshake_failed(f"timed out waiting for the {what}")
        else:
            self.gateway.counters.add("refused.timeout")
            self.drop()

    # -- messages -----------------------------------------------------------------------------------------
    def _message(self, message: str | bytes) -> None:
        if self.state is State.ACTIVE:
            if isinstance(message, str):
                self._active_text(message)
            else:
                self._active_binary(message)
        elif self.state is State.FRESH:
            self._fresh(message)
        elif self.state is State.REGISTERING:
            self._registering(message)
        elif self.state is State.CHECKING:
            if len(self._waiting) >= 1000:
                self._early("too much before authentication")
            else:
                self._waiting.append(message)

    def _early(self, problem: str) -> None:
        self.gateway.counters.add("bad.early")
        self._refuse(control.Error(problem), why="early")

    def _fresh(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._early("a binary message before authentication")
            return
        try:
            request = control.parse_request(message)
        except GatewayError as error:
            self._early(error.message)
            return
        if isinstance(request, control.SupportedProtocolRequest):
            self.send_text(control.SupportedProtocol(self.gateway.protocol))
            self._deadline(FIRST_MESSAGE_TIMEOUT, "first message")
        elif isinstance(request, control.HandshakePayload):
            self._begin_registration(request)
        elif isinstance(request, control.AuthenticateV2):
            self._authenticate(request)
        else:
            self._early(f"{request.type or getattr(request, 'name', 'request')} is not possible before authentication")

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
        self.send_text(control.HandshakePayload(self.protocol_version, answer))
        self._deadline(HANDSHAKE_TIMEOUT, "third handshake message")

    def _registering(self, message: str | bytes) -> None:
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
        self.send_text(control.HandshakePayload(self.protocol_version, confirmation))
        self.send_text(control.Register(self.protocol_version, True))
        # The session's own time has fractions: an authentication signed in the same second is stale (gateway 4.2).
        self._activate(handshake.client_identity, time.time())

    def _activate(self, identity: bytes, since: float) -> None:
        self._no_deadline()
        self.identity = identity
        self.since = since
        self.state = State.ACTIVE
        self.gateway.active[identity] = self

    # -- authentication (gateway 4) ----------------------------------------------------------------------------
    def _authenticate(self, request: control.AuthenticateV2) -> None:
        gateway = self.gateway
        record = gateway.clients.get(request.client_identity)
        try:
            auth.verify_authentication(
                gateway.crypto,
                request,
                record.shared_key if record is not None else None,
                unix_time=time.time(),
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
            self.state = State.CHECKING
            self._no_deadline()
            self._check = self._loop.create_task(self._check_older(older, request, record))

    def _refuse_authentication(self, problem: str, why: str) -> None:
        error = control.Error(problem)
        self._refuse(error, error, why=why)

    async def _check_older(self, older: ClientSession, request: control.AuthenticateV2, record: ClientRecord) -> None:
        """Ping the older connection: alive, the newcomer is refused; else it takes its place."""
        alive = await older.is_alive()
        self._check = None
        if self.state is not State.CHECKING:
            return
        if alive:
            self._refuse_authentication("a connection of this client is active already", "duplicate")
            return
        if self.gateway.active.get(request.client_identity, older) is not older:
            # Another newcomer asked at the same time, and was first.
            self._refuse_authentication("a connection of this client is active already", "duplicate")
            return
        older.drop()
        self._authenticated(request, record)
        while self._waiting:  # emptied when the session ends
            self._message(self._waiting.popleft())

    async def is_alive(self) -> bool:
        """True if this connection answers a ping within a second."""
        if self.state is not State.ACTIVE or self._transport is None or self._transport.is_closing():
            return False
        if self._ping is None:
            body = self.gateway.rng.bytes(8)
            self._ping = (body, self._loop.create_future())
            self._send_frame(body, Opcode.PING)
        answered = self._ping[1]
        try:
            async with asyncio.timeout(PONG_TIMEOUT):
                return await asyncio.shield(answered)
        except TimeoutError:
            return False
        finally:
            self._ping = None

    def _authenticated(self, request: control.AuthenticateV2, record: ClientRecord) -> None:
        gateway = self.gateway
        now = time.time()
        record.last_timestamp = request.timestamp
        self._record = record
        self.protocol_version = request.protocol_version
        self.state = State.ACTIVE
        # Stored messages come before the answer (gateway 7.2).
        for message in gateway.clients.take_stored(request.client_identity, now):
            gateway.counters.add("delivered")
            self.push(message)
        self.send_text(control.Authenticate(self.protocol_version, True, record.available(now)))
        gateway.counters.add("authenticated")
        self._activate(request.client_identity, float(request.timestamp))

    # -- traffic (gateway 5, 6) ----------------------------------------------------------------------------------
    def _complain(self, problem: str) -> None:
        """A mistake after authentication: the connection stays (gateway 9.2)."""
        self.gateway.counters.add("bad.request")
        self.send_text(control.Error(problem))

    def _active_binary(self, message: bytes) -> None:
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
        now = time.time()
        size = len(packet.packet)
        if not record.charge(size, now):
            gateway.counters.add("out_of_allowance")
            self.send_text(control.OutOfBandwidth(size, record.available(now)))
            return
        gateway.forward(packet)
        self.send_text(control.Send(record.allowance))

    def _active_text(self, message: str) -> None:
        gateway, record = self.gateway, self._record
        assert record is not None
        try:
            request = control.parse_request(message)
        except GatewayError as error:
            self._complain(error.message)
            return
        if isinstance(request, control.SupportedProtocolRequest):
            self.send_text(control.SupportedProtocol(gateway.protocol))
        elif isinstance(request, control.ClaimFreeBandwidth):
            if gateway.enforce_tickets:
                gateway.counters.add("refused.claim")
                self.send_text(control.Error("only bandwidth credentials are accepted here"))
            else:
                gateway.counters.add("claims")
                total = record.grant(gateway.config.free_allowance, time.time())
                self.send_text(control.Bandwidth(total))
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
        self.send_text(auth.seal_response(gateway.crypto, gateway.rng, record.shared_key, answer))
