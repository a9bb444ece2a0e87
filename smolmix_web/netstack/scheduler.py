"""What goes out next, and when something is due.

Order of output: control packets (RST, ICMP), then flows that owe an ACK, a SYN or a probe, then data, one packet per
flow in turn. Packets are made when they are collected, so a full tunnel costs nothing and shares fairly.

Deadlines stand in a heap with lazy correction: an entry may be too early (a timer that was pushed back), never too
late; it is put right when it comes to the top.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Protocol

INFINITY = float("inf")
_READY = 1
_URGENT = 2


class Flow(Protocol):
    """A source of packets. `ring` and `heap_at` belong to the scheduler."""

    ring: int
    heap_at: float

    @property
    def deadline(self) -> float: ...

    def urgency(self) -> int:
        """2: before data; 1: data; 0: nothing to send."""
        ...

    def produce(self, now: float) -> bytes | None: ...

    def on_timers(self, now: float) -> None:
        """Called at or after `deadline`; must move it."""
        ...


class Scheduler:
    def __init__(self, max_control: int) -> None:
        self._max_control = max_control
        self._control: deque[bytes] = deque()
        self._urgent: deque[Flow] = deque()
        self._ready: deque[Flow] = deque()
        self._heap: list[tuple[float, int, Flow]] = []
        self._count = 0  # ties in the heap

    def emit(self, packet: bytes) -> bool:
        """Queue a control packet; False when there are too many."""
        if len(self._control) >= self._max_control:
            return False
        self._control.append(packet)
        return True

    def changed(self, flow: Flow) -> None:
        """The flow's urgency or deadline may have changed."""
        urgency = flow.urgency()
        if urgency == 2:
            if not flow.ring & _URGENT:
                flow.ring |= _URGENT
                self._urgent.append(flow)
        elif urgency and not flow.ring & _READY:
            flow.ring |= _READY
            self._ready.append(flow)
        deadline = flow.deadline
        if deadline < flow.heap_at:
            self._push(deadline, flow)

    def _push(self, deadline: float, flow: Flow) -> None:
        flow.heap_at = deadline
        self._count += 1
        heapq.heappush(self._heap, (deadline, self._count, flow))

    @property
    def waiting(self) -> bool:
        """Output is (probably) waiting: a collection is worth while."""
        return bool(self._control or self._urgent or self._ready)

    def collect(self, now: float, limit: int) -> list[bytes]:
        """At most `limit` packets."""
        out: list[bytes] = []
        control = self._control
        while control and len(out) < limit:
            out.append(control.popleft())
        for ring, mark in ((self._urgent, _URGENT), (self._ready, _READY)):
            while ring and len(out) < limit:
                flow = ring.popleft()
                flow.ring &= ~mark
                packet = flow.produce(now)
                if packet is not None:
                    out.append(packet)
                    self.changed(flow)
                elif flow.deadline < flow.heap_at:
                    self._push(flow.deadline, flow)
        return out

    def next_deadline(self) -> float:
        """Exact: entries that are out of date are corrected or dropped."""
        heap = self._heap
        while heap:
            at, _, flow = heap[0]
            if at == flow.heap_at:
                deadline = flow.deadline
                if deadline == at:
                    return at
                heapq.heappop(heap)
                flow.heap_at = INFINITY
                if deadline != INFINITY:
                    self._push(deadline, flow)
            else:
                heapq.heappop(heap)  # an earlier entry was made since
        return INFINITY

    def run_timers(self, now: float) -> None:
        while self.next_deadline() <= now:
            flow = heapq.heappop(self._heap)[2]
            flow.heap_at = INFINITY
            flow.on_timers(now)
            self.changed(flow)
