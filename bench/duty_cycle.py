"""Gives processes a share of one core by stopping and continuing them, where the kernel's control groups cannot be had.

    python -m bench.duty_cycle SHARE PID [PID...]

Runs until its standard input ends, so never longer than who started it; then the processes go on at full speed. What
they have used is read from their own CPU clocks (clock_getcpuclockid(3)), and each may use SHARE of every period of
10 ms: an idle process is not stopped, and two busy threads together get no more than one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

PERIOD = 0.010  # s
STEP = PERIOD / 8
MAX_DEBT = 20 * PERIOD  # s: what one look may find too much; clocks are coarse, and this process may be late


class Budget:
    """How much CPU time the processes have left. It grows with time up to the share of one period."""

    def __init__(self, share: float, now: float, used: float) -> None:
        self._share = share
        self._now, self._used = now, used
        self._left = self._most = share * PERIOD

    def step(self, now: float, used: float) -> bool:
        """Whether they may run, at this time (s) with so much used since they began (s)."""
        left = self._left + self._share * (now - self._now) - (used - self._used)
        self._left = max(-MAX_DEBT, min(self._most, left))
        self._now, self._used = now, used
        return self._left > 0


def cpu_time(pid: int) -> float:
    """Seconds of CPU that a process has used; raises `OSError` when it is gone."""
    return time.clock_gettime((~pid << 3) | 2)


def cycle(pids: Sequence[int], share: float, ended: Callable[[float], bool]) -> None:
    """Stop and continue the processes until `ended(seconds)`, which waits for so long, or until all are gone."""
    alive = {pid: _used(pid) or 0.0 for pid in pids}
    budget = Budget(share, time.monotonic(), sum(alive.values()))
    running = True
    try:
        while not ended(STEP):
            looks = {pid: _used(pid) for pid in alive}
            if all(used is None for used in looks.values()):
                return
            alive = {pid: alive[pid] if used is None else used for pid, used in looks.items()}
            may_run = budget.step(time.monotonic(), sum(alive.values()))
            if may_run is not running:
                _signal([pid for pid, used in looks.items() if used is not None], may_run)
                running = may_run
    finally:
        _signal(list(alive), True)


def _used(pid: int) -> float | None:
    try:
        return cpu_time(pid)
    except OSError:
        return None


def _signal(pids: Sequence[int], run: bool) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGCONT if run else signal.SIGSTOP)
        except ProcessLookupError:
            continue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("share", type=float)
    parser.add_argument("pids", type=int, nargs="+", metavar="PID")
    options = parser.parse_args()
    if not 0 < options.share <= 8:
        parser.error("SHARE is a number above 0, of one core")
    with contextlib.suppress(OSError):
        # Where it is allowed: who keeps the time must not wait for those whose time is kept.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    def ended(seconds: float) -> bool:
        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(readable) and not os.read(sys.stdin.fileno(), 1)

    print("ready", flush=True)
    cycle(options.pids, options.share, ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
