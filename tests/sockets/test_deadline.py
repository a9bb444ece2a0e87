"""Deadlines and watchdogs in virtual time, and the virtual loop itself."""

from __future__ import annotations

import asyncio

import pytest

from smolmix_web.edge.deadline import Deadline, LoopClock, Watchdog
from smolmix_web.errors import TimeoutExpired
from tests.virtual_loop import Deadlock, run_virtual, virtual


@virtual
async def test_body_in_time() -> None:
    async with Deadline(LoopClock(), 5, "x"):
        await asyncio.sleep(4)
    async with Deadline(LoopClock(), None, "x"):
        await asyncio.sleep(4000)


@virtual
async def test_body_too_late_after_its_own_clean_up() -> None:
    clock = LoopClock()
    cleaned = False
    with pytest.raises(TimeoutExpired) as caught:
        async with Deadline(clock, 5, "dns"):
            try:
                await asyncio.sleep(10)
            finally:
                cleaned = True
    assert cleaned and caught.value.phase == "dns" and clock.now() == 1005
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


@virtual
async def test_nested_deadlines() -> None:
    clock = LoopClock()
    for outer, inner, phase in ((5, 10, "outer"), (10, 5, "inner")):
        with pytest.raises(TimeoutExpired) as caught:
            async with Deadline(clock, outer, "outer"), Deadline(clock, inner, "inner"):
                await asyncio.sleep(100)
        assert caught.value.phase == phase


@virtual
async def test_cancelling_from_outside_stays_cancelling() -> None:
    async def body() -> None:
        async with Deadline(LoopClock(), 5, "x"):
            await asyncio.sleep(10)

    task = asyncio.create_task(body())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    task = asyncio.create_task(body())  # both at the same moment: the outer one wins
    asyncio.get_running_loop().call_later(5, task.cancel)
    with pytest.raises((asyncio.CancelledError, TimeoutExpired)):
        await task


@virtual
async def test_an_error_of_the_body_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        async with Deadline(LoopClock(), 5, "x"):
            raise KeyError


@virtual
async def test_watchdog() -> None:
    fired: list[tuple[str | None, float]] = []
    clock = LoopClock()
    dog = Watchdog(clock, lambda error: fired.append((error.phase, clock.now())))
    dog.start(5, "request")
    for _ in range(10):
        await asyncio.sleep(4)
        dog.touch()
    assert not fired
    dog.start(2, "idle")  # earlier than the armed timer
    await asyncio.sleep(10)
    assert fired == [("idle", 1042.0)]
    dog.start(5, "idle")
    dog.pause()
    await asyncio.sleep(10)
    dog.start(7, "again")
    await asyncio.sleep(10)
    assert fired[1:] == [("again", 1067.0)]
    dog.start(5, "never")
    dog.stop()
    dog.start(None, "never")
    dog.touch()
    await asyncio.sleep(10)
    assert len(fired) == 2


def test_the_loop_notices_a_deadlock() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run_virtual(forever())


def test_the_loop_notices_uncollected_errors() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="uncollected"):
        run_virtual(main())


def test_an_hour_takes_no_time() -> None:
    async def main() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.gather(*(asyncio.sleep(n) for n in range(3600)))
        return asyncio.get_running_loop().time() - before

    assert run_virtual(main()) == pytest.approx(3599)
