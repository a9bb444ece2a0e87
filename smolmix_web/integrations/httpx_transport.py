"""httpx over a tunnel: `httpx.AsyncClient(transport=MixTransport(tunnel))`, and `httpx.Client` with one that blocks.

Requests are made by the tunnel's own client: its connections, its TLS and roots, HTTP/2 where the server has it. httpx
keeps what is above: redirects, cookies, authentication, decoding.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from .. import extras
from ..errors import DnsError, HttpError, NetworkError, SmolmixError, TimeoutExpired, TlsError, TunnelError, UsageError
from ..http import HttpRequest, HttpResponse, Timeouts
from ..http.headers import forbidden
from ..tunnel import Tunnel

httpx: Any = extras.load("httpx", "httpx")

T = TypeVar("T")
_PLATFORM: str = sys.platform

# The client's own, or a connection's: the tunnel's client sets them itself.
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "keep-alive"})


class MixTransport(httpx.AsyncBaseTransport, httpx.BaseTransport):  # type: ignore[misc]
    """Of a `Tunnel` for `httpx.AsyncClient` on the tunnel's own loop; of a `BlockingTunnel` for both kinds of client.
    In Pyodide any tunnel is for both, where something can wait.

    The tunnel stays open when the client is closed. Its requests have the key `isolation`, as of `Tunnel.fetch`.
    """

    def __init__(self, tunnel: Any, *, isolation: str | None = None) -> None:
        self._tunnel = tunnel
        self._isolation = isolation
        self._blocks = not inspect.iscoroutinefunction(tunnel.fetch)

    async def handle_async_request(self, request: Any) -> Any:
        body = request.stream if hasattr(request.stream, "__aiter__") else None
        sent = _request(request, _async_body(request, body))
        with_errors = _Errors(request)
        with with_errors:
            response = await self._await(lambda tunnel: tunnel.fetch(sent, isolation=self._isolation))
        return _response(response, _AsyncBody(self, response, with_errors))

    async def _await(self, work: Callable[[Tunnel], Coroutine[Any, Any, T]]) -> T:
        if not self._blocks:
            return await work(self._tunnel)
        if _PLATFORM == "emscripten":
            return await work(self._tunnel.tunnel)
        return await asyncio.wrap_future(self._tunnel.submit(work))

    def _blocking(self) -> Any:
        if self._blocks:
            return self._tunnel
        if _PLATFORM == "emscripten":
            from ..pyodide.blocking import BlockingTunnel

            return BlockingTunnel(self._tunnel)
        raise UsageError("httpx.Client needs a BlockingTunnel: a Tunnel cannot be waited for", code="bad_tunnel")

    def handle_request(self, request: Any) -> Any:
        tunnel = self._blocking()
        with_errors = _Errors(request)
        with with_errors:
            response = tunnel.fetch(_request(request, _body(request)), isolation=self._isolation)
        return _response(response, _Body(response, with_errors))


def _request(request: Any, body: Any) -> HttpRequest:
    headers = []
    for raw_name, raw_value in request.headers.raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name.lower() == "host" and value != request.url.netloc.decode():
            raise httpx.LocalProtocolError(f"Host {value!r} is not that of the URL", request=request)
        if name.lower() in _OURS:
            continue
        if forbidden(name, value):
            raise httpx.LocalProtocolError(f"the tunnel does not send the header {name}", request=request)
        headers.append((name, value))
    coding = request.headers.get("accept-encoding", "")
    length = request.headers.get("content-length")
    return HttpRequest(
        str(request.url.copy_with(fragment=None)),
        method=request.method,
        headers=headers,
        body=body,
        content_length=int(length) if length and body is not None and not isinstance(body, bytes) else None,
        redirect="manual",
        decode=bool(coding),  # by the tunnel's own decoders, of which there may be more than httpx has
        timeouts=_timeouts(request.extensions.get("timeout", {})),
    )


def _timeouts(given: Any) -> Timeouts:
    limits = {"queue": given.get("pool"), "connect": given.get("connect"), "request": given.get("write")}
    read = given.get("read")
    limits |= {"dns": limits["connect"], "tls": limits["connect"], "response": read, "idle": read}
    return replace(Timeouts(), **limits)


def _bytes(request: Any) -> bytes | None:
    """A body that is all there, None for one that is streamed."""
    if not isinstance(request.stream, httpx.ByteStream):
        return None
    return b"".join(request.stream)


def _body(request: Any) -> Any:
    data = _bytes(request)
    return (data or None) if data is not None else request.stream


def _async_body(request: Any, stream: Any) -> Any:
    data = _bytes(request)
    if data is not None:
        return data or None
    return aiter(stream)


def _response(response: Any, stream: Any) -> Any:
    decoded = {"content-encoding", "content-length"} if response.header("content-encoding") else set()
    return httpx.Response(
        response.status,
        headers=[(name, value) for name, value in response.headers if name not in decoded],
        stream=stream,
        extensions={
            "http_version": f"HTTP/{response.http_version}".encode(),
            "reason_phrase": response.reason.encode("latin-1", "replace"),
        },
    )


class _AsyncBody(httpx.AsyncByteStream):  # type: ignore[misc]
    def __init__(self, transport: MixTransport, response: HttpResponse, with_errors: _Errors) -> None:
        self._transport = transport
        self._response = response
        self._errors = with_errors

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            with self._errors:
                chunk = await self._transport._await(lambda _: self._response.read_chunk())
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        async def abort(_: Tunnel) -> None:
            self._response.abort()

        if not self._response.finished:
            await self._transport._await(abort)


class _Body(httpx.SyncByteStream):  # type: ignore[misc]
    def __init__(self, response: Any, with_errors: _Errors) -> None:
        self._response = response
        self._errors = with_errors

    def __iter__(self) -> Iterator[bytes]:
        with self._errors:
            yield from self._response

    def close(self) -> None:
        self._response.close()


class _Errors:
    """The tunnel's errors as httpx's, with the tunnel's own as their cause."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, SmolmixError):
            raise _kind(error)(f"{error.code}: {error.message}", request=self._request) from error


def _kind(error: SmolmixError) -> Any:
    if isinstance(error, TimeoutExpired):
        kinds = {"queue": httpx.PoolTimeout, "request": httpx.WriteTimeout}
        opening = error.phase in ("dns", "connect", "tls", "tunnel")
        return httpx.ConnectTimeout if opening else kinds.get(error.phase or "", httpx.ReadTimeout)
    if isinstance(error, (DnsError, TlsError, TunnelError)) or error.phase in ("connect", "tls"):
        return httpx.ConnectError
    if isinstance(error, HttpError):
        return httpx.RemoteProtocolError if error.phase in ("response", "body") else httpx.LocalProtocolError
    if isinstance(error, NetworkError):
        return httpx.ReadError
    return httpx.TransportError
