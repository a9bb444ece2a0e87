"""DNS over HTTPS (RFC 8484): queries posted to a server that is given by its address.

The name of the certificate, where there is one, is never looked up: this connector goes to the address whatever the
URL says. The client is not the tunnel's: its connections, cookies and redirects have nothing to do with the page's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from ..dial import Connected, Dialer
from ..dns import ServerAddress
from ..edge.sockets import Net, TcpOptions
from ..edge.tls import TlsOptions
from ..errors import DnsError, SmolmixError
from .client import HttpClient, HttpRequest
from .timeouts import Timeouts
from .url import Url

MEDIA_TYPE = "application/dns-message"
MAX_ANSWER = 65_535
MAX_SERVERS = 4  # with a client kept for each
_HEADERS = (("Content-Type", MEDIA_TYPE), ("Accept", MEDIA_TYPE))


@dataclass
class _Way:
    client: HttpClient
    busy: int = 0


class DnsOverHttps:
    """Called with a server and a query, it gives the answer and the seconds that HTTP caches have kept it."""

    def __init__(
        self,
        net: Net,
        *,
        extra_roots: Sequence[str] = (),
        default_roots: bool = True,
        keepalive: float | None = None,
    ) -> None:
        self._net = net
        self._dialer = Dialer(net, None, extra_roots=extra_roots, default_roots=default_roots, keepalive=keepalive)
        self._ways: OrderedDict[ServerAddress, _Way] = OrderedDict()

    async def __call__(self, server: ServerAddress, query: bytes) -> tuple[bytes, int]:
        """Errors: `DnsError` (`dns_servfail`, `dns_refused`, `dns_malformed`), `NetworkError`, `TlsError`,
        `HttpError`, `TimeoutExpired`."""
        way = self._way(server)
        way.busy += 1
        try:
            return await self._post(way.client, server, query)
        finally:
            way.busy -= 1

    async def _post(self, client: HttpClient, server: ServerAddress, query: bytes) -> tuple[bytes, int]:
        request = HttpRequest(server.url, "POST", _HEADERS, query, redirect="error")
        response = await client.fetch(request)
        try:
            if response.status != 200:
                busy = response.status >= 500 or response.status == 429
                raise DnsError(
                    f"{server} answered with HTTP status {response.status}",
                    code="dns_servfail" if busy else "dns_refused",
                    phase="dns",
                )
            media_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
            if media_type != MEDIA_TYPE:
                raise DnsError(f"{server} answered with {media_type!r:.80}", code="dns_malformed", phase="dns")
            age = response.header("age") or "0"
            answer = await response.read(MAX_ANSWER)
            return answer, int(age) if age.isdecimal() and len(age) < 10 else 0
        finally:
            response.abort()

    def _way(self, server: ServerAddress) -> _Way:
        way = self._ways.get(server)
        if way is None:
            connector = _Pinned(self._dialer, server)
            way = self._ways[server] = _Way(HttpClient(self._net, connector=connector))
        self._ways.move_to_end(server)
        idle = [old for old, kept in self._ways.items() if not kept.busy and old != server]
        for old in idle[: max(0, len(self._ways) - MAX_SERVERS)]:
            self._ways.pop(old).client.close()
        return way

    def close(self, error: SmolmixError | None = None) -> None:
        """End all connections; questions under way fail with `error`."""
        for way in self._ways.values():
            way.client.close(error)


class _Pinned:
    """A connector that knows one server."""

    def __init__(self, dialer: Dialer, server: ServerAddress) -> None:
        self._dialer = dialer
        self._server = server

    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        named = TcpOptions(name=url.host)
        stream = await self._dialer.tcp([self._server.address], self._server.port, timeouts.connect, named)
        return await self._dialer.tls(stream, url.host, timeouts.tls, TlsOptions(alpn=tuple(alpn)))
