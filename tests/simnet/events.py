"""The one queue of a simulation: a heap of events, the clock that jumps from one to the next, and asyncio on top.

`EventQueue.run` moves a simulation that has no coroutines. `run_simulated` runs a coroutine on a `SimLoop`, whose
idle waiting *is* the queue: while no task is ready, events happen; the loop's own timers are events like any other.
So a hop of a packet costs one heap entry and no task, and one clock rules both sides.

Nothing here may run for ever: time that stands still is a `BusyLoop`, nobody left to act a `Deadlock`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.virtual_loop import Deadlock, VirtualLoop, run_to_end

T = TypeVar("T")

START = 1000.0  # of the monotonic clock, s
UNIX_START = 1_800_000_000.0  # 2027-01-15 08:00 UTC
MAX_EVENTS_AT_ONCE = 50_000

Action = Callable[..., object]


class BusyLoop(RuntimeError):
    """Events follow each other without end while the clock stands still."""


class Event:
    """A scheduled call; `cancel` keeps it from happening. Ordered by time, then by age."""

    __slots__ = ("action", "args", "number", "when")

    def __init__(self, when: float, number: int, action: Action | None, args: tuple[Any, ...]) -> None:
        self.when = when
        self.number = number
        self.action = action
        self.args = args

    def cancel(self) -> None:
        self.action = None
        self.args = ()


class EventQueue:
    """The clock of a simulation, in monotonic seconds, and everything that will happen."""

    def __init__(self) -> None:
        self.now = START
        self.happened = 0
        self._heap: list[tuple[float, int, Event]] = []
        self._count = 0
        self._at_once = 0

    def __len__(self) -> int:
        """Events to come, cancelled ones not counted."""
        return sum(event.action is not None for _, _, event in self._heap)

    def unix_time(self) -> float:
        """Seconds since 1970 of a machine whose clock is right."""
        return UNIX_START + (self.now - START)

    def at(self, when: float, action: Action, *args: Any) -> Event:
        if when < self.now:
            when = self.now
        self._count += 1
        event = Event(when, self._count, action, args)
        heapq.heappush(self._heap, (when, self._count, event))
        return event

    def after(self, delay: float, action: Action, *args: Any) -> Event:
        return self.at(self.now + delay, action, *args)

    def next_time(self) -> float | None:
        """When the next event happens; cancelled ones are thrown away on the way."""
        heap = self._heap
        while heap:
            if heap[0][2].action is not None:
                return heap[0][0]
            heapq.heappop(heap)
        return None

    def step(self) -> None:
        """Let the next event happen; there must be one (`next_time` says so)."""
        when, _, event = heapq.heappop(self._heap)
        action, args = event.action, event.args
        event.action = None
        if when > self.now:
            self.now = when
            self._at_once = 0
        else:
            self._at_once += 1
            if self._at_once > MAX_EVENTS_AT_ONCE:
                raise BusyLoop(f"{self._at_once} events at {self.now:.6f}, the last one {action}")
        self.happened += 1
        if action is not None:
            action(*args)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Let `seconds` pass, or less if `until` comes true; whether it did."""
        end = self.now + seconds
        while until is None or not until():
            when = self.next_time()
            if when is None or when > end:
                self.now = max(self.now, end)  # an event may have let time pass itself
                return until() if until is not None else True
            self.step()
        return True


class _QueueSelector:
    """Stands where the loop expects a selector: waiting for I/O means that simulated events happen."""

    def __init__(self, queue: EventQueue) -> None:
        self.queue = queue
        self.loop: SimLoop
        self._turns = 0

    @property
    def now(self) -> float:
        return self.queue.now

    def select(self, timeout: float | None) -> list[Any]:
        queue, ready = self.queue, self.loop.ready
        if ready:
            self._turns += 1
            if self._turns > MAX_EVENTS_AT_ONCE:
                raise BusyLoop(f"tasks take turns without end at {queue.now:.6f}: {list(ready)[:5]}")
            return []
        self._turns = 0
        while not ready:
            when, timer = queue.next_time(), self.loop.next_timer()
            if timer is not None and (when is None or timer <= when):
                queue.now = max(queue.now, timer)
                break
            if when is None:
                raise Deadlock("every task waits, no timer is set and nothing will happen")
            queue.step()
        return []


class SimLoop(VirtualLoop):
    """An asyncio loop in the time of an `EventQueue`."""

    def __init__(self, queue: EventQueue) -> None:
        super().__init__()
        selector = _QueueSelector(queue)
        selector.loop = self
        self._selector = selector  # type: ignore[assignment]
        self.queue = queue
        self.uncollected: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.uncollected.append(context))

    @property
    def ready(self) -> Any:
        return self._ready  # type: ignore[attr-defined]

    def next_timer(self) -> float | None:
        """The earliest timer of the loop itself. A cancelled one only wakes the loop for nothing."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        return scheduled[0].when() if scheduled else None


def run_simulated(queue: EventQueue, main: Coroutine[Any, Any, T]) -> T:
    """Run to the end in the queue's time. Tasks left over are cancelled; errors nobody collected fail the run."""
    loop = SimLoop(queue)
    result = run_to_end(loop, main)
    if loop.uncollected:
        raise AssertionError(f"uncollected errors: {loop.uncollected}")
    return result
