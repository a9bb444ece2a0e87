"""The proxy as a whole: its listeners, how many connections at once, what passes, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from ipaddress import ip_address
from typing import NamedTuple

from ..errors import OptionError, SmolmixError
from ..tunnel import Tunnel
from .dns_front import DnsFront
from .relay import Local

MAX_CONNECTIONS = 512  # at once; further ones wait
MAX_WAITING = 512  # further ones are closed at once
PATIENCE = 30.0  # s that one waits for its turn
GRACE = 5.0  # s that what is under way gets at the end


class Place(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Credentials(NamedTuple):
    """What a client must know."""

    user: str
    password: str

    def allow(self, user: str, password: str) -> bool:
        given, own = f"{user}\0{password}", f"{self.user}\0{self.password}"
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), own.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class ProxyOptions:
    """Where to listen for what; None: not at all. Other places than loopback only with `anywhere`."""

    socks: Place | None = None
    http: Place | None = None
    dns: Place | None = None
    credentials: Credentials | None = None
    anywhere: bool = False
    max_connections: int = MAX_CONNECTIONS

    def check(self) -> None:
        """Raises `OptionError`."""
        for name, place in (("socks", self.socks), ("http", self.http), ("dns", self.dns)):
            if place is None:
                continue
            try:
                address = ip_address(place.host)
            except ValueError:
                raise OptionError(name, f"{place.host!r} is not an address: names are not looked up here") from None
            if not (address.is_loopback or self.anywhere):
                raise OptionError(name, f"{place.host} can be reached by others: say so by --anywhere")
        if not (self.socks or self.http or self.dns):
            raise OptionError("proxy", "nothing to listen for")
        if self.max_connections < 1:
            raise OptionError("max_connections", "must be at least 1")


@dataclass
class ProxyStatistics:
    """Counters since the start; `open` and `waiting` are now."""

    open: int = 0
    waiting: int = 0
    connections: int = 0
    failed: int = 0
    turned_away: int = 0
    requests: int = 0
    datagrams: int = 0
    queries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def count(self, sent: int, received: int) -> None:
        self.bytes_sent += sent
        self.bytes_received += received

    def to_dict(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


Serve = Callable[[Local], Awaitable[None]]


class Proxy:
    """`start`, then `close`. The tunnel is the caller's, and outlives it."""

    def __init__(self, tunnel: Tunnel, options: ProxyOptions) -> None:
        options.check()
        self.tunnel = tunnel
        self.options = options
        self.statistics = ProxyStatistics()
        self.places: dict[str, Place] = {}  # where it listens, once started
        self._servers: list[asyncio.Server] = []
        self._dns: DnsFront | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(options.max_connections)
        self._closing = False

    async def start(self) -> None:
        """Listen. `OSError` when a place is taken; then nothing is left open."""
        from .http_front import HttpFront
        from .socks_front import SocksFront

        try:
            if self.options.socks is not None:
                await self._listen("socks", self.options.socks, SocksFront(self).serve)
            if self.options.http is not None:
                await self._listen("http", self.options.http, HttpFront(self).serve)
            if self.options.dns is not None:
                self._dns = DnsFront(self.tunnel, self.statistics)
                await self._listen("dns", self.options.dns, self._dns.serve)
                host, port = self.places["dns"]
                await self._dns.listen(host, port)
        except BaseException:
            await self.close(0.0)
            raise

    async def _listen(self, name: str, place: Place, serve: Serve) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            local = Local(reader, writer)
            if self._closing or self.statistics.waiting >= MAX_WAITING:
                self.statistics.turned_away += 1
                local.abort()
                return
            task = asyncio.get_running_loop().create_task(self._attend(local, serve))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, place.host, place.port)
        self._servers.append(server)
        host, port = server.sockets[0].getsockname()[:2]
        self.places[name] = Place(host, port)

    async def _attend(self, local: Local, serve: Serve) -> None:
        """One connection, when it is its turn. Whatever goes wrong ends it alone."""
        statistics = self.statistics
        try:
            statistics.waiting += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._slots.acquire()
            except TimeoutError:
                statistics.turned_away += 1
                return
            finally:
                statistics.waiting -= 1
            statistics.connections += 1
            statistics.open += 1
            try:
                await serve(local)
            except (SmolmixError, OSError):
                statistics.failed += 1
            finally:
                statistics.open -= 1
                self._slots.release()
        finally:
            local.abort()  # unless it was closed in good order

    async def close(self, grace: float = GRACE) -> None:
        """No more connections; those that are open get `grace` seconds to end, then they are reset. Idempotent."""
        self._closing = True
        for server in self._servers:
            server.close()
        if self._dns is not None:
            self._dns.close()
        if self._tasks and grace > 0:
            await asyncio.wait(self._tasks, timeout=grace)
        left = list(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for server in self._servers:
            await server.wait_closed()
        self._servers.clear()
