"""From a host name and a port to a connected stream: resolve, connect, shake hands.

Where raw sockets, HTTP and WebSocket meet the tunnel. Each step has its own limit; cancelling any leaves nothing open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from .dns import Resolver
from .dns.names import parse_host
from .edge.deadline import Deadline
from .edge.sockets import Address, ByteStream, Net, TcpOptions, TcpStream
from .edge.tls import TlsOptions, TlsStream
from .errors import DnsError, NetworkError, SmolmixError, TimeoutExpired, TlsError
from .netstack import Endpoint

MAX_ADDRESSES = 4
ATTEMPT_DELAY = 3.0  # s; a round trip takes about one to three
LONGEST = 3600.0  # s, for what has no limit of its own


@dataclass(frozen=True)
class TlsInfo:
    """What was negotiated, for display."""

    version: str
    cipher: str
    alpn: str | None


@dataclass(frozen=True)
class Connected:
    """An open stream; `local` and `remote` are the TCP endpoints below it, where there are any.

    As an async context manager it is closed at the end, and aborted by an error; iterated, it gives the bytes that
    come, until the peer ends.

    Seconds that its making took, by phase, where somebody measured; None also for a phase that was not needed.
    """

    stream: ByteStream
    tls: TlsInfo | None = None
    local: Endpoint | None = None
    remote: Endpoint | None = None
    dns_seconds: float | None = None
    connect_seconds: float | None = None
    tls_seconds: float | None = None

    @property
    def truncated(self) -> bool:
        """The peer, or somebody on the way, ended TLS without saying so: what came may not be all."""
        return bool(getattr(self.stream, "truncated", False))

    async def __aenter__(self) -> Connected:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.stream.close()
        else:
            self.stream.abort()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.stream.read():
            yield chunk


def _by_turns(addresses: Sequence[Address]) -> list[Address]:
    """The same order in each family, beginning with the first address."""
    first = [address for address in addresses if address.version == addresses[0].version]
    other = [address for address in addresses if address.version != addresses[0].version]
    turns = [address for pair in zip(first, other, strict=False) for address in pair]
    return turns + first[len(other) :] + other[len(first) :]


class Dialer:
    """Connects through the tunnel. `extra_roots` and `default_roots` are what TLS trusts unless a call says more;
    `keepalive` seconds between TCP probes, None: none."""

    def __init__(
        self,
        net: Net,
        resolver: Resolver | None,
        *,
        extra_roots: Sequence[str] = (),
        default_roots: bool = True,
        keepalive: float | None = None,
    ) -> None:
        self._net = net
        self._resolver = resolver
        self._extra_roots = tuple(extra_roots)
        self._default_roots = default_roots
        self._keepalive = keepalive

    async def addresses(self, host: str, timeout: float | None, family: int | None = None) -> list[Address]:
        """Of a name or literal, in the order to try them. `family` 4, 6 or None for what the tunnel has."""
        literal = parse_host(host)
        if not isinstance(literal, str):
            if family not in (None, literal.version):
                raise DnsError(f"{host} is not an IPv{family} address", code="dns_no_data", phase="dns")
            return [literal]
        if self._resolver is None:
            raise DnsError(f"{host}: no resolver for host names", code="bad_name", phase="dns")
        if family is None:
            versions = {address.version for address in self._net.stack.addresses}
            # With one family in the tunnel the other's addresses are of no use and not asked for.
            family = versions.pop() if len(versions) == 1 else None
        async with Deadline(self._net, timeout, "dns"):
            answers = await self._resolver.resolve(host, family=family)
        return [answer.address for answer in answers[:MAX_ADDRESSES]]

    async def tcp(
        self, addresses: Sequence[Address], port: int, timeout: float | None, options: TcpOptions | None = None
    ) -> TcpStream:
        """The first address that answers (RFC 8305 with the patience of a slow network).

        The families take turns. Whenever one attempt has failed, or not succeeded in `ATTEMPT_DELAY` seconds, the next
        begins beside it; all end with the first connection, or when the time is up.
        """
        options = options or TcpOptions()
        if options.keepalive is None:
            options = replace(options, keepalive=self._keepalive)
        net, until = self._net, self._net.now() + (timeout if timeout is not None else LONGEST)
        if len(addresses) == 1:
            return await TcpStream.connect(net, addresses[0], port, timeout=until - net.now(), options=options)
        waiting = deque(_by_turns(addresses))
        attempts: set[asyncio.Task[TcpStream]] = set()
        changed = asyncio.Event()
        error: SmolmixError | None = None
        try:
            while waiting or attempts:
                changed.clear()
                if waiting:
                    left = max(0.0, until - net.now())
                    attempt = asyncio.create_task(
                        TcpStream.connect(net, waiting.popleft(), port, timeout=left, options=options)
                    )
                    attempt.add_done_callback(lambda _: changed.set())
                    attempts.add(attempt)
                timer = net.call_later(ATTEMPT_DELAY, changed.set) if waiting else None
                try:
                    await changed.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
                for attempt in [attempt for attempt in attempts if attempt.done()]:
                    attempts.discard(attempt)
                    try:
                        return attempt.result()
                    except (NetworkError, TimeoutExpired) as failed:
                        error = failed
            assert error is not None
            raise error
        finally:
            for attempt in attempts:
                attempt.cancel()
            for late in await asyncio.gather(*attempts, return_exceptions=True):
                if isinstance(late, TcpStream):
                    late.abort()

    async def tls(
        self, stream: TcpStream, host: str, timeout: float | None, options: TlsOptions | None = None
    ) -> Connected:
        """TLS on an open stream; a failure aborts it. Without `default_roots` the dialer's own roots do not count.

        `host` as for `addresses`, and so is `server_name`: certificates have names in ASCII, without a final dot.
        """
        options = options or TlsOptions()
        try:
            name = str(parse_host(options.server_name or host))
        except DnsError as error:
            stream.abort()
            raise TlsError(error.message, code="bad_name", phase="tls") from None
        secured = await TlsStream.wrap(
            stream,
            name,
            clock=self._net,
            alpn=options.alpn,
            extra_roots=(*(self._extra_roots if options.default_roots else ()), *options.ca_certificates),
            default_roots=self._default_roots and options.default_roots,
            timeout=timeout,
        )
        facts = TlsInfo(secured.version, secured.cipher, secured.alpn)
        return Connected(secured, facts, local=stream.local, remote=stream.remote)
