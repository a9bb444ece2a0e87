"""A control group of the kernel with a limit of its own: CPU time or memory, of version 1 or 2 (cgroups(7)).

Needs the right to make one (root, mostly); `ControlGroup.make` says None where it is missing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from bench.renderer import PROC

Controller = Literal["cpu", "memory"]

CPU_PERIOD = 0.010  # s: short, so that a small share is many short pauses instead of few long ones
LEAST_QUOTA = 0.001  # s, the kernel's
LEAVE_TIMEOUT = 2.0  # s for the kernel to see that a group is empty


class ControlGroup:
    """One group below the root of its hierarchy. `version` is that of its file system."""

    def __init__(self, root: Path, version: int, controller: Controller) -> None:
        """Make it. Raises `OSError` without the right."""
        self.version = version
        self._root = root
        self._origins: dict[int, Path] = {}
        self._controller = controller
        if version == 2:
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        self.path = root / f"bench-{os.getpid()}-{time.monotonic_ns()}"
        self.path.mkdir()

    @classmethod
    def make(cls, controller: Controller) -> ControlGroup | None:
        """A new empty group that can limit this, or None where the system does not let us."""
        for root, version in _hierarchies(controller):
            try:
                return cls(root, version, controller)
            except OSError:
                continue
        return None

    def limit_cpu(self, share: float) -> None:
        """All its processes together get this share of one core."""
        seconds = max(CPU_PERIOD, LEAST_QUOTA / share)
        period, quota = round(seconds * 1e6), round(seconds * share * 1e6)
        if self.version == 2:
            (self.path / "cpu.max").write_text(f"{quota} {period}")
        else:
            (self.path / "cpu.cfs_period_us").write_text(str(period))
            (self.path / "cpu.cfs_quota_us").write_text(str(quota))

    def limit_memory(self, size: int) -> None:
        """Bytes that its processes may take from now on; beyond, the kernel ends one of them."""
        (self.path / ("memory.max" if self.version == 2 else "memory.limit_in_bytes")).write_text(str(size))

    def kills(self) -> int:
        """How many processes the kernel has ended for want of memory."""
        path = self.path / ("memory.events" if self.version == 2 else "memory.oom_control")
        fields = dict(line.split(maxsplit=1) for line in path.read_text().splitlines() if " " in line)
        return int(fields.get("oom_kill", 0))

    def add(self, pids: Iterable[int]) -> None:
        """Move processes in, with all their threads; one that is gone is left out."""
        for pid in pids:
            origin = self._of(pid)
            with suppress(ProcessLookupError):
                (self.path / "cgroup.procs").write_text(str(pid))
                self._origins.setdefault(pid, origin)

    def close(self) -> None:
        """Move the processes back to where they came from, and remove the group."""
        deadline = time.monotonic() + LEAVE_TIMEOUT
        while True:
            for text in (self.path / "cgroup.procs").read_text().split():
                # What a process of ours started meanwhile is in the group too.
                target = self._origins.get(int(text), self._root)
                with suppress(OSError):
                    (target / "cgroup.procs").write_text(text)
            try:
                self.path.rmdir()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _of(self, pid: int) -> Path:
        """The group a process is in now."""
        with suppress(OSError):
            for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
                _, names, place = line.split(":", 2)
                if (not names) if self.version == 2 else self._controller in names.split(","):
                    return self._root / place.lstrip("/")
        return self._root


@contextmanager
def control_group(controller: Controller) -> Iterator[ControlGroup | None]:
    """A new group, removed at the end; None where there can be none."""
    group = ControlGroup.make(controller)
    try:
        yield group
    finally:
        if group is not None:
            group.close()


def _hierarchies(controller: Controller) -> Iterator[tuple[Path, int]]:
    """Mounted roots that have the controller, version 2 first."""
    with suppress(OSError):
        mounts = [line.split() for line in (PROC / "mounts").read_text().splitlines()]
        for fields in mounts:
            root = Path(fields[1])
            with suppress(OSError):
                if fields[2] == "cgroup2" and controller in (root / "cgroup.controllers").read_text().split():
                    yield root, 2
        for fields in mounts:
            if fields[2] == "cgroup" and controller in fields[3].split(","):
                yield Path(fields[1]), 1
