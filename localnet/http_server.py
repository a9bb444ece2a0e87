"""A small HTTP server on asyncio and h11: enough for the directory, the control interface and the origin.

Keep-alive, bounded request bodies, streamed responses, exact errors. A handler answers with a `Response`; what it
raises becomes a 500 and is remembered in `errors`, so that a test can see it. With a TLS context that offers `h2` it
speaks HTTP/2 as well (`http2_server.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from .http2_server import Http2Counters, Http2ServerConnection
from .listening import BACKLOG, listen
from .observed import Seen, Watcher

MAX_BODY = 64 * 1024 * 1024
IDLE_TIMEOUT = 120.0
WRITE_TIMEOUT = 300.0
MAX_CONNECTIONS = 1000
MAX_ERRORS = 100


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    path: str  # percent-decoded
    query: dict[str, str]
    headers: list[tuple[str, str]]  # names as sent
    body: bytes
    http_version: str
    client: tuple[str, int]
    secure: bool

    def header(self, name: str) -> str | None:
        """The first header of this name, whatever its case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A query parameter as a number, held within bounds; `BadRequest` if it is none."""
        text = self.query.get(name)
        if text is None:
            return default
        try:
            return min(max(float(text), low), high)
        except ValueError:
            raise BadRequest(f"parameter {name}: {text!r} is not a number") from None

    def json(self) -> Any:
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise BadRequest(f"body is not JSON: {error}") from None


class BadRequest(Exception):
    """Answered with status 400 and the message."""


Body = bytes | AsyncIterator[bytes]


@dataclass
class Response:
    """`length=None` with a streamed body means chunked; `close` ends the connection after it."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Body = b""
    length: int | None = None
    close: bool = False
    unframed: bool = False
    """Neither length nor chunks: the end of the connection is the end of the body."""


def json_response(data: object, status: int = 200, headers: list[tuple[str, str]] | None = None) -> Response:
    body = json.dumps(data, separators=(",", ":")).encode()
    return Response(status, [("content-type", "application/json"), *(headers or [])], body)


def text_response(
    text: str,
    status: int = 200,
    content_type: str = "text/plain; charset=utf-8",
    headers: list[tuple[str, str]] | None = None,
) -> Response:
    given = headers or []
    kind = [] if any(name == "content-type" for name, _ in given) else [("content-type", content_type)]
    return Response(status, [*kind, *given], text.encode())


