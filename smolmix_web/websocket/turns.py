"""Who may open a WebSocket to a host: one at a time (RFC 6455 4.1), so that a page cannot flood it with handshakes.

The place is given back when the connection is open or has failed; then the next one begins, in the order of asking.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from ..errors import WebSocketError

MAX_WAITING = 255  # for one place; browsers allow a page as many sockets


class Turns:
    """`place` is what may be taken by one at a time: an address and a port."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}  # an entry for each place that is taken

    @asynccontextmanager
    async def turn(self, place: Hashable) -> AsyncIterator[None]:
        """Cancelling a wait leaves the queue. Raises `WebSocketError` code `queue_full`."""
        await self._take(place)
        try:
            yield
        finally:
            self._leave(place)

    async def _take(self, place: Hashable) -> None:
        waiting = self._waiting.get(place)
        if waiting is None:
            self._waiting[place] = deque()
            return
        if len(waiting) >= MAX_WAITING:
            raise WebSocketError(
                f"{MAX_WAITING} WebSockets to this host wait to be opened", code="queue_full", phase="queue"
            )
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if not mine.cancelled():
                self._leave(place)  # it had just become ours
            elif mine in waiting:
                waiting.remove(mine)
            raise

    def _leave(self, place: Hashable) -> None:
        waiting = self._waiting[place]
        while waiting:
            following = waiting.popleft()
            if not following.done():  # else it is being cancelled
                following.set_result(None)
                return
        del self._waiting[place]
