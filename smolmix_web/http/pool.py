"""Connections for requests: up to six of HTTP/1.1 for an origin or one of HTTP/2, bounded in all (RFC 9112 9.3, 9.4).

Who waits, waits in a queue of its origin, first come first served. All decisions are in `_dispatch`, which is
synchronous: it hands what is free to the head of a queue, origins that have nothing at all before the others, so that
no busy origin can keep another one out. Only `acquire` waits.

A connection whose body nobody reads is stalled: it is not counted, up to `STALLED` of them, so that it keeps nobody
else waiting. What is left of a response that nobody wants, of a redirect for example, is read away in the background
where it is short, and never waited for.

What an origin speaks is known when its first connection is open. Until then further requests wait for that one,
because with HTTP/2 it will carry them all; if it fails they try for themselves.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ..dial import Connected
from ..edge.deadline import Clock, Deadline, TimerHandle
from ..errors import SmolmixError, StateError
from ..on_demand import load_on_demand
from .connection import HttpConnection
from .connector import Connector
from .exchange import Exchange
from .keepalive import IdleEnds, usable
from .replay import Again
from .timeouts import Timeouts
from .timings import Timings
from .url import Url

if TYPE_CHECKING:
    from .http2 import Http2Connection
    from .http2_stream import Http2Stream

Origin = tuple[str, str, int]

PER_ORIGIN = 6
TOTAL = 96
STALLED = 96
IDLE_SECONDS = 60.0
# A request that cannot be sent twice takes no connection that the server may just be closing.
FRESH_SECONDS = 4.0
REMEMBERED = 256  # origins of which is known what they do
DRAIN = 16_384  # bytes of a body worth reading to keep its connection
DRAIN_SECONDS = 5.0

HTTP11, HTTP2 = "http/1.1", "h2"


@dataclass(eq=False)
class _Waiter:
    """A request that waits: its future gets an `Exchange`, or None for leave to open a connection."""

    careful: bool
    fresh: bool
    future: asyncio.Future[Exchange | None] = field(default_factory=asyncio.Future)


@dataclass(eq=False)
class _Place:
    """What there is for one origin."""

    origin: Origin
    count: int = 0  # connections idle, in use and being opened
    opening: int = 0
    failed: bool = False  # to connect, the last time
    idle: list[HttpConnection] = field(default_factory=list)  # the most recently used last
    draining: list[HttpConnection] = field(default_factory=list)
    stalled: set[HttpConnection] = field(default_factory=set)
    session: Http2Connection | None = None
    waiters: deque[_Waiter] = field(default_factory=deque)


@dataclass
class _Known:
    """What is remembered of an origin."""

    protocol: str | None = None
    only_http11: bool = False  # it has said so, by HTTP_1_1_REQUIRED
    idle_ends: IdleEnds = field(default_factory=IdleEnds)


class Pool:
    def __init__(
        self,
        clock: Clock,
        connector: Connector,
        *,
        per_origin: int = PER_ORIGIN,
        total: int = TOTAL,
        idle_seconds: float = IDLE_SECONDS,
        http2: bool = True,
    ) -> None:
        self._clock = clock
        self._connector = connector
        self._per_origin = per_origin
        self._total = total
        self._idle_seconds = idle_seconds
        self._http2 = http2
        self._places: dict[Origin, _Place] = {}
        self._known: OrderedDict[Origin, _Known] = OrderedDict()
        self._waiting: OrderedDict[Origin, _Place] = OrderedDict()  # those with waiters, who was served last at the end
        self._timers: dict[HttpConnection | Http2Connection, TimerHandle] = {}  # of what lies idle
        self._in_use: set[HttpConnection] = set()
        self._sessions: set[Http2Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()  # that close or drain
        self._library: asyncio.Task[bool] | None = None
        self._closed: SmolmixError | None = None

    @property
    def connection_count(self) -> int:
        return sum(place.count for place in self._places.values())

    @property
    def idle_count(self) -> int:
        return len(self._timers)

    async def acquire(
        self, url: Url, timeouts: Timeouts, timings: Timings, *, careful: bool = False, fresh: bool = False
    ) -> Exchange:
        """An exchange; `timings` gets what its making took, and whether its connection was used before.

        `careful`: the request cannot be sent again should the connection prove stale. `fresh`: no connection of
        HTTP/1.1 that was used before.
        """
        began = self._clock.now()
        place = self._places.setdefault(url.origin, _Place(url.origin))
        try:
            granted = await self._wait(place, timeouts, _Waiter(careful, fresh))
        finally:
            timings.queue += self._clock.now() - began
        if granted is not None:
            _describe(timings, granted, None)
            return granted
        connected = None
        try:
            try:
                connected, protocol = await self._connect(place, url, timeouts)
            finally:
                place.opening -= 1
            made = self._adopt(place, connected, protocol)
        except BaseException as error:
            place.failed = isinstance(error, SmolmixError)
            if connected is not None:
                connected.stream.abort()
            self._forget(place)
            raise
        _describe(timings, made, connected)
        self._dispatch()
        return made

    def release(self, exchange: Exchange) -> None:
        """The exchange is over: what carried it is kept or closed."""
        if isinstance(exchange, HttpConnection) and exchange in self._in_use:  # a stream ends by itself
            exchange.idle_since = self._clock.now()
            self._keep(exchange)

    def _keep(self, connection: HttpConnection) -> None:
        self._leave_use(connection)
        place = self._places[connection.origin]
        wait = self._idle_time(place.origin, connection.round_trip, connection.keep_alive)
        wait -= self._clock.now() - connection.idle_since
        if self._closed is not None or not connection.reusable or wait <= 0:
            self._close(place, connection)
        else:
            place.idle.append(connection)
            self._timers[connection] = self._clock.call_later(wait, partial(self._expire, connection))
            connection.stream.watch(partial(self._check_idle, connection))
        self._dispatch()

    def discard(self, exchange: Exchange, error: SmolmixError | None = None) -> None:
        """The exchange failed or was aborted: free the flow at once."""
        if not isinstance(exchange, HttpConnection):
            self.stalled(exchange, False)
            exchange.abort(error)
        elif exchange in self._in_use:
            self._leave_use(exchange)
            exchange.abort(error)
            self._forget(self._places[exchange.origin])

    def drop_idle(self, exchange: Exchange) -> None:
        """What carried the exchange is not to be used again, unless it is by now."""
        if isinstance(exchange, HttpConnection) and exchange in self._timers:
            self._timers.pop(exchange).cancel()
            place = self._places[exchange.origin]
            place.idle.remove(exchange)
            exchange.abort()
            self._forget(place)

    def avoid(self, exchange: Exchange, why: Again) -> None:
        """The exchange came to nothing. Free it; who asks again because of that gets another connection if need be."""
        if isinstance(exchange, HttpConnection):
            if why in (Again.LOST, Again.TIMED_OUT):
                self._ended_idle(exchange.origin, exchange.idle_since)
        else:
            stream = cast("Http2Stream", exchange)
            session, place = stream.session, self._places.get(stream.session.origin)
            if place is not None and why is Again.MISDIRECTED and place.session is session:
                self._retire(place)
            elif stream.idle_before is not None and not session.usable:
                self._ended_idle(session.origin, stream.idle_before)
        self.discard(exchange)

    async def drain(self, exchange: Exchange) -> None:
        """Nobody wants what is left: read it away where that is little and soon done, else give the flow up.

        Returns at once; what is here already is read then, and its connection free.
        """
        if exchange.uploading:
            self.discard(exchange)
            return
        if isinstance(exchange, HttpConnection):
            self._places[exchange.origin].draining.append(exchange)
        self._run(self._drain(exchange))
        await asyncio.sleep(0)

    async def _drain(self, exchange: Exchange) -> None:
        left = DRAIN
        with suppress(SmolmixError):
            async with Deadline(self._clock, DRAIN_SECONDS, "drain"):
                while left > 0:
                    data = await exchange.read_body()
                    if not data:
                        self.release(exchange)
                        return
                    left -= len(data)
        self.discard(exchange)

    def stalled(self, exchange: Exchange, is_stalled: bool) -> None:
        """Nobody reads the body, and there is no room for more of it; or there is again."""
        stalled: set[Any] = set()
        if not isinstance(exchange, HttpConnection):
            stalled = cast("Http2Stream", exchange).session.stalled
        elif exchange in self._in_use:
            stalled = self._places[exchange.origin].stalled
        if is_stalled:
            stalled.add(exchange)
            self._dispatch()
        else:
            stalled.discard(exchange)

    def _leave_use(self, connection: HttpConnection) -> None:
        self._in_use.discard(connection)
        place = self._places[connection.origin]
        place.stalled.discard(connection)
        if connection in place.draining:
            place.draining.remove(connection)

    def close(self, error: SmolmixError | None = None) -> None:
        """End everything: idle connections in order, those in use with `error`; later requests fail."""
        self._closed = error or StateError("the HTTP client is closed")
        for idle in list(self._timers):
            self._drop(idle)
        for connection in list(self._in_use):
            self.discard(connection, self._closed)
        for session in list(self._sessions):
            session.abort(self._closed)
        for place in list(self._waiting.values()):
            for waiter in place.waiters:
                if not waiter.future.done():
                    waiter.future.set_exception(self._closed)
        if self._library is not None:
            self._library.cancel()

    # -- waiting ------------------------------------------------------------------------------------

    async def _wait(self, place: _Place, timeouts: Timeouts, waiter: _Waiter) -> Exchange | None:
        if self._closed is not None:
            raise self._closed
        self._places.setdefault(place.origin, place)
        place.waiters.append(waiter)
        self._waiting.setdefault(place.origin, place)
        self._dispatch()
        try:
            if not waiter.future.done():
                async with Deadline(self._clock, timeouts.queue, "queue"):
                    await waiter.future
            return waiter.future.result()
        except BaseException:
            future = waiter.future
            if future.done() and not future.cancelled() and future.exception() is None:
                self._give_back(place, future.result())  # served and given up in the same moment
            raise
        finally:
            if waiter in place.waiters:
                self._leave(place, waiter)
            self._tidy(place)

    def _give_back(self, place: _Place, granted: Exchange | None) -> None:
        if granted is None:
            place.opening -= 1
            self._forget(place)
        elif isinstance(granted, HttpConnection):
            self._keep(granted)
        else:
            granted.abort()

    def _leave(self, place: _Place, waiter: _Waiter) -> None:
        place.waiters.remove(waiter)
        if not place.waiters:
            self._waiting.pop(place.origin, None)

    # -- opening ------------------------------------------------------------------------------------

    async def _connect(self, place: _Place, url: Url, timeouts: Timeouts) -> tuple[Connected, str]:
        """A new connection and what it speaks.

        Both are offered to a server that has chosen HTTP/1.1 before too, as browsers do: an offer that got shorter
        would tell it, and who watches, that this is somebody who was here a moment ago."""
        offer: tuple[str, ...] = (HTTP11,)
        known = self._known.get(place.origin)
        if url.secure and self._http2 and not (known is not None and known.only_http11):
            offer = (HTTP2, HTTP11)
            if self._library is None:
                self._library = asyncio.create_task(
                    load_on_demand("h2", "hyperframe", "hpack")
                )  # while the connection is opened
        connected = await self._connector.connect(url, timeouts, offer)
        if connected.tls is None or connected.tls.alpn != HTTP2:
            return connected, HTTP11
        assert self._library is not None
        try:
            loaded = await asyncio.shield(self._library)
        except BaseException:
            connected.stream.abort()
            raise
        if loaded:
            return connected, HTTP2
        connected.stream.abort()
        self._library = None  # another request may try again
        return await self._connector.connect(url, timeouts, (HTTP11,)), HTTP11

    def _adopt(self, place: _Place, connected: Connected, protocol: str) -> Exchange:
        """Make the new connection part of the pool and take it, or a stream of it, into use."""
        if self._closed is not None:
            raise self._closed
        place.failed = False
        self._remember(place.origin).protocol = protocol
        if protocol == HTTP11:
            connection = HttpConnection(self._clock, place.origin, connected)
            self._in_use.add(connection)
            return connection
        if place.session is not None and place.session.capacity:
            connected.stream.abort()  # others tried at the same time
            place.count -= 1
            return self._open_stream(place.session)
        from .http2 import Http2Connection

        session = Http2Connection(self._clock, place.origin, connected, lambda: self._session_changed(place, session))
        self._sessions.add(session)
        place.session = session
        return session.open()

    def _open_stream(self, session: Http2Connection) -> Exchange:
        timer = self._timers.pop(session, None)
        if timer is not None:
            timer.cancel()
        return session.open()

    def _protocol(self, origin: Origin) -> str | None:
        known = self._known.get(origin)
        return known.protocol if known is not None else None

    def _remember(self, origin: Origin) -> _Known:
        known = self._known.setdefault(origin, _Known())
        self._known.move_to_end(origin)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known

    # -- decisions ----------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Serve who waits, as far as there is something."""
        served = True
        while served:
            served = False
            for place in sorted(self._waiting.values(), key=lambda place: place.count > 0):
                while place.waiters and place.waiters[0].future.done():
                    self._leave(place, place.waiters[0])  # given up, and not yet gone
                if not place.waiters:
                    continue
                waiter = place.waiters[0]
                granted, found = self._grant(place, waiter)
                if not found:
                    continue
                self._leave(place, waiter)
                if place.waiters:
                    self._waiting.move_to_end(place.origin)
                waiter.future.set_result(granted)
                served = True

    def _grant(self, place: _Place, waiter: _Waiter) -> tuple[Exchange | None, bool]:
        """An exchange, or None for leave to open a connection; and whether there is anything."""
        if place.session is not None and place.session.capacity:
            return self._open_stream(place.session), True
        idle = None if waiter.fresh else self._take_idle(place, waiter.careful)
        if idle is not None:
            return idle, True
        if not self._may_open(place):
            return None, False
        place.count += 1
        place.opening += 1
        return None, True

    def _take_idle(self, place: _Place, careful: bool) -> HttpConnection | None:
        while place.idle:
            connection = place.idle[-1]
            if not connection.reusable:
                self._drop(connection)
                continue
            idle = self._clock.now() - connection.idle_since
            if careful and idle + 2 * connection.round_trip > FRESH_SECONDS:
                return None
            place.idle.pop()
            self._timers.pop(connection).cancel()
            connection.stream.watch(None)
            self._in_use.add(connection)
            return connection
        return None

    def _may_open(self, place: _Place) -> bool:
        """May one more connection be opened? Gives up idle ones where that helps."""
        if place.session is not None and place.session.usable and not place.session.stuck:
            return False  # its streams are all in use
        known = self._protocol(place.origin)
        could_be_http2 = self._http2 and place.origin[0] == "https" and known != HTTP11
        if could_be_http2 and place.opening and not place.failed:
            return False
        if place.count - len(place.stalled) >= self._per_origin and not self._make_room(place.idle, place.draining):
            return False
        stalled = sum(len(place.stalled) for place in self._places.values())
        if self.connection_count - min(stalled, STALLED) >= self._total:
            idle = sorted(self._timers, key=lambda idle: idle.idle_since)
            draining = [connection for place in self._places.values() for connection in place.draining]
            if not self._make_room(idle, draining):
                return False
        self._retire(place)
        return True

    def _make_room(self, idle: Sequence[HttpConnection | Http2Connection], draining: Sequence[HttpConnection]) -> bool:
        """Give one connection up: the first that lies idle, or else one that is only read away."""
        if idle:
            self._drop(idle[0])
        elif draining:
            connection = draining[0]
            place = self._places[connection.origin]
            self._leave_use(connection)
            connection.abort()
            place.count -= 1
            self._tidy(place)
        else:
            return False
        return True

    def _idle_time(self, origin: Origin, round_trip: float, announced: float | None = None) -> float:
        """For how many seconds a connection may lie idle and be used again."""
        known = self._known.get(origin)
        seen = known.idle_ends.kept(self._clock.now()) if known is not None else None
        kept = [usable(seconds, round_trip) for seconds in (announced, seen) if seconds is not None]
        return min([self._idle_seconds, *kept])

    def _ended_idle(self, origin: Origin, since: float) -> None:
        """The server has ended what lay idle, or would have but for a request that came too late."""
        now = self._clock.now()
        self._remember(origin).idle_ends.seen(now, now - since)

    def _check_idle(self, connection: HttpConnection) -> None:
        if connection in self._timers and not connection.stream.is_quiet():
            self._ended_idle(connection.origin, connection.idle_since)
            self._expire(connection)

    def _retire(self, place: _Place) -> None:
        """The session of an origin takes no more; another may be opened."""
        session, place.session = place.session, None
        if session is not None and not session.active:
            self._drop(session)

    def _session_changed(self, place: _Place, session: Http2Connection) -> None:
        """Streams ended, or more are allowed, or it takes no more."""
        if session.http11_required:
            known = self._remember(place.origin)
            known.protocol, known.only_http11 = HTTP11, True
        if session not in self._sessions:
            return  # it is being closed
        if session.over:
            self._sessions.discard(session)
            timer = self._timers.pop(session, None)
            if timer is not None:
                timer.cancel()
                self._ended_idle(session.origin, session.idle_since)
            if place.session is session:
                place.session = None
            self._forget(place)
            return
        if not session.usable and place.session is session:
            place.session = None
        if not session.active and session not in self._timers:
            wait = self._idle_time(place.origin, session.round_trip) if place.session is session else 0.0
            if self._closed is not None:
                wait = 0.0
            self._timers[session] = self._clock.call_later(wait, partial(self._expire, session))
        self._dispatch()

    def _expire(self, idle: HttpConnection | Http2Connection) -> None:
        self._drop(idle)
        self._dispatch()

    def _drop(self, idle: HttpConnection | Http2Connection) -> None:
        """Close what lies idle."""
        timer = self._timers.pop(idle, None)
        if timer is None:
            return
        timer.cancel()
        place = self._places[idle.origin]
        if isinstance(idle, HttpConnection):
            place.idle.remove(idle)
        else:
            self._sessions.discard(idle)
            if place.session is idle:
                place.session = None
        self._close(place, idle)

    def _close(self, place: _Place, connection: HttpConnection | Http2Connection) -> None:
        self._run(connection.close())
        place.count -= 1
        self._tidy(place)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, place: _Place) -> None:
        """A connection is gone."""
        place.count -= 1
        self._tidy(place)
        self._dispatch()

    def _tidy(self, place: _Place) -> None:
        if not place.count and not place.waiters:
            self._places.pop(place.origin, None)


def _describe(timings: Timings, exchange: Exchange, made: Connected | None) -> None:
    """`made`: the connection that was opened for this exchange."""
    timings.protocol = exchange.protocol
    timings.reused = made is None
    timings.dns = made.dns_seconds if made is not None else None
    timings.connect = made.connect_seconds if made is not None else None
    timings.tls = made.tls_seconds if made is not None else None
    remote = exchange.connected.remote
    timings.remote_address = str(remote.address) if remote is not None else None
