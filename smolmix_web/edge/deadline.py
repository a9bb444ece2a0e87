"""Deadlines of the asyncio edge: one way to end a wait that takes too long.

Two tools over the same clock. `Deadline` is a context around awaits: when the time is up, the task inside is
interrupted and `TimeoutExpired` leaves the context. `Watchdog` belongs to a flow: it is touched on progress and calls
back once when progress stops, so a long transfer needs one timer and not one per read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from ..errors import TimeoutExpired


class TimerHandle(Protocol):
    def cancel(self) -> object: ...


class Clock(Protocol):
    """Monotonic seconds and a timer: the part of `Net` that deadlines need."""

    def now(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle: ...


class LoopClock:
    """The running asyncio loop as a `Clock`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        return self._loop.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> TimerHandle:
        return self._loop.call_later(delay, callback)


def expired(phase: str, seconds: float) -> TimeoutExpired:
    """The error of a passed deadline; `phase` is part of the public interface."""
    return TimeoutExpired(f"{phase} took longer than {seconds:g} s", phase=phase)


class Deadline:
    """`async with Deadline(clock, seconds, phase):` ends the body with `TimeoutExpired(phase)` after `seconds`.

    `None` seconds means no limit. The body sees `CancelledError`, so its own clean-up runs first. A cancellation that
    comes from outside stays a cancellation. With `lag`, seconds in which what came may not have been read yet (see
    engine/hearing.py) do not count, up to as many as there are in all.
    """

    def __init__(
        self, clock: Clock, seconds: float | None, phase: str, *, lag: Callable[[], float] | None = None
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._phase = phase
        self._lag = lag
        self._longer = seconds or 0.0
        self._timer: TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._fired = False

    async def __aenter__(self) -> Deadline:
        if self._seconds is not None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a deadline needs a task")
            self._task = task
            self._cancelling = task.cancelling()
            self._timer = self._clock.call_later(max(0.0, self._seconds), self._expire)
        return self

    def _expire(self) -> None:
        assert self._task is not None
        self._timer = None
        longer = min(self._lag(), self._longer) if self._lag is not None else 0.0
        if longer > 0:
            self._longer -= longer
            self._timer = self._clock.call_later(longer, self._expire)
            return
        self._fired = True
        self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._fired:
            return
        assert self._task is not None and self._seconds is not None
        ours_alone = self._task.uncancel() <= self._cancelling
        if ours_alone and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise expired(self._phase, self._seconds) from None


class Watchdog:
    """Calls `on_expiry(error)` when `start`ed and not `touch`ed, `pause`d or `stop`ped for the given seconds.

    Touching only moves a number; the timer looks at it when it fires and sleeps on for the rest.
    """

    def __init__(self, clock: Clock, on_expiry: Callable[[TimeoutExpired], None]) -> None:
        self._clock = clock
        self._on_expiry = on_expiry
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline: float | None = None
        self._seconds = 0.0
        self._phase = ""

    def start(self, seconds: float | None, phase: str) -> None:
        """Watch for `seconds` from now, under the name `phase`; replaces what was watched before."""
        if seconds is None:
            self._deadline = None
            return
        self._seconds, self._phase = seconds, phase
        self._deadline = self._clock.now() + seconds
        if self._timer is not None and self._timer_at > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._arm()

    def touch(self) -> None:
        """There was progress."""
        if self._deadline is not None:
            self._deadline = self._clock.now() + self._seconds

    def pause(self) -> None:
        """Nothing is awaited now; `start` resumes. A timer may stay armed and will do nothing."""
        self._deadline = None

    def stop(self) -> None:
        """The end: no timer stays behind."""
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        assert self._deadline is not None
        self._timer_at = self._deadline
        self._timer = self._clock.call_later(max(0.0, self._deadline - self._clock.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._clock.now() < self._deadline:
            self._arm()
            return
        self._deadline = None
        self._on_expiry(expired(self._phase, self._seconds))
