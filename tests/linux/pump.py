"""Real time between two ends: a stack of ours or a TUN device on either side of a wire that is as bad as wished.

Delay, jitter, loss, reordering, duplication, rate and MTU are made here, in user space, for both kinds of ends alike:
`tc netem` is not needed, since many kernels come without it. The wire is described by `Wire` of the simulator; the
router in its middle answers what is larger than its MTU by ICMP, unless it is a black hole.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from smolmix_web.netstack import ErrorKind, Stack
from smolmix_web.netstack.icmp import build_error
from smolmix_web.rand import SeededRandom
from tests.netsim.simulator import Wire

BATCH = 64
ROUTER = IPv4Address("192.0.2.1").packed
ROUTER6 = IPv6Address("2001:db8:ffff::1").packed


class End(Protocol):
    descriptor: int | None

    def take(self, now: float) -> list[bytes]:
        """What wants to leave; at most `BATCH` packets."""
        ...

    def put(self, packet: bytes, now: float) -> None: ...

    def deadline(self) -> float | None: ...


class StackEnd:
    descriptor = None

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def take(self, now: float) -> list[bytes]:
        return self.stack.poll(now, BATCH)

    def put(self, packet: bytes, now: float) -> None:
        self.stack.receive(packet, now)

    def deadline(self) -> float | None:
        return self.stack.next_deadline()


class TunEnd:
    def __init__(self, descriptor: int) -> None:
        self.descriptor: int | None = descriptor
        self._file = descriptor
        self.refused = 0

    def take(self, now: float) -> list[bytes]:
        packets = []
        try:
            while len(packets) < BATCH:
                packets.append(os.read(self._file, 65_536))
        except BlockingIOError:
            pass
        return packets

    def put(self, packet: bytes, now: float) -> None:
        try:
            os.write(self._file, packet)
        except OSError:
            self.refused += 1

    def deadline(self) -> float | None:
        return None


class Line:
    """One direction between two ends. Counts what it carried and what it lost."""

    def __init__(self, wire: Wire, seed: object, *, black_hole: bool = False) -> None:
        self.wire = wire
        self.black_hole = black_hole
        self.packets = self.bytes = self.lost = self.too_large = 0
        self._rng = SeededRandom(seed)
        self._free = 0.0  # when the rate allows the next packet

    def arrivals(self, packet: bytes, now: float) -> list[float]:
        """When copies of it arrive."""
        wire, rng = self.wire, self._rng
        self.packets += 1
        self.bytes += len(packet)
        if wire.down or (wire.loss and rng.uniform() < wire.loss):
            self.lost += 1
            return []
        start = now
        if wire.rate:
            start = max(now, self._free)
            if (start - now) * wire.rate > wire.queue:
                self.lost += 1
                return []
            start += len(packet) / wire.rate
            self._free = start
        copies = 2 if wire.duplicate and rng.uniform() < wire.duplicate else 1
        out = []
        for _ in range(copies):
            arrival = start + wire.delay
            if wire.jitter:
                arrival += rng.exponential(wire.jitter)
            if wire.reorder and rng.uniform() < wire.reorder:
                arrival += wire.reorder_delay
            out.append(arrival)
        return out


class Pump:
    """Carries packets between `left` and `right` while `run` runs; the applications of a stack live in that thread."""

    def __init__(
        self,
        left: End,
        right: End,
        there: Wire | None = None,
        back: Wire | None = None,
        *,
        seed: object = 0,
        black_hole: bool = False,
    ) -> None:
        quick = Wire(delay=0.0)
        self.left, self.right = left, right
        self.there = Line(there or quick, f"there {seed}", black_hole=black_hole)
        self.back = Line(back or there or quick, f"back {seed}", black_hole=black_hole)
        self._poll = select.poll()
        for end in (left, right):
            if end.descriptor is not None:
                self._poll.register(end.descriptor, select.POLLIN)
        self._heap: list[tuple[float, int, End, bytes]] = []
        self._count = 0
        self.watch: Callable[[bytes, bool], None] | None = None  # sees every packet, True for left to right
        self.filter: Callable[[bytes, bool], bool] | None = None  # False drops the packet

    @property
    def now(self) -> float:
        return time.monotonic()

    def run(self, until: Callable[[], bool] | None = None, timeout: float = 60.0) -> None:
        """Until the condition holds (it is looked at after each turn, and 50 times a second); AssertionError when it
        does not in time. Without a condition: for that long."""
        end = time.monotonic() + timeout
        heap = self._heap
        while True:
            now = time.monotonic()
            while heap and heap[0][0] <= now:
                _, _, port, packet = heapq.heappop(heap)
                port.put(packet, now)
            busy = self._carry(self.left, self.right, self.there, True, now)
            busy |= self._carry(self.right, self.left, self.back, False, now)
            if until is not None and until():
                return
            if now >= end:
                assert until is None, f"not within {timeout} s"
                return
            if busy:
                continue
            deadline = min(now + 0.02, end, heap[0][0] if heap else end)
            for port in (self.left, self.right):
                due = port.deadline()
                if due is not None and due < deadline:
                    deadline = due
            self._poll.poll(max(0.0, (deadline - time.monotonic()) * 1000))

    def _carry(self, from_: End, to: End, line: Line, forward: bool, now: float) -> bool:
        packets = from_.take(now)
        for packet in packets:
            if self.watch is not None:
                self.watch(packet, forward)
            if self.filter is not None and not self.filter(packet, forward):
                line.lost += 1
                continue
            if len(packet) > line.wire.mtu:
                line.too_large += 1
                if not line.black_hole:
                    router = ROUTER if packet[0] >> 4 == 4 else ROUTER6
                    error = build_error(ErrorKind.FRAGMENTATION_NEEDED, packet, router, 0, mtu=line.wire.mtu)
                    self._schedule(now + line.wire.delay, from_, error)
                continue
            for arrival in line.arrivals(packet, now):
                if arrival <= now:
                    to.put(packet, now)
                else:
                    self._schedule(arrival, to, packet)
        return bool(packets)

    def _schedule(self, when: float, to: End, packet: bytes) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, to, packet))
