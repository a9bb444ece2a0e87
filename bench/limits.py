"""A slow machine on a fast one: processes get a share of one core, or less memory, for as long as a block runs.

    with limited([pid], 0.25) as way: ...        # all threads of all the processes together; `way` says by what

A renderer holds a page and its workers: both are slowed, which the browser's own throttling does not do (it slows the
page's thread only).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.control_group import ControlGroup, control_group
from bench.renderer import memory_bytes
from buildtools.common import ROOT

DUTY_CYCLE = "duty cycle"
STOP_TIMEOUT = 5.0  # s


@contextmanager
def limited(pids: Sequence[int], share: float | None, *, groups: bool = True) -> Iterator[str]:
    """Together they get `share` of one core (above 0; None: no limit). By the kernel's control groups where we may
    make one and `groups` allows it, else by stopping and continuing them."""
    if share is None:
        yield "no limit"
        return
    if share <= 0:
        raise ValueError("a share of a core is above 0")
    group = ControlGroup.make("cpu") if groups else None
    if group is None:
        with _duty_cycle(pids, share):
            yield DUTY_CYCLE
        return
    try:
        group.limit_cpu(share)
        group.add(pids)
        yield f"control group v{group.version}"
    finally:
        group.close()


@contextmanager
def _duty_cycle(pids: Sequence[int], share: float) -> Iterator[None]:
    """In a process of its own: it must be on time, whatever this one does."""
    command = [sys.executable, "-m", "bench.duty_cycle", str(share), *map(str, pids)]
    helper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert helper.stdin is not None and helper.stdout is not None
    try:
        if helper.stdout.readline() != b"ready\n":
            raise RuntimeError("the duty cycle did not start")
        yield
    finally:
        helper.stdin.close()  # its end; it lets the processes go on
        helper.stdout.close()
        try:
            helper.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            helper.terminate()
            helper.wait(STOP_TIMEOUT)


@dataclass
class MemoryLimit:
    """`by`: what holds it, None where nothing does."""

    by: str | None
    group: ControlGroup | None

    def kills(self) -> int:
        """How many of the processes the kernel has ended for it."""
        return self.group.kills() if self.group is not None else 0


@contextmanager
def less_memory(pids: Sequence[int], size: int | None) -> Iterator[MemoryLimit]:
    """Together they may hold `size` bytes (None: no limit), what they have already included.

    Only by control groups: without the right to make one nothing is limited, and the result says so.
    """
    if size is None:
        yield MemoryLimit(None, None)
        return
    with control_group("memory") as group:
        if group is not None:
            # What a process has taken before stays on the account of the group that it came from.
            group.limit_memory(max(1 << 20, size - memory_bytes(list(pids))))
            group.add(pids)
        yield MemoryLimit(f"control group v{group.version}" if group is not None else None, group)
