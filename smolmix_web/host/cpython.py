"""The host under CPython: asyncio transports, `websockets` for the gateway, plain HTTP/1.1 for the directory."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import certifi
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidURI
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from .. import extras
from ..errors import DirectoryError, HttpError, TimeoutExpired
from ..http.connection import request_head
from ..http.framing import open_body
from ..http.reader import HeadReader
from ..rand import RandomSource, SystemRandom
from .base import HttpAnswer, TimerHandle, WebSocketEvents, WebSocketHandle, too_large
from .vault import Vault

_OPEN_TIMEOUT = 15.0
_CLOSE_TIMEOUT = 2.0  # s that what was written last, and the end of TLS, get to leave
_MAX_MESSAGE = 1 << 20  # a pushed packet has at most 33 KB, a control message far less
_READ_SIZE = 65_536


class CPythonHost:
    """Host on the running asyncio loop. `ca_file`: extra PEM roots for `https:` and `wss:` of directory and gateway."""

    name = "cpython"

    def __init__(self, *, rng: RandomSource | None = None, verbose: bool = False, ca_file: str | None = None) -> None:
        extras.require("cpython")
        self.rng: RandomSource = rng or SystemRandom()
        self._loop = asyncio.get_running_loop()
        self._verbose = verbose
        self._tls = ssl.create_default_context(cafile=certifi.where())
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=ca_file)

    def now(self) -> float:
        return self._loop.time()

    def unix_time(self) -> float:
        return time.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle:
        return self._loop.call_later(delay, callback)

    def alarm(self, callback: Callable[[], None]) -> LoopAlarm:
        return LoopAlarm(self._loop, callback)

    def log(self, text: str) -> None:
        if self._verbose:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        print(f"smolmix: {text}", file=sys.stderr, flush=True)

    async def open_vault(self, client_id: str) -> Vault:
        from ..storage.files import FileVault

        return await FileVault.open(client_id)

    async def http_get(self, url: str, *, timeout: float, max_bytes: int, fields: Any = True) -> HttpAnswer:
        try:
            async with asyncio.timeout(timeout):
                return await self._get(url, max_bytes)
        except TimeoutError:
            raise TimeoutExpired(f"directory {url}: no answer in {timeout:g} s", phase="directory") from None
        except HttpError as error:
            raise DirectoryError(f"directory {url}: {error.message}", code="bad_response", phase="directory") from None
        except OSError as error:
            raise DirectoryError(f"directory {url}: {error}", code="unreachable", phase="directory") from None

    async def _get(self, url: str, max_bytes: int) -> HttpAnswer:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        reader, writer = await asyncio.open_connection(host, port, ssl=self._tls if secure else None)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            name = parts.netloc.rpartition("@")[2]
            fields = [("Host", name), ("Accept", "application/json"), ("Connection", "close")]
            writer.write(request_head("GET", target, fields))
            head, heads = None, HeadReader(secure=True)  # one that is cut is no answer
            while head is None:
                data = await reader.read(_READ_SIZE)
                head = heads.feed(data) if data else heads.end()
            framing = open_body("GET", head)
            body = bytearray(framing.feed(heads.rest))
            while not framing.over and len(body) <= max_bytes:
                data = await reader.read(_READ_SIZE)
                if data:
                    body += framing.feed(data)
                else:
                    framing.end()
            if len(body) > max_bytes:
                raise too_large(url, max_bytes)
            media_type = next((value for key, value in head.headers if key == "content-type"), "")
            return HttpAnswer(head.status, media_type.split(";")[0].strip().lower(), bytes(body))
        finally:
            writer.close()

    def open_websocket(self, url: str, events: WebSocketEvents) -> WebSocketHandle:
        return _WebSocket(self._loop, url, events, self._tls)


class LoopAlarm:
    """See `base.Alarm`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.Handle | None = None

    def set(self, delay: float) -> None:
        self.close()
        loop, callback = self._loop, self._callback
        self._handle = loop.call_later(delay, callback) if delay > 0 else loop.call_soon(callback)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()


