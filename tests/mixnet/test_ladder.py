"""The ladder of rates by made-up costs: down at once, up after a look, and nothing else moves it."""

from __future__ import annotations

import itertools

import pytest

from smolmix_web.mixnet.ladder import (
    LINE_LOOK,
    LINE_SHARE,
    LOOK_MAX,
    LOWEST,
    MACHINE_LOOK,
    NAMES,
    SHARE,
    SHARE_MAX,
    SLOWER,
    Ladder,
)

FULL_RATE = 55.0
STEP = 0.1


class Run:
    """A ladder that is looked at ten times a second. `load`: share of the machine that the full rate takes."""

    def __init__(self, fixed: str | None = None, full_rate: float = FULL_RATE) -> None:
        self.ladder = Ladder(full_rate, fixed)
        self.now = 100.0
        self.ticks = self.late = 0
        self.history: list[tuple[float, str]] = []

    def run(self, seconds: float, load: float | None = None, capacity: float | None = None, late: float = 0.0) -> str:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            self.ticks += 10
            self.late += round(10 * late)
            cost = None if load is None else load / FULL_RATE
            if self.ladder.step(self.now, packet_cost=cost, ticks=self.ticks, late_ticks=self.late, capacity=capacity):
                self.history.append((self.now, self.ladder.rate))
        return self.ladder.rate


@pytest.mark.parametrize(
    ("load", "rate"),
    [(0.0, "1"), (0.5, "1"), (SHARE_MAX, "1"), (0.61, "1/2"), (1.0, "1/2"), (1.9, "1/4"), (2.0, "1/4"), (2.1, "1/8"),
     (4.0, "1/8"), (5.0, "1/16"), (50.0, "1/16")],
)  # fmt: skip
def test_the_first_look_chooses_what_takes_half_of_the_machine(load: float, rate: str) -> None:
    run = Run()
    assert run.run(STEP, load) == rate
    assert run.ladder.reason == (None if rate == "1" else "machine")
    assert load / run.ladder.slower <= (SHARE if 0.6 < load < 8 else 50)
    # A cost that stays keeps its rung.
    assert run.run(600.0, load) == rate and len(run.history) == (rate != "1")


def test_the_ticks_of_code_just_loaded_say_nothing() -> None:
    run = Run()
    for cold in range(20):
        run.ladder.step(100 + cold, packet_cost=0.001, warm=False, ticks=20 * cold, late_ticks=20 * cold, capacity=None)
    run.ticks = run.late = 380
    run.now = 120.0
    assert run.run(5.0, 0.1) == "1"
    assert run.run(5.0, 0.1, late=1.0) != "1"


def test_without_a_measurement_nothing_moves() -> None:
    assert Run().run(100.0) == "1"


def test_down_at_once_and_up_one_rung_at_a_time() -> None:
    run = Run()
    run.run(10.0, 0.3)
    run.run(STEP, 6.0)
    assert run.history == [(run.now, "1/16")]
    begun = run.now
    run.run(60.0, 0.3)
    assert [rate for _, rate in run.history[1:]] == ["1/8", "1/4", "1/2", "1"] and run.ladder.reason is None
    times = [begun, *(time for time, _ in run.history[1:])]
    assert all(later - earlier >= MACHINE_LOOK - STEP for earlier, later in itertools.pairwise(times))


def test_a_cost_between_the_rungs_does_not_swing() -> None:
    run = Run()
    run.run(10.0, 1.0)
    for _ in range(200):  # noise of a tenth
        run.run(1.0, 1.1)
        run.run(1.0, 0.95)
    assert len(run.history) == 1


def test_ticks_that_are_late_lower_the_rate_whatever_packets_seem_to_cost() -> None:
    run = Run()
    assert run.run(1.0, 0.1, late=0.1) == "1"
    run.run(0.3, 0.1, late=0.5)
    assert run.ladder.rate == "1/2" and run.ladder.reason == "machine"
    assert run.run(1.0, 0.1, late=0.5) in ("1/8", "1/16")


def test_a_step_up_that_was_in_vain_is_tried_more_and_more_rarely() -> None:
    run = Run()
    run.run(0.5, 0.1, late=0.5)
    run.history.clear()
    for _ in range(36_000):  # an hour on a machine that keeps up on the second rung only
        late = 0.5 if run.ladder.rung == 0 else 0.0
        run.run(STEP, 0.1, late=late)
    ups = [time for time, rate in run.history if rate == "1"]
    assert 5 < len(ups) < 16
    gaps = [later - earlier for earlier, later in itertools.pairwise(ups)]
    assert gaps[-1] >= LOOK_MAX > gaps[0] and all(b >= 0.99 * a for a, b in itertools.pairwise(gaps))


@pytest.mark.parametrize(
    ("capacity", "rate"), [(54.0, "1/2"), (41.0, "1/2"), (36.0, "1/4"), (20.0, "1/4"), (10.0, "1/8"), (4.0, "1/16")]
)
def test_a_thin_line_gets_what_it_takes_with_room_to_spare(capacity: float, rate: str) -> None:
    run = Run()
    run.run(1.0, 0.1)
    assert run.run(STEP, 0.1, capacity) == rate and run.ladder.reason == "line"
    assert FULL_RATE / run.ladder.slower <= LINE_SHARE * capacity or run.ladder.rung == LOWEST
    # What waited before is not held against the new rung.
    assert run.run(2.0, 0.1, capacity) == rate


def test_a_line_that_was_thin_is_tried_again() -> None:
    run = Run()
    run.run(STEP, 0.1, 10.0)
    run.history.clear()
    run.run(4 * LINE_LOOK, 0.1)
    assert [rate for _, rate in run.history] == ["1/4", "1/2", "1"] and run.ladder.reason is None


def test_the_smaller_of_both_limits_counts_and_is_named() -> None:
    run = Run()
    run.run(STEP, 1.0, 4.0)
    assert (run.ladder.rate, run.ladder.reason) == ("1/16", "line")
    run.run(10 * LINE_LOOK, 1.0)
    assert (run.ladder.rate, run.ladder.reason) == ("1/2", "machine")


@pytest.mark.parametrize("name", NAMES)
def test_a_fixed_rung_stays(name: str) -> None:
    run = Run(name)
    run.run(30.0, 9.0, 3.0, late=1.0)
    run.run(3000.0, 0.0)
    assert (run.ladder.rate, run.ladder.reason, run.ladder.changes) == (name, "option", 0)
    assert run.ladder.slower == SLOWER[NAMES.index(name)]


def test_without_streams_there_is_nothing_to_slow() -> None:
    run = Run(full_rate=0.0)
    assert run.run(30.0, 9.0, 3.0, late=1.0) == "1" and run.ladder.reason is None
