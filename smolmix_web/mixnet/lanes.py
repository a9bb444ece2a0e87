"""What leaves next: lanes with priority by weight, so that urgent packets go first and bulk never starves.

Stride scheduling: each lane has a clock that a sent packet moves on by 1/weight, and the lane whose clock is least
goes next. A lane that was idle starts at the present clock, so its first packet is next, ahead of lanes of lower
priority; a lane that always has packets gets its weight's share and no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Generic, Protocol, TypeVar


class Lane(Enum):
    """In the order of priority. The values are the names."""

    SURBS = "surbs"  # SURB requests, and SURBs for those who asked
    CONTROL = "control"  # the exit's control messages
    RETRANSMISSION = "retransmission"
    SMALL = "small"  # datagrams, acknowledgements: what somebody waits for
    BULK = "bulk"

    __hash__ = object.__hash__  # equal is who is the same; Enum's own is called as a method, many times for each packet


_WEIGHTS = {Lane.SURBS: 8, Lane.CONTROL: 8, Lane.RETRANSMISSION: 6, Lane.SMALL: 4, Lane.BULK: 2}


class Job(Protocol):
    """One entry of a lane: `remaining` packets, at least 1. The queue counts it down."""

    remaining: int


Entry = TypeVar("Entry", bound=Job)


class LaneQueue(Generic[Entry]):
    """First in, first out within a lane; lengths are packets."""

    def __init__(self) -> None:
        self._jobs: dict[Lane, deque[Entry]] = {lane: deque() for lane in Lane}
        self._lengths = dict.fromkeys(Lane, 0)
        self._clocks = dict.fromkeys(Lane, 0.0)
        self._now = 0.0
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def length(self, lane: Lane) -> int:
        return self._lengths[lane]

    def push(self, lane: Lane, job: Entry) -> None:
        jobs = self._jobs[lane]
        if not jobs:
            self._clocks[lane] = max(self._clocks[lane], self._now)
        jobs.append(job)
        self._lengths[lane] += job.remaining
        self._total += job.remaining

    def _next(self, lanes: Sequence[Lane]) -> Lane | None:
        waiting = [lane for lane in lanes if self._jobs[lane]]
        return min(waiting, key=self._clocks.__getitem__) if waiting else None  # the first of equals, so by priority

    def peek(self, lanes: Sequence[Lane]) -> Entry | None:
        """What `pop` would give."""
        lane = self._next(lanes)
        return None if lane is None else self._jobs[lane][0]

    def pop(self, lanes: Sequence[Lane] = tuple(Lane)) -> Entry | None:
        """The job whose packet goes next, out of `lanes`; its `remaining` is already one less."""
        lane = self._next(lanes)
        if lane is None:
            return None
        self._now = self._clocks[lane]
        self._clocks[lane] += 1 / _WEIGHTS[lane]
        jobs = self._jobs[lane]
        job = jobs[0]
        job.remaining -= 1
        self._lengths[lane] -= 1
        self._total -= 1
        if job.remaining == 0:
            jobs.popleft()
        return job

    def restore(self, lane: Lane, job: Entry, remaining: int) -> None:
        """The packets of a job were made in vain: it is first in its lane again, with so many."""
        self.drop(job)
        job.remaining = remaining
        self._jobs[lane].appendleft(job)
        self._lengths[lane] += remaining
        self._total += remaining

    def drop(self, job: Entry) -> None:
        """Take back what remains of a job that cannot be sent."""
        for lane, jobs in self._jobs.items():
            if job.remaining and job in jobs:
                jobs.remove(job)
                self._lengths[lane] -= job.remaining
                self._total -= job.remaining
                job.remaining = 0
