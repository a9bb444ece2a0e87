"""The body of one response on its way to whoever reads it: read ahead into a small store, without being asked.

So a body that fits has arrived, and given its connection back, whether anybody reads it or not. One that does not fit
waits with the network's backpressure; its connection is then told to be stalled, and does not count among those that
its origin may have. What ends a body while nobody reads is told after the bytes that came before it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from ..edge.deadline import Clock, TimerHandle, expired
from ..errors import Cancelled, SmolmixError
from .exchange import AHEAD, Exchange, Pieces
from .pool import Pool
from .timings import Timings

AHEAD_TOTAL = 64 << 20  # of all bodies of one store; beyond it nothing is read ahead
STALL_SECONDS = 1.0  # without room: nobody reads


class Store:
    """What all bodies of a client, or of several, hold together."""

    def __init__(self) -> None:
        self.held = 0
        self._waiting: set[Body] = set()

    @property
    def full(self) -> bool:
        return self.held >= AHEAD_TOTAL

    def wait(self, body: Body) -> None:
        self._waiting.add(body)

    def leave(self, body: Body) -> None:
        self._waiting.discard(body)

    def give_back(self, size: int) -> None:
        was_full, self.held = self.full, self.held - size
        if was_full and not self.full:
            for body in self._waiting:
                body.wake()


class Body:
    """Takes the exchange over: gives it back to the pool when the body is here, or when it fails.

    `deadline` seconds for the rest of the body, as a part of `total`; None: no limit.
    """

    def __init__(
        self,
        clock: Clock,
        pool: Pool,
        exchange: Exchange,
        store: Store,
        timings: Timings,
        deadline: float | None,
        total: float | None,
    ) -> None:
        self.truncated = False  # see `Exchange`
        self._clock = clock
        self._pool = pool
        self._exchange = exchange
        self._store = store
        self._timings = timings
        self._pieces = Pieces()
        self._error: Exception | None = None
        self._running = True  # the exchange is ours
        self._wanted = False  # the reader waits
        self._changed = asyncio.Event()  # for the reader
        self._room = asyncio.Event()  # for the task
        self._timer: TimerHandle | None = None
        if deadline is not None and total is not None:
            self._timer = clock.call_later(deadline, partial(self._expire, total))
        self._task = asyncio.create_task(self._read_ahead())

    @property
    def finished(self) -> bool:
        """Nothing is left to be read, and no connection is held."""
        return not self._running and not self._pieces

    async def read(self) -> bytes:
        """At most `PIECE` bytes, `b""` at the end. Raises what ended the body, after the bytes that came before."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if not self._running:
                return b""
            self._want(True)
            self.wake()
            self._changed.clear()
            try:
                await self._changed.wait()
            finally:
                self._want(False)
        return self._take()

    def _want(self, wanted: bool) -> None:
        self._wanted = wanted
        if self._running:
            self._exchange.wanted = wanted

    def _take(self) -> bytes:
        data = self._pieces.take()
        self._store.give_back(len(data))
        self.wake()
        return data

    def wake(self) -> None:
        """There may be room."""
        self._room.set()

    def abort(self, error: SmolmixError | None = None) -> None:
        """Give the rest up, also of what is here. A reader gets `error`, by default `Cancelled`. Idempotent."""
        if self.finished:
            return
        reason = error or Cancelled("the response was aborted", phase="body")
        self._error = reason
        self._store.give_back(self._pieces.clear())
        if self._running:
            self._task.cancel()
            self._pool.discard(self._exchange, reason)
        self._over()

    # -- the task -----------------------------------------------------------------------------------

    async def _read_ahead(self) -> None:
        try:
            while True:
                if not self._has_room():
                    await self._wait_for_room()
                data = await self._exchange.read_body()
                if not data:
                    break
                self._put(data)
        except Exception as error:
            self._error = error
            self._pool.discard(self._exchange, error if isinstance(error, SmolmixError) else None)
        else:
            self._timings.end = self._timings.since(self._clock.now())
            self.truncated = self._exchange.truncated
            self._pool.release(self._exchange)
        self._over()

    def _put(self, data: bytes) -> None:
        self._pieces.put(data)
        self._store.held += len(data)
        self._changed.set()

    def _has_room(self) -> bool:
        if self._wanted and not self._pieces:
            return True
        return self._pieces.size <= AHEAD and not self._store.full

    async def _wait_for_room(self) -> None:
        """The time is the reader's, not the server's: no deadline but the total one runs."""
        stalled = self._clock.call_later(STALL_SECONDS, partial(self._pool.stalled, self._exchange, True))
        self._store.wait(self)
        try:
            while not self._has_room():
                self._room.clear()
                await self._room.wait()
        finally:
            stalled.cancel()
            self._store.leave(self)
            self._pool.stalled(self._exchange, False)

    def _over(self) -> None:
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._changed.set()

    def distrust(self) -> None:
        """It is not what it was said to be: so may be where it ended, and the connection is not used again."""
        if not self._running:
            self._pool.drop_idle(self._exchange)

    def abandon(self) -> None:
        """Nobody can read it any more; called from whatever thread finds that out."""
        if self._running:
            with suppress(RuntimeError):  # the loop is closed, and all with it
                self._task.get_loop().call_soon_threadsafe(self.abort)

    def _expire(self, total: float) -> None:
        self.abort(expired("total", total))

    def __del__(self) -> None:
        self._store.held -= self._pieces.size  # nobody read it, and nobody will
