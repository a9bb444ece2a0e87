"""Runs a case: one `Stack` in virtual time, the script as its peer on the wire and as the application above it.

Time moves from deadline to deadline of the stack, so a timer that fires early, late or twice is seen as what it is. A
case also ends in order: after its last step every connection is aborted, and no timer may be left.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.netstack import Endpoint, Stack, StackConfig, TcpConfig
from smolmix_web.netstack.tcp import congestion
from smolmix_web.rand import SeededRandom

from . import packets
from .language import Case, IcmpSpec, ScriptError, SegmentSpec, Step, UdpSpec, _step, pairs
from .packets import IcmpPacket, Packet, TcpPacket, UdpPacket, pattern

US = {4: IPv4Address("10.0.171.205"), 6: IPv6Address("fc00::abcd")}
PEER = {4: IPv4Address("203.0.113.80"), 6: IPv6Address("2001:db8::80")}
ROUTER = {4: IPv4Address("198.51.100.1"), 6: IPv6Address("2001:db8:ffff::1")}
PEER_PORT = 40_000
LISTEN_PORT = 80
PEER_ISS = 1_000_000
START = 1000.0
MASK = 0xFFFFFFFF
_MAX_POLLS = 200  # at one instant
_LINES = ("open", "prepare")  # steps that stand for several
_TINY = 1e-6  # seconds, for sums of decimal fractions

PREPARE = {
    "CLOSED": "",
    "LISTEN": "listen",
    "SYN_SENT": "connect\n> S 0",
    "SYN_RECEIVED": "listen\n< S 0 win 65535 [mss 1380]\n> SA 0 ack 1",
    "SIMULTANEOUS": "connect\n> S 0\n< S 0 win 65535 [mss 1380]\n> SA 0 ack 1",
    "ESTABLISHED": "open",
    "FIN_WAIT_1": "open\nclose\n> FA 1 ack 1",
    "FIN_WAIT_2": "open\nclose\n> FA 1 ack 1\n< A 1 ack 2",
    "CLOSING": "open\nclose\n> FA 1 ack 1\n< FA 1 ack 1\n> A 2 ack 2",
    "TIME_WAIT": "open\nclose\n> FA 1 ack 1\n< A 1 ack 2\n< FA 1 ack 2\n> A 2 ack 2",
    "CLOSE_WAIT": "open\n< FA 1 ack 1\n> A 1 ack 2",
    "LAST_ACK": "open\n< FA 1 ack 1\n> A 1 ack 2\nclose\n> FA 1 ack 2",
}
# Next sequence number of the stack and of the peer in these states.
NEXT = {
    "FIN_WAIT_1": (2, 1),
    "FIN_WAIT_2": (2, 1),
    "CLOSING": (2, 2),
    "TIME_WAIT": (2, 2),
    "CLOSE_WAIT": (1, 2),
    "LAST_ACK": (2, 2),
    "SYN_SENT": (1, 0),
}


class CaseFailed(AssertionError):
    """What was expected, what came, and what went before."""


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


@dataclass
class _App:
    """The application's view of the current connection."""

    connection: Any = None
    sent: int = 0
    received: int = 0
    events: int = 0


@dataclass
class _Seen:
    when: float
    packet: Packet
    size: int = 0


