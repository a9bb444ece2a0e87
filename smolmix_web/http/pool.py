"""Connections kept for reuse, per origin and bounded (RFC 9112 9.3, 9.4).

All decisions are in synchronous methods; only `acquire` waits. A waiting request is woken by every change and decides
anew.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from functools import partial

from ..deadline import Clock, Deadline, TimerHandle
from ..errors import SmolmixError, StateError
from .connection import HttpConnection
from .connector import Connector
from .timeouts import Timeouts
from .timings import Timings
from .url import Url

Origin = tuple[str, str, int]

PER_ORIGIN = 6
TOTAL = 96
IDLE_SECONDS = 60.0
# A request that must not be sent twice takes no connection that the server may just be closing.
FRESH_SECONDS = 4.0


class Pool:
    def __init__(
        self,
        clock: Clock,
        connector: Connector,
        *,
        per_origin: int = PER_ORIGIN,
        total: int = TOTAL,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._clock = clock
        self._connector = connector
        self._per_origin = per_origin
        self._total = total
        self._idle_seconds = idle_seconds
        self._idle: dict[Origin, list[HttpConnection]] = defaultdict(list)  # the most recently used last
        self._timers: dict[HttpConnection, TimerHandle] = {}
        self._open: dict[Origin, int] = defaultdict(int)  # idle, in use and being opened
        self._in_use: set[HttpConnection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed: SmolmixError | None = None

    @property
    def connection_count(self) -> int:
        return sum(self._open.values())

    @property
    def idle_count(self) -> int:
        return len(self._timers)

    async def acquire(
        self, url: Url, timeouts: Timeouts, timings: Timings, *, repeatable: bool, fresh: bool = False
    ) -> HttpConnection:
        """A connection for one exchange; `timings` gets what its making took, and whether it was used before.

        `repeatable`: the request may be sent again should the connection prove stale. `fresh`: only a new connection.
        """
        origin = url.origin
        began = self._clock.now()
        if fresh:
            for connection in list(self._idle[origin]):
                self._drop(connection)
        async with Deadline(self._clock, timeouts.queue, "queue"):
            while True:
                if self._closed is not None:
                    raise self._closed
                reused = self._take_idle(origin, repeatable)
                if reused is not None:
                    timings.queue += self._clock.now() - began
                    self._describe(timings, reused, new=False)
                    return reused
                if self._make_room(origin):
                    break
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                try:
                    await waiter
                finally:
                    if waiter in self._waiters:
                        self._waiters.remove(waiter)
        timings.queue += self._clock.now() - began
        self._open[origin] += 1
        try:
            connected = await self._connector.connect(url, timeouts)
        except BaseException:
            self._forget(origin)
            raise
        connection = HttpConnection(self._clock, origin, connected)
        self._in_use.add(connection)
        if self._closed is not None:
            self.discard(connection, self._closed)
            raise self._closed
        self._describe(timings, connection, new=True)
        return connection

    @staticmethod
    def _describe(timings: Timings, connection: HttpConnection, *, new: bool) -> None:
        made = connection.connected
        timings.reused = not new
        timings.dns = made.dns_seconds if new else None
        timings.connect = made.connect_seconds if new else None
        timings.tls = made.tls_seconds if new else None
        timings.remote_address = str(made.remote.address) if made.remote is not None else None

    def release(self, connection: HttpConnection) -> None:
        """The exchange is over: keep the connection or close it."""
        self._in_use.discard(connection)
        if self._closed is not None or not connection.reusable:
            self._close(connection)
            return
        connection.idle_since = self._clock.now()
        self._idle[connection.origin].append(connection)
        self._timers[connection] = self._clock.call_later(self._idle_seconds, partial(self._drop, connection))
        connection.stream.watch(partial(self._check_idle, connection))
        self._wake()

    def discard(self, connection: HttpConnection, error: SmolmixError | None = None) -> None:
        """The exchange failed or was aborted: free the flow at once."""
        if connection in self._in_use:
            self._in_use.discard(connection)
            connection.abort(error)
            self._forget(connection.origin)

    def close(self, error: SmolmixError | None = None) -> None:
        """End everything: idle connections in order, those in use with `error`; later requests fail."""
        self._closed = error or StateError("the HTTP client is closed")
        for connections in list(self._idle.values()):
            for connection in list(connections):
                self._drop(connection)
        for connection in list(self._in_use):
            self.discard(connection, self._closed)
        self._wake()

    # -- decisions ----------------------------------------------------------------------------------

    def _take_idle(self, origin: Origin, repeatable: bool) -> HttpConnection | None:
        connections = self._idle[origin]
        while connections:
            connection = connections[-1]
            if not connection.reusable:
                self._drop(connection)
                continue
            if not repeatable and self._clock.now() - connection.idle_since > FRESH_SECONDS:
                return None
            connections.pop()
            self._timers.pop(connection).cancel()
            connection.stream.watch(None)
            self._in_use.add(connection)
            return connection
        return None

    def _make_room(self, origin: Origin) -> bool:
        """May one more connection to `origin` be opened? Gives up idle ones where that helps."""
        if self._open[origin] >= self._per_origin:
            if not self._idle[origin]:
                return False
            self._drop(self._idle[origin][0])
        if self.connection_count >= self._total:
            oldest = min(self._timers, key=lambda connection: connection.idle_since, default=None)
            if oldest is None:
                return False
            self._drop(oldest)
        return True

    def _check_idle(self, connection: HttpConnection) -> None:
        if connection in self._timers and not connection.stream.is_quiet():
            self._drop(connection)

    def _drop(self, connection: HttpConnection) -> None:
        """Close an idle connection."""
        timer = self._timers.pop(connection, None)
        if timer is None:
            return
        timer.cancel()
        self._idle[connection.origin].remove(connection)
        self._close(connection)

    def _close(self, connection: HttpConnection) -> None:
        task = asyncio.ensure_future(connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._forget(connection.origin)

    def _forget(self, origin: Origin) -> None:
        self._open[origin] -= 1
        if not self._open[origin]:
            del self._open[origin]
            self._idle.pop(origin, None)
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
