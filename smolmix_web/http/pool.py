"""Connections for requests: up to six of HTTP/1.1 for an origin or one of HTTP/2, bounded in all (RFC 9112 9.3, 9.4).

Who waits, waits in a queue of its origin, first come first served. All decisions are in `_dispatch`, which is
synchronous: it hands what is free to the head of a queue, origins that have nothing at all before the others, so that
no busy origin can keep another one out. Only `acquire` waits.

What an origin speaks is known when its first connection is open. Until then further requests wait for that one,
because with HTTP/2 it will carry them all; if it fails they try for themselves.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ..deadline import Clock, Deadline, TimerHandle
from ..dial import Connected
from ..errors import SmolmixError, StateError
from ..on_demand import load_on_demand
from .connection import HttpConnection
from .connector import Connector
from .exchange import Exchange
from .timeouts import Timeouts
from .timings import Timings
from .url import Url

if TYPE_CHECKING:
    from .http2 import Http2Connection

Origin = tuple[str, str, int]

PER_ORIGIN = 6
TOTAL = 96
IDLE_SECONDS = 60.0
# A request that must not be sent twice takes no connection that the server may just be closing.
FRESH_SECONDS = 4.0
REMEMBERED = 256  # origins of which is known what they speak

HTTP11, HTTP2 = "http/1.1", "h2"


@dataclass(eq=False)
class _Waiter:
    """A request that waits: its future gets an `Exchange`, or None for leave to open a connection."""

    repeatable: bool
    future: asyncio.Future[Exchange | None]


@dataclass(eq=False)
class _Place:
    """What there is for one origin."""

    origin: Origin
    count: int = 0  # connections idle, in use and being opened
    opening: int = 0
    failed: bool = False  # to connect, the last time
    idle: list[HttpConnection] = field(default_factory=list)  # the most recently used last
    session: Http2Connection | None = None
    waiters: deque[_Waiter] = field(default_factory=deque)


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
        self._known: OrderedDict[Origin, str] = OrderedDict()
        self._waiting: OrderedDict[Origin, _Place] = OrderedDict()  # those with waiters, who was served last at the end
        self._timers: dict[HttpConnection | Http2Connection, TimerHandle] = {}  # of what lies idle
        self._in_use: set[HttpConnection] = set()
        self._sessions: set[Http2Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._library: asyncio.Task[bool] | None = None
        self._closed: SmolmixError | None = None

    @property
    def connection_count(self) -> int:
        return sum(place.count for place in self._places.values())

    @property
    def idle_count(self) -> int:
        return len(self._timers)

    async def acquire(
        self, url: Url, timeouts: Timeouts, timings: Timings, *, repeatable: bool, fresh: bool = False
    ) -> Exchange:
        """An exchange; `timings` gets what its making took, and whether its connection was used before.

        `repeatable`: the request may be sent again should the connection prove stale. `fresh`: none of the HTTP/1.1
        connections that lie idle.
        """
        began = self._clock.now()
        place = self._places.setdefault(url.origin, _Place(url.origin))
        if fresh:
            for connection in list(place.idle):
                self._drop(connection)
        try:
            granted = await self._wait(place, timeouts, repeatable)
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
        if not isinstance(exchange, HttpConnection):
            return  # a stream ends by itself
        self._in_use.discard(exchange)
        place = self._places[exchange.origin]
        if self._closed is not None or not exchange.reusable:
            self._close(place, exchange)
        else:
            exchange.idle_since = self._clock.now()
            place.idle.append(exchange)
            self._timers[exchange] = self._clock.call_later(self._idle_seconds, partial(self._expire, exchange))
            exchange.stream.watch(partial(self._check_idle, exchange))
        self._dispatch()

    def discard(self, exchange: Exchange, error: SmolmixError | None = None) -> None:
        """The exchange failed or was aborted: free the flow at once."""
        if not isinstance(exchange, HttpConnection):
            exchange.abort(error)
        elif exchange in self._in_use:
            self._in_use.discard(exchange)
            exchange.abort(error)
            self._forget(self._places[exchange.origin])

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

    async def _wait(self, place: _Place, timeouts: Timeouts, repeatable: bool) -> Exchange | None:
        if self._closed is not None:
            raise self._closed
        waiter = _Waiter(repeatable, asyncio.get_running_loop().create_future())
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
            self.release(granted)
        else:
            granted.abort()

    def _leave(self, place: _Place, waiter: _Waiter) -> None:
        place.waiters.remove(waiter)
        if not place.waiters:
            self._waiting.pop(place.origin, None)

    # -- opening ------------------------------------------------------------------------------------

    async def _connect(self, place: _Place, url: Url, timeouts: Timeouts) -> tuple[Connected, str]:
        """A new connection and what it speaks."""
        offer: tuple[str, ...] = (HTTP11,)
        if url.secure and self._http2 and self._known.get(place.origin) != HTTP11:
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
        self._learn(place.origin, protocol)
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

    def _learn(self, origin: Origin, protocol: str) -> None:
        self._known[origin] = protocol
        self._known.move_to_end(origin)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

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
                granted, found = self._grant(place, waiter.repeatable)
                if not found:
                    continue
                self._leave(place, waiter)
                if place.waiters:
                    self._waiting.move_to_end(place.origin)
                waiter.future.set_result(granted)
                served = True

    def _grant(self, place: _Place, repeatable: bool) -> tuple[Exchange | None, bool]:
        """An exchange, or None for leave to open a connection; and whether there is anything."""
        if place.session is not None and place.session.capacity:
            return self._open_stream(place.session), True
        idle = self._take_idle(place, repeatable)
        if idle is not None:
            return idle, True
        if not self._may_open(place):
            return None, False
        place.count += 1
        place.opening += 1
        return None, True

    def _take_idle(self, place: _Place, repeatable: bool) -> HttpConnection | None:
        while place.idle:
            connection = place.idle[-1]
            if not connection.reusable:
                self._drop(connection)
                continue
            if not repeatable and self._clock.now() - connection.idle_since > FRESH_SECONDS:
                return None
            place.idle.pop()
            self._timers.pop(connection).cancel()
            connection.stream.watch(None)
            self._in_use.add(connection)
            return connection
        return None

    def _may_open(self, place: _Place) -> bool:
        """May one more connection be opened? Gives up idle ones where that helps."""
        if place.session is not None and place.session.usable:
            return False  # its streams are all in use
        known = self._known.get(place.origin)
        could_be_http2 = self._http2 and place.origin[0] == "https" and known != HTTP11
        if could_be_http2 and place.opening and not place.failed:
            return False
        if place.count >= self._per_origin:
            if not place.idle:
                return False
            self._drop(place.idle[0])
        if self.connection_count >= self._total:
            oldest = min(self._timers, key=lambda idle: idle.idle_since, default=None)
            if oldest is None:
                return False
            self._drop(oldest)
        return True

    def _check_idle(self, connection: HttpConnection) -> None:
        if connection in self._timers and not connection.stream.is_quiet():
            self._expire(connection)

    def _session_changed(self, place: _Place, session: Http2Connection) -> None:
        """Streams ended, or more are allowed, or it takes no more."""
        if session.http11_required:
            self._learn(place.origin, HTTP11)
        if session not in self._sessions:
            return  # it is being closed
        if session.over:
            self._sessions.discard(session)
            timer = self._timers.pop(session, None)
            if timer is not None:
                timer.cancel()
            if place.session is session:
                place.session = None
            self._forget(place)
            return
        if not session.usable and place.session is session:
            place.session = None
        if not session.active and session not in self._timers:
            wait = self._idle_seconds if place.session is session and self._closed is None else 0.0
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
        task = asyncio.ensure_future(connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        place.count -= 1
        self._tidy(place)

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
