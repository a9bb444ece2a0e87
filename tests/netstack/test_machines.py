"""Two stacks, a wire in the hands of an adversary, and applications that do anything at any time.

Hypothesis chooses: which packet arrives next, twice, broken or never; when time passes; who connects, writes, reads,
closes, aborts; when the tunnel of one side is full. Whatever it chooses:

* what one side reads is what the other wrote, from the first byte on, and its end is told only where it is;
* when the wire is good again and both close, every byte has arrived, or both sides have an error;
* no stack asks to be polled without end, sends without end, or keeps a timer or a connection behind.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from smolmix_web.errors import SmolmixError
from smolmix_web.netstack import Endpoint, Stack, StackConfig, State, TcpConfig
from smolmix_web.rand import SeededRandom
from tests.netsim.simulator import CLIENT, CLIENT6, SERVER, SERVER6

SIDES = ("client", "server")
PORT = 80
MAX_CONNECTIONS = 4
MAX_WAITING = 400  # packets on a wire; a real link has an end, too
POLLS_PER_SECOND = 500  # virtual seconds; more is a busy loop
PACKETS_PER_SECOND = 5000
DELAY = 0.05  # of the good wire at the end
FIELDS = {field.name for field in dataclasses.fields(TcpConfig)}

sides = st.sampled_from(SIDES)
which = st.integers(0, 1 << 16)


def stream(seed: int, start: int, count: int) -> bytes:
    """Bytes of a writer's stream; each writer has its own."""
    return bytes((seed * 101 + at * 7 + (at >> 8) * 13) & 0xFF for at in range(start, start + count))


class End:
    """An application at one end of a connection. `theirs` seeds what it must read, `mine` what it writes."""

    def __init__(self, connection: Any, mine: int, theirs: int) -> None:
        self.connection = connection
        self.mine = mine
        self.theirs = theirs
        self.written = 0
        self.read = 0
        self.eof = False
        self.closed = False  # close was called while everything was well
        self.gave_up = False  # abort or release: it does not want the rest

    @property
    def failed(self) -> bool:
        return self.connection.error is not None

    def take(self, limit: int, now: float) -> None:
        connection = self.connection
        while limit > 0:
            try:
                data = connection.receive(limit, now)
            except SmolmixError:
                assert connection.error is not None
                return
            if not data:
                break
            assert data == stream(self.theirs, self.read, len(data)), "wrong bytes"
            self.read += len(data)
            limit -= len(data)
        self.eof = self.eof or connection.receive_eof

    def put(self, count: int, now: float) -> None:
        connection = self.connection
        if connection.send_space:
            self.written += connection.send(stream(self.mine, self.written, count), now)

    def close(self, now: float) -> None:
        if not self.closed and not self.failed:
            self.closed = True
            self.connection.close(now)


