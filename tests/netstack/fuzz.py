"""A fuzzer of the stack: `python -m tests.netstack.fuzz --packets 200000 --seed 1`.

Two stacks talk over a wire that the fuzzer owns: a client, and a stack that takes every address as a user-space exit
does. Between their real packets it feeds both of them others: segments made around the true sequence numbers of a live
connection, ICMP errors that quote what they sent, fragments, datagrams, echoes, old packets again, and mutations of
all of these with checksums put right. Applications open, write, read, close and abort meanwhile.

Held against it: no exception, no busy loop, every packet that leaves is well formed and fits the MTU, and the memory
that hangs on a stack stays under a fixed bound. Everything repeats from the seed.
"""

from __future__ import annotations

import argparse
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.netstack import Endpoint, ErrorKind, Stack, StackConfig, TcpConfig
from smolmix_web.rand import SeededRandom
from tests.netsim.simulator import CLIENT, CLIENT6, SERVER, SERVER6
from tests.packetscript import packets as wire
from tests.packetscript.packets import IcmpPacket, TcpPacket, UdpPacket

MTU = 1420
BUFFER = 8192
MAX_CONNECTIONS = 24
# 24 connections with both buffers full, and the queues of the configuration below. Seen: 0.3 MB.
MAX_FOOTPRINT = 1_300_000
CONFIG = StackConfig(
    tcp=TcpConfig(receive_buffer=BUFFER, receive_buffer_max=2 * BUFFER, send_buffer=2 * BUFFER, time_wait=5.0),
    max_connections=MAX_CONNECTIONS,
    max_pending_syns=16,
    max_control_packets=64,
    udp_receive_datagrams=16,
    udp_receive_bytes=BUFFER,
    udp_output_bytes=BUFFER,
    udp_unreachable=True,
    max_pings=8,
    reassembly_datagrams=8,
    reassembly_bytes=4 * BUFFER,
    path_mtu_entries=16,
)
_PLAIN = (int, float, str, bool, type(None), type)


