"""The driver alone: packets that are due leave before and after everything that takes time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smolmix_web.driver import Driver
from smolmix_web.mixnet.gateway.link import OpenSocket

RECEIVE, POLL, PREPARE = 0.005, 0.001, 0.003  # s that a step takes


class Machine:
    """A host whose clock moves only while the engine works, and its one socket."""

    name = "scripted"

    def __init__(self) -> None:
        self.time = 100.0
        self.log: list[tuple[str, float]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.buffered = 0

    def now(self) -> float:
        return self.time

    unix_time = now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        self.timers.append((self.time + delay, callback))
        return self

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.timers.append((self.time, callback))

    def cancel(self) -> None:
        self.timers.clear()

    def open_websocket(self, url: str, events: Any) -> Any:
        self.events = events
        return self

    def send(self, frame: bytes) -> None:
        self.log.append((frame.decode(), self.time))

    def close(self) -> None:
        pass


class SlowEngine:
    """Does nothing but take time and have ticks."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._commands = [OpenSocket("ws://gateway")]
        self.ticks: list[float] = []
        self.prepared = 0

    def start(self, now: float) -> None: ...

    def take_command(self) -> Any:
        return self._commands.pop() if self._commands else None

    def _work(self, what: str, seconds: float) -> None:
        self._machine.log.append((what, self._machine.time))
        self._machine.time += seconds

    def receive(self, frame: bytes, now: float, unix_time: float) -> None:
        self._work("receive", RECEIVE)

    def note_buffered(self, size: int, now: float) -> bool:
        return False

    def poll(self, now: float, unix_time: float) -> list[bytes]:
        self._work("poll", POLL)
        return []

    def send_due(self, now: float) -> list[bytes]:
        due = [tick for tick in self.ticks if tick <= now]
        self.ticks = [tick for tick in self.ticks if tick > now]
        return [b"%.3f" % tick for tick in due]

    def prepare(self, now: float) -> bool:
        self._work("prepare", PREPARE)
        return False

    def worked(self, seconds: float, now: float) -> None: ...

    def next_deadline(self) -> float | None:
        return min(self.ticks, default=None)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_what_is_due_does_not_wait_for_what_arrived(machine: Machine) -> None:
    engine = SlowEngine(machine)
    driver = Driver(machine, engine, lambda: None)  # type: ignore[arg-type]
    driver.start()
    machine.log.clear()
    begun = machine.time = 200.0
    # Due before the frame, while each of two frames is handled, and while the next packet is made.
    engine.ticks = [begun - 0.001, begun + 0.002, begun + 0.007, begun + 0.012]
    driver._received.append(b"first")
    machine.events.socket_message(b"second")
    assert [what for what, _ in machine.log] == [
        "199.999", "receive", "200.002", "receive", "200.007", "poll", "prepare", "200.012",
    ]  # fmt: skip
    # No packet is later than the one step that was under way.
    sent = [(float(what), time) for what, time in machine.log if what[0] in "12"]
    assert all(time - tick <= RECEIVE for tick, time in sent)


def test_one_timer_serves_the_next_tick(machine: Machine) -> None:
    engine = SlowEngine(machine)
    driver = Driver(machine, engine, lambda: None)  # type: ignore[arg-type]
    driver.start()
    machine.timers.clear()
    engine.ticks = [machine.time + 0.5]
    driver._timer = None
    driver.wake()
    machine.timers.pop()[1]()
    ((due, fire),) = machine.timers
    assert due == pytest.approx(engine.ticks[0], abs=1e-9)
    machine.timers.clear()
    machine.time = due
    fire()
    assert [what for what, _ in machine.log if what[0].isdigit()] == [f"{due:.3f}"]
