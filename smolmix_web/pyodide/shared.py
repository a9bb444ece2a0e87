"""A tunnel of the page's own worker, used from a Pyodide of the same page by messages: no second registration.

`SharedTunnel` has what the messages of javascript/shared/messages.js carry: HTTP, names, WebSocket, TCP, ping. Options,
cookies, UDP and other clients stay with the page. Imported under Pyodide only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from ipaddress import ip_address
from typing import Any

from ..dial import Connected, TlsInfo
from ..edge.sockets import READ_SIZE, Address, TcpOptions
from ..edge.tls import TlsOptions
from ..errors import Cancelled, HttpError, SmolmixError, TimeoutExpired, UsageError
from ..http import HttpRequest, Timeouts
from ..http.timings import Timings
from ..netstack import Endpoint
from ..tunnel import PingReply
from ..tunnel.asyncio_access import AsyncioAccess
from ..websocket import Close, WebSocketTimeouts
from . import parts
from .lender import Channel, Lender

WRITE_PIECE = 64 * 1024
MAX_READ = 256 * 1024 * 1024
ANSWER = 5.0  # s in which the page must say how its tunnel is


@asynccontextmanager
async def shared_tunnel(
    port: Any, *, on_change: Callable[[dict[str, Any]], None] | None = None
) -> AsyncIterator[SharedTunnel]:
    """The tunnel that a page lends: `port` is what its `tunnel.share()` gave, for one use. Given back at the end.

    Raises `TimeoutExpired` when nobody is at its other end.
    """
    await parts.guest()
    lender = Lender(port, on_change)
    try:
        async with asyncio.timeout(ANSWER):
            await lender.heard
    except TimeoutError:
        lender.close()
        raise TimeoutExpired("nobody answers at the other end of the port", phase="tunnel") from None
    try:
        yield SharedTunnel(lender)
    finally:
        lender.close()


class SharedTunnel(AsyncioAccess):
    """Arguments, results and errors are those of `Tunnel`."""

    def __init__(self, lender: Lender) -> None:
        self.lender = lender

    def snapshot(self) -> dict[str, Any]:
        return self.lender.state

    @property
    def state(self) -> str:
        return str(self.lender.state.get("state"))

    async def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.lender.call("statistics")
        return found

    async def fetch(self, request: HttpRequest | str, *, isolation: str | None = None, **fields: Any) -> SharedResponse:
        """As `Tunnel.fetch`; the body comes decoded, and one that is an iterator is sent without its length."""
        request = HttpRequest(request, **fields) if isinstance(request, str) else replace(request, **fields)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        streamed = None if body is None or isinstance(body, bytes) else body
        data = None if streamed is not None else body
        message = {**fetch_message(request, streaming=streamed is not None), "isolation": isolation}
        channel = self.lender.open("fetch", request=message, data=data)
        sending = asyncio.ensure_future(_upload(channel, streamed)) if streamed is not None else None
        try:
            return SharedResponse(channel, (await channel.next())["head"], sending)
        except BaseException:
            channel.abort()
            if sending is not None:
                sending.cancel()
            raise

    async def resolve(self, name: str, *, family: int | None = None, isolation: str | None = None) -> list[Address]:
        found = await self.lender.call("resolve", name=name, family=family, isolation=isolation)
        return [ip_address(address) for address in found]

    async def lookup(
        self,
        name: str,
        type: str = "A",
        *,
        timeout: float | None = None,
        server: str | None = None,
        fresh: bool = False,
        isolation: str | None = None,
    ) -> dict[str, Any]:
        """As a page has it: a dictionary of `name`, `records`, `canonicalName`, `ttl`, ... (docs/javascript.md)."""
        limit = None if timeout is None else timeout * 1000
        found: dict[str, Any] = await self.lender.call(
            "lookup", name=name, rrtype=type, timeout=limit, server=server, fresh=fresh, isolation=isolation
        )
        return found

    async def ping(
        self,
        host: str,
        *,
        timeout: float = 20.0,
        size: int = 32,
        family: int | None = None,
        isolation: str | None = None,
    ) -> PingReply:
        limit = timeout * 1000
        found = await self.lender.call("ping", host=host, family=family, timeout=limit, size=size, isolation=isolation)
        return PingReply(ip_address(found["address"]), found["rtt"] / 1000)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        *,
        tls: bool | TlsOptions = False,
        options: TcpOptions | None = None,
        family: int | None = None,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
    ) -> Connected:
        given = options or TcpOptions()
        secure = TlsOptions() if tls is True else tls or None
        request = {
            "host": host,
            "port": port,
            "family": family,
            "tls": None
            if secure is None
            else {
                "serverName": secure.server_name,
                "alpn": list(secure.alpn),
                "caCertificates": list(secure.ca_certificates),
                "defaultRoots": secure.default_roots,
            },
            "noDelay": given.nodelay,
            "keepAliveDelay": None if given.keepalive is None else round(given.keepalive * 1000),
            "sendBufferSize": given.send_buffer,
            "receiveBufferSize": given.receive_buffer,
            "timeouts": {} if timeouts is None else _milliseconds(timeouts),
            "isolation": isolation,
        }
        channel = self.lender.open("tcp", request=request)
        try:
            detail = (await channel.next())["detail"]
        except BaseException:
            channel.abort()
            raise
        facts = detail["tls"]
        return Connected(
            SharedStream(channel),
            tls=None if facts is None else TlsInfo(facts["version"], facts["cipher"], facts["alpn"]),
            local=Endpoint(ip_address(detail["localAddress"]), detail["localPort"]),
            remote=Endpoint(ip_address(detail["remoteAddress"]), detail["remotePort"]),
        )

    async def connect_websocket(
        self,
        url: str,
        protocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        timeouts: WebSocketTimeouts | None = None,
        *,
        isolation: str | None = None,
    ) -> SharedWebSocket:
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        limits = None if timeouts is None else _milliseconds(timeouts)
        channel = self.lender.open(
            "websocket",
            url=url,
            protocols=list(protocols),
            headers=[list(pair) for pair in pairs],
            timeouts=limits,
            isolation=isolation,
        )
        try:
            return SharedWebSocket(channel, (await channel.next())["detail"])
        except BaseException:
            channel.abort()
            raise


# -- HTTP -----------------------------------------------------------------------------------------------


def _milliseconds(timeouts: Any) -> dict[str, float]:
    return {name: math.inf if value is None else value * 1000 for name, value in asdict(timeouts).items()}


def fetch_message(request: HttpRequest, *, streaming: bool) -> dict[str, Any]:
    """`FetchRequest` of javascript/shared/messages.js."""
    for name in ("on_upload", "on_download", "on_timings", "max_decoded"):
        if getattr(request, name) is not None:
            raise UsageError(f"a shared tunnel has no {name}", code="bad_request", phase="request")
    timeouts = _milliseconds(request.timeouts) if request.timeouts is not None else {}
    if request.timeout is not None:
        timeouts["total"] = request.timeout * 1000
    pairs = request.headers.items() if isinstance(request.headers, Mapping) else request.headers
    return {
        "method": request.method,
        "url": request.url,
        "headers": [list(pair) for pair in pairs],
        "redirect": request.redirect,
        "maxRedirects": request.max_redirects,
        "allowInsecureRedirects": bool(request.allow_insecure_redirects),
        "cookies": request.cookies,
        "integrity": request.integrity,
        "timeouts": timeouts or None,
        "progress": False,
        "streaming": streaming,
        "length": None,
    }


async def _upload(channel: Channel, body: AsyncIterator[bytes]) -> None:
    try:
        async for piece in body:
            for at in range(0, len(piece), WRITE_PIECE):
                await channel.write(bytes(piece[at : at + WRITE_PIECE]))
        channel.send("finish")
    except SmolmixError:
        return  # the response says why
    except Exception as error:
        channel.abort(HttpError(f"the body of the request failed: {error}", code="body_failed", phase="request"))


def _seconds(timings: dict[str, Any]) -> Timings:
    given = {name: timings[name] for name in ("redirect", "queue", "dns", "connect", "tls", "ttfb", "end")}
    given["request_sent"] = timings["requestSent"]
    seconds = {name: None if value is None else value / 1000 for name, value in given.items()}
    facts = {"protocol": timings["protocol"] or "http/1.1", "remote_address": timings["remoteAddress"]}
    return Timings(0.0, **seconds, **facts, reused=timings["reused"], exit=timings["exit"])  # type: ignore[arg-type]


class ResponseHead:
    """What a response says before its body."""

    def __init__(self, head: dict[str, Any]) -> None:
        self.status: int = int(head["status"])
        self.reason: str = head["statusText"]
        self.headers: list[tuple[str, str]] = [(name, value) for name, value in head["headers"]]
        self.http_version: str = head["httpVersion"]
        self.url: str = head["url"]
        self.redirected: bool = head["redirected"]
        self.tls = TlsInfo(head["tls"], "", None) if head["tls"] is not None else None
        self.timings = _seconds(head["timings"])
        self.truncated = False

    def header(self, name: str) -> str | None:
        values = [value for other, value in self.headers if other.lower() == name.lower()]
        return ", ".join(values) if values else None

    def ended(self, message: dict[str, Any]) -> None:
        self.truncated = bool(message.get("truncated"))
        if "timings" in message:
            self.timings = _seconds(message["timings"])


class SharedResponse(ResponseHead):
    """As `HttpResponse`: an async iterator of the body, `read`, `read_chunk`, `abort`."""

    def __init__(self, channel: Channel, head: dict[str, Any], sending: asyncio.Future[None] | None) -> None:
        super().__init__(head)
        self._channel = channel
        self._sending = sending
        self.finished = False

    def __aiter__(self) -> SharedResponse:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read_chunk(self) -> bytes:
        """`b""` at the end."""
        if self.finished:
            return b""
        self._channel.send("pull")
        try:
            message = await self._channel.next()
        except BaseException:
            self.abort()
            raise
        if message["type"] == "chunk":
            return bytes(message["data"])
        self.ended(message)
        self.finished = True
        return b""

    async def read(self, limit: int = MAX_READ) -> bytes:
        parts_read, size = [], 0
        while chunk := await self.read_chunk():
            size += len(chunk)
            if size > limit:
                self.abort()
                raise HttpError(f"the body is longer than {limit} bytes", code="body_too_large", phase="body")
            parts_read.append(chunk)
        return b"".join(parts_read)

    def abort(self, error: SmolmixError | None = None) -> None:
        """Idempotent."""
        if not self.finished:
            self._channel.abort(error or Cancelled("the response was aborted", phase="body"))
            if self._sending is not None:
                self._sending.cancel()

    def __del__(self) -> None:
        self.abort()


# -- streams --------------------------------------------------------------------------------------------


class SharedStream:
    """A `ByteStream`. It lies in no pool: `is_quiet` and `watch` have nothing to tell."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = b""
        self._ended = False
        self._finished = False
        self._turn = asyncio.Lock()
        self.truncated = False

    async def read(self, limit: int = READ_SIZE) -> bytes:
        if not self._buffer and not self._ended:
            self._channel.send("pull")
            message = await self._channel.next()
            if message["type"] == "chunk":
                self._buffer = bytes(message["data"])
            else:
                self._ended = True
                self.truncated = bool(message.get("truncated"))
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return data

    async def write(self, data: bytes) -> None:
        async with self._turn:
            for at in range(0, len(data), WRITE_PIECE):
                await self._channel.write(bytes(data[at : at + WRITE_PIECE]))

    async def send_eof(self) -> None:
        if not self._finished:
            self._finished = True
            self._channel.send("finish")

    async def close(self) -> None:
        await self.send_eof()
        self._channel.send("discard")

    def abort(self, error: SmolmixError | None = None) -> None:
        self._channel.abort(error)

    def is_quiet(self) -> bool:
        return False

    def watch(self, callback: Callable[[], None] | None) -> None:
        return None


