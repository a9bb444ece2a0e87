"""A place in a pool: the tunnel that is used, the one that comes after it, and the one that came before and ends.

A tunnel is replaced by one that is up. What came before has `DRAIN` seconds for what is under way in it; so a place has
two tunnels at most for longer than a moment: while one is ending, another replacement waits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..edge.deadline import Deadline
from ..errors import SmolmixError, TimeoutExpired, TunnelError
from ..host.base import Host, TimerHandle
from .pool_options import PoolOptions
from .tunnel import OnChange, Tunnel

DRAIN = 120.0  # s that what is under way in a tunnel goes on after its replacement
LOOK = 0.5  # s between two looks whether anything is
FIRST_DELAY, LONGEST_DELAY = 2.0, 60.0  # s before another attempt to replace
REPLACE_TIMEOUT = 150.0  # s that is waited for a replacement: a set-up, and half of another one
SPREAD = 0.25  # part by which the time of a tunnel may be shorter or longer, so that not all end together

MakeTunnel = Callable[[OnChange], Tunnel]


class Seat:
    """`tunnel` None: it died, or never came up, and is being replaced. `changed(seat)` is called when a tunnel's state
    has changed."""

    def __init__(self, host: Host, options: PoolOptions, make: MakeTunnel, changed: Callable[[Seat], None]) -> None:
        self._host = host
        self._options = options
        self._make = make
        self._changed = changed
        self.tunnel: Tunnel | None = None
        self.requests = 0  # that this tunnel had
        self.refused_at = float("-inf")  # when a server had it replaced last
        self.replacements: Counter[str] = Counter()  # that were begun, by reason
        self.awake = asyncio.Event()  # not suspended
        self.awake.set()
        self._coming: Tunnel | None = self._new()
        self._ending: Tunnel | None = None
        self._last_error: SmolmixError | None = None
        self._news: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._drain: asyncio.Task[None] | None = None
        self._timer: TimerHandle | None = None
        self._closed = False

    def _new(self) -> Tunnel:
        made: list[Tunnel] = []

        def heard(snapshot: dict[str, Any]) -> None:
            if made and made[0] is self.tunnel and snapshot["state"] == "failed":
                self._last_error, self.tunnel = made[0].error, None
            self._changed(self)

        made.append(self._make(heard))
        return made[0]

    @property
    def tunnels(self) -> list[Tunnel]:
        """All that there are, in any state."""
        return [tunnel for tunnel in (self.tunnel, self._coming, self._ending) if tunnel is not None]

    def keeps(self, isolation: str) -> bool:
        """Is anything remembered of this key?"""
        return any(tunnel.keeps(isolation) for tunnel in self.tunnels)

    @property
    def replacing(self) -> bool:
        return self._task is not None

    def snapshot(self) -> dict[str, Any]:
        """Of the tunnel that is used, or else of the one that is coming."""
        tunnel = self.tunnel or self._coming
        if tunnel is not None:
            return tunnel.snapshot()
        error = self._last_error.to_dict() if self._last_error is not None else None
        nothing = dict.fromkeys(("step", "gateway", "address", "exit", "traffic"))
        state = "shutdown" if self._closed else "reconnecting"
        return {**nothing, "state": state, "error": error, "warnings": [], "addresses": []}

    async def start(self) -> SmolmixError | None:
        """The first tunnel; what kept it from coming up."""
        assert self._coming is not None
        try:
            await self._coming.start()
        except SmolmixError as error:
            self._last_error, self._coming = error, None
            return error
        self._take()
        return None

    def _take(self) -> None:
        """The tunnel that has come is used from now on."""
        self.tunnel, self._coming = self._coming, None
        self.requests, self._last_error = 0, None
        if self._options.every_ms is not None:
            seconds = self._options.every_ms / 1000 * (1 - SPREAD + 2 * SPREAD * self._host.rng.uniform())
            self._timer = self._host.call_later(seconds, self._aged)
        self._tell()

    def _aged(self) -> None:
        self._timer = None
        self.replace("aged")

    async def current(self) -> Tunnel:
        """The tunnel that is used, once there is one."""
        while self.tunnel is None:
            await self._next()
        return self.tunnel

    async def _next(self) -> None:
        """Something else is the case; raises `TunnelError` at the end."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.add(news)
        try:
            await news
        finally:
            self._news.discard(news)
        if self._closed:
            raise TunnelError("the pool was closed", code="tunnel_down")

    def _tell(self) -> None:
        for news in self._news:
            if not news.done():
                news.set_result(None)

    # -- replacing ------------------------------------------------------------------------------------

    def replace(self, reason: str) -> None:
        """Begin, unless that is under way."""
        if self._closed or self._task is not None:
            return
        self.replacements[reason] += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._task = asyncio.get_running_loop().create_task(self._replace())

    async def replaced(self, timeout: float) -> None:
        """What was begun is done. Raises `TimeoutExpired(phase="rotate")`; its cause: why no tunnel came up."""
        try:
            async with Deadline(self._host, timeout, "rotate"):
                while self._task is not None:
                    await self._next()
        except TimeoutExpired as error:
            raise error from self._last_error

    async def _replace(self) -> None:
        delay = FIRST_DELAY
        if self._drain is not None:
            await asyncio.shield(self._drain)
        while True:
            await self.awake.wait()
            try:
                self._coming = self._new()
                await self._coming.start()
                break
            except SmolmixError as error:
                self._last_error, self._coming = error, None
                self._changed(self)
            await asyncio.sleep(delay * (0.5 + self._host.rng.uniform()))
            delay = min(2 * delay, LONGEST_DELAY)
        self._ending = self.tunnel
        self._task = None
        self._take()
        if self._ending is not None:
            self._drain = asyncio.get_running_loop().create_task(self._let_end(self._ending))
        self._changed(self)

    async def _let_end(self, tunnel: Tunnel) -> None:
        until = self._host.now() + DRAIN
        while tunnel.busy and self._host.now() < until and not self._closed:
            await asyncio.sleep(LOOK)
        await tunnel.close()
        self._ending = self._drain = None
        self._changed(self)

    async def close(self) -> None:
        """Close what there is. Who waits hears of it."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        tasks = [task for task in (self._task, self._drain) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(tunnel.close() for tunnel in self.tunnels))
        self.tunnel = self._coming = self._ending = self._task = self._drain = None
        self._tell()
