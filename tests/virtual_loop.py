"""An asyncio loop in virtual time: when nothing is ready the clock jumps to the next timer, so no test really sleeps.

A loop in which every task waits and no timer is set would hang for ever; here that is an error at once, `Deadlock`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set."""


class _JumpingSelector:
    """Stands where the loop expects a selector: has no files, and "waits" by moving the clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("every task waits and no timer is set")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.base_events.BaseEventLoop):
    """No I/O, no threads: tasks, futures and timers only. `time()` starts at 1000 seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _JumpingSelector()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._selector.now

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        pass  # wakes a selector that waits; this one never does


def run_to_end(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run on this loop, and close it; tasks left over are cancelled."""
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            with contextlib.suppress(Deadlock):
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        asyncio.set_event_loop(None)
        loop.close()
    return result


def run_virtual(main: Coroutine[Any, Any, T], *, strict: bool = True) -> T:
    """Run to the end in virtual time; tasks left over are cancelled. `strict`: an uncollected error fails the run."""
    loop = VirtualLoop()
    problems: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: problems.append(context))
    result = run_to_end(loop, main)
    if strict and problems:
        raise AssertionError(f"uncollected errors: {problems}")
    return result


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Decorator: an async test function that runs in virtual time. Fixtures work as usual."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        run_virtual(test(*args, **kwargs))

    return run