class SharedWebSocket:
    """As `WebSocketConnection`: `send`, `receive`, `close`, iteration, `async with`."""

    def __init__(self, channel: Channel, detail: dict[str, Any]) -> None:
        self._channel = channel
        self._turn = asyncio.Lock()
        self.subprotocol: str = detail["protocol"]
        self.extensions: str = detail["extensions"]
        self.closed: Close | None = None

    async def send(self, message: str | bytes) -> None:
        async with self._turn:
            await self._channel.write(message if isinstance(message, str) else bytes(message))

    async def receive(self) -> str | bytes | Close:
        """A message, at last the `Close`."""
        if self.closed is not None:
            return self.closed
        message = await self._channel.next()
        if message["type"] == "closed":
            from ..errors import from_dict

            error = from_dict(message["error"]) if message["error"] is not None else None
            self.closed = Close(message["code"], message["reason"], message["clean"], error)
            return self.closed
        self._channel.send("pull")
        data: str | bytes = message["data"]
        return data

    async def close(self, code: int | None = None, reason: str = "") -> Close:
        self._channel.send("close", code=code, reason=reason)
        while not isinstance(received := await self.receive(), Close):
            pass
        return received

    def abort(self) -> None:
        self._channel.abort()

    def __aiter__(self) -> SharedWebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        received = await self.receive()
        if not isinstance(received, Close):
            return received
        if received.error is not None:
            raise received.error
        raise StopAsyncIteration

    async def __aenter__(self) -> SharedWebSocket:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abort()
        elif self.closed is None:
            await self.close()
