"""One client's WebSocket at a gateway: bytes of a TCP stream on one side, a `GatewaySession` on the other.

The gateway drops the TCP stream where the real one does, without a WebSocket close (gateway.md 1, 9).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from smolmix_web.mixnet.gateway import control

from .gateway_session import GatewaySession, State
from .observed import Seen

if TYPE_CHECKING:
    from .gateway import Gateway

UPGRADE_TIMEOUT = 1.5
MAX_SESSIONS = 8192
MAX_MESSAGE = 1 << 20
FROZEN_FRAMES = 4096
CLIENT_BUFFER = 8 * 1024 * 1024
"""Bytes waiting for a slow client; further pushes are dropped and counted."""


class ClientSocket(GatewaySession, asyncio.Protocol):
    """Server side of one connection."""

    gateway: Gateway

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._ws = ServerProtocol(max_size=MAX_MESSAGE)
        self._timer: asyncio.TimerHandle | None = None
        self._out: list[bytes] = []
        self._flush_due = False
        self._fragments: list[bytes] = []
        self._fragment_kind = Opcode.TEXT
        self._ping_body = b""

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
        self._wake(UPGRADE_TIMEOUT)
        if self.gateway.frozen:
            self.freeze()

    def seen(self, what: str, data: bytes) -> None:
        watcher = self.gateway.watcher
        if watcher is not None:
            watcher(Seen("gateway", what, str(id(self)), self._loop.time(), data))

    def connection_lost(self, error: Exception | None) -> None:
        self.seen("end", b"")
        self.lost()

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
        self.seen("upgrade", request.serialize())
        response = self._ws.accept(request)
        self._ws.send_response(response)
        self._collect()
        if response.status_code != 101:
            self.gateway.counters.add("bad.websocket")
            self._close_after_flush()
            return
        self.opened()

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
        self.seen("close" if opcode is Opcode.CLOSE else "control", bytes(frame.data))
        if opcode is Opcode.CLOSE:
            self._collect()
            self._close_after_flush()
        elif self.state in (State.FRESH, State.REGISTERING, State.CHECKING):
            self.early("a control frame before authentication")
        elif opcode is Opcode.PONG and frame.data == self._ping_body:
            self.pong()

    def _arrived(self, data: bytes, kind: Opcode) -> None:
        message: str | bytes = data
        self.seen("text" if kind is Opcode.TEXT else "binary", data)
        if kind is Opcode.TEXT:
            try:
                message = data.decode()
            except UnicodeDecodeError:
                self.gateway.counters.add("bad.websocket")
                self.drop()
                return
        self.gateway.up.send(len(data), self._handle, message, control=kind is Opcode.TEXT)

    def _handle(self, message: str | bytes) -> None:
        self.handle(message, self.gateway.unix_time())

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
        self.seen("down.text" if text else "down.binary", payload)
        self.gateway.down.send(len(payload), self._write_if_open, data, control=text, framing=framing)

    def _write_if_open(self, data: bytes) -> None:
        if self.state is not State.CLOSED:
            self._write(data)

    def say(self, message: control.ControlMessage) -> None:
        instead = self.gateway.faults.text(message)
        if instead is not None:
            self.gateway.counters.add("faults.text")
        self._send_frame((instead or message.encode()).encode(), Opcode.TEXT)

    def push(self, payload: bytes) -> None:
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
                self._send_frame(self._sealed(payload), Opcode.BINARY)

    def _ping(self) -> None:
        self._ping_body = self.gateway.rng.bytes(8)
        self._send_frame(self._ping_body, Opcode.PING)

    # -- the end ----------------------------------------------------------------------------------------
    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.lost()

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
        self.lost()

    def _finish(self) -> None:
        self.gateway.down.send(0, self._close_after_flush, control=True)

    def lost(self) -> None:
        super().lost()
        self._out.clear()
        self.gateway.sessions.discard(self)

    # -- time -------------------------------------------------------------------------------------------
    def _wake(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._loop.call_later(seconds, self._expired)

    def _expired(self) -> None:
        if self.gateway.frozen and self.state is not State.CHECKING:
            self._wake(UPGRADE_TIMEOUT)
        else:
            self.expired(self.gateway.unix_time())
