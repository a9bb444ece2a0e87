"""A WebSocket client (RFC 6455, RFC 7692) over the tunnel: the protocol by `websockets`, Sans-I/O; here bytes and
waits.

One task per connection reads, so that pings are answered and a close is noticed although nobody calls `receive`. It
stops reading while too much waits to be received; then TCP's window holds the peer back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any

from ..deadline import Clock, Watchdog
from ..errors import SmolmixError, StateError, WebSocketError
from ..http.connector import TlsInfo
from ..http.headers import Headers
from ..sockets import READ_SIZE, ByteStream, SerialWriter

QUEUE_BYTES = 1 << 20
QUEUE_MESSAGES = 256
MAX_REASON = 123  # bytes of UTF-8
ABNORMAL = 1006

_CONT, _TEXT, _BINARY = 0, 1, 2


@dataclass(frozen=True)
class Close:
    """How it ended. `clean`: both sides sent a close frame; else `code` is 1006 and `reason` our own words."""

    code: int
    reason: str
    clean: bool


class WebSocketConnection:
    """An open connection; make one with `connect`. Any task may send; one task at a time receives."""

    def __init__(
        self,
        clock: Clock,
        stream: ByteStream,
        protocol: Any,
        *,
        url: str,
        headers: Headers,
        tls: TlsInfo | None,
        close_timeout: float,
    ) -> None:
        self.url = url
        self.headers = headers
        self.tls = tls
        self.subprotocol: str = protocol.subprotocol or ""
        self.extensions: tuple[str, ...] = tuple(extension.name for extension in protocol.extensions)
        self._stream = stream
        self._protocol = protocol
        self._writer = SerialWriter(stream, self._take_outgoing)
        self._clock = clock
        self._close_timeout = close_timeout
        self._watchdog = Watchdog(clock, stream.abort)
        self._messages: deque[str | bytes] = deque()
        self._queued = 0
        self._opcode = 0
        self._partial = bytearray()
        self._unsent = 0
        self._dropping = False  # `close` was called: nobody wants messages any more
        self._changed: asyncio.Future[None] | None = None  # what `receive` waits on
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # what `close` waits on
        self._room: asyncio.Future[None] | None = None  # what the reader waits on
        self._close: Close | None = None
        self._failed: str | None = None  # why we, or the network, ended it
        self.error: SmolmixError | None = None
        self._reader = asyncio.create_task(self._run())

    @property
    def closed(self) -> Close | None:
        """The end, once it is known."""
        return self._close

    @property
    def buffered_amount(self) -> int:
        """Bytes of messages given to `send` that have not entered the connection's send buffer."""
        return self._unsent

    async def send(self, message: str | bytes) -> None:
        """Send one text or binary message; waits while the send buffer is full. Raises `WebSocketError(closed)`."""
        text = isinstance(message, str)
        data = message.encode("utf-8", "replace") if isinstance(message, str) else bytes(message)
        if self._close is not None or self._protocol.state.name != "OPEN":
            raise WebSocketError("the WebSocket is not open", code="closed", phase="send")
        if text:
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        self._unsent += len(data)
        try:
            await self._writer.flush()
        except SmolmixError as error:
            raise WebSocketError(f"the connection broke: {error.message}", code="closed", phase="send") from error
        finally:
            self._unsent -= len(data)

    async def receive(self) -> str | bytes | Close:
        """The next message, in order; after the last one how the connection ended, again and again."""
        while True:
            if self._messages:
                message = self._messages.popleft()
                self._queued -= len(message)
                if self._room is not None and not self._full():
                    _fire(self._room)
                return message
            if self._close is not None:
                return self._close
            if self._changed is not None:
                raise StateError("another task is already receiving")
            self._changed = asyncio.get_running_loop().create_future()
            try:
                await self._changed
            finally:
                self._changed = None

    async def close(self, code: int = 1000, reason: str = "") -> Close:
        """Closing handshake; returns how the connection ended, at the latest after the close timeout.

        `code` is 1000 or 3000..4999, `reason` at most 123 bytes of UTF-8. Messages not yet received are dropped.
        """
        if code != 1000 and not 3000 <= code <= 4999:
            raise WebSocketError(f"close code {code} is not 1000 or 3000..4999", code="bad_close_code", phase="close")
        if len(reason.encode()) > MAX_REASON:
            raise WebSocketError(
                f"the reason is longer than {MAX_REASON} bytes", code="bad_close_reason", phase="close"
            )
        if self._close is None:
            if self._protocol.state.name == "OPEN":
                self._protocol.send_close(code, reason)
            self._watchdog.start(self._close_timeout, "close")
            self._dropping = True
            self._messages.clear()
            self._queued = 0
            _fire(self._room)
            with contextlib.suppress(SmolmixError):  # the reader sees the same end
                await self._writer.flush()
            await asyncio.shield(self._ended)
            assert self._close is not None
        return self._close

    def abort(self, error: SmolmixError | None = None) -> None:
        """End at once, without a closing handshake."""
        self._stream.abort(error)

    # -- reading ------------------------------------------------------------------------------------

    def _full(self) -> bool:
        return self._queued >= QUEUE_BYTES or len(self._messages) >= QUEUE_MESSAGES

    async def _run(self) -> None:
        try:
            eof = False
            while True:
                self._take_events()  # at first: frames that came with the handshake
                await self._writer.flush(wait=False)
                if eof or self._protocol.state.name == "CLOSED":
                    break
                if self._protocol.close_expected():
                    self._closing()
                while self._full() and self._protocol.state.name == "OPEN":
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
                    self._room = None
                data = await self._stream.read(READ_SIZE)
                eof = not data
                if eof:
                    self._protocol.receive_eof()
                else:
                    self._protocol.receive_data(data)
            await self._stream.close()
        except SmolmixError as error:
            self.error = self.error or error
            self._failed = self._failed or error.message
            self._stream.abort(error)
        except asyncio.CancelledError:
            self._failed = self._failed or "aborted"
            self._stream.abort()
            raise
        except Exception as error:  # a defect must end the connection, not hang its users
            self.error = WebSocketError(f"{type(error).__name__}: {error}", code="internal", phase="receive")
            self._failed = self.error.message
            self._stream.abort(self.error)
        finally:
            self._watchdog.stop()
            self._finish()

    def _closing(self) -> None:
        """A close frame went out: the peer has this long to end the connection."""
        self._watchdog.start(self._close_timeout, "close")
        if self._protocol.close_rcvd is not None or self.error is not None:
            self._finish()

    def _finish(self) -> None:
        if self._close is not None:
            return
        protocol = self._protocol
        if protocol.close_rcvd is not None and protocol.close_sent is not None and self.error is None:
            code = int(protocol.close_rcvd.code)
            self._close = Close(code, protocol.close_rcvd.reason, True)
        else:
            self._close = Close(ABNORMAL, self._failed or "the connection ended without a close frame", False)
        _fire(self._changed)
        _fire(self._room)
        _fire(self._ended)

    def _take_events(self) -> None:
        for frame in self._protocol.events_received():
            if frame.opcode in (_TEXT, _BINARY):
                self._opcode = int(frame.opcode)
                self._partial += frame.data
            elif frame.opcode == _CONT:
                self._partial += frame.data
            else:
                continue  # ping and pong are answered by the protocol, close shows in its state
            if frame.fin:
                self._complete()
        if self._protocol.parser_exc is not None and self.error is None:
            self.error = _typed(self._protocol.parser_exc)
            self._failed = self.error.message

    def _complete(self) -> None:
        data = bytes(self._partial)
        self._partial.clear()
        message: str | bytes = data
        if self._opcode == _TEXT:
            try:
                message = data.decode("utf-8")
            except UnicodeDecodeError as error:
                self.error = WebSocketError(
                    f"a text message is not UTF-8 at byte {error.start}", code="invalid_data", phase="receive"
                )
                self._failed = self.error.message
                self._protocol.fail(1007, "not UTF-8")
                return
        if self._dropping:
            return
        self._messages.append(message)
        self._queued += len(message)
        _fire(self._changed)

    # -- writing ------------------------------------------------------------------------------------

    def _take_outgoing(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


def _fire(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _typed(error: BaseException) -> WebSocketError:
    name = type(error).__name__
    code = {"PayloadTooBig": "message_too_big", "UnicodeDecodeError": "invalid_data", "EOFError": "closed"}.get(
        name, "protocol"
    )
    return WebSocketError(str(error) or name, code=code, phase="receive")
