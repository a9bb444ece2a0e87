"""`TunnelPool`: several tunnels behind the API of one, with a different exit each.

An isolation key is at home in one tunnel: the one with the fewest keys when it was first used. So the first `size`
keys have an exit each, and further ones share, apart from each other as in any tunnel (isolation.py). What is asked
without a key is one more key, the default one.

Tunnels are replaced, by time, by the number of requests, by answers of servers (`PoolOptions`), by `rotate`, and when
one died. The new one is up, at another exit, before requests go to it; what is under way in the old one goes on, for a
time. Cookies belong to keys and stay. What is one tunnel's affair is in `pool_seat.py`; here is who goes where.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from ..crypto.provider import Crypto
from ..dial import Connected
from ..dns import DnsAnswer
from ..edge.deadline import Deadline
from ..edge.sockets import Address, UdpSocket
from ..errors import SmolmixError, StateError, TunnelError, down
from ..host.base import Host
from ..http import CookieJar, HttpRequest, HttpResponse
from ..http.timeouts import Timeouts
from ..mixnet.addresses import Recipient
from ..websocket import WebSocketConnection, WebSocketTimeouts
from .asyncio_access import AsyncioAccess
from .isolation import IDLE_SECONDS, MAX_KEYS, check_key, too_many
from .options import TunnelOptions
from .pool_options import PoolOptions, check_members
from .pool_seat import REPLACE_TIMEOUT, Seat
from .shared_directory import SharedDirectory
from .tunnel import READY_TIMEOUT, Family, OnChange, PingReply, Tunnel

REFUSED_PAUSE = 60.0  # s between two replacements of a tunnel for what servers answer
# What may be sent twice (RFC 9110 9.2.2), when its body can.
REPEATABLE = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT"})

T = TypeVar("T")


@dataclass
class _Home:
    """Of a key."""

    seat: Seat
    cookies: CookieJar
    used: float = 0.0


class TunnelPool(AsyncioAccess):
    """Used once, as a tunnel: `start`, use, `close`. Arguments, results and errors of what both have are `Tunnel`'s."""

    def __init__(
        self,
        options: TunnelOptions,
        pool: PoolOptions,
        host: Host,
        *,
        on_change: OnChange | None = None,
        crypto: Crypto | None = None,
    ) -> None:
        """`options` are those of each tunnel. Raises `OptionError` for what the tunnels of a pool cannot have."""
        check_members(options)
        self._options = options
        self._pool = pool
        self._directory = SharedDirectory(host)
        self._host = host
        self._on_change = on_change
        self._crypto = crypto
        self.state = "shutdown"
        self.error: SmolmixError | None = None
        self.cookies = CookieJar(host.unix_time)  # of what is asked without an isolation key
        self._repeated = 0  # requests
        self._started = False
        self._homes: OrderedDict[str, _Home] = OrderedDict()  # the key used last at the end
        self._seats = [Seat(host, pool, self._make, self._changed) for _ in range(pool.size)]

    def _make(self, on_change: OnChange) -> Tunnel:
        made: list[Tunnel] = []

        def taken() -> set[Recipient]:
            others = (tunnel for seat in self._seats for tunnel in seat.tunnels if tunnel not in made)
            return {tunnel.exit for tunnel in others if tunnel.exit is not None}

        family = Family(self.cookies, lambda key: self._home(key).cookies, taken)
        host = cast(Host, self._directory)
        made.append(Tunnel(self._options, host, on_change=on_change, crypto=self._crypto, family=family))
        return made[0]

    # -- life ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect. Returns when every tunnel is up or has failed; those that failed are tried again. Raises the first
        one's error when none is up; cancelling leaves nothing open."""
        if self._started:
            raise StateError("a pool starts once", phase="setup")
        self._started = True
        self._enter("connecting")
        try:
            async with asyncio.TaskGroup() as group:
                attempts = [group.create_task(seat.start()) for seat in self._seats]
        except BaseException:
            await self._end("shutdown")
            raise
        errors = [error for error in (attempt.result() for attempt in attempts) if error is not None]
        if len(errors) == len(self._seats):
            self.error = errors[0]
            await self._end("failed")
            raise errors[0]
        self._enter("up")
        for seat in self._seats:
            if seat.tunnel is None:
                seat.replace("failed")

    async def close(self) -> None:
        """Close all tunnels. Idempotent."""
        if self.state not in ("shutdown", "shutting_down", "failed"):
            self._enter("shutting_down")
            await self._end("shutdown")

    async def _end(self, state: str) -> None:
        await asyncio.gather(*(seat.close() for seat in self._seats))
        self._directory.close()
        self._enter(state)

    def network_changed(self, online: bool | None = True) -> None:
        """See `Tunnel.network_changed`."""
        for tunnel in self._tunnels():
            tunnel.network_changed(online)

    async def suspend(self) -> None:
        """See `Tunnel.suspend`. No tunnel is replaced until `resume`."""
        for seat in self._seats:
            seat.awake.clear()
        await asyncio.gather(*(tunnel.suspend() for tunnel in self._tunnels()))

    def resume(self) -> None:
        """See `Tunnel.resume`."""
        for seat in self._seats:
            seat.awake.set()
        for tunnel in self._tunnels():
            tunnel.resume()

    def _tunnels(self) -> list[Tunnel]:
        return [tunnel for seat in self._seats for tunnel in seat.tunnels]

    def _enter(self, state: str) -> None:
        self.state = state
        self._tell()

    def _changed(self, seat: Seat) -> None:
        """A tunnel of this seat has changed."""
        if self.state == "up" and seat.tunnel is None:
            seat.replace("failed")
        self._tell()

    def _tell(self) -> None:
        if self._on_change is not None:
            self._on_change(self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        """As of a tunnel, and `tunnels`: a list of theirs. What only one tunnel can have is None."""
        tunnels = [seat.snapshot() for seat in self._seats]
        states = [tunnel["state"] for tunnel in tunnels]
        state = self.state
        if state == "up":
            state = next((one for one in ("ready", "suspended") if one in states), "reconnecting")
        return {
            "state": state,
            "step": tunnels[0]["step"] if state == "connecting" else None,
            "error": self.error.to_dict() if self.error is not None else None,
            "warnings": self._warnings(tunnels),
            "gateway": None,
            "address": None,
            "exit": None,
            "addresses": [address for tunnel in tunnels for address in tunnel["addresses"]],
            "traffic": None,
            "tunnels": tunnels,
        }

    def _warnings(self, tunnels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Each once, and that there are fewer exits than tunnels."""
        found: dict[tuple[str, str | None], dict[str, Any]] = {}
        for tunnel in tunnels:
            for warning in tunnel["warnings"]:
                found.setdefault((warning["code"], warning["reason"]), warning)
        exits = [tunnel["exit"] for tunnel in tunnels if tunnel["state"] == "ready"]
        if len(set(exits)) < len(exits):
            shared = TunnelError(
                "there are fewer exits than tunnels: some share one", code="exits_shared", phase="exit"
            )
            found[shared.code, None] = shared.to_dict()
        return list(found.values())

    def statistics(self) -> dict[str, Any]:
        """`tunnels`: those of each; `replaced`: tunnels by reason; `repeated` requests; `isolations`: keys."""
        tunnels = [seat.tunnel.statistics() if seat.tunnel is not None else {} for seat in self._seats]
        replaced = sum((seat.replacements for seat in self._seats), Counter[str]())
        counters = {
            "replaced": dict(replaced),
            "repeated": self._repeated,
            "isolations": len(self._homes.keys() - {self._default}),
        }
        return {**counters, "tunnels": tunnels}

    # -- who goes where -------------------------------------------------------------------------------

    def _home(self, key: str) -> _Home:
        """A key that its tunnel has forgotten begins anew after a time; so does one that gave way to others."""
        now = self._host.now()
        home = self._homes.get(key)
        if home is None or (now - home.used > IDLE_SECONDS and not home.seat.keeps(key)):
            self._homes.pop(key, None)
            self._make_room()
            kept = Counter(id(home.seat) for home in self._homes.values())
            seat = min(self._seats, key=lambda seat: (seat.tunnel is None, kept[id(seat)]))
            jar = self.cookies if key == self._default else CookieJar(self._host.unix_time)
            home = self._homes[key] = _Home(seat, jar)
        home.used = now
        self._homes.move_to_end(key)
        return home

    def _make_room(self) -> None:
        """Of the keys of which no tunnel has anything the one goes that was not used for longest."""
        limit = (MAX_KEYS + 1) * len(self._seats)
        if len(self._homes) >= limit:
            forgotten = (key for key, home in self._homes.items() if not home.seat.keeps(key) and key != self._default)
            if (key := next(forgotten, None)) is None:
                raise too_many(limit)
            del self._homes[key]

    @property
    def _default(self) -> str:
        return self._options.isolation or ""

    def _seat(self, isolation: str | None) -> Seat:
        key = check_key(isolation)
        if self.state != "up":
            if self.error is not None:
                raise down(self.error, "the pool")
            raise StateError(f"the pool is not ready but {self.state}", code="tunnel_down")
        return self._home(self._default if key is None else key).seat

    async def _at(self, isolation: str | None, *, counted: bool = True) -> tuple[Seat, Tunnel]:
        """Where a key is at home, once there is a tunnel. `counted`: as a request."""
        seat = self._seat(isolation)
        async with Deadline(self._host, READY_TIMEOUT, "tunnel"):
            tunnel = await seat.current()
        if counted:
            seat.requests += 1
            if self._pool.requests is not None and seat.requests >= self._pool.requests:
                seat.replace("requests")
        return seat, tunnel

    async def rotate(self, isolation: str | None = None) -> None:
        """Another exit for a key, and for those that share its tunnel. Returns when it is in use.

        Raises `TimeoutExpired(phase="rotate")` where no other tunnel comes up; the old one, if there is one, stays."""
        seat = self._seat(isolation)
        seat.replace("asked")
        await seat.replaced(REPLACE_TIMEOUT)

    # -- use ------------------------------------------------------------------------------------------

    @property
    def timeouts(self) -> Timeouts:
        return self._options.timeouts

    @property
    def websocket_timeouts(self) -> WebSocketTimeouts:
        return WebSocketTimeouts.over(self.timeouts)

    async def usable(self, isolation: str | None = None) -> None:
        _, tunnel = await self._at(isolation, counted=False)
        await tunnel.usable()

    def jar(self, isolation: str | None = None) -> CookieJar:
        """The cookies of a key."""
        key = check_key(isolation)
        return self.cookies if key is None else self._home(key).cookies

    async def fetch(self, request: HttpRequest | str, *, isolation: str | None = None, **fields: Any) -> HttpResponse:
        """As `Tunnel.fetch`. An answer with a status of `PoolOptions.statuses` has the tunnel replaced; a request that
        may be sent twice is then sent once more, through the new one. Where that fails the first answer is given."""
        request = HttpRequest(request, **fields) if isinstance(request, str) else replace(request, **fields)
        total = (request.timeouts or self.timeouts).total if request.timeout is None else request.timeout
        begun = self._host.now()
        async with Deadline(self._host, total, "total"):
            seat, tunnel = await self._at(isolation)
        response = await tunnel.fetch(_within(request, self._left(total, begun)), isolation=isolation)
        if response.status not in self._pool.statuses:
            return response
        try:
            if not self._refused(seat, tunnel) or not _repeatable(request):
                return response
            left = self._left(total, begun)
            # Half of it is for the second attempt, or for the body of the first answer.
            await seat.replaced(REPLACE_TIMEOUT if left is None else min(left / 2, REPLACE_TIMEOUT))
            again = _within(replace(request, on_upload=None), self._left(total, begun))
            second = await (await seat.current()).fetch(again, isolation=isolation)
        except SmolmixError:
            return response
        except BaseException:
            response.abort()
            raise
        self._repeated += 1
        response.abort()
        return second

    def _refused(self, seat: Seat, tunnel: Tunnel) -> bool:
        """A server would not serve this tunnel: is there to be, or is there already, another one in its place?"""
        if seat.tunnel is not tunnel or seat.replacing:
            return True
        now = self._host.now()
        if now - seat.refused_at < REFUSED_PAUSE:
            return False
        seat.refused_at = now
        seat.replace("refused")
        return seat.replacing

    def _left(self, limit: float | None, begun: float) -> float | None:
        return None if limit is None else max(0.001, limit - (self._host.now() - begun))

    async def _with(
        self, isolation: str | None, limit: float | None, phase: str, work: Callable[[Tunnel], Awaitable[T]]
    ) -> T:
        """Waiting for a tunnel is part of what the caller's limit is for."""
        async with Deadline(self._host, limit, phase):
            _, tunnel = await self._at(isolation)
            return await work(tunnel)

    async def resolve(self, name: str, *, isolation: str | None = None, **options: Any) -> list[Address]:
        limit = self.timeouts.dns
        return await self._with(isolation, limit, "dns", lambda t: t.resolve(name, isolation=isolation, **options))

    async def lookup(
        self, name: str, type: str = "A", *, timeout: float | None = None, isolation: str | None = None, **options: Any
    ) -> DnsAnswer:
        limit = self.timeouts.dns if timeout is None else timeout
        given = {"timeout": limit, "isolation": isolation, **options}
        return await self._with(isolation, limit, "dns", lambda t: t.lookup(name, type, **given))

    def clear_dns_cache(self) -> None:
        for tunnel in self._tunnels():
            tunnel.clear_dns_cache()

    async def connect_websocket(
        self,
        url: str,
        protocols: Sequence[str] = (),
        headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
        timeouts: WebSocketTimeouts | None = None,
        *,
        isolation: str | None = None,
        **options: Any,
    ) -> WebSocketConnection:
        limits = timeouts or self.websocket_timeouts

        def connect(tunnel: Tunnel) -> Awaitable[WebSocketConnection]:
            return tunnel.connect_websocket(url, protocols, headers, limits, isolation=isolation, **options)

        return await self._with(isolation, limits.total, "total", connect)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        *,
        timeouts: Timeouts | None = None,
        isolation: str | None = None,
        **options: Any,
    ) -> Connected:
        limits = timeouts or self.timeouts

        def connect(tunnel: Tunnel) -> Awaitable[Connected]:
            return tunnel.connect_tcp(host, port, timeouts=limits, isolation=isolation, **options)

        return await self._with(isolation, limits.total, "total", connect)

    def bind_udp(self, port: int = 0, *, isolation: str | None = None, **options: Any) -> UdpSocket:
        seat = self._seat(isolation)
        if seat.tunnel is None:
            raise StateError("the tunnel of this key is being replaced", code="tunnel_down")
        return seat.tunnel.bind_udp(port, **options)

    async def connect_udp(self, host: str, port: int, *, isolation: str | None = None, **options: Any) -> UdpSocket:
        _, tunnel = await self._at(isolation)
        return await tunnel.connect_udp(host, port, isolation=isolation, **options)

    async def ping(self, host: str, *, isolation: str | None = None, **options: Any) -> PingReply:
        _, tunnel = await self._at(isolation)
        return await tunnel.ping(host, isolation=isolation, **options)

    # -- what it has not ------------------------------------------------------------------------------

    def _no_peers(self) -> StateError:
        return StateError("a pool has no address of its own: other clients are reached by a tunnel", code="no_peers")

    @property
    def address(self) -> str:
        raise self._no_peers()

    @property
    def messages(self) -> Any:
        raise self._no_peers()

    @property
    def listener(self) -> Any:
        raise self._no_peers()

    def listen(self) -> Any:
        raise self._no_peers()

    async def open_stream(self, address: str, **options: Any) -> Any:
        raise self._no_peers()


AnyTunnel = Tunnel | TunnelPool


def _within(request: HttpRequest, left: float | None) -> HttpRequest:
    return request if left is None else replace(request, timeout=left)


def _repeatable(request: HttpRequest) -> bool:
    return request.method.upper() in REPEATABLE and (request.body is None or isinstance(request.body, (bytes, str)))