def make_request(
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
    http_version: str,
    writer: asyncio.StreamWriter,
    *,
    secure: bool,
) -> Request:
    """A request with its target taken apart; `BadRequest` where that cannot be done."""
    try:
        split = urlsplit(target if target.startswith("/") else "/" + target)
        query = {name: values[-1] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
    except ValueError as error:
        raise BadRequest(f"request target: {error}") from None
    peer = writer.get_extra_info("peername") or ("", 0)
    path, client = unquote(split.path), (peer[0], peer[1])
    return Request(method, target, path, query, headers, body, http_version, client, secure)


Handler = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Listens on one port and answers with `handler`."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None, name: str = "localnet") -> None:
        self._handler = handler
        self._tls = tls
        self._name = name
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.requests = 0
        self.connections = 0
        self.errors: list[str] = []
        self.http2 = Http2Counters()
        self.watcher: Watcher | None = None
        self.vantage = "origin"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        sock = listen(host, port)
        self._server = await asyncio.start_server(self._accept, sock=sock, ssl=self._tls, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self.connections += 1
        try:
            tls = writer.get_extra_info("ssl_object")
            if tls is not None and tls.selected_alpn_protocol() == "h2":
                await Http2ServerConnection(self, reader, writer).run()
            else:
                await _Connection(self, reader, writer).run()
        except (ConnectionError, TimeoutError, ssl.SSLError, asyncio.CancelledError):
            # No waiting for a polite end of TLS from a peer that is gone, or when the server closes.
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def answer(self, request: Request) -> Response:
        self.requests += 1
        try:
            return await self._handler(request)
        except BadRequest as error:
            return text_response(f"{error}\n", 400)
        except Exception as error:
            self.note(f"{request.method} {request.target}: {error!r}")
            return text_response("internal error\n", 500)

    def note(self, error: str) -> None:
        """Remember what went wrong."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)

    def tell(self, connection: int, data: bytes) -> None:
        """For an observer: bytes that a connection has brought, decrypted."""
        if self.watcher is not None and data:
            now = asyncio.get_running_loop().time()
            self.watcher(Seen(self.vantage, "bytes", f"{self.port}/{connection}", now, data))

    @property
    def secure(self) -> bool:
        return self._tls is not None


class _Connection:
    """One connection: requests one after another."""

    def __init__(self, server: HttpServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = server.connections
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)

    async def run(self) -> None:
        while True:
            try:
                request = await self._read_request()
            except h11.RemoteProtocolError as error:
                with contextlib.suppress(h11.LocalProtocolError):
                    await self._send(text_response(f"{error}\n", error.error_status_hint), "GET")
                return
            if request is None:
                return
            await self._send(await self._server.answer(request), request.method)
            if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def _next_event(self) -> Any:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._h11.send(go_on) or b"")
            data = await asyncio.wait_for(self._reader.read(65536), IDLE_TIMEOUT)
            self._server.tell(self._number, data)
            self._h11.receive_data(data)

    async def _read_request(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self._next_event()
            if isinstance(event, h11.EndOfMessage):
                break
            if not isinstance(event, h11.Data):
                return None
            size += len(event.data)
            if size > MAX_BODY:
                raise h11.RemoteProtocolError("the body is too large", error_status_hint=413)
            parts.append(bytes(event.data))
        try:
            return make_request(
                head.method.decode("ascii"),
                head.target.decode("ascii", "replace"),
                [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items()],
                b"".join(parts),
                head.http_version.decode("ascii"),
                self._writer,
                secure=self._server.secure,
            )
        except BadRequest as error:
            raise h11.RemoteProtocolError(str(error), error_status_hint=400) from None

    async def _write(self, data: bytes | None) -> None:
        if data:
            self._writer.write(data)
            await asyncio.wait_for(self._writer.drain(), WRITE_TIMEOUT)

    async def _send(self, response: Response, method: str) -> None:
        connection = self._h11
        headers = [(name.lower(), value) for name, value in response.headers]
        names = {name for name, _ in headers}
        bodiless = method == "HEAD" or response.status in (204, 304)
        length = len(response.body) if isinstance(response.body, bytes) else response.length
        if response.unframed:
            return await self._send_unframed(response, headers)
        if response.status not in (204, 304) and "content-length" not in names and length is not None:
            headers.append(("content-length", str(length)))
        if response.close:
            headers.append(("connection", "close"))
        headers.append(("server", "localnet"))
        head = h11.Response(
            status_code=response.status,
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            reason=_reason(response.status),
        )
        data = connection.send(head) or b""
        if isinstance(response.body, bytes):
            if response.body and not bodiless:
                data += connection.send(h11.Data(data=response.body)) or b""
            try:
                data += connection.send(h11.EndOfMessage()) or b""
            except h11.LocalProtocolError:
                # A handler announced more than it sends, on purpose: the peer sees a truncated body.
                await self._write(data)
                self._writer.close()
                return
            await self._write(data)
            return
        await self._write(data)
        if not bodiless:
            async for chunk in response.body:
                if chunk:
                    await self._write(connection.send(h11.Data(data=chunk)))
        await self._write(connection.send(h11.EndOfMessage()))

    async def _send_unframed(self, response: Response, headers: list[tuple[str, str]]) -> None:
        lines = [f"HTTP/1.1 {response.status} {_reason(response.status).decode()}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        await self._write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        if isinstance(response.body, bytes):
            await self._write(response.body)
        else:
            async for chunk in response.body:
                await self._write(chunk)
        self._h11.send_failed()
        self._writer.close()


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""
