"""One heap, one timer: everything a node or a link has to do later.

A timer of the event loop per packet would cost more than the packet; here the loop knows only the earliest moment.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any

Action = Callable[..., object]


class Scheduler:
    """Calls `action(*args)` at or after a moment of the loop's clock; at most `limit` are held."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int = 100_000) -> None:
        self.loop = loop
        self.limit = limit
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def now(self) -> float:
        return self.loop.time()

    def at(self, when: float, action: Action, *args: Any) -> bool:
        """False when the scheduler is full: then nothing is scheduled."""
        if len(self._heap) >= self.limit:
            return False
        heapq.heappush(self._heap, (when, next(self._order), action, args))
        if self._timer is None or when < self._armed:
            self._arm(when)
        return True

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = when
        self._timer = self.loop.call_at(when, self._run)

    def _run(self) -> None:
        self._timer = None
        heap = self._heap
        # The loop wakes timers up to its resolution early; what is due by then is run now, not re-armed.
        now = self.loop.time() + 0.0005
        try:
            while heap and heap[0][0] <= now:
                _, _, action, args = heapq.heappop(heap)
                action(*args)
        finally:
            if heap and self._timer is None:
                self._arm(heap[0][0])

    def clear(self) -> None:
        """Forget everything scheduled."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