class _WebSocket(asyncio.Protocol):
    """Client WebSocket on an asyncio transport: sends are synchronous, messages arrive as callbacks.

    TLS is begun on a plain transport that stays at hand: the one on top knows neither what waits below nor that the
    socket is gone, and both decide what may still be written.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str, events: WebSocketEvents, tls: ssl.SSLContext) -> None:
        self._loop = loop
        self._events = events
        self._transport: asyncio.Transport | None = None
        self._socket: asyncio.Transport | None = None  # the same, or what TLS runs on
        self._closed = False
        self._parts: list[bytes] = []
        self._text = False
        self._protocol: ClientProtocol | None = None
        self._task = loop.create_task(self._connect(url, tls))
        self._deadline = loop.call_later(_OPEN_TIMEOUT, self._expire)

    async def _connect(self, url: str, tls: ssl.SSLContext) -> None:
        try:
            uri = parse_uri(url)
            self._protocol = ClientProtocol(uri, max_size=_MAX_MESSAGE)
            if not uri.secure:
                await self._loop.create_connection(lambda: self, uri.host, uri.port)
                return
            self._socket, _ = await self._loop.create_connection(asyncio.Protocol, uri.host, uri.port)
            transport = await self._loop.start_tls(self._socket, self, tls, server_hostname=uri.host)
            if transport is None:  # lost in the moment of success
                self._finish("connection closed")
            else:
                self.connection_made(transport)
        except (OSError, InvalidURI, ValueError) as error:  # ValueError: a name or port that no socket takes
            self._finish(f"cannot connect: {error}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) and self._protocol is not None
        self._transport = transport
        self._socket = self._socket or transport
        if self._closed:
            self._socket.abort()
            return
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        protocol = self._protocol
        if protocol is None or self._closed:
            return
        protocol.receive_data(data)
        for event in protocol.events_received():
            if self._closed:
                return
            if isinstance(event, Response):
                self._deadline.cancel()
                if protocol.handshake_exc is None:
                    self._events.socket_opened()
            elif isinstance(event, Frame):
                self._frame(event)
        self._flush()
        if protocol.handshake_exc is not None:
            self._finish(f"handshake refused: {protocol.handshake_exc}")
        elif protocol.close_expected():
            self._finish(_close_reason(protocol))

    def _frame(self, frame: Frame) -> None:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._text, self._parts = frame.opcode is Opcode.TEXT, [bytes(frame.data)]
        elif frame.opcode is Opcode.CONT:
            self._parts.append(bytes(frame.data))
        else:
            return
        if not frame.fin:
            return
        data, self._parts = b"".join(self._parts), []
        try:
            message = data.decode() if self._text else data
        except UnicodeDecodeError:
            assert self._protocol is not None
            self._protocol.fail(CloseCode.INVALID_DATA)
            self._flush()
            self._finish("a text that is not UTF-8 (code 1007)")
            return
        self._events.socket_message(message)

    def eof_received(self) -> None:
        """What we still had to say is of no use: without us, a full buffer would keep the socket open."""
        if self._protocol is not None:
            self._protocol.receive_eof()
        self._finish("connection closed")

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(f"connection lost: {exc}" if exc else "connection closed")
        self._deadline.cancel()  # nothing is left to abort

    def _expire(self) -> None:
        self._finish(f"no connection in {_OPEN_TIMEOUT:g} s")

    def _flush(self) -> None:
        assert self._protocol is not None
        pieces = self._protocol.data_to_send()
        if self._gone or self._transport is None:
            return
        for piece in pieces:
            if piece:
                self._transport.write(piece)

    @property
    def _gone(self) -> bool:
        """Nothing that is written now would leave. `connection_lost` comes later, or never while a buffer is full."""
        return self._socket is None or self._socket.is_closing()

    def _finish(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._deadline.cancel()
        if self._transport is not None:
            self._transport.close()
        elif self._task is not asyncio.current_task(self._loop):
            self._task.cancel()
        if self._socket is not None:
            # A peer that takes nothing, or leaves the end of TLS unanswered, keeps no socket of ours.
            self._deadline = self._loop.call_later(_CLOSE_TIMEOUT, self._socket.abort)
        self._events.socket_closed(reason)

    def send(self, frame: bytes | str) -> None:
        if self._closed or self._protocol is None or self._protocol.state is not State.OPEN:
            return
        if self._gone:
            self._loop.call_soon(self._finish, "connection lost")
            return
        if isinstance(frame, str):
            self._protocol.send_text(frame.encode())
        else:
            self._protocol.send_binary(frame)
        self._flush()

    def close(self) -> None:
        if self._closed:
            return
        if self._protocol is not None and self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
            self._flush()
        self._loop.call_soon(self._finish, "closed by us")

    def pause(self, paused: bool) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if paused:
            transport.pause_reading()
        else:
            transport.resume_reading()

    @property
    def buffered(self) -> int:
        if self._closed or self._transport is None or self._socket is None:
            return 0
        above = self._transport.get_write_buffer_size() if self._transport is not self._socket else 0
        return above + self._socket.get_write_buffer_size()


def _close_reason(protocol: Any) -> str:
    code = protocol.close_code
    return f"closed by the gateway (code {code})" if code is not None else "closed by the gateway"
