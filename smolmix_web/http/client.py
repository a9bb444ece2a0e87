"""An HTTP client with the semantics of fetch: redirects, decoding, a connection pool, deadlines by phase."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from ..deadline import Clock, Deadline
from ..dns import Resolver
from ..errors import ConnectionAborted, ConnectionReset, HttpError, SmolmixError
from ..sockets import Net
from .connection import Body, HttpConnection, ResponseHead
from .connector import Connector, NetConnector
from .decoding import accept_encoding
from .headers import Headers, check_headers, with_defaults
from .pool import IDLE_SECONDS, PER_ORIGIN, TOTAL, Pool
from .redirects import is_redirect, next_request
from .response import HttpResponse
from .timeouts import Timeouts
from .url import Url, parse_url

Redirect = Literal["follow", "error", "manual"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NORMALIZED = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
_FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE", "TRACK"})
_IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})
# Bytes of a redirect's own body worth reading to keep the connection.
_DRAIN = 16_384


@dataclass(frozen=True)
class HttpRequest:
    """One request. `body` is bytes, text (sent as UTF-8) or an async iterator of bytes (sent chunked).

    `timeout` in seconds is for everything up to the end of the body; the client's `Timeouts` are for the phases.
    """

    url: str
    method: str = "GET"
    headers: Iterable[tuple[str, str]] | Mapping[str, str] = ()
    body: bytes | str | AsyncIterator[bytes] | None = None
    redirect: Redirect = "follow"
    timeout: float | None = None
    timeouts: Timeouts | None = None
    decode: bool = True


@dataclass
class HttpStatistics:
    """Counters since the start."""

    requests: int = 0
    reused: int = 0
    retried: int = 0
    redirects: int = 0


@dataclass(frozen=True)
class _Checked:
    method: str
    url: Url
    headers: Headers
    body: Body
    redirect: Redirect
    timeouts: Timeouts
    decode: bool
    redirected: bool = field(default=False)


class HttpClient:
    """Fetches over the tunnel. One client has one connection pool."""

    def __init__(
        self,
        net: Net | Clock,
        resolver: Resolver | None = None,
        *,
        connector: Connector | None = None,
        extra_roots: Sequence[str] = (),
        timeouts: Timeouts | None = None,
        max_redirects: int = 5,
        allow_insecure_redirects: bool = False,
        per_origin: int = PER_ORIGIN,
        total: int = TOTAL,
        idle_seconds: float = IDLE_SECONDS,
        keepalive: float | None = None,
    ) -> None:
        """`connector` replaces the tunnel's own; then `net` need only be a `Clock`."""
        if connector is None:
            connector = NetConnector(cast(Net, net), resolver, extra_roots=extra_roots, keepalive=keepalive)
        self.connector = connector
        self.statistics = HttpStatistics()
        self._clock: Clock = net
        self._timeouts = timeouts or Timeouts()
        self._max_redirects = max_redirects
        self._allow_insecure = allow_insecure_redirects
        self._pool = Pool(net, connector, per_origin=per_origin, total=total, idle_seconds=idle_seconds)

    @property
    def connection_count(self) -> int:
        """Connections open, being opened, in use or idle."""
        return self._pool.connection_count

    async def fetch(self, request: HttpRequest) -> HttpResponse:
        """Send a request; returns when the header of the final response is there. Any status is a response.

        Cancelling frees the flow. Errors: `HttpError` (`bad_url`, `bad_method`, `bad_header`, `forbidden_header`,
        `bad_body`, `too_many_redirects`, `insecure_redirect`, `redirect_refused`, `http_protocol`,
        `empty_response`, ...), `DnsError`, `TlsError`, `NetworkError`, `TimeoutExpired` with the phase `queue`,
        `dns`, `connect`, `tls`, `request`, `response`, `idle` or `total`.
        """
        checked = self._check(request)
        total = checked.timeouts.total
        started = self._clock.now()
        async with Deadline(self._clock, total, "total"):
            checked, connection, head = await self._follow(checked)
        response = HttpResponse(
            self._clock,
            self._pool,
            connection,
            head,
            method=checked.method,
            url=str(checked.url),
            redirected=checked.redirected,
            total=total,
            total_left=None if total is None else max(0.0, total - (self._clock.now() - started)),
            decode=checked.decode,
        )
        if response.bodiless:
            await response.read_chunk()  # nothing is awaited; whoever does not read it holds no connection
        return response

    def close(self, error: SmolmixError | None = None) -> None:
        """End all connections; requests under way fail with `error`."""
        self._pool.close(error)

    def _check(self, request: HttpRequest) -> _Checked:
        method = _method(request.method)
        url = parse_url(request.url)
        headers = check_headers(request.headers)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        if isinstance(body, (bytearray, memoryview)):
            body = bytes(body)
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__anext__"):
            raise HttpError(
                f"a request body must be bytes, text or an async iterator, not {type(body).__name__}",
                code="bad_body",
                phase="request",
            )
        if body is not None and method in ("GET", "HEAD"):
            raise HttpError(f"a {method} request cannot have a body", code="bad_body", phase="request")
        if request.redirect not in ("follow", "error", "manual"):
            raise HttpError(
                f"redirect must be follow, error or manual, not {request.redirect!r}",
                code="bad_request",
                phase="request",
            )
        timeouts = request.timeouts or self._timeouts
        if request.timeout is not None:
            timeouts = replace(timeouts, total=request.timeout)
        ranged = any(name.lower() == "range" for name, _ in headers)
        headers = with_defaults(headers, "identity" if ranged else accept_encoding())
        return _Checked(method, url, headers, body, request.redirect, timeouts, request.decode)

    async def _follow(self, request: _Checked) -> tuple[_Checked, HttpConnection, ResponseHead]:
        redirects = 0
        while True:
            connection, head = await self._exchange(request)
            if request.redirect == "manual" or not is_redirect(head):
                return request, connection, head
            try:
                if request.redirect == "error":
                    raise HttpError(f"{request.url} redirects", code="redirect_refused", phase="redirect")
                redirects += 1
                if redirects > self._max_redirects:
                    raise HttpError(
                        f"more than {self._max_redirects} redirects, the last from {request.url}",
                        code="too_many_redirects",
                        phase="redirect",
                    )
                following = next_request(
                    head,
                    request.method,
                    request.url,
                    request.headers,
                    request.body,
                    allow_insecure=self._allow_insecure,
                )
                if following.url.origin == request.url.origin:
                    await self._drain(connection)
            except BaseException:
                self._pool.discard(connection)
                raise
            self._pool.discard(connection)  # where it was not drained
            self.statistics.redirects += 1
            request = replace(
                request,
                method=following.method,
                url=following.url,
                headers=following.headers,
                body=following.body,
                redirected=True,
            )

    async def _drain(self, connection: HttpConnection) -> None:
        """Read a short body away so that the connection can carry the next request."""
        left = _DRAIN
        while left > 0:
            data = await connection.read_body()
            if not data:
                self._pool.release(connection)
                return
            left -= len(data)

    async def _exchange(self, request: _Checked) -> tuple[HttpConnection, ResponseHead]:
        """One request on one connection; once more on a fresh one when a reused connection proved stale."""
        repeatable = request.method in _IDEMPOTENT and (request.body is None or isinstance(request.body, bytes))
        retried = False
        while True:
            self.statistics.requests += 1
            connection, reused = await self._pool.acquire(
                request.url, request.timeouts, repeatable=repeatable, fresh=retried
            )
            self.statistics.reused += reused
            try:
                head = await connection.request(
                    request.method,
                    request.url,
                    request.headers,
                    request.body,
                    _content_length(request.method, request.body),
                    request.timeouts,
                )
            except BaseException as error:
                self._pool.discard(connection)
                stale = isinstance(error, (ConnectionReset, ConnectionAborted)) or (
                    isinstance(error, HttpError) and error.code == "empty_response"
                )
                if stale and reused and repeatable and not retried and not connection.received_any:
                    retried = True
                    self.statistics.retried += 1
                    continue
                raise
            return connection, head


def _method(text: str) -> str:
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise HttpError(f"{str(text)[:40]!r} is not a method", code="bad_method", phase="request")
    upper = text.upper()
    if upper in _FORBIDDEN_METHODS:
        raise HttpError(f"the method {upper} is not allowed", code="bad_method", phase="request")
    return upper if upper in _NORMALIZED else text


def _content_length(method: str, body: Body) -> int | None:
    if isinstance(body, bytes):
        return len(body)
    return 0 if body is None and method in ("POST", "PUT") else None
