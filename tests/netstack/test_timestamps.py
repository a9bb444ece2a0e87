"""Timestamps (RFC 7323), PAWS, Eifel detection (RFC 3522), tail loss probes (RFC 8985 7), black holes (RFC 2923)."""

from __future__ import annotations

import pytest

from smolmix_web.netstack import TcpConnection
from smolmix_web.netstack.tcp.congestion import NewReno
from smolmix_web.netstack.tcp.segment import sack_option, syn_options, timestamp_option
from smolmix_web.netstack.tcp.sender import Phase
from tests.netsim.raw import ACK, SYN, Raw
from tests.netsim.simulator import Session, Simulator, Wire

MSS = 1000


class Stamped:
    """A connection that uses timestamps; the peer's clock begins at 5000 and stands still unless told."""

    def __init__(self, **tcp: object) -> None:
        self.raw = Raw(**tcp)
        self.c: TcpConnection = self.raw.stack.tcp_connect(self.raw.remote, self.raw.now)
        (syn,) = self.raw.take()
        assert syn.timestamp is not None and syn.timestamp[1] == 0
        self.offset = (syn.timestamp[0] - int(self.raw.now * 1000)) & 0xFFFFFFFF
        self.raw.now += 0.1
        options = syn_options(MSS, None, True, (5000, syn.timestamp[0]))
        (ack,) = self.raw.inject(SYN | ACK, 0, 1, options=options)
        assert ack.timestamp is not None and ack.timestamp[1] == 5000
        self.size = MSS - 12

    def clock(self, at: float) -> int:
        return (int(at * 1000) + self.offset) & 0xFFFFFFFF

    def ack(self, n: int, echo: float, *blocks: tuple[int, int]) -> list[object]:
        """ACK up to segment n, echoing what was sent at `echo`."""
        edges = [(self.raw.base + 1 + a * self.size, self.raw.base + 1 + b * self.size) for a, b in blocks]
        options = timestamp_option(5000, self.clock(echo)) + sack_option(
            [(a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in edges]
        )
        return self.raw.inject(ACK, 1, 1 + n * self.size, options=options)  # type: ignore[return-value]


def test_segments_carry_the_option_and_leave_room_for_it() -> None:
    s = Stamped()
    s.c.send(bytes(2000), s.raw.now)
    first, second, _ = s.raw.take()
    assert len(first.payload) == len(second.payload) == MSS - 12  # RFC 6691
    assert first.timestamp == (s.clock(s.raw.now), 5000)


def test_without_the_option_in_the_answer_nothing_carries_it() -> None:
    raw = Raw()
    c = raw.connect(mss=MSS)
    c.send(bytes(MSS), raw.now)
    (segment,) = raw.take()
    assert segment.timestamp is None and len(segment.payload) == MSS
    raw = Raw(timestamps=False)
    raw.stack.tcp_connect(raw.remote, raw.now)
    assert raw.take()[0].timestamp is None


def test_a_retransmission_gives_a_sample_by_its_echo() -> None:
    s = Stamped()
    s.c.send(bytes(500), s.raw.now)
    s.raw.take()
    assert len(s.raw.advance(1.0)) == 1  # the timeout
    again = s.raw.now
    s.raw.now += 0.4
    before = s.c.rtt.samples
    s.raw.inject(ACK, 1, 501, options=timestamp_option(5000, s.clock(again)))
    assert s.c.rtt.samples == before + 1 and s.c.rtt.latest == pytest.approx(0.4, abs=0.002)


def test_paws_drops_what_is_far_too_old_and_lets_latecomers_pass() -> None:
    s = Stamped()
    raw = s.raw
    raw.inject(ACK, 1, 1, payload=b"a" * 100, options=timestamp_option(50_000, s.clock(raw.now)))
    raw.advance(0.1)
    answers = raw.inject(ACK, 101, 1, payload=b"b" * 100, options=timestamp_option(10_000, s.clock(raw.now)))
    assert [answer.ack for answer in answers] == [101]  # 40 s older: a challenge ACK, the text is not taken
    assert s.c.receive_available == 100
    raw.inject(ACK, 101, 1, payload=b"c" * 100, options=timestamp_option(45_000, s.clock(raw.now)))
    assert s.c.receive(1000, raw.now) == b"a" * 100 + b"c" * 100


def test_eifel_takes_back_a_timeout_that_was_for_nothing() -> None:
    s = Stamped(congestion=NewReno)
    s.c.send(bytes(5 * s.size), s.raw.now)
    sent = s.raw.now
    assert len(s.raw.take()) == 5
    before = s.c.sender.congestion.cwnd
    assert len(s.raw.advance(1.0)) == 1
    assert s.c.sender.phase is Phase.LOSS and s.c.sender.congestion.cwnd == MSS - 12
    out = s.ack(1, sent)  # of the original: it was only late
    assert s.c.sender.phase is Phase.OPEN and s.c.sender.spurious == 1
    assert s.c.sender.congestion.cwnd >= before
    assert out == []  # nothing else is sent again
    assert s.c.sender.board.lost == 0


def test_a_real_timeout_stays_one() -> None:
    s = Stamped()
    s.c.send(bytes(5 * s.size), s.raw.now)
    s.raw.take()
    s.raw.advance(1.0)
    out = s.ack(1, s.raw.now)
    assert s.c.sender.phase is Phase.LOSS and s.c.sender.spurious == 0 and len(out) == 2


def test_an_echo_that_is_of_no_transmission_at_the_left_edge_is_not_believed() -> None:
    s = Stamped()
    s.c.send(bytes(5 * s.size), s.raw.now)
    s.raw.take()
    samples = s.c.rtt.samples
    s.raw.advance(1.0)
    s.ack(1, s.raw.now - 40.0)
    assert s.c.sender.spurious == 0 and s.c.rtt.samples == samples


def measured(**tcp: object) -> Stamped:
    """With enough round trips of 100 ms measured for tail probes."""
    s = Stamped(**tcp)
    for n in range(6):
        s.c.send(bytes(s.size), s.raw.now)
        s.raw.take()
        sent = s.raw.now
        s.raw.now += 0.1
        s.ack(n + 1, sent)
    return s


def test_a_tail_loss_is_probed_for_long_before_the_timeout() -> None:
    s = measured()
    s.c.send(bytes(3 * s.size), s.raw.now)
    assert len(s.raw.take()) == 3
    out = s.raw.advance(0.3)
    assert [segment.seq for segment in out] == [1 + 8 * s.size]  # the last one: its SACK shows the rest
    assert s.c.sender.tail_probes == 1 and s.c.sender.timeouts == 0
    s.raw.now += 0.1
    out = s.ack(6, s.raw.now - 0.1, (8, 9))
    out += s.raw.advance(0.05)
    assert {segment.seq for segment in out} == {1 + 6 * s.size, 1 + 7 * s.size}  # type: ignore[attr-defined]
    assert s.c.sender.timeouts == 0


def test_new_data_is_the_better_probe() -> None:
    s = measured()
    s.c.sender.congestion.cwnd = 2 * s.size
    s.c.send(bytes(3 * s.size), s.raw.now)
    assert len(s.raw.take()) == 2
    out = s.raw.advance(0.3)
    assert [segment.seq for segment in out] == [1 + 8 * s.size] and s.c.sender.retransmits == 0


def test_probes_are_few_and_the_timeout_follows() -> None:
    s = measured()
    s.c.send(bytes(3 * s.size), s.raw.now)
    s.raw.take()
    s.raw.advance(5.0)
    assert s.c.sender.tail_probes <= 6 and s.c.sender.timeouts >= 1


def test_without_measurements_there_is_no_probe() -> None:
    s = Stamped()
    s.c.send(bytes(3 * s.size), s.raw.now)
    s.raw.take()
    assert s.raw.advance(0.9) == [] and s.c.sender.tail_probes == 0


@pytest.mark.parametrize("rtt", [0.3, 1.0])
def test_reordering_of_a_mix_network_fires_hardly_a_probe(rtt: float) -> None:
    """Without loss, with pauses between bursts so that there are many tails: every probe would be a false one."""
    wire = Wire(delay=rtt * 0.35, jitter=rtt * 0.1, reorder=0.2, reorder_delay=rtt * 0.1)
    sim = Simulator(seed=f"tails {rtt}", there=wire, back=wire)
    session = Session(sim, b"", b"", close=False)
    connection = session.connection
    bursts = 300
    for _ in range(bursts):
        connection.send(bytes(8000), sim.now)
        sim.poke()
        sim.run(rtt * 4)
    assert len(session.server.received) == bursts * 8000
    sender = connection.sender
    assert sender.tail_probes <= bursts * 0.02
    assert sender.timeouts == 0


def test_a_black_hole_is_found_by_repeated_timeouts_of_large_segments() -> None:
    sim = Simulator(mtu=1500)
    sim.there.mtu = 1300  # and nobody says so
    session = Session(sim, bytes(200_000), b"")
    assert sim.run(120, until=lambda: session.done)
    assert session.connection.sender.mss == 1200 and len(session.server.received) == 200_000
    narrow = Simulator(mtu=1500)
    narrow.there.mtu = 600
    session = Session(narrow, bytes(50_000), b"")
    assert narrow.run(300, until=lambda: session.done)
    assert session.connection.sender.mss == 512


def test_an_outage_does_not_make_small_segments_for_ever_smaller() -> None:
    sim = Simulator(mtu=1400)
    session = Session(sim, bytes(300_000), b"")
    sim.run(0.4)
    sim.there.down = True
    sim.run(2.5)
    sim.there.down = False
    assert sim.run(60, until=lambda: session.done)
    assert session.connection.sender.mss == 1400 - 40 - 12
