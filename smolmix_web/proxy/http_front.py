"""HTTP clients: CONNECT, and plain requests for http URLs passed on (RFC 9110 7, RFC 9112 3.2). The codec is h11.

A request goes on as it came: without what is meant for a proxy, without a word of ours added. A client has one
connection to a server at a time, which nobody else uses.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from typing import TYPE_CHECKING, Any

import h11

from ..dial import Connected
from ..edge.deadline import LoopClock, Watchdog
from ..errors import ConnectionAborted, HttpError, SmolmixError, UsageError
from ..url_parser import split_url
from .relay import PIECE, Local, relay
from .replies import http_status

if TYPE_CHECKING:
    from .server import Proxy

MAX_HEAD = 65_536
IDLE = 120.0  # s without a request, or within its head
BODY_IDLE = 300.0  # s within an exchange in which nothing moves
# What is between two neighbours alone (RFC 9110 7.6.1), and what is for us.
_HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"upgrade",
})  # fmt: skip

Headers = list[tuple[bytes, bytes]]


class _Refused(Exception):
    """An answer of our own; `reason` and `headers` as in HTTP. The connection ends after it."""

    def __init__(self, status: int, reason: str, text: str, headers: Headers | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.headers = headers or []


class HttpFront:
    """One client connection after the other: `serve`."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def serve(self, local: Local) -> None:
        client = _Client(self._proxy, local)
        try:
            while await client.one():
                pass
            local.close()
        except _Refused as refused:
            await client.refuse(refused)
            local.close()
            raise HttpError(str(refused), code="refused", phase="request") from None
        except SmolmixError as error:
            await client.refuse(_as_answer(error))
            raise
        finally:
            client.drop_upstream()


