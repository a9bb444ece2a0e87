"""From an origin to a byte stream: resolve, connect, shake hands. Here HTTP and WebSocket meet the tunnel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..deadline import Deadline
from ..dns import Resolver
from ..errors import HttpError, NetworkError, SmolmixError, TimeoutExpired
from ..sockets import Address, ByteStream, Net, TcpStream
from ..tls import TlsStream
from .timeouts import Timeouts
from .url import Url

MAX_ADDRESSES = 4


@dataclass(frozen=True)
class TlsInfo:
    """What was negotiated, for display."""

    version: str
    cipher: str
    alpn: str | None


@dataclass(frozen=True)
class Connected:
    stream: ByteStream
    tls: TlsInfo | None = None


class Connector(Protocol):
    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        """A stream to the URL's origin, secure where the scheme says so. Cancelling it leaves nothing open."""
        ...


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
    ) -> None:
        """`extra_roots` are PEM texts trusted besides certifi's; `keepalive` seconds between TCP probes, None: none."""
        self._net = net
        self._resolver = resolver
        self._extra_roots = tuple(extra_roots)
        self._default_roots = default_roots
        self._keepalive = keepalive

    async def connect(self, url: Url, timeouts: Timeouts, alpn: Sequence[str] = ("http/1.1",)) -> Connected:
        addresses = await self._addresses(url, timeouts)
        stream = await self._tcp(addresses, url.port, timeouts)
        if not url.secure:
            return Connected(stream)
        tls = await TlsStream.wrap(
            stream,
            url.host,
            clock=self._net,
            alpn=alpn,
            extra_roots=self._extra_roots,
            default_roots=self._default_roots,
            timeout=timeouts.tls,
        )
        return Connected(tls, TlsInfo(tls.version, tls.cipher, tls.alpn))

    async def _addresses(self, url: Url, timeouts: Timeouts) -> list[Address]:
        literal = url.address
        if literal is not None:
            return [literal]
        if self._resolver is None:
            raise HttpError(f"{url.host}: no resolver for host names", code="bad_url", phase="dns")
        versions = {address.version for address in self._net.stack.addresses}
        async with Deadline(self._net, timeouts.dns, "dns"):
            # With one family in the tunnel the other's addresses are of no use and not asked for.
            answers = await self._resolver.resolve(url.host, family=versions.pop() if len(versions) == 1 else None)
        return [answer.address for answer in answers[:MAX_ADDRESSES]]

    async def _tcp(self, addresses: list[Address], port: int, timeouts: Timeouts) -> TcpStream:
        """The first address that answers. Each gets its share of the time that is left."""
        until = self._net.now() + (timeouts.connect if timeouts.connect is not None else 3600.0)
        error: SmolmixError | None = None
        for index, address in enumerate(addresses):
            share = (until - self._net.now()) / (len(addresses) - index)
            try:
                return await TcpStream.connect(
                    self._net, address, port, timeout=max(0.0, share), keepalive=self._keepalive
                )
            except (NetworkError, TimeoutExpired) as failed:
                error = failed
        assert error is not None
        raise error
