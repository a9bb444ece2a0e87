"""Loss recovery: fast retransmit, SACK, NewReno without SACK, reordering, timeouts, needless reductions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.netstack import State, TcpConnection
from smolmix_web.netstack.tcp.congestion import NewReno
from smolmix_web.netstack.tcp.rack import Rack
from smolmix_web.netstack.tcp.scoreboard import Scoreboard
from smolmix_web.netstack.tcp.sender import Phase
from tests.netsim.raw import ACK, Raw
from tests.netsim.simulator import Session, Simulator, Wire

MSS = 1000


def opened(*, sack: bool = True, count: int = 10, **tcp: object) -> tuple[Raw, TcpConnection]:
    """Ten full segments in flight under NewReno, sent at one instant; the round trip is 100 ms."""
    raw = Raw(**({"congestion": NewReno} | tcp))
    c = raw.connect(mss=MSS, sack=sack)
    c.send(bytes(count * MSS), raw.now)
    assert len(raw.take()) == count
    raw.now += 0.1
    return raw, c


def edge(n: int) -> int:
    """Where segment n begins, from 0."""
    return 1 + n * MSS


# -- by count (RFC 6675)


def test_three_sacked_segments_above_a_hole_make_it_lost() -> None:
    raw, c = opened(rack=False)
    assert raw.sack(edge(0), (edge(1), edge(2))) == []
    assert raw.sack(edge(0), (edge(1), edge(3))) == []
    (again,) = raw.sack(edge(0), (edge(1), edge(4)))
    assert again.seq == edge(0) and len(again.payload) == MSS
    assert c.sender.phase is Phase.RECOVERY
    assert c.sender.congestion.ssthresh == 5 * MSS  # half of FlightSize (RFC 5681 3.1)
    assert raw.sack(edge(0), (edge(1), edge(5))) == []  # once
    raw.inject(ACK, 1, edge(10))
    assert c.sender.phase is Phase.OPEN
    assert c.sender.retransmits == 1


def test_only_missing_ranges_are_sent_again() -> None:
    raw, c = opened(rack=False, count=10)
    out = raw.sack(edge(0), (edge(1), edge(2)), (edge(3), edge(4)), (edge(5), edge(10)))
    out += raw.advance(0.5)
    assert sorted(segment.seq for segment in out) == [edge(0), edge(2), edge(4)]
    raw.inject(ACK, 1, edge(10))
    assert c.sender.phase is Phase.OPEN and c.sender.timeouts == 0


def test_limited_transmit_sends_new_data_on_the_first_signs() -> None:
    """RFC 3042."""
    for sack in (True, False):
        raw, c = opened(sack=sack, rack=False)
        c.send(bytes(5 * MSS), raw.now)
        assert raw.take() == []  # the congestion window is full
        for n in (1, 2):
            out = raw.sack(edge(0), (edge(1), edge(1 + n))) if sack else raw.inject(ACK, 1, 1)
            assert [segment.seq for segment in out] == [edge(9 + n)]


# -- without SACK (RFC 5681, 6582)


def test_three_duplicate_acks_and_partial_acks_without_sack() -> None:
    raw, c = opened(sack=False)
    assert raw.inject(ACK, 1, 1) == [] and raw.inject(ACK, 1, 1) == []
    (again,) = raw.inject(ACK, 1, 1)
    assert again.seq == edge(0)
    assert c.sender.phase is Phase.RECOVERY
    for _ in range(4):
        raw.inject(ACK, 1, 1)
    (next_hole,) = raw.inject(ACK, 1, edge(4))  # a partial ACK
    assert next_hole.seq == edge(4)
    raw.inject(ACK, 1, edge(10))
    assert c.sender.phase is Phase.OPEN
    assert c.sender.congestion.cwnd == c.sender.congestion.ssthresh
    assert c.sender.timeouts == 0


def test_what_is_no_duplicate_ack() -> None:
    """Data, or a new window, makes it none (RFC 5681 2)."""
    raw, c = opened(sack=False)
    for n in range(6):
        raw.inject(ACK, 1 + n, 1, payload=b"x")
    for n in range(6):
        raw.inject(ACK, 7, 1, window=40_000 + n)
    assert c.sender.retransmits == 0 and c.sender.phase is Phase.OPEN


# -- by time (RACK)


def test_a_hole_waits_a_quarter_round_trip_for_latecomers() -> None:
    raw, c = opened()
    assert raw.sack(edge(0), (edge(1), edge(2))) == []
    out = raw.advance(0.02)
    assert out == []
    out = raw.advance(0.01)
    assert [segment.seq for segment in out] == [edge(0)]
    assert c.sender.phase is Phase.RECOVERY


def test_without_known_reordering_three_segments_are_enough_at_once() -> None:
    raw, _c = opened()
    (again,) = raw.sack(edge(0), (edge(1), edge(4)))
    assert again.seq == edge(0)


def test_reordering_is_learned_and_then_waited_for() -> None:
    raw, c = opened()
    raw.sack(edge(0), (edge(1), edge(3)))
    raw.now += 0.02
    raw.inject(ACK, 1, edge(10))  # the first arrived 20 ms after its followers, in time
    assert c.sender.rack.reordering and c.sender.retransmits == 0
    c.send(bytes(10 * MSS), raw.now)
    raw.take()
    raw.now += 0.1
    assert raw.sack(edge(10), (edge(11), edge(20))) == []  # nine segments above the hole: still patient
    assert [segment.seq for segment in raw.advance(0.03)] == [edge(10)]


def test_a_lost_retransmission_is_noticed_without_a_timeout() -> None:
    raw, c = opened(count=10)
    c.send(bytes(10 * MSS), raw.now)
    out = raw.sack(edge(0), (edge(1), edge(8)))
    assert out[0].seq == edge(0)  # and new data behind it
    assert len(out) > 1
    sent = max(segment.seq for segment in out)
    raw.now += 0.1
    out = raw.sack(edge(0), (edge(1), sent + MSS))  # new data arrived, the retransmission did not
    out += raw.advance(0.05)
    assert [segment.seq for segment in out].count(edge(0)) == 1
    assert c.sender.timeouts == 0


def test_a_needless_recovery_is_undone_by_dsack() -> None:
    raw, c = opened()
    before = c.sender.congestion.cwnd
    raw.sack(edge(0), (edge(1), edge(4)))
    assert c.sender.congestion.cwnd < before
    raw.inject(ACK, 1, edge(10))  # the original was only late
    raw.sack(edge(10), (edge(0), edge(1)))  # and here comes the copy
    assert c.sender.congestion.cwnd >= before
    assert c.sender.rack.reordering


# -- timeouts


def test_a_timeout_sends_one_segment_and_starts_slowly() -> None:
    raw, c = opened()
    out = raw.advance(0.95)
    assert [segment.seq for segment in out] == [edge(0)]
    assert c.sender.congestion.cwnd == MSS and c.sender.phase is Phase.LOSS
    out = raw.inject(ACK, 1, edge(1))
    assert [segment.seq for segment in out] == [edge(1), edge(2)]
    out = raw.inject(ACK, 1, edge(3))
    assert len(out) in (3, 4)
    raw.inject(ACK, 1, edge(10))
    assert c.sender.phase is Phase.OPEN


def test_after_a_timeout_sacked_data_is_not_sent_again() -> None:
    raw, c = opened(rack=False)
    raw.sack(edge(0), (edge(5), edge(6)), (edge(8), edge(9)))
    sent = [segment.seq for segment in raw.advance(0.95)]
    ack = 0
    while c.sender.snd_una < c.sender.snd_nxt:
        sent += [segment.seq for segment in raw.sack(edge(ack + 1), (edge(8), edge(9)))]
        ack += 1
    assert edge(5) not in sent and edge(8) not in sent
    assert set(sent) == {edge(n) for n in range(10)} - {edge(5), edge(8)}


def test_a_receiver_that_forgets_sacked_data_is_survived() -> None:
    """RFC 2018 8: SACKed data may be discarded; after a second timeout everything is sent again."""
    raw, c = opened(count=3)
    raw.sack(edge(0), (edge(1), edge(3)))
    raw.advance(10.0)
    out = raw.inject(ACK, 1, edge(1))
    for _ in range(10):
        out += raw.advance(1.0)
    assert {edge(1), edge(2)} <= {segment.seq for segment in out}
    raw.inject(ACK, 1, edge(3))
    assert c.sender.in_flight == 0 and c.sender.board.sacked == 0


def test_karn_no_sample_from_what_was_sent_twice() -> None:
    raw, c = opened(count=1)
    before = c.rtt.srtt
    raw.advance(1.0)
    raw.now += 5.0
    raw.inject(ACK, 1, edge(1))
    assert c.rtt.srtt == before


def test_an_idle_connection_starts_with_the_initial_window_again() -> None:
    raw, c = opened()
    c.sender.congestion.cwnd = 100 * MSS
    raw.inject(ACK, 1, edge(10))
    raw.advance(30.0)
    c.send(bytes(50 * MSS), raw.now)
    assert len(raw.take()) == 10


# -- the records themselves


def test_scoreboard_counts_stay_right() -> None:
    board = Scoreboard()
    for n in range(10):
        board.sent(n * 10, n * 10 + 10, 1.0)
    assert [record.seq for record in board.sack([(20, 40), (35, 60)])] == [20, 30, 40, 50]
    assert board.sack([(20, 40)]) == []
    assert board.sacked == 40
    assert board.detect(3, 10) == 20
    assert board.lost == 20 and board.next_lost() == 0
    record = board.resend(0, 4, 2.0)
    assert (record.seq, record.end, record.transmissions) == (0, 4, 2)
    assert board.lost == 16 and board.records[1].seq == 4 and board.records[1].lost
    assert len(board.acknowledge(12)) == 2
    assert (board.records[0].seq, board.lost) == (12, 8)
    board.mark_all(forget_sacks=True)
    assert (board.sacked, board.lost) == (0, 88)
    assert len(board.acknowledge(100)) == 9
    assert (board.sacked, board.lost, board.records) == (0, 0, [])


STEPS = st.sampled_from(["sack", "ack", "resend", "forget", "detect"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 99), st.integers(1, 60))))
def test_scoreboard_agrees_with_a_model(steps: list[tuple[str, int, int]]) -> None:
    board = Scoreboard()
    for n in range(0, 100, 5):
        board.sent(n, n + 5, 1.0)
    sacked: set[int] = set()
    una = 0
    for what, at, size in steps:
        if what == "sack":
            start, end = max(at, una), min(at + size, 100)
            if start < end:
                expected = {n for r in board.records if start <= r.seq and r.end <= end for n in range(r.seq, r.end)}
                fresh = board.sack([(start, end)])
                assert {n for r in fresh for n in range(r.seq, r.end)} == expected - sacked
                sacked |= expected
        elif what == "ack":
            una = max(una, at)
            board.acknowledge(una)
            sacked = {n for n in sacked if n >= una}
        elif what == "resend":
            index = board.next_lost()
            if index is not None:
                assert not any(r.lost for r in board.records[:index])
                board.resend(index, size, 2.0)
        elif what == "forget":
            board.mark_all(forget_sacks=size > 30)
            sacked = set() if size > 30 else sacked
        else:
            board.detect(3, 5)
        assert board.sacked == len(sacked) == sum(r.end - r.seq for r in board.records if r.sacked)
        assert board.lost == sum(r.end - r.seq for r in board.records if r.lost)
        assert not any(r.lost and r.sacked for r in board.records)
        assert [r.seq for r in board.records[1:]] == [r.end for r in board.records[:-1]]
    assert (board.next_lost() is None) == (board.lost == 0)


def test_rack_marks_only_what_later_deliveries_have_passed() -> None:
    board, rack = Scoreboard(), Rack()
    for n in range(4):
        rack.sent(board.sent(n, n + 1, float(n)))
    rack.delivered(board.sack([(2, 3)]), 2.5, 0.5)  # segment 2, sent at 2, took 0.5
    marked, again = rack.detect(board, 0, 0.25, 2.5)
    assert marked == 2 and again == float("inf")  # 0 and 1; 3 was sent later
    assert [record.lost for record in board.records] == [True, True, False, False]


# -- whole transfers

WIRES = {
    "clean": Wire(),
    "loss 1%": Wire(loss=0.01),
    "loss 5%": Wire(loss=0.05),
    "loss 20%": Wire(loss=0.2),
    "reordering": Wire(reorder=0.2),
    "mix network": Wire(delay=0.15, jitter=0.06),
    "duplicates": Wire(duplicate=0.3),
    "corruption": Wire(corrupt=0.05),
    "narrow": Wire(rate=100_000, queue=30_000),
    "everything": Wire(loss=0.05, reorder=0.1, duplicate=0.1, corrupt=0.02, jitter=0.01),
}


@pytest.mark.parametrize("sack", [True, False], ids=["sack", "no sack"])
@pytest.mark.parametrize("name", WIRES)
def test_both_ways_arrive_whole(name: str, sack: bool) -> None:
    wire = WIRES[name]
    size = 150_000
    sim = Simulator(seed=name, there=wire, back=wire)
    up = bytes(n * 7 & 255 for n in range(size))
    down = bytes(n * 11 + 3 & 255 for n in range(size))
    session = Session(sim, up, down, sack=sack)
    assert sim.run(3000, until=lambda: session.done)
    assert session.client.failed is None and session.server.failed is None
    assert bytes(session.client.received) == down
    assert bytes(session.server.received) == up
    assert sim.run(400)
    assert sim.client.stack.next_deadline() is None and sim.server.stack.next_deadline() is None


def test_reordering_of_a_mix_network_hardly_costs() -> None:
    """Every packet is delayed by itself; the transfer must not live in recovery."""
    wire = Wire(delay=0.15, jitter=0.06, rate=250_000, queue=800_000)
    sim = Simulator(there=wire, back=wire)
    start = sim.now
    session = Session(sim, b"", bytes(4_000_000))
    assert sim.run(200, until=lambda: session.done)
    sender = session.server.connection.sender
    assert sim.lost == 0 and sender.retransmits < 40 and sender.timeouts == 0
    assert 4_000_000 / (sim.now - start) > 0.7 * 250_000


def test_a_long_outage_is_survived() -> None:
    sim = Simulator()
    session = Session(sim, bytes(500_000), bytes(500_000))
    sim.run(0.5)
    sim.there.down = sim.back.down = True
    sim.run(60.0)
    sim.there.down = sim.back.down = False
    assert sim.run(200, until=lambda: session.done)
    assert session.client.failed is None and len(session.client.received) == 500_000


def test_a_path_that_dies_fails_both_ends() -> None:
    sim = Simulator()
    session = Session(sim, bytes(500_000), bytes(500_000))
    sim.run(0.3)
    sim.there.down = sim.back.down = True
    assert sim.run(1000)
    for peer in (session.client, session.server):
        assert peer.connection.state is State.CLOSED
        assert peer.connection.error is not None and peer.connection.error.code == "transfer_timeout"
    assert sim.client.stack.next_deadline() is None and sim.server.stack.next_deadline() is None
