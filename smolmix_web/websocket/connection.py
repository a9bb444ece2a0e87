"""An open WebSocket (RFC 6455, RFC 7692) over the tunnel: `protocol` is what is said, here are the bytes and waits.

One task per connection reads, so that pings are answered and a close is noticed although nobody calls `receive`. It
stops reading while too much waits to be received; then TCP's window holds the peer back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from ..edge.deadline import Clock, Deadline, Watchdog
from ..edge.sockets import READ_SIZE, ByteStream, SerialWriter
from ..errors import SmolmixError, StateError, TimeoutExpired, WebSocketError
from ..http.connector import TlsInfo
from ..http.headers import Headers
from .frames import Violation
from .timeouts import WebSocketTimeouts

if TYPE_CHECKING:
    from .protocol import Protocol  # and with it a library that a page which only fetches does not need

QUEUE_BYTES = 1 << 20
QUEUE_MESSAGES = 256
MAX_REASON = 123  # bytes of UTF-8
ABNORMAL = 1006
ANSWER_TIME = 5.0  # s, in which messages before a bad frame are received and answered


@dataclass(frozen=True)
class Close:
    """How it ended. `clean`: both sides sent a close frame; else `code` is 1006 and `error`, in words `reason`, why."""

    code: int
    reason: str
    clean: bool
    error: SmolmixError | None = None


class WebSocketConnection:
    """An open connection; make one with `Tunnel.connect_websocket`. Any task may send; one task at a time receives.

    `async for message in connection` gives text as `str` and binary messages as `bytes` until the connection is
    closed; one that broke raises the error that broke it. `async with` closes at the end, after an exception it aborts.
    """

    def __init__(
        self,
        clock: Clock,
        stream: ByteStream,
        protocol: Protocol,
        *,
        url: str,
        headers: Headers,
        subprotocol: str,
        extensions: str,
        tls: TlsInfo | None,
        timeouts: WebSocketTimeouts,
    ) -> None:
        self.url = url
        self.headers = headers  # of the server's answer
        self.tls = tls
        self.subprotocol = subprotocol
        self.extensions = extensions  # with their parameters, as in the answer's header
        self.failing = False  # a bad frame came; it counts when the messages before it have been received
        self._clock = clock
        self._stream = stream
        self._protocol = protocol
        self._writer = SerialWriter(stream, protocol.take_outgoing)
        self._turn = asyncio.Lock()  # one message after the other, and the close frame last
        self._timeouts = timeouts
        self._closing_watch = Watchdog(clock, stream.abort)
        self._silence = Watchdog(clock, stream.abort)
        self._quiet = Watchdog(clock, lambda _: self._ping())
        self._pinging: asyncio.Task[None] | None = None
        self._messages: deque[str | bytes] = deque()
        self._queued = 0
        self._unsent = 0
        self._ending = False  # one side closes: no more messages are taken, and the time for it runs
        self._left = False  # `close` was called: nobody wants to know how it ended
        self._changed: asyncio.Future[None] | None = None  # what `receive` waits on
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # what `close` waits on
        self._room: asyncio.Future[None] | None = None  # what the reader waits on
        self._close: Close | None = None
        self.error: SmolmixError | None = None  # what broke the connection
        self._reader = asyncio.create_task(self._run())

    @property
    def closed(self) -> Close | None:
        """The end, once it is known."""
        return self._close

    @property
    def buffered_amount(self) -> int:
        """Bytes of messages given to `send` that have not entered the connection's send buffer."""
        return self._unsent

    # -- messages -----------------------------------------------------------------------------------

    async def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Send one text or binary message; returns when all of it stands in the connection's send buffer.

        Messages of several tasks leave one after the other, in the order of the calls. Raises `WebSocketError` code
        `connection_closed` once the connection is closing. Cancelling in the middle of a message aborts the connection.
        """
        text = isinstance(message, str)
        data = message.encode("utf-8", "replace") if isinstance(message, str) else message
        if self._ending:
            raise _not_open(self.error)
        left = memoryview(data).nbytes
        self._unsent += left
        try:
            async with self._turn:
                for frame, size in self._protocol.fragments(data, text):
                    if self.error is not None or self._protocol.close_sent:
                        raise _not_open(self.error)
                    self._protocol.send(frame)
                    await self._flush_frame(frame.fin)
                    self._unsent -= size
                    left -= size
        finally:
            self._unsent -= left

    async def _flush_frame(self, final: bool) -> None:
        try:
            await self._writer.flush()
        except SmolmixError as error:
            self._fail(error)
            raise _not_open(error) from error
        except asyncio.CancelledError:
            if not final:
                self._fail(WebSocketError("a message was given up in the middle", code="aborted", phase="send"))
                self._stream.abort(self.error)
            raise

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
            if self.failing:
                _fire(self._room)
            try:
                await self._changed
            finally:
                self._changed = None

    def __aiter__(self) -> WebSocketConnection:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self.receive()
        if not isinstance(message, Close):
            return message
        if message.clean or self._left:
            raise StopAsyncIteration
        raise message.error or _not_open(None)

    # -- the end ------------------------------------------------------------------------------------

    async def close(self, code: int | None = None, reason: str = "") -> Close:
        """Closing handshake; returns how the connection ended, at the latest after the `close` timeout.

        `code` is 1000 or 3000..4999; None sends no code, which both sides see as 1005, or 1000 when there is a reason.
        `reason` has at most 123 bytes in UTF-8. Messages that were sent before arrive before; messages not yet received
        are dropped. Errors: `WebSocketError` codes `bad_close_code`, `bad_close_reason`.
        """
        if code is None and reason:
            code = 1000
        if code is not None and code != 1000 and not 3000 <= code <= 4999:
            raise WebSocketError(f"close code {code} is not 1000 or 3000..4999", code="bad_close_code", phase="close")
        if len(reason.encode("utf-8", "replace")) > MAX_REASON:
            raise WebSocketError(
                f"the reason is longer than {MAX_REASON} bytes", code="bad_close_reason", phase="close"
            )
        self._left = True
        if not self._ending:
            self._end_soon()
            self._messages.clear()
            self._queued = 0
            _fire(self._room)
            async with self._turn:
                if self.error is None and not self._protocol.close_sent:
                    self._protocol.close(code, reason.encode("utf-8", "replace").decode())
                with contextlib.suppress(SmolmixError):  # the reader sees the same end
                    await self._writer.flush()
        if self._close is None:
            await asyncio.shield(self._ended)
        assert self._close is not None
        return self._close

    def abort(self, error: SmolmixError | None = None) -> None:
        """End at once, without a closing handshake."""
        self._ending = True
        self._stream.abort(error)
        _fire(self._room)

    async def __aenter__(self) -> WebSocketConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()

    # -- reading ------------------------------------------------------------------------------------

    def _full(self) -> bool:
        return self._queued >= QUEUE_BYTES or len(self._messages) >= QUEUE_MESSAGES

    async def _run(self) -> None:
        try:
            eof = False
            while True:
                try:
                    self._take_messages()  # at first: frames that came with the handshake
                except Violation as broken:
                    await self._received()
                    self._fail(broken.error)
                    if not self._protocol.close_sent:
                        self._protocol.close(broken.code, str(broken))
                await self._writer.flush(wait=False)
                if self._protocol.close_sent:
                    self._closing()
                if not self._ending and self._full():
                    self._heed_silence(False)
                    await self._wait_for_room()
                    continue
                if eof:
                    break
                self._heed_silence(not self._protocol.close_sent)
                data = await self._stream.read(READ_SIZE)
                eof = not data
                if self.error is None:
                    self._protocol.feed(data)
                if eof and self._protocol.close_received is None:
                    self._fail(
                        WebSocketError(
                            "the connection ended without a close frame", code="connection_closed", phase="receive"
                        )
                    )
            await self._stream.close()
        except SmolmixError as error:
            self._fail(error)
            self._stream.abort(error)
        except asyncio.CancelledError:
            self._fail(WebSocketError("aborted", code="aborted", phase="receive"))
            self._stream.abort()
            raise
        except Exception as error:  # a defect must end the connection, not hang its users
            self._fail(WebSocketError(f"{type(error).__name__}: {error}", code="internal", phase="receive"))
            self._stream.abort(self.error)
        finally:
            for watch in (self._closing_watch, self._silence, self._quiet):
                watch.stop()
            self._finish()

    async def _wait_for_room(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None

    async def _received(self) -> None:
        """Wait until the messages before a bad frame have been received, and the receiver, who may have answered them,
        is back for more."""
        self.failing = True
        await self._writer.flush(wait=False)  # what pings before it are owed
        with contextlib.suppress(TimeoutExpired):
            async with Deadline(self._clock, ANSWER_TIME, "receive"):
                while not self._ending and (self._messages or self._changed is None):
                    await self._wait_for_room()

    def _heed_silence(self, wanted: bool) -> None:
        """From now on, or no longer, the server must be heard: after half of the time it is sent a ping."""
        idle = self._timeouts.idle
        if idle is None:
            return
        if wanted:
            self._silence.start(idle, "idle")
            self._quiet.start(idle / 2, "idle")
        else:
            self._silence.pause()
            self._quiet.pause()

    def _ping(self) -> None:
        async def ping() -> None:
            with contextlib.suppress(SmolmixError):  # the reader sees the same end
                await self._writer.flush(wait=False)

        if not self._protocol.close_sent:
            self._protocol.ping()
            self._pinging = asyncio.get_running_loop().create_task(ping())

    def _closing(self) -> None:
        """A close frame went out."""
        self._end_soon()
        if self._protocol.close_received is not None or self.error is not None:
            self._finish()

    def _end_soon(self) -> None:
        """From here the peer has so long to end the connection."""
        if not self._ending:
            self._ending = True
            self._closing_watch.start(self._timeouts.close, "close")

    def _fail(self, error: SmolmixError) -> None:
        """The first reason counts; what happens to a connection that has ended does not."""
        if self.error is None and self._close is None:
            self.error = error

    def _finish(self) -> None:
        if self._close is not None:
            return
        received = self._protocol.close_received
        if received is not None and self.error is None:
            self._close = Close(*received, True)
        else:
            error = self.error = self.error or _not_open(None)
            self._close = Close(ABNORMAL, error.message, False, error)
        self._ending = True
        _fire(self._changed)
        _fire(self._room)
        _fire(self._ended)

    def _take_messages(self) -> None:
        """What is there, as far as there is room for it. Raises `Violation`."""
        while self.error is None and not self._full() and (message := self._protocol.next()) is not None:
            if not self._left:
                self._messages.append(message)
                self._queued += len(message)
                _fire(self._changed)


def _fire(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _not_open(error: SmolmixError | None) -> WebSocketError:
    text = "the WebSocket is closed" if error is None else f"the connection broke: {error.message}"
    return WebSocketError(text, code="connection_closed", phase="send")
