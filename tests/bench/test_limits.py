"""Processes get their share of a core, whichever way it is given, and are let go at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bench.control_group import ControlGroup
from bench.duty_cycle import PERIOD, Budget, cpu_time
from bench.limits import DUTY_CYCLE, less_memory, limited
from bench.renderer import PROC

# Two threads that are busy in code that runs beside Python, as a page and its worker are.
BUSY = """
import hashlib, threading, time
def work():
    end = time.monotonic() + 20
    while time.monotonic() < end:
        hashlib.pbkdf2_hmac("sha256", b"x", b"y", 20000)
threading.Thread(target=work, daemon=True).start()
print("busy", flush=True)
work()
"""
MEASURED = 1.0  # s

pytestmark = pytest.mark.cpython


@pytest.fixture
def busy() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.wait()
    process.stdout.close()


def used_share(pid: int) -> float:
    began, used = time.monotonic(), cpu_time(pid)
    time.sleep(MEASURED)
    return (cpu_time(pid) - used) / (time.monotonic() - began)


def groups_are_possible() -> bool:
    group = ControlGroup.make("cpu")
    if group is not None:
        group.close()
    return group is not None


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("share", [0.125, 0.5])
def test_two_busy_threads_get_no_more_than_the_share(busy: int, groups: bool, share: float) -> None:
    if groups and not groups_are_possible():
        pytest.skip("no right to make control groups")
    with limited([busy], share, groups=groups) as way:
        assert (way == DUTY_CYCLE) is not groups
        used = used_share(busy)
    # The lower bound leaves room for whatever else the machine does.
    assert share * 0.3 < used < share * 1.25


@pytest.mark.parametrize("groups", [True, False])
def test_afterwards_it_runs_freely_again(busy: int, groups: bool) -> None:
    before = (PROC / str(busy) / "cgroup").read_text()
    with limited([busy], 0.01, groups=groups):
        time.sleep(0.1)
    assert (PROC / str(busy) / "cgroup").read_text() == before
    assert (PROC / str(busy) / "stat").read_text().rpartition(")")[2].split()[0] != "T"
    assert used_share(busy) > 0.1


def test_without_a_share_nothing_is_limited(busy: int) -> None:
    with limited([busy], None) as way:
        assert way == "no limit"
    with pytest.raises(ValueError), limited([busy], 0.0):
        pass


@pytest.mark.parametrize("groups", [True, False])
def test_a_process_that_ends_meanwhile_is_no_trouble(groups: bool) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3)"])
    with limited([process.pid], 0.5, groups=groups):
        process.wait()
        time.sleep(0.1)


def test_a_budget_is_kept_in_virtual_time() -> None:
    """A process with two busy threads uses two seconds a second while it may run; its clock is read late and coarse."""
    now = used = shown = 0.0
    budget = Budget(0.25, now, used)
    running = True
    for turn in range(20_000):
        step = PERIOD / 8 * (1 + (turn % 7 == 0) * 3)
        now += step
        used += 2 * step if running else 0.0
        shown = used // 0.004 * 0.004
        running = budget.step(now, shown)
    assert used / now == pytest.approx(0.25, rel=0.02)


def test_an_idle_process_saves_up_no_more_than_one_period() -> None:
    budget = Budget(0.5, 0.0, 0.0)
    assert all(budget.step(second, 0.0) for second in range(1, 60))
    assert not budget.step(59.0, 0.5 * PERIOD)


def test_what_takes_more_memory_than_it_may_is_ended_and_counted() -> None:
    hungry = "import sys; sys.stdin.readline(); data = bytearray(b'x') * (200 << 20); print(len(data))"
    process = subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with less_memory([process.pid], 100 << 20) as limit:
        if limit.by is None:
            process.kill()
            process.wait()
            pytest.skip("no right to make control groups")
        out, _ = process.communicate(b"\n", timeout=20)
        assert process.returncode == -9 and out == b"" and limit.kills() == 1
