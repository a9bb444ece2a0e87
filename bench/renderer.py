"""The renderer processes of one Chromium: which they are, the CPU time they took, the memory they hold.

A page and its workers share a renderer, so these are the costs of a client as the kernel counts them (proc(5)).
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """All processes below `pid`, itself not included."""
    parents: dict[int, list[int]] = {}
    for path in PROC.iterdir():
        if path.name.isdigit():
            fields = _stat(int(path.name))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(path.name))
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def renderers(browser: int) -> list[int]:
    """The renderers of the browser with this process id."""
    return [pid for pid in children(browser) if b"--type=renderer" in _read(pid, "cmdline")]


def cpu_seconds(pids: list[int]) -> float:
    """User and system time that they have used; of one that is gone nothing."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_bytes(pids: list[int]) -> int:
    """Their proportional set sizes: shared pages count once."""
    total = 0
    for pid in pids:
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat after the name, which may hold anything."""
    return _read(pid, "stat").rpartition(b")")[2].split()
