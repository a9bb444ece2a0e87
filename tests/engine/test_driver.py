"""The driver alone: packets that are due leave before and after everything that takes time, and no turn takes long."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from smolmix_web.edge.driver import AHEAD, RESERVE, TURN, Driver
from smolmix_web.engine.inbox import Inbox
from smolmix_web.errors import SmolmixError
from smolmix_web.mixnet.gateway.link import OpenSocket

RECEIVE, POLL, PREPARE = 0.005, 0.001, 0.003  # s that a step takes


class Machine:
    """A host whose clock moves only while somebody works or waits for the next timer, and its one socket."""

    name = "scripted"

    def __init__(self) -> None:
        self.time = 100.0
        self.steps: list[tuple[str, float]] = []
        self.timers: list[list[Any]] = []
        self.paused: list[bool] = []
        self.buffered = 0

    def now(self) -> float:
        return self.time

    unix_time = now

    def alarm(self, callback: Callable[[], None]) -> Any:
        return Alarm(self, callback)

    def call(self, delay: float, callback: Callable[[], None]) -> list[Any]:
        self.timers.append([self.time + delay, callback, True])
        return self.timers[-1]

    def turn(self) -> float:
        """The next timer that is due fires, in the order in which they were; how long that took."""
        self.timers.sort(key=lambda timer: timer[0])
        due, callback, armed = self.timers.pop(0)
        begun = self.time = max(self.time, due)
        if armed:
            callback()
        return self.time - begun

    def idle(self) -> None:
        """Until only timers of the future are left."""
        while any(timer[0] <= self.time for timer in self.timers):
            self.turn()

    def open_websocket(self, url: str, events: Any) -> Any:
        self.events = events
        return self

    def send(self, frame: bytes) -> None:
        self.steps.append((frame.decode(), self.time))

    def close(self) -> None:
        pass

    def pause(self, paused: bool) -> None:
        self.paused.append(paused)

    def log(self, text: str) -> None:
        raise AssertionError(text)


class Alarm:
    def __init__(self, machine: Machine, callback: Callable[[], None]) -> None:
        self._machine = machine
        self._callback = callback
        self._timer: list[Any] = [0.0, callback, False]

    def set(self, delay: float) -> None:
        self.close()
        self._timer = self._machine.call(delay, self._callback)

    def close(self) -> None:
        self._timer[2] = False


class SlowEngine:
    """Does nothing but take time and have ticks. `keeps_up`: it says that its rate leaves time for all else."""

    lacks_packet = False

    unprepared = False
    must_poll_at = float("inf")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._commands = [OpenSocket("ws://gateway")]
        self.ticks: list[float] = []
        self.receives = RECEIVE
        self.matters = True
        self.sends = 0.0
        self.heard: list[tuple[float, float]] = []
        self.ended: list[str] = []
        self.keeps_up = False

    def start(self, now: float) -> None: ...

    def take_command(self) -> Any:
        return self._commands.pop() if self._commands else None

    def _work(self, what: str, seconds: float) -> None:
        self._machine.steps.append((what, self._machine.time))
        self._machine.time += seconds

    def receive(self, frame: bytes, now: float, unix_time: float) -> bool:
        self._work("receive", self.receives)
        return self.matters

    def must_poll(self, now: float) -> bool:
        return now >= self.must_poll_at

    def note_read(self, now: float, read: float) -> None:
        self.heard.append((now, read))

    def note_buffered(self, size: int, now: float) -> bool:
        return False

    def poll(self, now: float, unix_time: float) -> list[bytes]:
        self._work("poll", POLL)
        return []

    def send_due(self, now: float) -> list[bytes]:
        if not self.ticks or self.ticks[0] > now:
            return []
        self._machine.time += self.sends
        return [b"%.3f" % self.ticks.pop(0)]

    def prepare(self, now: float) -> bool:
        self._work("prepare", PREPARE)
        return False

    def worked(self, seconds: float, now: float) -> None: ...

    def next_deadline(self) -> float | None:
        return min(self.ticks, default=None)

    def closed(self, now: float, reason: str) -> None:
        self.ended.append(reason)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def engine(machine: Machine) -> SlowEngine:
    return SlowEngine(machine)


@pytest.fixture
def driver(machine: Machine, engine: SlowEngine) -> Driver:
    driver = Driver(machine, engine, lambda: None)  # type: ignore[arg-type]
    driver.start()
    machine.steps.clear()
    machine.time = 200.0
    return driver


def test_what_is_due_does_not_wait_for_what_arrived(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    begun = machine.time
    # Due before the frame, while each of two frames is handled, and while the next packet is made.
    engine.ticks = [begun - 0.001, begun + 0.002, begun + 0.007, begun + 0.012]
    driver.inbox.put(b"first", begun)
    machine.events.socket_message(b"second")
    assert [what for what, _ in machine.steps] == [
        "199.999", "receive", "200.002", "receive", "200.007", "poll", "prepare", "200.012",
    ]  # fmt: skip
    # No packet is later than the one step that was under way.
    sent = [(float(what), time) for what, time in machine.steps if what[0] in "12"]
    assert all(time - tick <= RECEIVE for tick, time in sent)


def test_one_timer_serves_the_next_tick(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    engine.ticks = [machine.time + 0.5]
    driver.wake()
    machine.idle()
    ((due, fire, _),) = machine.timers
    assert due == pytest.approx(engine.ticks[0], abs=1e-9)
    machine.timers.clear()
    machine.time = due
    fire()
    assert [what for what, _ in machine.steps if what[0].isdigit()] == [f"{due:.3f}"]


def steps_of(machine: Machine) -> list[str]:
    """What was done since the last call, without when the packets were due."""
    names = ["sent" if what[0].isdigit() else what for what, _ in machine.steps]
    machine.steps.clear()
    return names


def test_cover_is_read_and_sent_and_nothing_else_is_done(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    engine.matters, engine.receives = False, 0.001
    engine.ticks = [machine.time + 0.1, machine.time + 0.3]
    driver.wake()
    machine.idle()
    assert steps_of(machine) == ["poll", "prepare"]
    machine.events.socket_message(b"cover")
    assert steps_of(machine) == ["receive"]
    engine.unprepared = True  # something was left until after the tick
    machine.events.socket_message(b"cover")
    assert steps_of(machine) == ["receive", "prepare"]
    engine.unprepared = False
    machine.turn()
    assert steps_of(machine) == ["sent", "prepare"]
    machine.events.socket_message(b"cover")
    engine.must_poll_at = machine.time
    machine.events.socket_message(b"cover")
    assert steps_of(machine) == ["receive", "receive", "poll", "prepare"]
    machine.turn()
    assert steps_of(machine) == ["sent", "poll", "prepare"]


def test_who_wakes_the_driver_is_served_by_the_next_frame_at_the_latest(
    machine: Machine, engine: SlowEngine, driver: Driver
) -> None:
    engine.matters, engine.receives = False, 0.001
    engine.ticks = [machine.time + 0.1]
    driver.wake()
    machine.idle()
    machine.steps.clear()
    driver.wake()
    driver.inbox.put(b"cover", machine.time)
    machine.idle()
    assert steps_of(machine) == ["receive", "poll", "prepare"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(MemoryError(), "out_of_memory"), (ZeroDivisionError("oh"), "internal")],
    ids=["memory", "defect"],
)
def test_what_nobody_foresaw_ends_the_tunnel_and_is_told(machine: Machine, error: Exception, code: str) -> None:
    """Also where there is no memory left to tell it with: some is kept for that."""
    failures: list[SmolmixError] = []
    free: list[int] = []
    changes: list[int] = []
    told: list[str] = []

    class Failing(SlowEngine):
        def receive(self, frame: bytes, now: float, unix_time: float) -> None:
            machine.log = told.append  # type: ignore[assignment]
            raise error

        def fail(self, failure: SmolmixError, now: float) -> None:
            free.append(RESERVE - len(driver._reserve))
            failures.append(failure)

    driver = Driver(machine, Failing(machine), lambda: changes.append(1))  # type: ignore[arg-type]
    driver.start()
    changes.clear()
    machine.events.socket_message(b"frame")
    assert [(failure.code, failure.phase) for failure in failures] == [(code, "engine")]
    assert free == [RESERVE] and changes == [1]
    assert type(error).__name__ in told[0]


def test_others_get_their_turn_while_frames_wait(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    """200 frames at once: no turn takes longer than its time and the step that was under way."""
    served: list[float] = []

    def other() -> None:
        served.append(machine.time)
        machine.call(0.0, other)

    machine.call(0.0, other)
    machine.events.socket_message(b"1")
    for _ in range(199):
        machine.events.socket_message(b"another")
    turns = [machine.turn() for _ in range(500) if driver.inbox]
    assert not driver.inbox and sum(what == "receive" for what, _ in machine.steps) == 200
    assert max(turns) <= TURN + RECEIVE + POLL + PREPARE
    waits = [after - before for before, after in itertools.pairwise(served)]
    assert max(waits) <= TURN + RECEIVE + POLL + PREPARE


@pytest.mark.parametrize("receives", [0.01, 0.04])
def test_sending_and_reading_share_a_machine_that_is_too_slow_for_both(
    machine: Machine, engine: SlowEngine, driver: Driver, receives: float
) -> None:
    """More to send than there is time, and frames that always wait: half for each; four fifths for reading where the
    frames have waited for long."""
    engine.sends, engine.receives = 0.02, receives
    engine.ticks = [machine.time + 0.001 * n for n in range(20_000)]
    machine.events.socket_message(b"1")
    begun = machine.time
    for old in (False, True):
        machine.steps.clear()
        begun = machine.time
        while machine.time < begun + 10:
            machine.turn()
            while len(driver.inbox) < 5:
                driver.inbox.put(b"frame", machine.time - (10.0 if old else 0.0))
        sent = sum(engine.sends for what, _ in machine.steps if what[0].isdigit())
        read = sum(receives for what, _ in machine.steps if what == "receive")
        if old:
            assert 3.0 < read / sent < 5.0
        else:
            assert 0.6 < read / sent < 2.5  # the step that is under way is not torn
        assert sent > 1.5 and AHEAD < 0.1


def test_what_cannot_have_been_heard_is_told(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    """All that arrived while the loop was held up: known from a timer of ours that is overdue, from our own long
    turns, and from the frames that wait."""
    driver.wake()
    machine.idle()
    engine.ticks = [machine.time + 1.0]
    driver.wake()
    machine.idle()
    engine.heard.clear()
    machine.time += 0.5
    machine.events.socket_message(b"in time")
    assert all(now - read <= 0.02 for now, read in engine.heard)
    machine.idle()
    engine.heard.clear()
    blocked = machine.time = engine.ticks[0] + 3.0  # a second later the tick was due
    machine.events.socket_message(b"one of many")
    assert engine.heard == [], "first the loop gives what it has"
    machine.events.socket_message(b"another")
    machine.idle()
    now, read = engine.heard[0]
    assert now == blocked and read == blocked - 3.0
    now, read = engine.heard[-1]
    assert now - read <= TURN + RECEIVE + POLL + PREPARE


def test_the_end_of_a_socket_comes_after_what_came_before(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    for _ in range(20):
        driver.inbox.put(b"frame", machine.time)
    machine.events.socket_closed("over")
    assert engine.ended == [] and driver.inbox
    machine.idle()
    assert engine.ended == ["over"] and sum(what == "receive" for what, _ in machine.steps) == 20


def test_reading_pauses_where_it_can(machine: Machine, engine: SlowEngine, driver: Driver) -> None:
    driver.inbox = Inbox(max_frames=20)
    machine.events.socket_message(b"0")
    for number in range(15):
        machine.events.socket_message(b"%d" % number)
    assert machine.paused == [True] and driver.inbox.half_full
    machine.idle()
    assert machine.paused == [True, False] and driver.inbox.statistics.longest <= 16


# -- the inbox


def test_beyond_its_bound_the_oldest_payloads_are_dropped_then_acks_and_texts_last() -> None:
    inbox = Inbox(max_frames=16)
    payload, ack = bytes(1700), bytes(60)
    for frame in [payload, ack, "text"] * 5:
        inbox.put(frame, 1.0)
    inbox.put(b"new" + payload, 2.0)
    assert len(inbox) == 16 and inbox.statistics.payloads_dropped == 0
    inbox.put(ack, 3.0)
    assert len(inbox) == 14 and inbox.statistics.payloads_dropped == 3 and inbox.oldest == 1.0
    for _ in range(3):
        inbox.put(ack, 4.0)
    frames = [inbox.take() for _ in range(len(inbox))]
    assert inbox.statistics.payloads_dropped == 6 and inbox.statistics.acks_dropped == 0
    assert frames.count("text") == 5 and frames.count(ack) == 9
    for _ in range(30):
        inbox.put("text", 5.0)
    assert len(inbox) <= 16 and inbox.statistics.texts_dropped > 0 and inbox.statistics.longest == 17
    inbox.clear()
    assert len(inbox) == 0 and inbox.oldest == float("inf")


def test_the_inbox_has_a_bound_in_bytes_too() -> None:
    inbox = Inbox(max_bytes=20_000)
    for number in range(40):
        inbox.put(bytes([number]) * 1700, float(number))
    assert sum(len(inbox.take()) for _ in range(len(inbox))) <= 20_000
    assert inbox.statistics.payloads_dropped >= 28
