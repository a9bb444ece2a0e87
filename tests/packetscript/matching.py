"""Whether a packet that the stack sent is the one a script describes, and if not, in what it differs."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from .language import IcmpSpec, SegmentSpec
from .packets import IcmpPacket, Packet, TcpPacket, UdpPacket, pattern
from .peer import Flow, Peer
from .scope import MASK, Scope


class Matcher:
    def __init__(self, peer: Peer, scope: Scope) -> None:
        self.peer = peer
        self.scope = scope

    def mismatch(self, spec: Any, packet: Packet, number: int) -> str | None:
        """Why this is not the packet that `spec` describes, or None."""
        if isinstance(spec, SegmentSpec):
            if not isinstance(packet, TcpPacket):
                return "not a TCP segment"
            return self._tcp(spec, packet, number)
        if isinstance(spec, IcmpSpec):
            if not isinstance(packet, IcmpPacket):
                return "not an ICMP message"
            if (packet.kind, packet.code) != (spec.kind, spec.code):
                return f"type {packet.kind}/{packet.code}"
            checks = {"len": len(packet.payload), "rest": packet.rest, "mtu": packet.rest & 0xFFFF}
            for name, value in spec.more.items():
                if name == "dst":
                    if packet.destination != ip_address(value):
                        return f"destination {packet.destination}"
                elif self.scope.value(value) != checks[name]:
                    return f"{name} {checks[name]}, not {value}"
            return None
        if not isinstance(packet, UdpPacket):
            return "not a UDP datagram"
        ports = (self.scope.value(spec.source_port), self.scope.value(spec.destination_port))
        if (packet.source_port, packet.destination_port) != ports:
            return f"ports {packet.source_port} -> {packet.destination_port}"
        if "len" in spec.more and len(packet.payload) != self.scope.value(spec.more["len"]):
            return f"length {len(packet.payload)}"
        return None

    def _tcp(self, spec: SegmentSpec, packet: TcpPacket, number: int) -> str | None:
        flow = self.peer.flow_of(packet)
        if "to" not in spec.more and flow is not self.peer.flow:
            return "a segment of another connection"
        problems = [
            self._flags(spec.flags, packet.flags),
            self._seq(spec, packet, flow, number),
            self._options(spec, packet, flow),
        ]
        if spec.ack is not None:
            ack = packet.ack if spec.ack_absolute else (packet.ack - flow.iss) & MASK
            problems.append(self.scope.differs("ack", spec.ack, ack))
        for what, operator, expression in spec.tests:
            actual = packet.window if what == "win" else len(packet.payload)
            problems.append(self.scope.compare(what, operator, expression, actual))
        for name, expression in spec.more.items():
            if name in ("src", "dst"):
                actual_address = packet.source if name == "src" else packet.destination
                problems.append(None if actual_address == ip_address(expression) else f"{name} is {actual_address}")
            elif name in ("to", "from", "urg"):
                actual = {"to": packet.destination_port, "from": packet.source_port, "urg": packet.urgent}[name]
                problems.append(self.scope.differs(name, expression, actual))
        if flow.base is not None and packet.payload and "S" not in packet.flags:
            offset = flow.relative(packet.seq) - 1
            if packet.payload != pattern(offset, len(packet.payload)):
                problems.append("the text is not what was sent at this place of the stream")
        return "; ".join(problem for problem in problems if problem) or None

    @staticmethod
    def _flags(expected: str, actual: str) -> str | None:
        if expected == "?":
            return None
        wanted = set(expected) - {"-", "p"}
        if "P" not in expected and "p" not in expected:
            actual = actual.replace("P", "")
        return None if wanted == set(actual) else f"flags {actual or '-'}, not {expected}"

    def _seq(self, spec: SegmentSpec, packet: TcpPacket, flow: Flow, number: int) -> str | None:
        if spec.seq is None:
            return None
        seq = packet.seq if spec.absolute else flow.relative(packet.seq)
        length = len(packet.payload)
        if spec.end == "":
            return self.scope.differs("seq", spec.seq, seq)
        size = 0 if spec.end is None else self.scope.value(spec.end) - self.scope.value(spec.seq)
        if spec.end is None and "$" in spec.seq and self.scope.unbound(spec.seq):
            return self.scope.differs("seq", spec.seq, seq)
        expected = (self.scope.value(spec.seq) + number * size) & MASK
        if (seq, length) != (expected, size):
            return f"seq {seq}..{seq + length}, not {expected}..{expected + size}"
        return None

    def _options(self, spec: SegmentSpec, packet: TcpPacket, flow: Flow) -> str | None:
        if spec.options is None:
            return None
        actual = dict(packet.options)
        for name in spec.absent:
            if name in actual:
                return f"option {name} is there"
        for name, expressions in spec.options:
            if name not in actual:
                return f"option {name} is missing"
            values = actual[name]
            if name == "sack":
                values = tuple((value - flow.iss) & MASK for value in values)
            if len(values) != len(expressions):
                return f"option {name} is {values}, not {' '.join(expressions)}"
            for expression, value in zip(expressions, values, strict=True):
                if self.scope.differs(name, expression, value):
                    return f"option {name} is {values}, not {' '.join(expressions)}"
        extra = set(actual) - {name for name, _ in spec.options}
        if extra and not spec.others:
            return f"options nobody expected: {', '.join(sorted(extra))}"
        return None
