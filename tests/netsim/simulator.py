"""A network in virtual time: two stacks and a wire that is as bad as wished. Every run repeats from its seed.

A direction of the wire has a rate, a delay, jitter, loss, reordering, duplication, corruption, an MTU and a queue.
`Simulator.run` moves time from event to event; an hour of silence costs nothing. It fails when a stack asks to be
polled again and again at one instant (a busy loop), which no real host could stand.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from smolmix_web.netstack import Endpoint, Stack, StackConfig
from smolmix_web.rand import SeededRandom

CLIENT = IPv4Address("10.0.171.205")
SERVER = IPv4Address("203.0.113.80")
CLIENT6 = IPv6Address("fc00::abcd")
SERVER6 = IPv6Address("2001:db8::80")


@dataclass
class Wire:
    """One direction. Seconds, bytes, probabilities."""

    delay: float = 0.05
    jitter: float = 0.0  # mean of an exponential delay on top; packets overtake each other by it
    rate: float = 0.0  # bytes per second, 0 for unlimited
    queue: int = 1 << 20  # bytes that wait for the rate; more is lost
    loss: float = 0.0
    reorder: float = 0.0  # held back by `reorder_delay`
    reorder_delay: float = 0.02
    duplicate: float = 0.0
    corrupt: float = 0.0
    mtu: int = 65_535
    down: bool = False


class Host:
    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name
        self.wakes: list[float] = []
        self.limit: int | None = None  # packets per poll
        self.interval = 0.001  # seconds between polls that are limited
        self.free_at = 0.0  # when a limited host may be polled again
        self.sent: list[tuple[float, bytes]] = []
        self.record = False


class Simulator:
    def __init__(
        self,
        *,
        seed: object = 0,
        there: Wire | None = None,
        back: Wire | None = None,
        mtu: int = 1420,
        config: StackConfig | None = None,
        server_config: StackConfig | None = None,
        accept_any: bool = False,
    ) -> None:
        self.now = 100.0
        self._rng = SeededRandom(f"wire {seed}")
        self.there = there or Wire()
        self.back = back or Wire()
        client = Stack([CLIENT, CLIENT6], mtu, SeededRandom(f"client {seed}"), config=config)
        server = Stack(
            [SERVER, SERVER6],
            mtu,
            SeededRandom(f"server {seed}"),
            config=server_config or config,
            accept_any=accept_any,
        )
        self.client = Host(client, "client")
        self.server = Host(server, "server")
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._free = {"client": 0.0, "server": 0.0}  # when the rate allows the next packet
        self.filter: Callable[[str, bytes], bytes | None] | None = None  # sees each packet; None drops it
        self.packets = 0
        self.lost = 0

    # -- time

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, call))

    def after(self, delay: float, call: Callable[[], None]) -> None:
        self.at(self.now + delay, call)

    def run(self, seconds: float = 3600.0, until: Callable[[], bool] | None = None) -> bool:
        """Run for that long or until the condition holds; True when it does (without one: when all is quiet)."""
        end = self.now + seconds
        self._pump(self.client)
        self._pump(self.server)
        instants, last = 0, -1.0
        while True:
            if until is not None and until():
                return True
            if not self._events or self._events[0][0] > end:
                quiet = not self._events
                self.now = end
                return until() if until is not None else quiet
            when, _, call = heapq.heappop(self._events)
            self.now = when
            instants = instants + 1 if when == last else 0
            last = when
            assert instants < 20_000, "busy loop: time stands still"
            call()

    def _pump(self, host: Host) -> None:
        stack = host.stack
        if host.limit is not None and self.now < host.free_at:
            self._pump_full(host)
            return
        for _ in range(1000):
            packets = stack.poll(self.now, host.limit)
            for packet in packets:
                if host.record:
                    host.sent.append((self.now, packet))
                self._transmit(host, packet)
            if host.limit is not None and packets:
                host.free_at = self.now + host.interval
            deadline = stack.next_deadline()
            if deadline is None:
                return
            if deadline > self.now:
                self._wake(host, deadline)
                return
            if host.limit is not None and packets:
                self._wake(host, host.free_at)
                return
            assert packets, f"{host.name}: next_deadline asks for a poll that gives nothing"
        raise AssertionError(f"{host.name}: output never ends")

    def _pump_full(self, host: Host) -> None:
        """The tunnel has no room before `free_at`: only timers run."""
        host.stack.poll(self.now, 0)
        deadline = host.stack.next_deadline()
        if deadline is not None:
            timer = host.stack.next_deadline(full=True)
            self._wake(
                host, host.free_at if deadline <= self.now else min(max(deadline, host.free_at), timer or deadline)
            )

    def _wake(self, host: Host, when: float) -> None:
        if host.wakes and host.wakes[0] <= when and host.wakes[0] > self.now:
            return
        heapq.heappush(host.wakes, when)

        def wake() -> None:
            while host.wakes and host.wakes[0] <= self.now:
                heapq.heappop(host.wakes)
            self._pump(host)

        self.at(when, wake)

    # -- the wire

    def _transmit(self, host: Host, packet: bytes) -> None:
        self.packets += 1
        wire, to = (self.there, self.server) if host is self.client else (self.back, self.client)
        rng = self._rng
        if self.filter is not None:
            changed = self.filter(host.name, packet)
            if changed is None:
                self.lost += 1
                return
            packet = changed
        if wire.down or len(packet) > wire.mtu or (wire.loss and rng.uniform() < wire.loss):
            self.lost += 1
            return
        start = self.now
        if wire.rate:
            start = max(self.now, self._free[host.name])
            if (start - self.now) * wire.rate > wire.queue:
                self.lost += 1
                return
            start += len(packet) / wire.rate
            self._free[host.name] = start
        copies = 2 if wire.duplicate and rng.uniform() < wire.duplicate else 1
        for _ in range(copies):
            arrival = start + wire.delay
            if wire.jitter:
                arrival += rng.exponential(wire.jitter)
            if wire.reorder and rng.uniform() < wire.reorder:
                arrival += wire.reorder_delay
            body = packet
            if wire.corrupt and rng.uniform() < wire.corrupt:
                at = rng.below(len(body))
                body = body[:at] + bytes((body[at] ^ (1 << rng.below(8)),)) + body[at + 1 :]
            self.at(arrival, lambda body=body: self._arrive(to, body))  # type: ignore[misc]

    def _arrive(self, host: Host, packet: bytes) -> None:
        host.stack.receive(packet, self.now)
        self._pump(host)

    def poke(self) -> None:
        """Let what the test did with a stack leave."""
        self._pump(self.client)
        self._pump(self.server)


class Peer:
    """An application on one end of a connection: writes `data`, closes, and collects what comes."""

    def __init__(self, sim: Simulator, connection: Any, data: bytes = b"", *, close: bool = True) -> None:
        self.sim = sim
        self.connection = connection
        self.pending = memoryview(data)
        self.close_when_sent = close
        self.received = bytearray()
        self.eof = False
        self.failed: Exception | None = None
        self.reading = True
        connection.on_event = self.step
        self.step()

    def step(self) -> None:
        connection, now = self.connection, self.sim.now
        try:
            while self.reading and (piece := connection.receive(65_536, now)):
                self.received += piece
            self.eof = connection.receive_eof
            if self.pending and connection.send_space:
                self.pending = self.pending[connection.send(self.pending, now) :]
            if not self.pending and self.close_when_sent:
                connection.close(now)
        except Exception as error:
            self.failed = error

    @property
    def done(self) -> bool:
        return self.eof or self.failed is not None


def endpoint(port: int, address: IPv4Address | IPv6Address = SERVER) -> Endpoint:
    return Endpoint(address, port)


def void(_: object) -> None:
    """For callbacks made of an expression."""


class Session:
    """A listener that makes a `Peer` of each connection, and one connecting peer."""

    def __init__(
        self,
        sim: Simulator,
        up: bytes = b"",
        down: bytes = b"",
        *,
        port: int = 80,
        close: bool = True,
        address: IPv4Address | IPv6Address = SERVER,
        **options: Any,
    ) -> None:
        self.sim = sim
        self.accepted: list[Peer] = []
        self.down = down
        self.close = close
        self.listener = sim.server.stack.tcp_listen(port, on_connection=self._accept)
        self.connection = sim.client.stack.tcp_connect(endpoint(port, address), sim.now, **options)
        self.client = Peer(sim, self.connection, up, close=close)

    def _accept(self, connection: Any) -> None:
        self.accepted.append(Peer(self.sim, connection, self.down, close=self.close))

    @property
    def server(self) -> Peer:
        return self.accepted[0]

    @property
    def done(self) -> bool:
        return self.client.done and bool(self.accepted) and self.server.done