def footprint(root: object) -> int:
    """Bytes, roughly, of all buffers and containers that hang on `root`; it knows no attribute by name."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    total = 0
    while waiting:
        item = waiting.pop()
        if isinstance(item, _PLAIN) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, (bytes, bytearray)):
            total += len(item) + 40
        elif isinstance(item, dict):
            total += 100 * len(item) + 60
            waiting += item.keys()
            waiting += item.values()
        elif isinstance(item, (list, tuple, set, frozenset, deque)):
            total += 16 * len(item) + 60
            waiting += item
        elif type(item).__module__.startswith("smolmix_web.netstack"):
            total += 100
            for kind in type(item).__mro__:
                slots = kind.__dict__.get("__slots__", ())
                for name in (slots,) if isinstance(slots, str) else slots:
                    waiting.append(getattr(item, name, None))
            waiting += getattr(item, "__dict__", {}).values()
    return total


class Side:
    """One stack under test with its applications."""

    def __init__(self, name: str, stack: Stack) -> None:
        self.name = name
        self.stack = stack
        self.connections: list[Any] = []
        self.listeners: list[Any] = []
        self.sockets: list[Any] = []
        self.requests: deque[Any] = deque(maxlen=8)  # SYNs that wait for a decision
        self.sent: deque[bytes] = deque(maxlen=64)  # what it sent lately
        self.inbox: deque[bytes] = deque(maxlen=100)  # real packets on their way to it
        self.footprint = 0


class Fuzzer:
    def __init__(self, seed: object) -> None:
        self.rng = SeededRandom(f"fuzz {seed}")
        self.now = 1000.0
        client = Side("client", Stack([CLIENT, CLIENT6], MTU, SeededRandom(f"client {seed}"), config=CONFIG))
        server = Side(
            "server",
            Stack([SERVER, SERVER6], MTU, SeededRandom(f"server {seed}"), config=CONFIG, accept_any=True),
        )
        self.sides = (client, server)
        for side in self.sides:
            side.listeners.append(side.stack.tcp_listen(80, backlog=8))
            side.sockets += [side.stack.udp_socket(53), side.stack.udp_socket(5000)]
        server.stack.on_syn = lambda request, now: self._on_syn(server, request, now)
        server.stack.on_udp = lambda source, destination, data, now: None
        self.packets = 0
        self.latest = b""
        self.kinds: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.generators: list[tuple[str, Callable[[Side], bytes]]] = [
            ("segment", self._segment),
            ("segment", self._segment),
            ("segment", self._segment),
            ("icmp error", self._icmp_error),
            ("echo", self._echo),
            ("datagram", self._datagram),
            ("fragment", self._fragment),
            ("replay", self._replay),
            ("mutation", self._mutation),
            ("mutation", self._mutation),
            ("extension", self._extension),
            ("garbage", lambda side: self.rng.bytes(self.rng.below(120))),
        ]

    # -- one step

    def step(self) -> None:
        """One packet into one of the stacks, something of an application perhaps, and time."""
        rng = self.rng
        side = self.sides[rng.below(2)]
        if side.inbox and rng.below(2):
            packet = side.inbox.popleft()
            kind = "real"
            if rng.below(12) == 0:
                packet, kind = self._mutate(packet), "real, mutated"
        else:
            kind, generate = self.generators[rng.below(len(self.generators))]
            packet = generate(side)
        self.kinds[kind] += 1
        self.latest = packet
        side.stack.receive(packet, self.now)
        self.packets += 1
        if rng.below(3) == 0:
            self._application(self.sides[rng.below(2)])
        self._poll()
        if self.packets % 500 == 0:
            self._measure()

    def _poll(self) -> None:
        rng = self.rng
        self.now += rng.exponential(0.02)
        if rng.below(1000) == 0:
            self.now += rng.exponential(100.0)
        for number, side in enumerate(self.sides):
            limit = (None, None, 1, 0)[rng.below(4)]
            for _ in range(30):
                out = side.stack.poll(self.now, limit)
                for packet in out:
                    assert len(packet) <= side.stack.mtu, "a packet larger than the MTU"
                    if rng.below(16) == 0:
                        wire.parse(packet)
                side.sent += out
                self.sides[1 - number].inbox += out
                deadline = side.stack.next_deadline(full=limit is not None)
                if deadline is None or deadline > self.now or limit is not None:
                    break
            else:
                raise AssertionError(f"{side.name}: polled 30 times at one instant and wants more")

    def _measure(self) -> None:
        for side in self.sides:
            size = footprint(side.stack)
            side.footprint = max(side.footprint, size)
            assert size <= MAX_FOOTPRINT, f"{side.name}: {size} bytes hang on the stack"
            assert len(side.stack.connections) <= MAX_CONNECTIONS
            self.states.update(connection.state.name for connection in side.stack.connections)

    def finish(self) -> None:
        """Everything is aborted; nothing may stay behind."""
        for side in self.sides:
            for listener in side.listeners:
                listener.close(self.now)
            for connection in side.stack.connections:
                connection.on_event = None
                connection.abort(self.now)
            for _ in range(10):
                self.now += 200.0
                side.stack.poll(self.now)
            assert side.stack.next_deadline() is None, f"{side.name}: a timer is left behind"
            assert not side.stack.connections

    # -- applications

    def _on_syn(self, side: Side, request: Any, now: float) -> None:
        choice = self.rng.below(4)
        if choice == 0:
            request.refuse(now, (None, *ErrorKind)[self.rng.below(1 + len(ErrorKind))])
        elif choice == 1:
            side.requests.append(request)
        else:
            self._take(side, request)

    def _take(self, side: Side, request: Any) -> None:
        try:
            side.connections.append(request.accept(self.now))
        except SmolmixError as error:
            self.errors[error.code] += 1

    def _application(self, side: Side) -> None:
        """Any call; errors must be the typed ones."""
        rng, now, stack = self.rng, self.now, side.stack
        other = self.sides[side is self.sides[0]].stack
        while len(side.connections) > 40:
            side.connections.pop(0)
        choice = rng.below(20)
        try:
            if choice == 0 or not side.connections:
                port = (80, 443, 81)[rng.below(3)]
                remote = Endpoint(other.addresses[rng.below(2)], port)
                keepalive = (None, 5.0)[rng.below(2)]
                nodelay = bool(rng.below(2))
                side.connections.append(
                    stack.tcp_connect(remote, now, connect_timeout=20.0, keepalive=keepalive, nodelay=nodelay)
                )
                return
            connection = side.connections[rng.below(len(side.connections))]
            if choice < 8:
                connection.send(bytes(rng.below(5000)), now)
            elif choice < 12:
                connection.receive(rng.below(10_000), now)
            elif choice == 12:
                connection.close(now)
            elif choice == 13 and rng.below(10) == 0:
                connection.abort(now)
            elif choice == 14 and rng.below(10) == 0:
                connection.release(now)
            elif choice == 15:
                accepted = side.listeners[0].accept()
                if accepted is not None:
                    side.connections.append(accepted)
            elif choice == 16:
                side.sockets[rng.below(2)].send_to(
                    bytes(rng.below(1500)), Endpoint(other.addresses[rng.below(2)], 53), now
                )
            elif choice == 17:
                side.sockets[rng.below(2)].receive()
                stack.ping(other.addresses[rng.below(2)], now, bytes(rng.below(60)), timeout=5.0)
            elif choice == 18 and side.requests:
                self._take(side, side.requests.popleft())
            elif rng.below(50) == 0:
                side.sent += stack.poll(now)  # what was built for the old one
                stack.set_mtu((1280, 1300, MTU)[rng.below(3)])
            elif rng.below(50) == 0:
                stack.refuse(Endpoint(other.addresses[0], 443), "fuzz")
        except SmolmixError as error:
            self.errors[error.code] += 1

    # -- packets

    def _near(self, value: int) -> int:
        """A 32-bit number at or around this one."""
        rng = self.rng
        offset = (0, 0, 0, 1, -1, 2, 1380, -1380, BUFFER, 65_535, 1 << 31, -(1 << 24))[rng.below(12)]
        return (value + offset + (rng.below(3000) if rng.below(4) == 0 else 0)) & 0xFFFFFFFF

    def _options(self, ack: int) -> list[tuple[str, tuple[int, ...]]]:
        rng = self.rng
        choice = rng.below(10)
        if choice < 4:
            return []
        if choice == 4:
            return [("mss", (rng.below(65_536),)), ("wscale", (rng.below(256),)), ("sackok", ())]
        if choice == 5:
            return [("ts", (rng.below(1 << 32), rng.below(1 << 32)))]
        if choice == 6:
            return [("raw", tuple(rng.bytes(rng.below(37))))]
        if choice == 7:
            kind = (2, 3, 4, 5, 8, 253)[rng.below(6)]
            return [("raw", (kind, rng.below(40), *rng.bytes(rng.below(12))))]
        edges = [self._near(ack) for _ in range(2 * (1 + rng.below(4)))]
        return [("sack", tuple(edges))]

    def _segment(self, side: Side) -> bytes:
        """Around the true numbers of a live connection, or to a listener, or to nobody."""
        rng = self.rng
        live = side.stack.connections
        c: Any = None
        flags = "".join(letter for letter in wire.FLAG_LETTERS if rng.below(6) == 0)
        if rng.below(3):
            flags = ("A", "A", "PA", "FA", "S", "SA", "R", "RA", "SFA", "A")[rng.below(10)]
        text = rng.bytes((0, 0, 1, 100, 1380)[rng.below(5)])
        window = (0, 1, 1000, 65_535)[rng.below(4)]
        if live and rng.below(8):
            c = live[rng.below(len(live))]
            seq = self._near(c.receiver.rcv_nxt if rng.below(8) else c.irs)
            ack = self._near((c.sender.snd_una, c.sender.snd_nxt)[rng.below(2)])
            source, destination = c.remote, c.local
        else:
            v6 = rng.below(4) == 0
            addresses = (CLIENT6, SERVER6) if v6 else (CLIENT, SERVER)
            ours, theirs = addresses if side is self.sides[0] else addresses[::-1]
            if rng.below(10) == 0:
                theirs = ip_address(rng.bytes(16 if v6 else 4))
            source = Endpoint(theirs, 1024 + rng.below(32))
            destination = Endpoint(ours, (80, 443, 9)[rng.below(3)])
            seq, ack = rng.below(1 << 32), rng.below(1 << 32)
        options = self._options(ack)
        stamps = c.timestamps if c is not None else None
        if stamps is not None and stamps.active and rng.below(4) and sum(len(values) for _, values in options) < 5:
            times = (self._near(stamps.ts_recent), self._near(stamps.value(self.now)))
            options = [("ts", times), *(option for option in options if option[0] != "raw")]
        packet = TcpPacket(
            source.address,
            destination.address,
            source.port,
            destination.port,
            seq,
            ack,
            "".join(sorted(set(flags), key=wire.FLAG_LETTERS.index)),
            window,
            rng.below(65_536) if "U" in flags else 0,
            options,
            text,
        )
        if len(wire.option_bytes(packet.options)) > 40:
            packet.options = []
        return wire.build(packet)

    def _icmp_error(self, side: Side) -> bytes:
        """About something this stack sent, sometimes with a quotation that is a little wrong."""
        rng = self.rng
        if not side.sent:
            return b""
        quoted = side.sent[rng.below(len(side.sent))]
        v4 = quoted[0] >> 4 == 4
        if rng.below(3) == 0:
            quoted = self._flip(quoted)
        size = (28, 28, 48, 60, 20, 8, 600)[rng.below(7)] if v4 else (48, 48, 60, 40, 8, 1200)[rng.below(6)]
        ours = ip_address(quoted[12:16] if v4 else quoted[8:24])
        if ours.version != (4 if v4 else 6):
            return b""
        if v4:
            kind, code = ((3, rng.below(16)), (3, 4), (11, rng.below(2)), (rng.below(256), rng.below(256)))[
                rng.below(4)
            ]
        else:
            kind, code = ((1, rng.below(8)), (2, 0), (3, 0), (4, 1), (rng.below(256), 0))[rng.below(5)]
        rest = (0, 68, 576, 1000, 1280, 1400, 65_535, rng.below(1 << 32))[rng.below(8)]
        router = ip_address(rng.bytes(4) if v4 else rng.bytes(16))
        return wire.build(IcmpPacket(router, ours, kind, code, rest, quoted[:size]))

    def _echo(self, side: Side) -> bytes:
        rng = self.rng
        v6 = bool(rng.below(2))
        ours = side.stack.addresses[v6]
        theirs = self.sides[side is self.sides[0]].stack.addresses[v6]
        kind = (128, 129)[rng.below(2)] if v6 else (8, 0)[rng.below(2)]
        return wire.build(
            IcmpPacket(theirs, ours, kind, rng.below(20) == 0, rng.below(1 << 32), rng.bytes(rng.below(64)))
        )

    def _datagram(self, side: Side) -> bytes:
        rng = self.rng
        v6 = bool(rng.below(2))
        ours = side.stack.addresses[v6]
        theirs = self.sides[side is self.sides[0]].stack.addresses[v6]
        ports = (rng.below(65_536), (53, 5000, rng.below(65_536))[rng.below(3)])
        return wire.build(UdpPacket(theirs, ours, *ports, rng.bytes(rng.below(200))))

    def _fragment(self, side: Side) -> bytes:
        """A piece of a packet; few identifications, so that pieces meet, agree and contradict."""
        rng = self.rng
        if rng.below(3) == 0 and (whole := self._replay(side)):
            # A piece of something real.
            v4 = whole[0] >> 4 == 4
            body = whole[20 if v4 else 40 :]
            protocol = whole[9 if v4 else 6]
            at = 8 * rng.below(max(1, len(body) // 8))
            body, more = body[at : at + 8 * (1 + rng.below(80))], at + 640 < len(body)
        else:
            v4 = bool(rng.below(2))
            body = bytes(8 * rng.below(100) + (rng.below(8) if rng.below(3) == 0 else 0))
            at, more = (rng.below(24) * 8 if rng.below(8) else rng.below(0x10000) & ~7), bool(rng.below(3))
            protocol = (wire.TCP, wire.UDP, wire.ICMP if v4 else wire.ICMPV6)[rng.below(3)]
        ours = side.stack.addresses[not v4]
        theirs = self.sides[side is self.sides[0]].stack.addresses[not v4]
        if v4:
            flags = at >> 3 | (0x2000 if more else 0)
            return wire.ip_packet(theirs, ours, protocol, body, fragment=flags, ident=rng.below(20))
        head = struct.pack("!BBHI", protocol, 0, at | more, rng.below(20))
        return wire.ip_packet(theirs, ours, 44, head + body)

    def _replay(self, side: Side) -> bytes:
        """Something the other side sent, perhaps long ago."""
        sent = self.sides[side is self.sides[0]].sent
        return sent[self.rng.below(len(sent))] if sent else b""

    def _mutation(self, side: Side) -> bytes:
        return self._mutate(self._replay(side))

    def _extension(self, side: Side) -> bytes:
        """IPv6 extension headers and IPv4 options, in front of something or of nothing."""
        rng = self.rng
        inner = self._segment(side)
        if inner[0] == 0x45:
            words = 1 + rng.below(10)
            head = bytearray(inner[:20] + rng.bytes(4 * words))
            head[0] = 0x45 + words
            head[2:4] = (len(inner) + 4 * words).to_bytes(2, "big")
            head[10:12] = b"\0\0"
            head[10:12] = wire.checksum(bytes(head)).to_bytes(2, "big")
            return bytes(head) + inner[20:]
        source, destination = ip_address(inner[8:24]), ip_address(inner[24:40])
        body, after = inner[40:], inner[6]
        if rng.below(3) == 0:
            body, after = rng.bytes(8 * rng.below(8)), rng.below(256)
        for _ in range(1 + rng.below(4)):
            words = rng.below(3)
            length = words if rng.below(8) else rng.below(256)
            body = bytes((after, length)) + rng.bytes(6 + 8 * words) + body
            after = (0, 43, 44, 51, 60, 60, 135, 59)[rng.below(8)]
        return wire.ip_packet(source, destination, after, body)

    # -- mutation

    def _flip(self, packet: bytes) -> bytes:
        rng = self.rng
        body = bytearray(packet)
        for _ in range(1 + rng.below(3)):
            if body:
                body[rng.below(min(len(body), 80))] = rng.below(256)
        return bytes(body)

    def _mutate(self, packet: bytes) -> bytes:
        """Fields, bytes and lengths changed; three times of four the checksums are right again."""
        rng = self.rng
        if len(packet) < 40:
            return packet
        choice = rng.below(6)
        start = 20 if packet[0] >> 4 == 4 else 40
        if choice == 0:
            packet = packet[: rng.below(len(packet))]
        elif choice == 1:
            packet += rng.bytes(rng.below(40))
        elif choice == 2:  # a transport field
            at = start + rng.below(max(1, min(20, len(packet) - start)))
            packet = packet[:at] + bytes((rng.below(256),)) + packet[at + 1 :]
        elif choice == 3:  # a word of the transport header, with a value that means something
            at = start + 2 * rng.below(max(1, min(10, (len(packet) - start) // 2)))
            value = (0, 1, 0xFFFF, 0x8000, 0x7FFF, len(packet))[rng.below(6)]
            packet = packet[:at] + struct.pack("!H", value) + packet[at + 2 :]
        elif choice == 4:  # the length in the IP header
            at = 2 if start == 20 else 4
            packet = packet[:at] + struct.pack("!H", rng.below(2 * len(packet))) + packet[at + 2 :]
        else:
            packet = self._flip(packet)
        return repaired(packet) if rng.below(4) else packet


def repaired(packet: bytes) -> bytes:
    """The checksums made right, as far as there are headers to hold them."""
    if len(packet) < 20:
        return packet
    if packet[0] >> 4 == 4:
        start = (packet[0] & 15) * 4
        if start < 20 or len(packet) < start:
            return packet
        head = packet[:10] + b"\0\0" + packet[12:start]
        packet = head[:10] + wire.checksum(head).to_bytes(2, "big") + head[12:] + packet[start:]
        protocol = packet[9]
        pair = ip_address(packet[12:16]), ip_address(packet[16:20])
        end = min(len(packet), packet[2] << 8 | packet[3])
    elif packet[0] >> 4 == 6 and len(packet) >= 40:
        start, protocol = 40, packet[6]
        pair = ip_address(packet[8:24]), ip_address(packet[24:40])
        end = min(len(packet), 40 + (packet[4] << 8 | packet[5]))
    else:
        return packet
    at = {wire.TCP: 16, wire.UDP: 6, wire.ICMP: 2, wire.ICMPV6: 2}.get(protocol)
    if at is None or end < start + at + 2:
        return packet
    return packet[:start] + wire.with_checksum(*pair, protocol, packet[start:end], at) + packet[end:]


def run(packets: int, seed: object, progress: Callable[[Fuzzer], None] | None = None) -> Fuzzer:
    """Raises what went wrong, with the number of the packet and its bytes."""
    fuzzer = Fuzzer(seed)
    while fuzzer.packets < packets:
        try:
            fuzzer.step()
        except Exception as error:
            error.add_note(f"fuzz seed {seed!r}, packet {fuzzer.packets}: {fuzzer.latest.hex()}")
            raise
        if progress is not None and fuzzer.packets % 10_000 == 0:
            progress(fuzzer)
    fuzzer.finish()
    return fuzzer


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.netstack.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--packets", type=int, default=200_000)
    parser.add_argument("--seed", default="0")
    arguments = parser.parse_args()
    began = time.perf_counter()

    def progress(fuzzer: Fuzzer) -> None:
        rate = fuzzer.packets / (time.perf_counter() - began)
        sizes = ", ".join(f"{side.name} {side.footprint // 1024} KiB" for side in fuzzer.sides)
        print(f"{fuzzer.packets:9} packets  {rate:7.0f}/s  largest: {sizes}", flush=True)

    fuzzer = run(arguments.packets, arguments.seed, progress)
    print(f"{fuzzer.packets} packets in {time.perf_counter() - began:.1f} s, seed {arguments.seed}")
    print("kinds:  ", dict(fuzzer.kinds.most_common()))
    print("states: ", dict(fuzzer.states.most_common()))
    print("errors: ", dict(fuzzer.errors.most_common()))
    for side in fuzzer.sides:
        print(f"dropped by the {side.name}:", dict(side.stack.statistics.dropped.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
