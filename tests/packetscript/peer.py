"""The peer of a case on the wire: what it knows of each connection, and the packets it sends."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from . import packets
from .language import IcmpSpec, ScriptError, SegmentSpec, UdpSpec
from .packets import IcmpPacket, Packet, TcpPacket, UdpPacket, pattern
from .scope import MASK, Scope

US = {4: IPv4Address("10.0.171.205"), 6: IPv6Address("fc00::abcd")}
PEER = {4: IPv4Address("203.0.113.80"), 6: IPv6Address("2001:db8::80")}
ROUTER = {4: IPv4Address("198.51.100.1"), 6: IPv6Address("2001:db8:ffff::1")}
PEER_PORT = 40_000
PEER_ISS = 1_000_000


@dataclass
class Flow:
    """What the peer knows about one connection."""

    peer_port: int
    port: int  # of the stack; 0 until its first SYN
    iss: int = PEER_ISS
    base: int | None = None  # the stack's initial sequence number
    peer_next: int = 0
    stack_next: int = 0
    window: int = 65_535

    def relative(self, seq: int) -> int:
        return (seq - (self.base or 0)) & MASK


class Peer:
    """`flow` is the connection that steps speak of when they name no ports."""

    def __init__(self, family: int, scope: Scope) -> None:
        self.family = family
        self.scope = scope
        self.us, self.peer = US[family], PEER[family]
        self.flow = Flow(PEER_PORT, 0)
        self.flows: dict[tuple[int, int], Flow] = {}

    # -- what the stack sends

    def flow_of(self, packet: Packet) -> Flow:
        if not isinstance(packet, TcpPacket):
            return self.flow
        if not self.flow.port and packet.destination_port == self.flow.peer_port and packet.flags == "S":
            self.flow.port = packet.source_port
            self.flows[self.flow.peer_port, self.flow.port] = self.flow
        flow = self.flows.setdefault(
            (packet.destination_port, packet.source_port), Flow(packet.destination_port, packet.source_port)
        )
        if "S" in packet.flags and flow.base is None:
            flow.base = packet.seq
        return flow

    def note_sent(self, packet: TcpPacket) -> None:
        flow = self.flow_of(packet)
        length = len(packet.payload) + ("S" in packet.flags) + ("F" in packet.flags)
        if flow.base is not None and "R" not in packet.flags:
            flow.stack_next = max(flow.stack_next, flow.relative(packet.seq) + length)

    # -- what the peer sends

    def injected(self, spec: Any) -> list[tuple[bytes, str]]:
        if isinstance(spec, IcmpSpec):
            return [self._icmp(spec)]
        if isinstance(spec, UdpSpec):
            source = ip_address(spec.more.get("src", str(self.peer)))
            payload = pattern(0, self.scope.value(spec.more.get("len", "0")))
            datagram = UdpPacket(
                source, self.us, self.scope.value(spec.source_port), self.scope.value(spec.destination_port), payload
            )
            return [(_damaged(packets.build(datagram), spec.more.get("damage")), f"udp {len(payload)} bytes")]
        found = []
        for number in range(spec.repeat):
            data, text = self._segment(spec, number)
            if "ext" in spec.more:
                data = _extended(data, [int(kind) for kind in spec.more["ext"].split(",")])
            pieces = spec.more.get("pieces")
            found += [(piece, text) for piece in (_pieces(data, pieces) if pieces else [data])]
        return found

    def _segment(self, spec: SegmentSpec, number: int) -> tuple[bytes, str]:
        flow = self.flow
        more = spec.more
        if "from" in more or "to" in more:
            ports = (
                self.scope.value(more.get("from", str(flow.peer_port))),
                self.scope.value(more.get("to", str(flow.port))),
            )
            flow = self.flows.setdefault(ports, Flow(*ports))
        flags = spec.flags.replace("-", "").replace("p", "")
        if "base" in more:
            flow.iss = self.scope.value(more["base"])
            if "A" not in flags:  # a new incarnation: what the stack counts from is open again
                flow.base = None
                flow.peer_next = flow.stack_next = 0
        for what, _, expression in spec.tests:
            if what == "win":
                flow.window = self.scope.value(expression)
        start = self.scope.value(spec.seq) if spec.seq is not None else flow.peer_next
        size = self.scope.value(spec.end) - start if spec.end else 0
        start += number * size
        text = pattern((start - 1) & MASK if "S" not in flags else start, size)
        seq = start if spec.absolute else flow.iss + start
        if "A" not in flags and spec.ack is None:
            ack = 0
        elif spec.ack_absolute:
            ack = self.scope.value(spec.ack or "0")
        else:
            ack = (flow.base or 0) + (self.scope.value(spec.ack) if spec.ack is not None else flow.stack_next)
        options = []
        for name, expressions in spec.options or ():
            values = tuple(self.scope.value(expression) for expression in expressions)
            if name == "sack":
                values = tuple((flow.base or 0) + value for value in values)
            options.append((name, values))
        packet = TcpPacket(
            ip_address(more["src"]) if "src" in more else self.peer,
            ip_address(more["dst"]) if "dst" in more else self.us,
            flow.peer_port,
            flow.port,
            seq & MASK,
            ack & MASK,
            flags,
            flow.window,
            self.scope.value(more.get("urg", "0")),
            options,
            text,
        )
        if not spec.absolute and "R" not in flags and "damage" not in more:
            flow.peer_next = max(flow.peer_next, start + size + ("S" in flags) + ("F" in flags))
        shown = self.describe(packet, flow, peer=True)
        return _damaged(packets.build(packet), more.get("damage")), shown

    def _icmp(self, spec: IcmpSpec) -> tuple[bytes, str]:
        """An echo, or an error that quotes a segment which the stack sent."""
        more = spec.more
        source = ip_address(more.get("from", str(ROUTER[self.family])))
        if "quote" not in more:
            rest = self.scope.value(more.get("id", "1")) << 16 | self.scope.value(more.get("seq", "1"))
            payload = pattern(0, self.scope.value(more.get("len", "56")))
        else:
            rest = self.scope.value(more.get("mtu", "0"))
            payload = self._quotation(more)
        message = IcmpPacket(source, self.us, spec.kind, spec.code, rest, payload)
        text = f"icmp {spec.kind}/{spec.code} " + " ".join(f"{name} {value}" for name, value in more.items())
        return _damaged(packets.build(message), more.get("damage")), text

    def _quotation(self, more: dict[str, str]) -> bytes:
        start, _, end = more["quote"].partition("..")
        seq = self.scope.value(start)
        size = self.scope.value(end) - seq if end else 0
        flow = self.flow
        quoted = TcpPacket(
            ip_address(more.get("qsrc", str(self.us))),
            ip_address(more.get("qdst", str(self.peer))),
            self.scope.value(more.get("qsport", str(flow.port))),
            self.scope.value(more.get("qdport", str(flow.peer_port))),
            ((flow.base or 0) + seq) & MASK,
            0,
            "A",
            0,
            payload=pattern(seq - 1, size) if size else b"",
        )
        data = packets.build(quoted)
        if "proto" in more:
            at = 9 if self.family == 4 else 6
            data = data[:at] + bytes((self.scope.value(more["proto"]),)) + data[at + 1 :]
        head = 20 if self.family == 4 else 40
        # RFC 792: the IP header and 8 bytes; routers give more today.
        return data[: head + self.scope.value(more.get("cut", "8"))]

    # -- words for people

    def describe(self, packet: Packet, flow: Flow, *, peer: bool = False) -> str:
        """In the words of the language."""
        if isinstance(packet, IcmpPacket):
            return f"icmp {packet.kind}/{packet.code} rest {packet.rest:#x} len {len(packet.payload)}"
        if isinstance(packet, UdpPacket):
            return f"udp {packet.source_port} -> {packet.destination_port} len {len(packet.payload)}"
        mine, theirs = (flow.iss, flow.base) if peer else (flow.base, flow.iss)
        seq = f"={packet.seq}" if mine is None else str(_signed(packet.seq - mine))
        end = f"..{_signed(packet.seq - (mine or 0)) + len(packet.payload)}" if packet.payload else ""
        ack = ""
        if "A" in packet.flags or packet.ack:
            ack = f" ack ={packet.ack}" if theirs is None else f" ack {_signed(packet.ack - theirs)}"
        options = []
        for name, values in packet.options:
            if name == "sack":
                edges = [str(_signed(value - (theirs or 0))) for value in values]
                options.append("sack " + " ".join(f"{a}-{b}" for a, b in zip(edges[::2], edges[1::2], strict=True)))
            else:
                options.append(" ".join((name, *map(str, values))))
        listed = f" [{', '.join(options)}]" if options else ""
        other = f" ({packet.destination_port}:{packet.source_port})" if flow is not self.flow else ""
        return f"{packet.flags or '-'} {seq}{end}{ack} win {packet.window}{listed}{other}"


def _signed(value: int) -> int:
    value &= MASK
    return value - (1 << 32) if value >= 1 << 31 else value


def _extended(data: bytes, kinds: list[int]) -> bytes:
    """An IPv6 packet with these extension headers in front of its payload."""
    body, after = data[40:], data[6]
    for kind in reversed(kinds):
        body, after = bytes((after, 0)) + bytes((1, 4, 0, 0, 0, 0)) + body, kind
    source, destination = packets.ip_address_pair(data)
    return packets.ip_packet(source, destination, after, body)


def _pieces(data: bytes, ranges: str) -> list[bytes]:
    """Fragments of a packet: `0-40,40-` are two, by the bytes of its payload; one without an end is the last."""
    source, destination = packets.ip_address_pair(data)
    v4 = data[0] >> 4 == 4
    body, protocol = data[20 if v4 else 40 :], data[9 if v4 else 6]
    found = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        start, end = int(first), int(last) if last else len(body)
        if v4:
            flags = start >> 3 | (0x2000 if last else 0)
            found.append(packets.ip_packet(source, destination, protocol, body[start:end], fragment=flags))
        else:
            head = bytes((protocol, 0)) + (start | bool(last)).to_bytes(2, "big") + bytes(4)
            found.append(packets.ip_packet(source, destination, 44, head + body[start:end]))
    return found


def _damaged(data: bytes, damage: str | None) -> bytes:
    """Break a built packet in a given place."""
    if damage is None:
        return data
    name, _, number = damage.partition(":")
    body = bytearray(data)
    v4 = data[0] >> 4 == 4
    transport = 20 if v4 else 40
    if name == "checksum":  # of the transport
        body[transport + {6: 16, 17: 6, 1: 2, 58: 2}[body[9] if v4 else body[6]]] ^= 0x40
    elif name == "ip_checksum":
        body[10] ^= 1
    elif name == "payload":
        body[-1] ^= 0xFF
    elif name == "cut":  # so many bytes are missing at the end
        del body[-int(number) :]
    elif name == "pad":  # link padding behind the packet
        body += bytes(int(number))
    elif name in ("offset", "zero_checksum"):
        if name == "offset":  # TCP data offset, in words, with a checksum that is right
            body[transport + 12] = int(number) << 4
            at = 16
        else:
            body[transport + 6 : transport + 8] = b"\0\0"
            return bytes(body)
        source, destination = packets.ip_address_pair(data)
        protocol = body[9] if v4 else body[6]
        body[transport:] = packets.with_checksum(source, destination, protocol, bytes(body[transport:]), at)
    else:
        raise ScriptError(f"unknown damage {damage}")
    return bytes(body)
