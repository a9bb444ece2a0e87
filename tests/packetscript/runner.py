"""Runs a case: one `Stack` in virtual time, the script as its peer on the wire and as the application above it.

Time moves from deadline to deadline of the stack, so a timer that fires early, late or twice is seen as what it is. A
case also ends in order: after its last step every connection is aborted, and no timer may be left.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.netstack import Endpoint, Stack, StackConfig, TcpConfig
from smolmix_web.netstack.tcp import congestion
from smolmix_web.rand import SeededRandom

from . import packets
from .language import Case, ScriptError, SegmentSpec, Step, pairs, parse_step
from .matching import Matcher
from .packets import Packet, TcpPacket, pattern
from .peer import PEER_PORT, Flow, Peer
from .scope import MASK, Scope

LISTEN_PORT = 80
START = 1000.0
_MAX_POLLS = 200  # at one instant
_LINES = ("open", "prepare", "warm")  # steps that stand for several
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
        self.scope = Scope()
        self.peer = Peer(case.family, self.scope)
        self.matcher = Matcher(self.peer, self.scope)
        config = StackConfig(tcp=TcpConfig(**settings), **stack)
        self.stack = Stack([self.peer.us], mtu, SeededRandom(f"packetscript {case.name}"), config=config)
        self.now = self.start
        self.step_at = self.start
        self.limit: int | None = None
        self.out: deque[_Seen] = deque()
        self.trace: list[str] = []
        self.app = _App()
        self.listener: Any = None
        self.udp: Any = None
        self.pinged: Any = None
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
        except ScriptError as error:
            raise ScriptError(f"{self.case.path}:{step.line}: {step.text}: {error}") from None
        self.step_at = self.now

    def _lines(self, text: str) -> None:
        """Run a few lines that another step stands for."""
        outer = self.step
        for line in text.splitlines():
            if line:
                self.run_step(parse_step(outer.line if outer else 0, line))
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
            flow = self.peer.flow_of(packet)
            self.trace.append(f"{self._t(self.now)} > {self.peer.describe(packet, flow)}")
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
            shown = self.peer.describe(first.packet, self.peer.flow_of(first.packet))
            self._fail(f"nothing more was expected {when}", f"{self._t(first.when)} > {shown}")

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
                    self.peer.note_sent(seen.packet)
                problem = self.matcher.mismatch(spec, seen.packet, number)
                if problem is None or step.within is None:
                    break
            shown = f"{self._t(seen.when)} > {self.peer.describe(seen.packet, self.peer.flow_of(seen.packet))}"
            if problem is not None:
                self._fail(self._window(earliest, latest), f"{shown}\n      {problem}")
            if not step.within and not earliest <= seen.when <= latest:
                self._fail(self._window(earliest, latest), f"{shown}\n      at the wrong time")

    def _window(self, earliest: float, latest: float) -> str:
        return f"the packet between {self._t(earliest)} and {self._t(latest)}"

    # -- steps

    def _act(self, step: Step) -> None:
        if step.verb in ("<", "<&"):
            for data, text in self.peer.injected(step.spec):
                self.trace.append(f"{self._t(self.now)} < {text}")
                self.stack.receive(data, self.now)
                if step.verb == "<":
                    self._pump()
            return
        action = getattr(self, f"do_{step.verb}", None)
        if action is None:
            raise ScriptError(f"unknown step `{step.verb}`")
        if step.verb not in ("state", "check", "error", "quiet", "ignore", "let", *_LINES):
            self.trace.append(f"{self._t(self.now)} * {' '.join((step.verb, *step.words))}")
        action(step.words)

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
        self.peer.flow = Flow(port, 0)
        if local is not None:
            options["local"] = Endpoint(self.peer.us, local)
        self._watch(self.stack.tcp_connect(Endpoint(self.peer.peer, port), self.now, **options))

    def do_listen(self, words: list[str]) -> None:
        port = int(words.pop(0)) if words and words[0].isdigit() else LISTEN_PORT
        self.listener = self.stack.tcp_listen(port, **pairs(words))
        self.peer.flow = self.peer.flows.setdefault((PEER_PORT, port), Flow(PEER_PORT, port))

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

    def do_warm(self, words: list[str]) -> None:
        """`warm N RTT`: N small exchanges, so that the round trip is known; ten bytes each."""
        for _ in range(int(words[0])):
            at = self.app.sent + 1
            self._lines(f"send 10\n> PA {at}..{at + 10}\n+{words[1]} < A")

    def do_prepare(self, words: list[str]) -> None:
        """Bring a connection to this state by ordinary packets; sets $snd and $rcv."""
        name = words[0]
        self._lines(PREPARE[name])
        self.scope.variables["snd"], self.scope.variables["rcv"] = NEXT.get(name, (1, 1))
        if name not in ("CLOSED", "LISTEN", "SYN_RECEIVED"):
            self._expect_state("SYN_RECEIVED" if name == "SIMULTANEOUS" else name)

    def do_send(self, words: list[str]) -> None:
        count = self.scope.value(words[0])
        app = self.app
        expected = self.scope.value(words[2]) if words[1:2] == ["takes"] else count
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
        count = 0 if words[0] == "nothing" else self.scope.value(words[0])
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
        self.stack.set_mtu(self.scope.value(words[0]))

    def do_limit(self, words: list[str]) -> None:
        """The tunnel takes so many packets per poll; `none` for any number."""
        self.limit = None if words[0] == "none" else self.scope.value(words[0])

    def do_udp(self, words: list[str]) -> None:
        """`udp bind PORT`, `udp send N PORT`."""
        if words[0] == "bind":
            self.udp = self.stack.udp_socket(self.scope.value(words[1]))
        else:
            self.udp.send_to(
                pattern(0, self.scope.value(words[1])), Endpoint(self.peer.peer, self.scope.value(words[2])), self.now
            )

    def do_ping(self, words: list[str]) -> None:
        self.pinged = self.stack.ping(self.peer.peer, self.now, pattern(0, self.scope.value(words[0])))

    def do_refuse(self, words: list[str]) -> None:
        self.stack.refuse(Endpoint(self.peer.peer, self.peer.flow.peer_port), " ".join(words))

    # -- checks

    def do_quiet(self, words: list[str]) -> None:
        """The silence was checked on the way here."""

    def do_ignore(self, words: list[str]) -> None:
        """What was sent until now is not looked at; `ignore N` for exactly so many packets."""
        self._pump()
        if words and len(self.out) != self.scope.value(words[0]):
            self._fail(f"{words[0]} packets", str(len(self.out)))
        while self.out:
            packet = self.out.popleft().packet
            if isinstance(packet, TcpPacket):
                self.peer.note_sent(packet)

    def do_let(self, words: list[str]) -> None:
        name, _, expression = "".join(words).partition("=")
        self.scope.variables[name.removeprefix("$")] = self.scope.value(expression)

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
        if not self.scope.value(expression, **names):
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


def run_case(case: Case) -> Runner:
    """Raises CaseFailed."""
    start = START
    if case.iss is not None:
        # The stack draws its number from a 4 microsecond clock (RFC 6528): a dry run tells how far to move the time.
        dry = Runner(case)
        for step in case.steps:
            dry.run_step(step)
            if dry.peer.flow.base is not None:
                break
        assert dry.peer.flow.base is not None, "the case opens no connection"
        start += ((case.iss - dry.peer.flow.base) & MASK) / 250_000
    runner = Runner(case, start)
    runner.run()
    return runner


__all__ = ["CaseFailed", "Runner", "run_case"]
