"""From an origin to a byte stream: here HTTP and WebSocket meet the tunnel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from ..dial import Connected, Dialer, TlsInfo
from ..dns import Resolver
from ..edge.sockets import Address, Net, TcpOptions
from ..edge.tls import TlsOptions
from .timeouts import Timeouts
from .url import Url


class Connector(Protocol):
    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        """A stream to the URL's origin, secure where the scheme says so. Cancelling it leaves nothing open."""
        ...


T = TypeVar("T")


class Anew(Protocol):
    """Does what may be done twice when the tunnel is usable, and once more where its addresses were lost meanwhile."""

    def __call__(self, operation: Callable[[], Awaitable[T]], /) -> Awaitable[T]: ...


async def _at_once(operation: Callable[[], Awaitable[T]]) -> T:
    return await operation()


class NetConnector:
    """Through the tunnel."""

    def __init__(
        self,
        net: Net,
        resolver: Resolver | None,
        *,
        extra_roots: Sequence[str] = (),
        default_roots: bool = True,
        keepalive: float | None = None,
        anew: Anew = _at_once,
    ) -> None:
        """`extra_roots` are PEM texts trusted besides certifi's, or in place of them without `default_roots`;
        `keepalive` seconds between TCP probes, None: none. `anew` calls what looks a name up or makes a connection."""
        self._clock = net
        self._anew = anew
        self.dialer = Dialer(net, resolver, extra_roots=extra_roots, default_roots=default_roots, keepalive=keepalive)

    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        return await self._anew(lambda: self._connect(url, timeouts, alpn))

    async def addresses(self, host: str, timeout: float | None) -> list[Address]:
        """As `Dialer.addresses`."""
        return await self._anew(lambda: self.dialer.addresses(host, timeout))

    async def _connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str]) -> Connected:
        begin = self._clock.now()
        addresses = await self.dialer.addresses(url.host, timeouts.dns)
        found = self._clock.now()
        stream = await self.dialer.tcp(addresses, url.port, timeouts.connect, TcpOptions(name=url.host))
        opened = self._clock.now()
        if url.secure:
            connected = await self.dialer.tls(stream, url.host, timeouts.tls, TlsOptions(alpn=tuple(alpn)))
        else:
            connected = Connected(stream, local=stream.local, remote=stream.remote)
        return replace(
            connected,
            dns_seconds=found - begin if url.address is None else None,
            connect_seconds=opened - found,
            tls_seconds=self._clock.now() - opened if url.secure else None,
        )


__all__ = ["Connected", "Connector", "NetConnector", "TlsInfo"]