@dataclass
class Runner:
    case: Case
    start: float = START
    now: float = field(init=False)

    def __post_init__(self) -> None:
        case = self.case
        settings = dict(case.config)
        if isinstance(name := settings.get("congestion"), str):
            settings["congestion"] = {"newreno": congestion.NewReno}[name]
        stack = dict(case.stack)
        mtu = stack.pop("mtu", 1420)
        self.us, self.peer = US[case.family], PEER[case.family]
        config = StackConfig(tcp=TcpConfig(**settings), **stack)
        self.stack = Stack([self.us], mtu, SeededRandom(f"packetscript {case.name}"), config=config)
        self.now = self.start
        self.step_at = self.start
        self.limit: int | None = None
        self.out: deque[_Seen] = deque()
        self.trace: list[str] = []
        self.flow = Flow(PEER_PORT, 0)
        self.flows: dict[tuple[int, int], Flow] = {}
        self.app = _App()
        self.listener: Any = None
        self.udp: Any = None
        self.pinged: Any = None
        self.variables: dict[str, int] = {}
        self.step: Step | None = None
        self.held = False  # the step before was `<&`

    # -- running

    def run(self) -> None:
        for step in self.case.steps:
            self.run_step(step)
        self._silence("at the end of the case")
        self._end()

    def run_step(self, step: Step) -> None:
        self.step = step
        target = self.start + step.when.earliest if step.when.absolute else self.step_at + step.when.earliest
        try:
            if step.verb == ">":
                span = step.when.latest - step.when.earliest
                self._expect(step, target - step.when.slack, target + span + step.when.slack)
            else:
                if not self.held and (target > self.now or step.verb in ("<", "<&", "quiet", *_LINES)):
                    self._advance(target)
                    self._silence(f"before this step at {self._t(target)}")
                self.held = step.verb == "<&"
                self._act(step)
        except packets.Malformed as error:
            self._fail(f"the stack sent a malformed packet: {error}")
        except SmolmixError as error:
            self._fail(f"{type(error).__name__} {error.code}: {error}")
        self.step_at = self.now

    def _lines(self, text: str) -> None:
        """Run a few lines that another step stands for."""
        outer = self.step
        for line in text.splitlines():
            if line:
                self.run_step(_step(outer.line if outer else 0, line))
        self.step = outer

    def _end(self) -> None:
        for connection in self.stack.connections:
            connection.on_event = None
            connection.abort(self.now)
        if self.listener is not None:
            self.listener.close(self.now)
        self.limit = None
        for _ in range(20):
            self.now += 1000.0
            self.stack.poll(self.now)
        left = self.stack.next_deadline()
        if left is not None or self.stack.connections:
            self._fail(f"after the end timers are left: {left}, connections: {self.stack.connections}")

    # -- time and output

    def _poll(self) -> bool:
        found = self.stack.poll(self.now, self.limit)
        for data in found:
            packet = packets.parse(data)
            if len(data) > self.stack.mtu:
                self._fail(f"a packet of {len(data)} bytes, the MTU is {self.stack.mtu}")
            flow = self._flow_of(packet)
            self.trace.append(f"{self._t(self.now)} > {self.describe(packet, flow)}")
            self.out.append(_Seen(self.now, packet, len(data)))
        return bool(found)

    def _pump(self) -> None:
        """All output of this instant."""
        for _ in range(_MAX_POLLS):
            more = self._poll()
            deadline = self.stack.next_deadline(full=self.limit is not None)
            if self.limit is not None and not more:
                return
            if deadline is None or deadline > self.now:
                return
        self._fail("busy loop: the stack asks to be polled again and again at one instant")

    def _advance(self, target: float, *, until_output: bool = False) -> None:
        """Let time pass up to `target`; with `until_output`, stop at the first packet."""
        while True:
            self._pump()
            if until_output and self.out:
                return
            deadline = self.stack.next_deadline(full=self.limit is not None)
            if deadline is None or deadline > target + _TINY:
                self.now = max(self.now, target)
                return
            self.now = max(self.now, deadline)

    def _silence(self, when: str) -> None:
        self._pump()
        if self.out:
            first = self.out[0]
            shown = self.describe(first.packet, self._flow_of(first.packet))
            self._fail(f"nothing more was expected {when}", f"{self._t(first.when)} > {shown}")

    def _flow_of(self, packet: Packet) -> Flow:
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

    # -- expected packets

    def _expect(self, step: Step, earliest: float, latest: float) -> None:
        spec = step.spec
        if step.within is not None:
            latest = self.step_at + step.within
        for number in range(spec.repeat if isinstance(spec, SegmentSpec) else 1):
            while True:
                if not self.out:
                    self._advance(latest, until_output=True)
                if not self.out:
                    deadline = self.stack.next_deadline()
                    timer = "no timer" if deadline is None else f"next timer at {self._t(deadline)}"
                    self._fail(self._window(earliest, latest), f"nothing until {self._t(latest)}; {timer}")
                seen = self.out.popleft()
                if isinstance(seen.packet, TcpPacket):
                    self._note_sent(seen.packet)
                problem = self._mismatch(spec, seen.packet, number)
                if problem is None or step.within is None:
                    break
            shown = f"{self._t(seen.when)} > {self.describe(seen.packet, self._flow_of(seen.packet))}"
            if problem is not None:
                self._fail(self._window(earliest, latest), f"{shown}\n      {problem}")
            if not step.within and not earliest <= seen.when <= latest:
                self._fail(self._window(earliest, latest), f"{shown}\n      at the wrong time")

    def _window(self, earliest: float, latest: float) -> str:
        return f"the packet between {self._t(earliest)} and {self._t(latest)}"

    def _note_sent(self, packet: TcpPacket) -> None:
        flow = self._flow_of(packet)
        length = len(packet.payload) + ("S" in packet.flags) + ("F" in packet.flags)
        if flow.base is not None and "R" not in packet.flags:
            flow.stack_next = max(flow.stack_next, flow.relative(packet.seq) + length)

    def _mismatch(self, spec: Any, packet: Packet, number: int) -> str | None:
        """Why this is not the packet that `spec` describes, or None."""
        if isinstance(spec, SegmentSpec):
            if not isinstance(packet, TcpPacket):
                return "not a TCP segment"
            return self._mismatch_tcp(spec, packet, number)
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
                elif self.value(value) != checks[name]:
                    return f"{name} {checks[name]}, not {value}"
            return None
        if not isinstance(packet, UdpPacket):
            return "not a UDP datagram"
        ports = (self.value(spec.source_port), self.value(spec.destination_port))
        if (packet.source_port, packet.destination_port) != ports:
            return f"ports {packet.source_port} -> {packet.destination_port}"
        if "len" in spec.more and len(packet.payload) != self.value(spec.more["len"]):
            return f"length {len(packet.payload)}"
        return None

    def _mismatch_tcp(self, spec: SegmentSpec, packet: TcpPacket, number: int) -> str | None:
        flow = self._flow_of(packet)
        if "to" not in spec.more and flow is not self.flow:
            return "a segment of another connection"
        problems = [
            self._flags_differ(spec.flags, packet.flags),
            self._seq_differs(spec, packet, flow, number),
            self._options_differ(spec, packet, flow),
        ]
        if spec.ack is not None:
            ack = packet.ack if spec.ack_absolute else (packet.ack - flow.iss) & MASK
            problems.append(self._differs("ack", spec.ack, ack))
        for what, operator, expression in spec.tests:
            actual = packet.window if what == "win" else len(packet.payload)
            problems.append(self._compare(what, operator, expression, actual))
        for name, expression in spec.more.items():
            if name in ("src", "dst"):
                actual_address = packet.source if name == "src" else packet.destination
                problems.append(None if actual_address == ip_address(expression) else f"{name} is {actual_address}")
            elif name in ("to", "from", "urg"):
                actual = {"to": packet.destination_port, "from": packet.source_port, "urg": packet.urgent}[name]
                problems.append(self._differs(name, expression, actual))
        if flow.base is not None and packet.payload and "S" not in packet.flags:
            offset = flow.relative(packet.seq) - 1
            if packet.payload != pattern(offset, len(packet.payload)):
                problems.append("the text is not what was sent at this place of the stream")
        return "; ".join(problem for problem in problems if problem) or None

    @staticmethod
    def _flags_differ(expected: str, actual: str) -> str | None:
        if expected == "?":
            return None
        wanted = set(expected) - {"-", "p"}
        if "P" not in expected and "p" not in expected:
            actual = actual.replace("P", "")
        return None if wanted == set(actual) else f"flags {actual or '-'}, not {expected}"

    def _seq_differs(self, spec: SegmentSpec, packet: TcpPacket, flow: Flow, number: int) -> str | None:
        if spec.seq is None:
            return None
        seq = packet.seq if spec.absolute else flow.relative(packet.seq)
        length = len(packet.payload)
        if spec.end == "":
            return self._differs("seq", spec.seq, seq)
        size = 0 if spec.end is None else self.value(spec.end) - self.value(spec.seq)
        if spec.end is None and "$" in spec.seq and self._unbound(spec.seq):
            return self._differs("seq", spec.seq, seq)
        expected = (self.value(spec.seq) + number * size) & MASK
        if (seq, length) != (expected, size):
            return f"seq {seq}..{seq + length}, not {expected}..{expected + size}"
        return None

    def _options_differ(self, spec: SegmentSpec, packet: TcpPacket, flow: Flow) -> str | None:
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
                if self._differs(name, expression, value):
                    return f"option {name} is {values}, not {' '.join(expressions)}"
        extra = set(actual) - {name for name, _ in spec.options}
        if extra and not spec.others:
            return f"options nobody expected: {', '.join(sorted(extra))}"
        return None

    # -- values

    def _unbound(self, expression: str) -> str | None:
        match = re.fullmatch(r"\$(\w+)", expression)
        return match[1] if match and match[1] not in self.variables else None

    def value(self, expression: str, **names: Any) -> Any:
        """Evaluate an expression of numbers, `$variables` and the given names."""
        code = re.sub(r"\$(\w+)", r"_variables['\1']", expression)
        try:
            return eval(code, {"__builtins__": {}}, {"_variables": self.variables, **names})
        except KeyError as error:
            raise ScriptError(f"{self.step.line if self.step else 0}: ${error.args[0]} was never set") from None

    def _differs(self, what: str, expression: str, actual: int) -> str | None:
        if expression == "?":
            return None
        if name := self._unbound(expression):
            self.variables[name] = actual
            return None
        expected = self.value(expression) & MASK
        return None if expected == actual else f"{what} {actual}, not {expected}"

    def _compare(self, what: str, operator: str, expression: str, actual: int) -> str | None:
        if operator == "=":
            return self._differs(what, expression, actual)
        limit = self.value(expression)
        holds = {"<": actual < limit, "<=": actual <= limit, ">": actual > limit, ">=": actual >= limit}[operator]
        return None if holds else f"{what} {actual}, not {operator}{limit}"

    # -- steps

    def _act(self, step: Step) -> None:
        if step.verb in ("<", "<&"):
            for data, text in self._injected(step.spec):
                self.trace.append(f"{self._t(self.now)} < {text}")
                self.stack.receive(data, self.now)
                if step.verb == "<":
                    self._pump()
            return
        action = getattr(self, f"do_{step.verb}", None)
        if action is None:
            raise ScriptError(f"{self.case.path}:{step.line}: unknown step `{step.verb}`")
        if step.verb not in ("state", "check", "error", "quiet", "ignore", "let", "open", "prepare"):
            self.trace.append(f"{self._t(self.now)} * {' '.join((step.verb, *step.words))}")
        action(step.words)

    def _injected(self, spec: Any) -> list[tuple[bytes, str]]:
        if isinstance(spec, IcmpSpec):
            return [self._icmp_in(spec)]
        if isinstance(spec, UdpSpec):
            source = ip_address(spec.more.get("src", str(self.peer)))
            payload = pattern(0, self.value(spec.more.get("len", "0")))
            datagram = UdpPacket(
                source, self.us, self.value(spec.source_port), self.value(spec.destination_port), payload
            )
            return [(_damaged(packets.build(datagram), spec.more.get("damage")), f"udp {len(payload)} bytes")]
        return [self._segment_in(spec, number) for number in range(spec.repeat)]

    def _segment_in(self, spec: SegmentSpec, number: int) -> tuple[bytes, str]:
        flow = self.flow
        more = spec.more
        if "from" in more or "to" in more:
            ports = (self.value(more.get("from", str(flow.peer_port))), self.value(more.get("to", str(flow.port))))
            flow = self.flows.setdefault(ports, Flow(*ports))
        flags = spec.flags.replace("-", "").replace("p", "")
        if "base" in more:
            flow.iss = self.value(more["base"])
            if "A" not in flags:  # a new incarnation: what the stack counts from is open again
                flow.base = None
                flow.peer_next = flow.stack_next = 0
        for what, _, expression in spec.tests:
            if what == "win":
                flow.window = self.value(expression)
        start = self.value(spec.seq) if spec.seq is not None else flow.peer_next
        size = self.value(spec.end) - start if spec.end else 0
        start += number * size
        text = pattern((start - 1) & MASK if "S" not in flags else start, size)
        seq = start if spec.absolute else flow.iss + start
        if "A" not in flags and spec.ack is None:
            ack = 0
        elif spec.ack_absolute:
            ack = self.value(spec.ack or "0")
        else:
            ack = (flow.base or 0) + (self.value(spec.ack) if spec.ack is not None else flow.stack_next)
        options = []
        for name, expressions in spec.options or ():
            values = tuple(self.value(expression) for expression in expressions)
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
            self.value(more.get("urg", "0")),
            options,
            text,
        )
        if not spec.absolute and "R" not in flags and "damage" not in more:
            flow.peer_next = max(flow.peer_next, start + size + ("S" in flags) + ("F" in flags))
        shown = self.describe(packet, flow, peer=True)
        return _damaged(packets.build(packet), more.get("damage")), shown

    def _icmp_in(self, spec: IcmpSpec) -> tuple[bytes, str]:
        """An echo, or an error that quotes a segment which the stack sent."""
        more = spec.more
        source = ip_address(more.get("from", str(ROUTER[self.case.family])))
        if "quote" not in more:
            rest = self.value(more.get("id", "1")) << 16 | self.value(more.get("seq", "1"))
            payload = pattern(0, self.value(more.get("len", "56")))
        else:
            rest = self.value(more.get("mtu", "0"))
            payload = self._quotation(more)
        message = IcmpPacket(source, self.us, spec.kind, spec.code, rest, payload)
        text = f"icmp {spec.kind}/{spec.code} " + " ".join(f"{name} {value}" for name, value in more.items())
        return _damaged(packets.build(message), more.get("damage")), text

    def _quotation(self, more: dict[str, str]) -> bytes:
        start, _, end = more["quote"].partition("..")
        seq = self.value(start)
        size = self.value(end) - seq if end else 0
        flow = self.flow
        quoted = TcpPacket(
            ip_address(more.get("qsrc", str(self.us))),
            ip_address(more.get("qdst", str(self.peer))),
            self.value(more.get("qsport", str(flow.port))),
            self.value(more.get("qdport", str(flow.peer_port))),
            ((flow.base or 0) + seq) & MASK,
            0,
            "A",
            0,
            payload=pattern(seq - 1, size) if size else b"",
        )
        data = packets.build(quoted)
        if "proto" in more:
            at = 9 if self.case.family == 4 else 6
            data = data[:at] + bytes((self.value(more["proto"]),)) + data[at + 1 :]
        head = 20 if self.case.family == 4 else 40
        # RFC 792: the IP header and 8 bytes; routers give more today.
        return data[: head + self.value(more.get("cut", "8"))]

    # -- the application

    def _watch(self, connection: Any) -> None:
        self.app = _App(connection)
        app = self.app

        def event() -> None:
            app.events += 1

        connection.on_event = event

    def do_connect(self, words: list[str]) -> None:
        options = pairs(words)
        if "timeout" in options:
            options["connect_timeout"] = options.pop("timeout")
        port = options.pop("port", PEER_PORT)
        local = options.pop("local", None)
        self.flow = Flow(port, 0)
        if local is not None:
            options["local"] = Endpoint(self.us, local)
        self._watch(self.stack.tcp_connect(Endpoint(self.peer, port), self.now, **options))

    def do_listen(self, words: list[str]) -> None:
        port = int(words.pop(0)) if words and words[0].isdigit() else LISTEN_PORT
        self.listener = self.stack.tcp_listen(port, **pairs(words))
        self.flow = self.flows.setdefault((PEER_PORT, port), Flow(PEER_PORT, port))

    def do_accept(self, words: list[str]) -> None:
        connection = self.listener.accept()
        if words == ["none"]:
            if connection is not None:
                self._fail("nothing to accept", repr(connection))
            return
        if connection is None:
            self._fail("a connection to accept", "none waits")
        self._watch(connection)

    def do_unlisten(self, words: list[str]) -> None:
        self.listener.close(self.now)

    def do_open(self, words: list[str]) -> None:
        """The whole handshake. `passive`, `mss=`, `win=`, `wscale=`, `sack`, `ts`, `rtt=`; others go to `connect`."""
        flags = {word for word in words if "=" not in word}
        options = pairs([word for word in words if "=" in word])
        listed = [f"mss {options.pop('mss', 1380)}"]
        window = options.pop("win", 65_535)
        scale = options.pop("wscale", None)
        rtt = options.pop("rtt", 0.1)
        if scale is not None:
            listed.append(f"wscale {scale}")
        if "sack" in flags:
            listed.append("sackok")
        ts = "ts" in flags
        reply = ""
        if ts:
            listed.append("ts 1000 $ts0" if "passive" not in flags else "ts 1000 0")
            reply = " [ts $ts0 1000, *]" if "passive" in flags else " [ts $ts1 1000]"
        more = " ".join(f"{name}={value}" for name, value in options.items())
        offered = ", ".join(listed)
        if "passive" in flags:
            self._lines(f"listen {more}\n< S 0 win {window} [{offered}]\n> SA 0 ack 1{reply}")
            stamp = " [ts 1001 $ts0]" if ts else ""
            self._lines(f"+{rtt} < A 1 ack 1 win {window}{stamp}\naccept")
        else:
            first = " [ts $ts0 0, *]" if ts else ""
            self._lines(
                f"connect {more}\n> S 0{first}\n+{rtt} < SA 0 ack 1 win {window} [{offered}]\n> A 1 ack 1{reply}"
            )
        self._expect_state("ESTABLISHED")

    def do_prepare(self, words: list[str]) -> None:
        """Bring a connection to this state by ordinary packets; sets $snd and $rcv."""
        name = words[0]
        self._lines(PREPARE[name])
        self.variables["snd"], self.variables["rcv"] = NEXT.get(name, (1, 1))
        if name not in ("CLOSED", "LISTEN", "SYN_RECEIVED"):
            self._expect_state("SYN_RECEIVED" if name == "SIMULTANEOUS" else name)

    def do_send(self, words: list[str]) -> None:
        count = self.value(words[0])
        app = self.app
        expected = self.value(words[2]) if words[1:2] == ["takes"] else count
        if words[1:2] == ["fails"]:
            self._raises(words[2], lambda: app.connection.send(b"x" * count, self.now))
            return
        taken = app.connection.send(pattern(app.sent, count), self.now)
        app.sent += taken
        if taken != expected:
            self._fail(f"send({count}) to take {expected}", str(taken))

    def do_receive(self, words: list[str]) -> None:
        """`receive N`, `receive nothing`, `receive eof`, `receive fails CODE`."""
        app = self.app
        if words[0] == "eof":
            if not app.connection.receive_eof:
                self._fail("the end of the stream", "not reached")
            return
        if words[0] == "fails":
            self._raises(words[1], lambda: app.connection.receive(1, self.now))
            return
        count = 0 if words[0] == "nothing" else self.value(words[0])
        data = app.connection.receive(count or 1 << 20, self.now)
        if data != pattern(app.received, count):
            wrong = "" if len(data) != count else " with other text"
            self._fail(f"{count} bytes to read", f"{len(data)} bytes{wrong}")
        app.received += count

    def _raises(self, code: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except SmolmixError as error:
            if error.code != code:
                self._fail(f"the error {code}", error.code)
            return
        self._fail(f"the error {code}", "none was raised")

    def do_close(self, words: list[str]) -> None:
        self.app.connection.close(self.now)

    def do_release(self, words: list[str]) -> None:
        self.app.connection.release(self.now)

    def do_abort(self, words: list[str]) -> None:
        self.app.connection.abort(self.now)

    def do_mtu(self, words: list[str]) -> None:
        self.stack.set_mtu(self.value(words[0]))

    def do_limit(self, words: list[str]) -> None:
        """The tunnel takes so many packets per poll; `none` for any number."""
        self.limit = None if words[0] == "none" else self.value(words[0])

    def do_udp(self, words: list[str]) -> None:
        """`udp bind PORT`, `udp send N PORT`."""
        if words[0] == "bind":
            self.udp = self.stack.udp_socket(self.value(words[1]))
        else:
            self.udp.send_to(pattern(0, self.value(words[1])), Endpoint(self.peer, self.value(words[2])), self.now)

    def do_ping(self, words: list[str]) -> None:
        self.pinged = self.stack.ping(self.peer, self.now, pattern(0, self.value(words[0])))

    def do_refuse(self, words: list[str]) -> None:
        self.stack.refuse(Endpoint(self.peer, self.flow.peer_port), " ".join(words))

    # -- checks

    def do_quiet(self, words: list[str]) -> None:
        """The silence was checked on the way here."""

    def do_ignore(self, words: list[str]) -> None:
        """What was sent until now is not looked at; `ignore N` for exactly so many packets."""
        self._pump()
        if words and len(self.out) != self.value(words[0]):
            self._fail(f"{words[0]} packets", str(len(self.out)))
        while self.out:
            packet = self.out.popleft().packet
            if isinstance(packet, TcpPacket):
                self._note_sent(packet)

    def do_let(self, words: list[str]) -> None:
        name, _, expression = "".join(words).partition("=")
        self.variables[name.removeprefix("$")] = self.value(expression)

    def _expect_state(self, name: str) -> None:
        actual = self.app.connection.state.name
        if actual != name:
            self._fail(f"state {name}", f"state {actual}")

    def do_state(self, words: list[str]) -> None:
        self._expect_state(words[0])

    def do_error(self, words: list[str]) -> None:
        """`error CODE [PHASE]` or `error none`: of the connection; with `udp` or `ping` in front, of that."""
        target = self.app.connection
        if words[0] in ("udp", "ping"):
            target = self.udp if words[0] == "udp" else self.pinged
            words = words[1:]
        error = target.error
        actual = [error.code, error.phase] if error is not None else ["none"]
        if actual[: len(words)] != words:
            self._fail(f"error {' '.join(words)}", " ".join(str(part) for part in actual))

    def do_check(self, words: list[str]) -> None:
        """A Python expression over the names of `_names`."""
        expression = " ".join(words)
        names = self._names()
        if not self.value(expression, **names):
            used = {name: names[name] for name in re.findall(r"[a-z_]+", expression) if name in names}
            shown = ", ".join(f"{name} = {value}" for name, value in used.items() if not callable(value))
            dropped = dict(self.stack.statistics.dropped)
            self._fail(expression, f"{shown or 'it does not hold'}; dropped {dropped}")

    def _names(self) -> dict[str, Any]:
        """What `check` can speak of. The only place that knows attributes of connections."""
        statistics = self.stack.statistics
        names: dict[str, Any] = {
            "dropped": lambda reason: statistics.dropped[reason],
            "counter": lambda name: getattr(statistics, name),
            "connections": len(self.stack.connections),
            "near": lambda a, b, by=0.001: abs(a - b) <= by,
            "len": len,
            "told": self.app.events,
        }
        if self.listener is not None:
            names["backlog_drops"] = self.listener.dropped_backlog
        if self.udp is not None:
            names["datagrams"] = len(self.udp._queue)
        if self.pinged is not None:
            names["ping_rtt"] = self.pinged.rtt
        connection = self.app.connection
        if connection is not None:
            sender, rtt = connection.sender, connection.rtt
            names |= {
                "available": connection.receive_available,
                "space": connection.send_space,
                "eof": connection.receive_eof,
                "mss": sender.mss,
                "cwnd": sender.congestion.cwnd,
                "ssthresh": sender.congestion.ssthresh,
                "in_flight": sender.in_flight,
                "retransmits": sender.retransmits,
                "timeouts": sender.timeouts,
                "srtt": rtt.srtt,
                "rto": rtt.rto,
                "capacity": connection.receiver.capacity,
                "soft_error": connection.soft_error.code if connection.soft_error else None,
                "error_text": connection.error.message if connection.error else "",
            }
        return names

    # -- words for people

    def _t(self, when: float) -> str:
        return f"{when - self.start:.3f}"

    def _fail(self, expected: str, actual: str | None = None) -> None:
        step = self.step
        case = self.case
        lines = [f"{case.path}:{step.line if step else case.line}: {case.name} ({case.rfc})", f"  {case.intent}"]
        if step is not None:
            lines.append(f"  step:     {step.text}")
        lines.append(f"  expected: {expected}")
        if actual is not None:
            lines.append(f"  actual:   {actual}")
        lines.append("  what went before:")
        lines += [f"    {line}" for line in self.trace[-25:]]
        raise CaseFailed("\n".join(lines))

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


def run_case(case: Case) -> Runner:
    """Raises CaseFailed."""
    start = START
    if case.iss is not None:
        # The stack draws its number from a 4 microsecond clock (RFC 6528): a dry run tells how far to move the time.
        dry = Runner(case)
        for step in case.steps:
            dry.run_step(step)
            if dry.flow.base is not None:
                break
        assert dry.flow.base is not None, "the case opens no connection"
        start += ((case.iss - dry.flow.base) & MASK) / 250_000
    runner = Runner(case, start)
    runner.run()
    return runner


__all__ = ["CaseFailed", "Runner", "run_case"]
