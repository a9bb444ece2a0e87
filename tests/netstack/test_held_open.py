"""No peer holds a flow open that the application has let go, however lively it acknowledges.

Every state that a close passes through, times every way of answering without ever letting it end: each pair ends by the
deadline of its state, with nothing left in the stack and not many packets said.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smolmix_web.errors import ConnectionReset
from smolmix_web.netstack import State, TcpConfig, TcpConnection
from smolmix_web.netstack.tcp.layer import SYN_RECEIVED_TIMEOUT
from smolmix_web.netstack.tcp.segment import Segment, syn_options
from tests.netsim.raw import ACK, FIN, RST, SYN, Raw

CONFIG = TcpConfig()
DATA = bytes(40_000)
CONNECT = 60.0
# What each state may last at most once the application is gone; then the next one's time begins.
CLOSE = CONFIG.close_timeout + len(DATA) / CONFIG.close_rate  # FIN-WAIT-1, CLOSING, LAST-ACK
LAST = 4 * CONFIG.time_wait_max
SLACK = 2.0


class Peer:
    """Answers each segment, and speaks by itself every `interval` seconds."""

    interval = 5.0
    window = 0

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.seq = 1  # its next one
        self.acked = 1  # of ours
        self.heard = 1  # of ours, without a gap
        self.fin_at: int | None = None  # where ours stands
        self.said = 0

    def hear(self, segments: list[Segment]) -> None:
        for segment in segments:
            self.said += 1
            if segment.flags & RST:
                continue
            end = segment.seq + len(segment.payload)
            if segment.seq <= self.heard < end:
                self.heard = end
            if segment.flags & FIN:
                self.fin_at = end
            if segment.payload or segment.flags & (FIN | SYN):
                self.answer(segment)

    def say(self, flags: int = ACK, seq: int | None = None, ack: int | None = None, **more: object) -> None:
        more.setdefault("window", self.window)
        seq = self.seq if seq is None else seq
        self.hear_later = self.raw.inject(flags, seq, self.acked if ack is None else ack, **more)
        self.said += len(self.hear_later)

    def answer(self, segment: Segment) -> None:
        self.say()

    def alone(self) -> None:
        self.say()


class WindowZero(Peer):
    """Acknowledges what it has, and never opens its window."""


class TakesAByte(Peer):
    """One byte every ten seconds."""

    interval = 10.0
    window = 1

    def answer(self, segment: Segment) -> None:
        self.say(window=0)

    def alone(self) -> None:
        self.acked = min(self.heard, self.acked + 1)
        self.say()


class NeverTheFin(Peer):
    """Takes everything but the FIN."""

    window = 65_535

    def answer(self, segment: Segment) -> None:
        self.acked = self.heard
        self.say()


class TakesAll(Peer):
    """And never says that it has ended."""

    window = 65_535

    def answer(self, segment: Segment) -> None:
        self.acked = self.heard + (self.heard == self.fin_at)
        self.say()

    def alone(self) -> None:
        self.say()


class Probes(TakesAll):
    """Asks all the time whether we are there (keep-alive)."""

    def alone(self) -> None:
        self.say(seq=self.seq - 1)


class RepeatsItsFin(TakesAll):
    interval = 2.0
    ended = False

    def alone(self) -> None:
        self.say(FIN | ACK, seq=self.seq - self.ended)
        self.seq += not self.ended
        self.ended = True


class OutOfWindow(Peer):
    """Segments that want a challenge ACK (RFC 5961)."""

    interval = 1.0

    def alone(self) -> None:
        self.say(seq=self.seq + 10_000_000, payload=b"x")


class RepeatsItsSyn(Peer):
    interval = 2.0

    def alone(self) -> None:
        self.say(SYN, seq=0)


class OnlySelectively(Peer):
    """Has everything but the first byte, it says."""

    window = 65_535

    def answer(self, segment: Segment) -> None:
        if self.heard > self.acked + 1 and self.raw.stack.connections:
            self.said += len(self.raw.sack(self.acked, (self.acked + 1, self.heard), seq=self.seq))

    def alone(self) -> None:
        self.say()


PEERS = [WindowZero, TakesAByte, NeverTheFin, TakesAll, Probes, RepeatsItsFin, OutOfWindow, RepeatsItsSyn]
PEERS += [OnlySelectively]


# -- how a flow comes to the state in which the application lets it go


def established(raw: Raw, window: int) -> TcpConnection:
    connection = raw.connect(window=window)
    connection.send(DATA, raw.now)
    return connection


def nothing_sent(raw: Raw, peer: Peer) -> TcpConnection:
    return established(raw, 0)


def in_flight(raw: Raw, peer: Peer) -> TcpConnection:
    connection = established(raw, 65_535)
    peer.hear(raw.take())
    return connection


def peer_has_ended(raw: Raw, peer: Peer) -> TcpConnection:
    connection = established(raw, 0)
    peer.say(FIN | ACK)
    peer.seq += 1
    return connection


def both_end(raw: Raw, peer: Peer) -> TcpConnection:
    connection = established(raw, 65_535)
    connection.close(raw.now)
    raw.take()
    peer.say(FIN | ACK, window=0)
    peer.seq += 1
    assert connection.state is State.CLOSING
    return connection


def we_have_ended(raw: Raw, peer: Peer) -> TcpConnection:
    connection = raw.connect()
    connection.close(raw.now)
    raw.take()
    peer.acked = peer.heard = 2
    peer.say(window=65_535)
    assert connection.state is State.FIN_WAIT_2
    return connection


def over(raw: Raw, peer: Peer) -> TcpConnection:
    connection = we_have_ended(raw, peer)
    peer.say(FIN | ACK)
    peer.seq += 1
    assert connection.state is State.TIME_WAIT
    return connection


def syn_sent(raw: Raw, peer: Peer) -> TcpConnection:
    connection = raw.stack.tcp_connect(raw.remote, raw.now, connect_timeout=CONNECT)
    connection.send(DATA, raw.now)
    raw.take()
    return connection


def syn_received(raw: Raw, peer: Peer) -> TcpConnection:
    """Simultaneous open."""
    connection = syn_sent(raw, peer)
    raw.inject(SYN, 0, options=syn_options(1380, None, True))
    assert connection.state is State.SYN_RECEIVED
    return connection


WAYS: dict[str, tuple[Callable[[Raw, Peer], TcpConnection], float]] = {
    "nothing sent": (nothing_sent, CLOSE + CONFIG.fin_wait_2 + LAST),
    "in flight": (in_flight, CLOSE + CONFIG.fin_wait_2 + LAST),
    "the peer has ended": (peer_has_ended, CLOSE + LAST),
    "both end": (both_end, CLOSE + LAST),
    "we have ended": (we_have_ended, CONFIG.fin_wait_2 + LAST),
    "time wait": (over, LAST),
    "syn sent": (syn_sent, CONNECT + CLOSE + CONFIG.fin_wait_2 + LAST),
    "syn received": (syn_received, CONNECT + CLOSE + CONFIG.fin_wait_2 + LAST),
}


def run(raw: Raw, peer: Peer, seconds: float) -> None:
    """Until then, or until nothing is left."""
    end = raw.now + seconds
    speaks_at = raw.now + peer.interval
    for _ in range(100_000):
        if raw.now >= end or not raw.stack.connections:
            return
        due = raw.stack.next_deadline()
        raw.now = max(raw.now, min(end, speaks_at, due if due is not None else end))
        peer.hear(raw.take())
        if raw.now >= speaks_at:
            speaks_at += peer.interval
            peer.alone()
    raise AssertionError("it never rests")


@pytest.mark.feature("Sockets", "a flow that was let go ends by a deadline, however the peer acknowledges")
@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("way", WAYS)
def test_every_state_ends(way: str, kind: type[Peer]) -> None:
    begin, limit = WAYS[way]
    raw = Raw()
    peer = kind(raw)
    connection = begin(raw, peer)
    began = raw.now
    connection.release(raw.now)
    peer.hear(raw.take())
    run(raw, peer, limit + SLACK)
    assert connection.state is State.CLOSED and not raw.stack.connections, connection
    raw.take()
    assert raw.stack.next_deadline() is None
    assert connection.receiver.available == 0 and connection.sender.queued == 0
    took = raw.now - began
    assert took <= limit + SLACK
    assert peer.said <= 100 + 2 * took / peer.interval + took, "a war of acknowledgements"


@pytest.mark.parametrize("window", [0, 1], ids=["none", "a byte"])
@pytest.mark.parametrize("end", ["close", "release"])
def test_data_that_is_never_taken(end: str, window: int) -> None:
    """The application may hold it open as long as it likes; from its close on the deadline runs."""
    raw = Raw()
    peer = TakesAByte(raw) if window else WindowZero(raw)
    connection = established(raw, 0)
    run(raw, peer, 10_000)
    assert connection.state is State.ESTABLISHED, "nobody has let it go"
    queued = connection.sender.queued
    began = raw.now
    getattr(connection, end)(raw.now)
    run(raw, peer, 10_000)
    assert raw.now - began == pytest.approx(CONFIG.close_timeout + queued / CONFIG.close_rate, abs=SLACK)
    assert isinstance(connection.error, ConnectionReset)
    assert (connection.error.code, connection.error.phase) == ("close_timeout", "close")


class ReadsSlowly(Peer):
    """Two segments at a time."""

    interval = 1.5

    def answer(self, segment: Segment) -> None:
        self.acked = self.heard + (self.heard == self.fin_at)
        self.say(window=0)

    def alone(self) -> None:
        self.say(window=2 * 1380)


def test_a_slow_peer_that_takes_everything_is_let() -> None:
    size = 1 << 20
    raw = Raw(send_buffer_initial=size)
    connection = raw.connect(window=0)
    assert connection.send(bytes(size), raw.now) == size
    connection.close(raw.now)
    began = raw.now
    run(raw, ReadsSlowly(raw), 900.0)
    assert connection.state is State.FIN_WAIT_2 and connection.error is None
    assert raw.now - began > CONFIG.close_timeout, "longer than one that takes nothing"


def test_a_half_closed_flow_is_the_applications() -> None:
    raw = Raw()
    connection = we_have_ended(raw, peer := TakesAll(raw))
    run(raw, peer, 10_000)
    assert connection.state is State.FIN_WAIT_2
    connection.release(raw.now)
    run(raw, peer, 10_000)
    assert connection.state is State.CLOSED


@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.__name__)
def test_a_peer_that_never_finishes_its_handshake(kind: type[Peer]) -> None:
    raw = Raw()
    peer = kind(raw)
    listener = raw.stack.tcp_listen(80)
    raw.local = raw.local._replace(port=80)
    raw.inject(SYN, 0, options=syn_options(1380, None, True))
    peer.acked = peer.heard = 0  # never the SYN
    peer.fin_at = -1
    run(raw, peer, SYN_RECEIVED_TIMEOUT + SLACK)
    assert not raw.stack.connections and not listener.half_open


@pytest.mark.parametrize("kind", PEERS, ids=lambda kind: kind.__name__)
def test_an_abort_leaves_nothing(kind: type[Peer]) -> None:
    raw = Raw()
    peer = kind(raw)
    connection = in_flight(raw, peer)
    connection.abort(raw.now)
    assert not raw.stack.connections
    for _ in range(100):
        raw.now += peer.interval
        peer.alone()
    raw.take()
    assert raw.stack.next_deadline() is None
