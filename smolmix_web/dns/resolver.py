"""A stub resolver on the tunnel: UDP with repeats, TCP on truncation, a second server, a cache, one query per question.

RFC 1035 4.2 (transport), RFC 5452 (random ids and ports), RFC 7766 (TCP). The mixnet answers within seconds and loses
datagrams now and then, so a query is repeated well before its attempt ends, and the fallback server is asked as soon as
the primary has failed or stayed silent for a third of its time; the first good answer wins.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..deadline import Deadline
from ..errors import DnsError, NetworkError, OptionError, SmolmixError, TimeoutExpired
from ..rand import RandomSource
from ..sockets import Address, Net, TcpStream, UdpSocket
from .cache import DnsCache
from .message import TYPE_A, TYPE_AAAA, Reply, decode_reply, encode_query
from .names import check_public, parse_address, to_ascii

FIRST_REPEAT = 4.0  # seconds; about one slow round trip of the mixnet
MAX_REPEAT = 16.0
MAX_CHAIN = 8
HEDGE = 1 / 3  # of the time of an attempt, then the fallback is asked too


class Answer(NamedTuple):
    """An address and the seconds for which it may be kept."""

    address: Address
    ttl: float


class Server(NamedTuple):
    address: Address
    port: int


@dataclass
class _Lookup:
    task: asyncio.Task[tuple[tuple[Address, ...], float]]
    waiters: int = 0


@dataclass
class DnsStatistics:
    """Counters since the start."""

    queries: int = 0  # datagrams and TCP queries sent
    cache_hits: int = 0
    ignored: int = 0  # datagrams that answered nothing we asked
    tcp: int = 0


class Resolver:
    """Resolves host names through the tunnel, and never in any other way."""

    def __init__(
        self,
        net: Net,
        primary: tuple[str, int],
        fallback: tuple[str, int] | None,
        timeout: float,
        rng: RandomSource,
        *,
        cache_size: int = 1024,
    ) -> None:
        """`primary` and `fallback` are (address literal, port); `timeout` in seconds is for one server."""
        self._net = net
        self._servers = [_server("primaryDns", primary)]
        if fallback is not None and fallback != primary:
            self._servers.append(_server("fallbackDns", fallback))
        self._timeout = timeout
        self._rng = rng
        self._cache = DnsCache(cache_size)
        self._lookups: dict[tuple[str, int], _Lookup] = {}
        self.statistics = DnsStatistics()

    async def resolve(self, name: str, *, family: int | None = None) -> list[Answer]:
        """Addresses of `name`, at least one. `family` 4 or 6; None: IPv4, or IPv6 where there is no IPv4.

        An address literal is its own answer. Errors: `DnsError` with codes `bad_name`, `special_name`, `dns_not_found`,
        `dns_no_data`, `dns_servfail`, `dns_refused`, `dns_malformed`, `dns_unreachable`, `dns_timeout`.
        """
        literal = parse_address(name)
        if literal is not None:
            if family not in (None, literal.version):
                raise DnsError(f"{name} is not an IPv{family} address", code="dns_no_data", phase="dns")
            return [Answer(literal, 0.0)]
        ascii_name = to_ascii(name)
        check_public(ascii_name)
        if family == 6:
            return await self._shared(ascii_name, TYPE_AAAA)
        try:
            return await self._shared(ascii_name, TYPE_A)
        except DnsError as error:
            if family == 4 or error.code != "dns_no_data":
                raise
        return await self._shared(ascii_name, TYPE_AAAA)

    def clear_cache(self) -> None:
        self._cache.clear()

    async def _shared(self, name: str, rdtype: int) -> list[Answer]:
        """From the cache, from a query under way, or from a new one. The last waiter to leave cancels the query."""
        now = self._net.now()
        entry = self._cache.get(name, rdtype, now)
        if entry is not None:
            self.statistics.cache_hits += 1
            if entry.code is not None:
                raise _negative(name, entry.code)
            return [Answer(address, entry.expires - now) for address in entry.addresses]
        key = (name, rdtype)
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = _Lookup(asyncio.create_task(self._look_up(name, rdtype)))
            lookup.task.add_done_callback(lambda task: self._finished(key, task))
        lookup.waiters += 1
        try:
            addresses, ttl = await asyncio.shield(lookup.task)
        finally:
            lookup.waiters -= 1
            if lookup.waiters == 0 and not lookup.task.done():
                lookup.task.cancel()
                if self._lookups.get(key) is lookup:
                    del self._lookups[key]
        return [Answer(address, ttl) for address in addresses]

    def _finished(self, key: tuple[str, int], task: asyncio.Task[Any]) -> None:
        lookup = self._lookups.get(key)
        if lookup is not None and lookup.task is task:
            del self._lookups[key]
        if not task.cancelled():
            task.exception()  # seen: every waiter may have left

    async def _look_up(self, name: str, rdtype: int) -> tuple[tuple[Address, ...], float]:
        """Ask, following CNAMEs the server did not follow; fill the cache."""
        asked, ttl = name, float("inf")
        for _ in range(MAX_CHAIN):
            reply = await self._ask(asked, rdtype)
            ttl = min(ttl, reply.ttl)
            if reply.follow is not None:
                asked = reply.follow
                check_public(asked)
                continue
            self._cache.put(name, rdtype, reply.addresses, reply.code, ttl, self._net.now())
            if reply.code is not None:
                raise _negative(name, reply.code)
            return reply.addresses, ttl
        raise DnsError(f"{name}: more than {MAX_CHAIN} names in a CNAME chain", code="dns_malformed", phase="dns")

    async def _ask(self, name: str, rdtype: int) -> Reply:
        """The first good answer of the primary and, if need be, the fallback server."""
        waiting = list(self._servers)
        running: set[asyncio.Task[Reply]] = set()
        first_error: SmolmixError | None = None
        try:
            while waiting or running:
                if waiting:
                    running.add(asyncio.create_task(self._attempt(waiting.pop(0), name, rdtype)))
                patience = self._timeout * HEDGE if waiting else None
                done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    try:
                        return task.result()
                    except (DnsError, NetworkError) as error:
                        if first_error is None or first_error.code == "dns_timeout":
                            first_error = error
        finally:
            for task in running:
                task.cancel()
                task.add_done_callback(_swallow)
        assert first_error is not None
        raise first_error

    async def _attempt(self, server: Server, name: str, rdtype: int) -> Reply:
        try:
            async with Deadline(self._net, self._timeout, "dns"):
                reply = await self._over_udp(server, name, rdtype)
                if reply.truncated:
                    reply = await self._over_tcp(server, name, rdtype)
                return reply
        except TimeoutExpired as error:
            message = f"{name}: no answer from {server.address} within {self._timeout:g} s"
            raise DnsError(message, code="dns_timeout", phase="dns") from error
        except NetworkError as error:
            message = f"{name}: {server.address} port {server.port}: {error.message}"
            raise DnsError(message, code="dns_unreachable", phase="dns") from error

    async def _over_udp(self, server: Server, name: str, rdtype: int) -> Reply:
        socket = UdpSocket.bind(self._net)
        try:
            socket.connect(server.address, server.port)
            identifiers: set[int] = set()
            patience = FIRST_REPEAT
            while True:
                identifier = self._rng.below(65536)
                identifiers.add(identifier)
                self.statistics.queries += 1
                socket.send_to(encode_query(name, rdtype, identifier), server.address, server.port)
                reply = await self._matching(socket, name, rdtype, identifiers, patience)
                if reply is not None:
                    return reply
                patience = min(patience * 2, MAX_REPEAT)
        finally:
            socket.close()

    async def _matching(
        self, socket: UdpSocket, name: str, rdtype: int, identifiers: set[int], patience: float
    ) -> Reply | None:
        """The answer, or None when it is time to ask again."""
        until = self._net.now() + patience
        while True:
            try:
                data, _ = await socket.receive(max(0.0, until - self._net.now()))
            except TimeoutExpired:
                return None
            reply = decode_reply(data, name, rdtype, identifiers)
            if reply is not None:
                return reply
            self.statistics.ignored += 1

    async def _over_tcp(self, server: Server, name: str, rdtype: int) -> Reply:
        self.statistics.tcp += 1
        self.statistics.queries += 1
        stream = await TcpStream.connect(self._net, server.address, server.port, timeout=self._timeout)
        try:
            identifier = self._rng.below(65536)
            query = encode_query(name, rdtype, identifier)
            await stream.write(len(query).to_bytes(2, "big") + query)
            size = int.from_bytes(await _exactly(stream, 2, name), "big")
            reply = decode_reply(await _exactly(stream, size, name), name, rdtype, {identifier})
        finally:
            stream.abort()
        if reply is None or reply.truncated:
            raise DnsError(f"{name}: the answer over TCP does not fit the question", code="dns_malformed", phase="dns")
        return reply


async def _exactly(stream: TcpStream, size: int, name: str) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.read(size - len(data))
        if not part:
            raise DnsError(f"{name}: the answer over TCP ended early", code="dns_malformed", phase="dns")
        data += part
    return data


def _server(option: str, value: tuple[str, int]) -> Server:
    address = parse_address(value[0])
    if address is None:
        raise OptionError(option, f"expected an address literal, got {value[0]!r}")
    return Server(address, value[1])


def _negative(name: str, code: str) -> DnsError:
    text = "does not exist" if code == "dns_not_found" else "has no address of this family"
    return DnsError(f"{name} {text}", code=code, phase="dns")


def _swallow(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


__all__ = ["Answer", "DnsStatistics", "Resolver", "Server"]