class TwoStacks(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 1 << 30),
        v6=st.booleans(),
        sack=st.booleans(),
        stamps=st.booleans(),
        nodelay=st.booleans(),
        rack=st.booleans(),
        buffer=st.sampled_from([1000, 5000, 65_536]),
        send_buffer=st.sampled_from([2000, 100_000]),
        mtu=st.sampled_from([576, 1420, 9000]),
    )
    def start(
        self,
        seed: int,
        v6: bool,
        sack: bool,
        stamps: bool,
        nodelay: bool,
        rack: bool,
        buffer: int,
        send_buffer: int,
        mtu: int,
    ) -> None:
        self.now = 100.0
        options: dict[str, Any] = {
            "sack": sack,
            "nodelay": nodelay,
            "rack": rack,
            "receive_buffer": buffer,
            "receive_buffer_max": 2 * buffer,
            "send_buffer": send_buffer,
            "keepalive": 60.0,  # or an end that only waits would never hear that the other is gone
            "user_timeout": 40.0,
            "timestamps": stamps,
        }
        config = StackConfig(tcp=TcpConfig(**{name: value for name, value in options.items() if name in FIELDS}))
        addresses = [CLIENT6, SERVER6] if v6 else [CLIENT, SERVER]
        self.remote = Endpoint(addresses[1], PORT)
        self.stacks = {
            side: Stack([address], mtu, SeededRandom(f"{side} {seed}"), config=config)
            for side, address in zip(SIDES, addresses, strict=True)
        }
        self.wires: dict[str, list[bytes]] = {side: [] for side in SIDES}  # by sender
        self.full = dict.fromkeys(SIDES, False)
        self.clients: list[End] = []
        self.servers: dict[Endpoint, End] = {}
        self.since = 100.0  # a window of one virtual second
        self.polls = self.packets = 0
        self.stacks["server"].tcp_listen(PORT, backlog=MAX_CONNECTIONS, on_connection=self._accepted)

    def _accepted(self, connection: Any) -> None:
        (mine,) = [n for n, end in enumerate(self.clients) if end.connection.local == connection.remote]
        self.servers[connection.remote] = End(connection, 2 * mine + 1, 2 * mine)

    # -- the world

    def _other(self, side: str) -> str:
        return SIDES[side == "client"]

    def _ends(self) -> list[End]:
        return [*self.clients, *self.servers.values()]

    def _end(self, side: str, number: int) -> End | None:
        ends = self.clients if side == "client" else list(self.servers.values())
        return ends[number % len(ends)] if ends else None

    def _pump(self) -> None:
        """Collect what the stacks send; nobody may ask for more at the same instant."""
        for side, stack in self.stacks.items():
            full = self.full[side]
            for _ in range(100):
                packets = stack.poll(self.now, 0 if full else None)
                self.packets += len(packets)
                self.wires[side] += packets
                deadline = stack.next_deadline(full=full)
                if deadline is None or deadline > self.now:
                    break
            else:
                raise AssertionError(f"{side}: polled 100 times at one instant and wants more")
            assert full or stack.next_deadline() != 0.0
            # A link that is overrun loses its oldest.
            del self.wires[side][:-MAX_WAITING]

    def _deadline(self) -> float | None:
        found = [stack.next_deadline(full=self.full[side]) for side, stack in self.stacks.items()]
        return min((at for at in found if at is not None), default=None)

    def _count_polls(self) -> None:
        if self.now >= self.since + 1.0:
            self.since = self.now
            self.polls = self.packets = 0
        self.polls += 1
        assert self.polls <= POLLS_PER_SECOND, "busy: too many polls in a virtual second"
        assert self.packets <= PACKETS_PER_SECOND, "a storm of packets"

    def _advance(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            self._pump()
            deadline = self._deadline()
            if deadline is None or deadline > end:
                self.now = end
                return
            assert deadline > self.now
            self.now = deadline
            self._count_polls()

    def _receive(self, side: str, packet: bytes) -> None:
        self.stacks[side].receive(packet, self.now)
        self._pump()

    # -- the wire

    @rule(side=sides, at=which)
    def deliver_any(self, side: str, at: int) -> None:
        """Any packet next: the others are delayed."""
        wire = self.wires[side]
        if wire:
            self._receive(self._other(side), wire.pop(at % len(wire)))

    @rule(side=sides, count=st.integers(1, 40))
    def deliver(self, side: str, count: int) -> None:
        wire = self.wires[side]
        for _ in range(min(count, len(wire))):
            self._receive(self._other(side), wire.pop(0))

    @rule(side=sides, count=st.integers(1, 40))
    def deliver_backwards(self, side: str, count: int) -> None:
        wire = self.wires[side]
        for _ in range(min(count, len(wire))):
            self._receive(self._other(side), wire.pop())

    @rule()
    def deliver_both(self) -> None:
        for side in SIDES:
            packets, self.wires[side] = self.wires[side], []
            for packet in packets:
                self._receive(self._other(side), packet)

    @rule(side=sides, at=which)
    def duplicate(self, side: str, at: int) -> None:
        wire = self.wires[side]
        if wire:
            wire.append(wire[at % len(wire)])

    @rule(side=sides, at=which, count=st.integers(1, 10))
    def drop(self, side: str, at: int, count: int) -> None:
        wire = self.wires[side]
        if wire:
            at %= len(wire)
            del wire[at : at + count]

    @rule(side=sides)
    def drop_all(self, side: str) -> None:
        self.wires[side].clear()

    @rule(side=sides, at=which, where=which, bit=st.integers(0, 7))
    def corrupt(self, side: str, at: int, where: int, bit: int) -> None:
        """One bit, anywhere: a checksum sees it, or (IPv6: flow label, hop limit) it does not matter."""
        wire = self.wires[side]
        if wire:
            at %= len(wire)
            packet = bytearray(wire[at])
            packet[where % len(packet)] ^= 1 << bit
            wire[at] = bytes(packet)

    @rule(side=sides, full=st.booleans())
    def tunnel_full(self, side: str, full: bool) -> None:
        self.full[side] = full
        self._pump()

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.3, 1.1, 4.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self._advance(seconds)

    @rule(victims=st.sampled_from([("client",), ("server",), SIDES]), seconds=st.sampled_from([2.0, 15.0, 50.0]))
    def outage(self, victims: tuple[str, ...], seconds: float) -> None:
        """Nothing of what these sides send arrives, for so long."""
        end = self.now + seconds
        while self.now < end:
            deadline = self._deadline()
            self._advance(min(end, max(deadline or end, self.now)) - self.now)
            for side in SIDES:
                packets, self.wires[side] = self.wires[side], []
                for packet in packets if side not in victims else ():
                    self._receive(self._other(side), packet)

    # -- the applications

    @precondition(lambda self: len(self.clients) < MAX_CONNECTIONS)
    @rule(timeout=st.sampled_from([5.0, 60.0]), ahead=st.sampled_from([0, 0, 3000]))
    def connect(self, timeout: float, ahead: int) -> None:
        connection = self.stacks["client"].tcp_connect(self.remote, self.now, connect_timeout=timeout)
        number = len(self.clients)
        end = End(connection, 2 * number, 2 * number + 1)
        self.clients.append(end)
        end.put(ahead, self.now)
        self._pump()

    @rule(side=sides, at=which, count=st.sampled_from([1, 100, 3000, 20_000]))
    def write(self, side: str, at: int, count: int) -> None:
        if end := self._end(side, at):
            end.put(count, self.now)
            self._pump()

    @rule(side=sides, at=which, count=st.sampled_from([1, 700, 1 << 20]))
    def read(self, side: str, at: int, count: int) -> None:
        if end := self._end(side, at):
            end.take(count, self.now)
            self._pump()

    @rule(side=sides, at=which)
    def close(self, side: str, at: int) -> None:
        if end := self._end(side, at):
            end.close(self.now)
            self._pump()

    @rule(side=sides, at=which, how=st.sampled_from(["abort", "release"]))
    def give_up(self, side: str, at: int, how: str) -> None:
        if at % 3 == 0 and (end := self._end(side, at // 3)):  # not too often, or nothing else is seen
            end.gave_up = True
            getattr(end.connection, how)(self.now)
            self._pump()

    # -- what always holds

    @invariant()
    def nothing_grows(self) -> None:
        if not hasattr(self, "stacks"):
            return
        for stack in self.stacks.values():
            assert len(stack.connections) <= 2 * MAX_CONNECTIONS
            for connection in stack.connections:
                config = connection.config
                assert connection.receive_available <= 2 * config.receive_buffer_max
                assert 0 <= connection.send_space <= config.send_buffer
                assert connection.state is not State.CLOSED

    @invariant()
    def ends_are_true(self) -> None:
        """The end of a stream is told only when everything that its writer wrote was read."""
        for client in getattr(self, "clients", ()):
            server = self.servers.get(client.connection.local)
            for reader, writer in ((client, server), (server, client)):
                if reader is not None and writer is not None:
                    assert reader.read <= writer.written
                    if reader.eof:
                        assert reader.read == writer.written and (writer.closed or writer.gave_up)

    # -- the end: a good wire, and both sides finish

    def teardown(self) -> None:
        if not hasattr(self, "stacks"):
            return
        self.full = dict.fromkeys(SIDES, False)
        flying: list[tuple[float, str, bytes]] = []
        quiet = self.now + 5000.0
        while self.now < quiet:
            for end in self._ends():
                end.take(1 << 30, self.now)
                end.close(self.now)
            self._pump()
            for side in SIDES:
                flying += [(self.now + DELAY, self._other(side), packet) for packet in self.wires[side]]
                self.wires[side] = []
            deadline = self._deadline()
            times = [flying[0][0]] if flying else []
            times += [deadline] if deadline is not None else []
            if not times:
                break
            self.now = max(self.now, min(times))
            self._count_polls()
            while flying and flying[0][0] <= self.now:
                _, side, packet = flying.pop(0)
                self._receive(side, packet)
        for stack in self.stacks.values():
            assert stack.next_deadline() is None, "a timer is left behind"
            assert not stack.connections, "a connection is left behind"
        for client in self.clients:
            server = self.servers.get(client.connection.local)
            if server is None:
                assert client.failed or client.gave_up
                assert client.read == 0
            else:
                self._judge(client, server)
                self._judge(server, client)

    @staticmethod
    def _judge(writer: End, reader: End) -> None:
        """Everything arrived, or both know that it did not."""
        if reader.read == writer.written and reader.eof:
            return
        assert reader.failed or reader.gave_up, "the reader takes a part for the whole"
        # A reader that gave up may have acknowledged what it never read: no writer can know that. And where only the
        # FIN is missing, every byte has arrived (RFC 9293 3.10.7.4: a RST in CLOSING is an end like another).
        known = writer.failed or writer.gave_up or reader.gave_up
        assert known or reader.read == writer.written, "the writer believes that all arrived"


TestTwoStacks = TwoStacks.TestCase
TestTwoStacks.settings = settings(max_examples=200, stateful_step_count=50)
