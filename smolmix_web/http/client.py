"""An HTTP client with the semantics of fetch: redirects, decoding, a connection pool, deadlines by phase."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from ..dns import Resolver
from ..edge.deadline import Clock, Deadline
from ..edge.sockets import Net
from ..errors import HttpError, SmolmixError
from .body import Body as ReadAhead
from .body import Store
from .connector import Connector, NetConnector
from .cookies import CookieJar
from .decoding import Decoder, accept_encoding, decoders
from .exchange import Body, Exchange, Outgoing, Progress, ResponseHead
from .headers import FORBIDDEN_METHODS, Headers, check_headers, get_all, with_credentials, with_defaults
from .integrity import check_integrity
from .pool import IDLE_SECONDS, PER_ORIGIN, TOTAL, Pool
from .redirects import is_redirect, next_request
from .replay import Again, KeptBody, Rewindable
from .response import HttpResponse
from .timeouts import Timeouts
from .timings import Timings
from .url import Url, parse_url

Redirect = Literal["follow", "error", "manual"]
Cookies = Literal["omit", "jar"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_NORMALIZED = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
# What a body may unpack to unless told otherwise; one that is not coded has no limit.
MAX_DECODED = 1 << 30


@dataclass(frozen=True)
class HttpRequest:
    """One request. `body` is bytes, text (sent as UTF-8) or an async iterator of bytes.

    `content_length` is the length of a body that comes from an iterator, where it is known; else it is sent chunked.
    A redirect that repeats the request needs such a body to have `rewind()`, which gives it from the beginning; so
    does a request that has to be sent again once more than 64 KiB of its body were taken.
    `timeout` in seconds is for everything up to the end of the body, in place of `timeouts.total`. `max_decoded` is
    how many bytes a coded body may unpack to. None for `timeouts`, `max_redirects`, `allow_insecure_redirects` and
    `max_decoded`: the client's. `on_upload` and `on_download` are called with the bytes of the body so far and the
    total, where that is known; both count bytes as they are transferred, before decoding. `cookies="jar"`: those of the
    client's jar are sent, unless `headers` has a Cookie of its own, and the server's are stored. `integrity`: hashes of
    the decoded body (Subresource Integrity); it is held back until one fits. `on_timings` is called at the start with
    the timings that are then filled in, also those of a request that fails.
    """

    url: str
    method: str = "GET"
    headers: Iterable[tuple[str, str]] | Mapping[str, str] = ()
    body: bytes | str | AsyncIterator[bytes] | None = None
    redirect: Redirect = "follow"
    timeout: float | None = None
    timeouts: Timeouts | None = None
    decode: bool = True
    cookies: Cookies = "omit"
    integrity: str = ""
    max_redirects: int | None = None
    allow_insecure_redirects: bool | None = None
    max_decoded: int | None = None
    content_length: int | None = None
    on_upload: Progress | None = None
    on_download: Progress | None = None
    on_timings: Callable[[Timings], None] | None = None


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
    content_length: int | None
    timeouts: Timeouts
    max_redirects: int
    allow_insecure: bool
    given: HttpRequest
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
        max_redirects: int = 20,
        allow_insecure_redirects: bool = False,
        per_origin: int = PER_ORIGIN,
        total: int = TOTAL,
        idle_seconds: float = IDLE_SECONDS,
        keepalive: float | None = None,
        max_decoded: int = MAX_DECODED,
        http2: bool = True,
        cookie_jar: CookieJar | None = None,
        bodies: Store | None = None,
        plain: bool = False,
    ) -> None:
        """`connector` replaces the tunnel's own; then `net` need only be a `Clock`. `bodies`: a bound that several
        clients share. `plain`: requests as the official client makes them: HTTP/1.1, no content codings."""
        if connector is None:
            connector = NetConnector(cast(Net, net), resolver, extra_roots=extra_roots, keepalive=keepalive)
        self.connector = connector
        self.statistics = HttpStatistics()
        self.cookie_jar = cookie_jar
        self.timeouts = timeouts or Timeouts()
        self._clock: Clock = net
        self._store = Store() if bodies is None else bodies
        self._max_decoded = max_decoded
        self._plain = plain
        self._max_redirects = max_redirects
        self._allow_insecure = allow_insecure_redirects
        http2 = http2 and not plain
        self._pool = Pool(net, connector, per_origin=per_origin, total=total, idle_seconds=idle_seconds, http2=http2)

    @property
    def connection_count(self) -> int:
        """Connections open, being opened, in use or idle."""
        return self._pool.connection_count

    @property
    def busy(self) -> bool:
        """A connection is in use or being opened."""
        return self._pool.connection_count > self.idle_count

    @property
    def idle_count(self) -> int:
        """Connections that lie idle."""
        return self._pool.idle_count

    async def fetch(self, request: HttpRequest) -> HttpResponse:
        """Send a request; returns when the header of the final response is there. Any status is a response.

        Cancelling frees the flow. Errors: `HttpError` (`bad_url`, `bad_method`, `bad_header`, `forbidden_header`,
        `bad_body`, `too_many_redirects`, `insecure_redirect`, `redirect_refused`, `http_protocol`,
        `empty_response`, `integrity_mismatch`, ...), `DnsError`, `TlsError`, `NetworkError`, `TimeoutExpired` with
        the phase `queue`, `dns`, `connect`, `tls`, `request`, `response`, `idle` or `total`.
        """
        checked = self._check(request)
        total = checked.timeouts.total
        timings = Timings(self._clock.now())
        if request.on_timings is not None:
            request.on_timings(timings)
        async with Deadline(self._clock, total, "total"):
            if request.cookies == "jar" and self.cookie_jar is not None:
                async with Deadline(self._clock, checked.timeouts.request, "request"):
                    await self.cookie_jar.prepare()
            checked, exchange, head = await self._follow(checked, timings)
        response = self._response(checked, exchange, head, timings)
        try:
            # One turn: a body that is here already has given its connection back when the next request asks for one.
            if response.bodiless:
                await self._pool.drain(exchange)
            else:
                await asyncio.sleep(0)
            if request.integrity:
                await check_integrity(response, request.integrity)
        except asyncio.CancelledError:
            response.abort()
            raise
        return response

    def _response(self, request: _Checked, exchange: Exchange, head: ResponseHead, timings: Timings) -> HttpResponse:
        bodiless = head.length == 0
        chain: list[Decoder] = []
        body = None
        spent = timings.since(self._clock.now())
        if bodiless:
            timings.end = spent
        else:
            if request.given.decode:
                try:
                    chain = decoders(get_all(head.headers, "content-encoding")) or []
                except HttpError as error:
                    self._pool.discard(exchange, error)
                    raise
            total = request.timeouts.total
            left = None if total is None else max(0.0, total - spent)
            body = ReadAhead(self._clock, self._pool, exchange, self._store, timings, left, total)
        given = request.given
        return HttpResponse(
            head,
            body,
            url=str(request.url),
            redirected=request.redirected,
            tls=exchange.connected.tls,
            chain=chain,
            max_decoded=self._max_decoded if given.max_decoded is None else given.max_decoded,
            on_download=given.on_download,
            timings=timings,
        )

    def close(self, error: SmolmixError | None = None) -> None:
        """End all connections; requests under way fail with `error`."""
        self._pool.close(error)

    def _check(self, request: HttpRequest) -> _Checked:
        method = _method(request.method)
        url = parse_url(request.url)
        headers = check_headers(request.headers, method)
        body = request.body.encode() if isinstance(request.body, str) else request.body
        if isinstance(body, (bytearray, memoryview)):
            body = bytes(body)
        if body is not None and not isinstance(body, bytes) and not hasattr(body, "__anext__"):
            raise HttpError(
                f"a request body must be bytes, text or an async iterator, not {type(body).__name__}",
                code="bad_body",
                phase="request",
            )
        length = request.content_length
        if body is None or isinstance(body, bytes):
            length = None if body is None else len(body)
        if request.content_length not in (None, length) or (length is not None and length < 0):
            raise HttpError("content_length is not the length of the body", code="bad_body", phase="request")
        if length is None and body is None and method in ("POST", "PUT"):
            length = 0
        if body is not None and method in ("GET", "HEAD"):
            raise HttpError(f"a {method} request cannot have a body", code="bad_body", phase="request")
        if request.redirect not in ("follow", "error", "manual"):
            raise HttpError(
                f"redirect must be follow, error or manual, not {request.redirect!r}",
                code="bad_request",
                phase="request",
            )
        if request.cookies not in ("omit", "jar") or (request.cookies == "jar" and self.cookie_jar is None):
            raise HttpError(f"cookies {request.cookies!r}: there is no jar", code="bad_request", phase="request")
        timeouts = request.timeouts or self.timeouts
        if request.timeout is not None:
            timeouts = replace(timeouts, total=request.timeout)
        ranged = any(name.lower() == "range" for name, _ in headers)
        headers = with_defaults(headers, "identity" if ranged or self._plain else accept_encoding())
        max_redirects, insecure = request.max_redirects, request.allow_insecure_redirects
        return _Checked(
            method,
            url,
            headers,
            body,
            length,
            timeouts,
            self._max_redirects if max_redirects is None else max_redirects,
            self._allow_insecure if insecure is None else insecure,
            request,
        )

    async def _follow(self, request: _Checked, timings: Timings) -> tuple[_Checked, Exchange, ResponseHead]:
        redirects = 0
        mode = request.given.redirect
        while True:
            exchange, head = await self._exchange(request, timings)
            self._take_cookies(request, head)
            if mode == "manual" or not is_redirect(head):
                return request, exchange, head
            try:
                if mode == "error":
                    raise HttpError(f"{request.url} redirects", code="redirect_refused", phase="redirect")
                redirects += 1
                if redirects > request.max_redirects:
                    raise HttpError(
                        f"more than {request.max_redirects} redirects, the last from {request.url}",
                        code="too_many_redirects",
                        phase="redirect",
                    )
                following = next_request(
                    head,
                    request.method,
                    request.url,
                    request.headers,
                    request.body,
                    allow_insecure=request.allow_insecure,
                )
            except BaseException:
                self._pool.discard(exchange)
                raise
            await self._pool.drain(exchange)
            self.statistics.redirects += 1
            timings.next_hop(self._clock.now())
            request = replace(
                request,
                method=following.method,
                url=following.url,
                headers=following.headers,
                body=following.body,
                content_length=request.content_length if following.body is not None else None,
                redirected=True,
            )

    def _request_headers(self, request: _Checked) -> Headers:
        """The headers of one hop: here come the credentials of its URL and the cookies of the jar."""
        cookie = None
        if request.given.cookies == "jar" and self.cookie_jar is not None:
            cookie = self.cookie_jar.header(request.url)
        return with_credentials(request.headers, request.url.authorization, cookie)

    def _take_cookies(self, request: _Checked, head: ResponseHead) -> None:
        if request.given.cookies == "jar" and self.cookie_jar is not None:
            self.cookie_jar.take(request.url, get_all(head.headers, "set-cookie"))

    async def _exchange(self, request: _Checked, timings: Timings) -> tuple[Exchange, ResponseHead]:
        """One request; again where its connection proved stale, or the server has not acted on it (`Again`)."""
        body = request.body
        kept = None
        if body is not None and not isinstance(body, (bytes, Rewindable)):
            body = kept = KeptBody(body)
        outgoing = Outgoing(
            request.method,
            request.url,
            self._request_headers(request),
            body,
            request.content_length,
            request.timeouts,
            timings,
            _never_back(request.given.on_upload),
            lower=self._plain,
        )
        reasons: Counter[Again] = Counter()
        try:
            while True:
                self.statistics.requests += 1
                exchange = await self._pool.acquire(
                    request.url,
                    request.timeouts,
                    timings,
                    careful=outgoing.careful,
                    fresh=any(why is not Again.UNTOUCHED for why in reasons),
                )
                self.statistics.reused += timings.reused
                outcome: SmolmixError | ResponseHead
                try:
                    outcome = await exchange.request(outgoing)
                except SmolmixError as error:
                    outcome = error
                except BaseException:
                    self._pool.discard(exchange)
                    raise
                why = exchange.why_again(outcome, outgoing) if outgoing.replayable else None
                if why is not None and reasons[why] < why.limit:
                    self._pool.avoid(exchange, why)
                    reasons[why] += 1
                    self.statistics.retried += 1
                    outgoing = outgoing.again()
                    continue
                if isinstance(outcome, SmolmixError):
                    self._pool.discard(exchange)
                    raise outcome
                if kept is not None:
                    kept.settle()
                timings.ttfb = timings.since(self._clock.now())
                return exchange, outcome
        except BaseException:
            if kept is not None:
                kept.give_up()
            raise


def _never_back(progress: Progress | None) -> Progress | None:
    """A request that is sent again does not count its body down."""
    if progress is None:
        return None
    most = 0

    def report(count: int, total: int | None) -> None:
        nonlocal most
        if count > most:
            most = count
            progress(count, total)

    return report


def _method(text: str) -> str:
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise HttpError(f"{str(text)[:40]!r} is not a method", code="bad_method", phase="request")
    upper = text.upper()
    if upper in FORBIDDEN_METHODS:
        raise HttpError(f"the method {upper} is not allowed", code="bad_method", phase="request")
    return upper if upper in _NORMALIZED else text