class _Client:
    """A client's connection, and the one to the server that it asked last."""

    def __init__(self, proxy: Proxy, local: Local) -> None:
        self._tunnel = proxy.tunnel
        self._statistics = proxy.statistics
        self._credentials = proxy.options.credentials
        self._local = local
        self._codec = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._upstream: _Upstream | None = None

    async def one(self) -> bool:
        """One request; False when there will be no further one."""
        try:
            async with asyncio.timeout(IDLE):
                request = await self._event()
        except TimeoutError:
            return False
        if not isinstance(request, h11.Request):  # the end of the connection
            return False
        self._statistics.requests += 1
        user = self._user(request)
        isolation = f"http\0{user}" if user else None
        if request.method == b"CONNECT":
            await self._tunnelled(request, isolation)
            return False
        await self._passed_on(request, isolation)
        if self._codec.our_state is not h11.DONE or self._codec.their_state is not h11.DONE:
            return False
        self._codec.start_next_cycle()
        return True

    async def _event(self) -> Any:
        """The next event of the client's side. Raises `_Refused` for what is not HTTP."""
        while True:
            try:
                event = self._codec.next_event()
            except h11.RemoteProtocolError as error:
                raise _Refused(error.error_status_hint, "Bad Request", str(error)) from None
            if event is not h11.NEED_DATA:
                return event
            if self._codec.they_are_waiting_for_100_continue and self._upstream is None:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._codec.receive_data(await self._local.read())

    async def _send(self, event: Any) -> None:
        out = self._codec.send(event)
        if out:
            await self._local.write(out)

    def _user(self, request: h11.Request) -> str:
        """Of the credentials; it keeps clients apart. Raises `_Refused` where they do not fit."""
        user = password = ""
        for name, value in request.headers:
            if name == b"proxy-authorization" and value[:6].lower() == b"basic ":
                with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                    user, _, password = base64.b64decode(value[6:], validate=True).decode().partition(":")
        if self._credentials is not None and not self._credentials.allow(user, password):
            challenge = [(b"Proxy-Authenticate", b'Basic realm="smolmix-web", charset="UTF-8"')]
            raise _Refused(407, "Proxy Authentication Required", "user and password are needed", challenge)
        return user

    async def refuse(self, answer: _Refused) -> None:
        """Tell the client, where that is still possible; else reset it, so that it takes no half answer for whole."""
        if self._codec.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._local.abort()
            return
        body = f"smolmix-web: {answer}\n".encode()
        headers = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Connection", b"close"),
            *answer.headers,
        ]
        try:
            await self._send(h11.Response(status_code=answer.status, reason=answer.reason, headers=headers))
            await self._send(h11.Data(data=body))
            await self._send(h11.EndOfMessage())
        except (SmolmixError, h11.LocalProtocolError):
            self._local.abort()
        else:
            self._local.close()

    def drop_upstream(self) -> None:
        if self._upstream is not None:
            self._upstream.stream.abort()
            self._upstream = None

    # -- CONNECT -------------------------------------------------------------------------------------

    async def _tunnelled(self, request: h11.Request, isolation: str | None) -> None:
        parts = split_url(f"http://{request.target.decode('ascii', 'replace')}/")
        if parts is None or parts.credentials or parts.path != "/" or not _has_port(request.target):
            raise _Refused(400, "Bad Request", "CONNECT needs HOST:PORT")
        self.drop_upstream()
        opening = self._tunnel.connect_tcp(parts.host, parts.port or 80, isolation=isolation)
        connected, early = await self._local.open(opening, self._codec.trailing_data[0], reading=True)
        try:
            await self._send(h11.Response(status_code=200, reason=b"Connection established", headers=[]))
        except BaseException:
            connected.stream.abort()
            raise
        await relay(self._local, connected.stream, early, self._statistics.count)

    # -- requests passed on --------------------------------------------------------------------------

    async def _passed_on(self, request: h11.Request, isolation: str | None) -> None:
        parts = split_url(request.target.decode("ascii", "replace"))
        if parts is None or parts.scheme != "http" or parts.fragment is not None:
            raise _Refused(400, "Bad Request", "this is a proxy: it takes CONNECT, and requests for whole http:// URLs")
        port = parts.port or 80
        head = h11.Request(
            method=request.method,
            target=parts.path + (f"?{parts.query}" if parts.query is not None else ""),
            headers=_for_server(request, parts.host, parts.port),
        )
        again = self._upstream is not None and _bodiless(request)
        upstream = await self._upstream_to(parts.host, port, isolation)
        try:
            await self._local.while_here(self._exchange(upstream, head))
        except SmolmixError:
            # A kept connection that the server had closed meanwhile.
            if not (again and upstream.used and self._codec.our_state is h11.SEND_RESPONSE and not upstream.answered):
                raise
            self.drop_upstream()
            upstream = await self._upstream_to(parts.host, port, isolation)
            await self._local.while_here(self._exchange(upstream, head))
        upstream.used = True
        if not upstream.reusable:
            self.drop_upstream()

    async def _upstream_to(self, host: str, port: int, isolation: str | None) -> _Upstream:
        kept = self._upstream
        if kept is not None and kept.place == (host, port, isolation) and kept.stream.is_quiet():
            kept.codec.start_next_cycle()
            kept.answered = False
            return kept
        self.drop_upstream()
        opening = self._tunnel.connect_tcp(host, port, isolation=isolation)
        connected, _ = await self._local.open(opening, reading=False)
        self._upstream = _Upstream(connected, (host, port, isolation))
        return self._upstream

    async def _exchange(self, upstream: _Upstream, head: h11.Request) -> None:
        """Request and response at the same time: a server may answer before it has heard everything."""
        watchdog = Watchdog(LoopClock(), upstream.stream.abort)
        body = asyncio.create_task(self._request_body(upstream, head, watchdog))
        answer = asyncio.create_task(self._response(upstream, watchdog))
        try:
            await asyncio.wait((body, answer), return_when=asyncio.FIRST_EXCEPTION)
            if answer.done():
                answer.result()
            if body.done():
                body.result()
            await answer
        except SmolmixError:
            upstream.stream.abort()
            raise
        finally:
            watchdog.stop()
            for task in (body, answer):
                task.cancel()
            await asyncio.gather(body, answer, return_exceptions=True)

    async def _request_body(self, upstream: _Upstream, head: h11.Request, watchdog: Watchdog) -> None:
        watchdog.start(BODY_IDLE, "request")
        await upstream.send(head)
        while self._codec.their_state is h11.SEND_BODY:
            event = await self._event()
            if isinstance(event, h11.Data):
                await upstream.send(event)
                watchdog.touch()
                self._statistics.count(len(event.data), 0)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise ConnectionAborted("the program left within its request", phase="transfer")
        if upstream.codec.our_state is h11.SEND_BODY:
            await upstream.send(h11.EndOfMessage())
        if not upstream.answered:
            watchdog.start(self._tunnel.timeouts.response, "response")

    async def _response(self, upstream: _Upstream, watchdog: Watchdog) -> None:
        """What the client does not take is waited for, as long as it is there; what the server does not send is not."""
        while True:
            event = await upstream.event()
            if isinstance(event, h11.InformationalResponse):
                if event.status_code != 101:
                    await self._send(
                        h11.InformationalResponse(status_code=event.status_code, headers=_kept(event.headers))
                    )
                continue
            if isinstance(event, h11.Response):
                upstream.answered = True
                headers = _kept(event.headers)
                await self._send(h11.Response(status_code=event.status_code, reason=event.reason, headers=headers))
            elif isinstance(event, h11.Data):
                self._statistics.count(0, len(event.data))
                watchdog.pause()
                await self._send(h11.Data(data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self._send(h11.EndOfMessage())
                return
            else:
                raise HttpError("the server's answer has no end", code="truncated_body", phase="response")
            watchdog.start(BODY_IDLE, "idle")


class _Upstream:
    """A connection to a server, and h11's view of it."""

    def __init__(self, connected: Connected, place: tuple[str, int, str | None]) -> None:
        self.stream = connected.stream
        self.place = place
        self.codec = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD * 4)
        self.used = False
        self.answered = False

    @property
    def reusable(self) -> bool:
        return self.codec.our_state is h11.DONE and self.codec.their_state is h11.DONE

    async def send(self, event: Any) -> None:
        try:
            out = self.codec.send(event)
        except h11.LocalProtocolError as error:
            raise UsageError(f"the request cannot be passed on: {error}", code="bad_request") from None
        if out:
            await self.stream.write(out)

    async def event(self) -> Any:
        """The next event of the server. Errors: the stream's, `HttpError`."""
        while True:
            try:
                event = self.codec.next_event()
            except h11.RemoteProtocolError as error:
                code = "truncated_body" if self.answered else "http_protocol"
                raise HttpError(f"the server's answer: {error}", code=code, phase="response") from None
            if event is not h11.NEED_DATA:
                return event
            data = await self.stream.read(PIECE)
            if not data and not self.answered and not self.codec.trailing_data[0]:
                raise HttpError("the server closed without an answer", code="empty_response", phase="response")
            self.codec.receive_data(data)


def _has_port(target: bytes) -> bool:
    return target.rpartition(b":")[2].isdigit()


def _bodiless(request: h11.Request) -> bool:
    return not any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers)


def _kept(headers: Any) -> Headers:
    """As they were spelled, without what is between neighbours, and without what `Connection` names as such."""
    pairs: Headers = headers.raw_items()
    named = {
        token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")
    } - {b"close", b"keep-alive"}
    return [(name, value) for name, value in pairs if name.lower() not in _HOP_BY_HOP | named]


def _for_server(request: h11.Request, host: str, port: int | None) -> Headers:
    """The headers as they go on: the server's own name comes from the URL (RFC 9112 3.2.2)."""
    shown = f"[{host}]" if ":" in host else host
    own = (b"Host", (shown if port is None else f"{shown}:{port}").encode())
    return [own, *(pair for pair in _kept(request.headers) if pair[0].lower() != b"host")]


def _as_answer(error: SmolmixError) -> _Refused:
    status, reason, kind = http_status(error)
    return _Refused(
        status, reason, f"{error.code}: {error.message}", [(b"Proxy-Status", f"smolmix-web; error={kind}".encode())]
    )
