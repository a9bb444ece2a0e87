"""Sequence numbers, the state table, round-trip times, congestion control, identifiers, limits, the scheduler."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import NetworkError, StateError
from smolmix_web.netstack.identifiers import Identifiers
from smolmix_web.netstack.limits import TokenBucket
from smolmix_web.netstack.scheduler import Scheduler
from smolmix_web.netstack.tcp.config import TcpConfig
from smolmix_web.netstack.tcp.congestion import NewReno, initial_window
from smolmix_web.netstack.tcp.rtt import RttEstimator
from smolmix_web.netstack.tcp.seq import unwrap, wrap
from smolmix_web.netstack.tcp.states import TRANSITIONS, Event, State, next_state
from smolmix_web.rand import SeededRandom


@given(st.integers(0, 2**40), st.integers(-(2**31), 2**31 - 1))
def test_unwrap_finds_the_nearest_position(near: int, offset: int) -> None:
    assert unwrap(wrap(near + offset), near) == near + offset


def test_the_state_table_is_that_of_rfc_9293() -> None:
    assert set(TRANSITIONS) == set(State) - {State.LISTEN}
    reached = {state for moves in TRANSITIONS.values() for state in moves.values()}
    assert reached == set(State) - {State.LISTEN}
    walk = [Event.ACTIVE_OPEN, Event.RECV_SYN, Event.RECV_ACK_OF_SYN, Event.CLOSE, Event.RECV_FIN]
    state = State.CLOSED
    for event in [*walk, Event.RECV_ACK_OF_FIN, Event.TIME_WAIT_OVER]:
        state = next_state(state, event)
    assert state is State.CLOSED
    with pytest.raises(StateError):
        next_state(State.TIME_WAIT, Event.CLOSE)


def test_rto_follows_rfc_6298() -> None:
    rtt = RttEstimator(3.0, 1.0, 60.0)
    assert rtt.rto == 3.0
    rtt.sample(2.0)  # 2.2: SRTT = R, RTTVAR = R/2
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (2.0, 1.0, 6.0)
    rtt.sample(1.0)  # 2.3
    assert rtt.rttvar == pytest.approx(0.75 * 1.0 + 0.25 * 1.0)
    assert rtt.srtt == pytest.approx(7 / 8 * 2.0 + 1 / 8 * 1.0)
    rtt.back_off()
    rtt.back_off()
    assert rtt.rto == pytest.approx(4 * (rtt.srtt + 4 * rtt.rttvar))
    for _ in range(100):
        rtt.back_off()
    assert rtt.rto == 60.0
    rtt.progress()
    for _ in range(100):
        rtt.sample(0.01)
    assert rtt.rto == 1.0  # 2.4


def test_newreno_grows_and_halves() -> None:
    assert initial_window(1380, 10) == 13_800
    assert initial_window(8960, 10) == 17_920
    control = NewReno(1000, 10_000)
    for _ in range(10):
        control.on_ack(1000, 10_000, 0.0, None)
    assert control.cwnd == 20_000  # slow start doubles
    control.on_loss(20_000, 20_000, 0.0)
    assert (control.cwnd, control.ssthresh) == (10_000, 10_000)
    control.on_recovery_exit(9_000, 0.0)
    for _ in range(10):
        control.on_ack(1000, 10_000, 0.0, None)
    assert control.cwnd == 11_000  # one MSS per round trip
    control.on_ack(1000, 3000, 0.0, None)
    assert control.cwnd == 11_000  # not used, not grown
    control.on_timeout(11_000, 0.0, True)
    assert (control.cwnd, control.ssthresh) == (1000, 5500)
    control.on_timeout(1000, 0.0, False)
    assert control.ssthresh == 5500
    control.undo()
    assert control.cwnd == 11_000


def test_initial_sequence_numbers_are_keyed_and_move_with_time() -> None:
    one = Identifiers(SeededRandom(1), (32768, 65535))
    two = Identifiers(SeededRandom(2), (32768, 65535))
    key, other = bytes(12), bytes(11) + b"\x01"
    assert one.initial_sequence_number(key, 5.0) == one.initial_sequence_number(key, 5.0)
    assert (one.initial_sequence_number(key, 6.0) - one.initial_sequence_number(key, 5.0)) % 2**32 == 250_000
    assert one.initial_sequence_number(key, 5.0) != one.initial_sequence_number(other, 5.0)
    assert one.initial_sequence_number(key, 5.0) != two.initial_sequence_number(key, 5.0)


def test_ports_are_spread_and_never_taken_twice() -> None:
    identifiers = Identifiers(SeededRandom(3), (50_000, 50_099))
    used: set[int] = set()
    for _ in range(100):
        used.add(identifiers.port(used.__contains__))
    assert used == set(range(50_000, 50_100))
    with pytest.raises(NetworkError) as caught:
        identifiers.port(used.__contains__)
    assert caught.value.code == "no_ports"
    wide = Identifiers(SeededRandom(4), (32_768, 65_535))
    drawn = [wide.port(lambda port: False) for _ in range(200)]
    assert len(set(drawn)) > 190
    assert sum(later > earlier for earlier, later in itertools.pairwise(drawn)) in range(70, 130)


def test_token_bucket() -> None:
    bucket = TokenBucket(2.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(0.5) for _ in range(2)] == [True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


class FakeFlow:
    def __init__(self, name: bytes, packets: int, urgent: int = 0) -> None:
        self.name = name
        self.packets = packets
        self.urgent = urgent
        self.ring = 0
        self.heap_at = float("inf")
        self.deadline = float("inf")
        self.fired: list[float] = []

    def urgency(self) -> int:
        return 2 if self.urgent else 1 if self.packets else 0

    def produce(self, now: float) -> bytes | None:
        if self.urgent:
            self.urgent -= 1
            return self.name.upper()
        if self.packets:
            self.packets -= 1
            return self.name
        return None

    def on_timers(self, now: float) -> None:
        self.fired.append(now)
        self.deadline = float("inf")


def test_scheduler_takes_turns_and_puts_control_and_acks_first() -> None:
    scheduler = Scheduler(2)
    for flow in (FakeFlow(b"a", 3), FakeFlow(b"b", 1), FakeFlow(b"c", 2, urgent=1)):
        scheduler.changed(flow)
    assert scheduler.emit(b"!") and scheduler.emit(b"?") and not scheduler.emit(b"too many")
    assert scheduler.collect(0.0, 4) == [b"!", b"?", b"C", b"a"]
    assert scheduler.waiting
    assert scheduler.collect(0.0, 100) == [b"b", b"c", b"a", b"c", b"a"]
    assert not scheduler.waiting


def test_scheduler_deadlines_move_both_ways() -> None:
    scheduler = Scheduler(2)
    flow, other = FakeFlow(b"a", 0), FakeFlow(b"b", 0)
    other.deadline = 50.0
    scheduler.changed(other)
    for deadline in (10.0, 20.0, 5.0, 30.0):
        flow.deadline = deadline
        scheduler.changed(flow)
        assert scheduler.next_deadline() == deadline
    scheduler.run_timers(29.0)
    assert flow.fired == []
    scheduler.run_timers(30.0)
    assert flow.fired == [30.0]
    assert scheduler.next_deadline() == 50.0
    other.deadline = float("inf")
    assert scheduler.next_deadline() == float("inf")


@pytest.mark.parametrize(
    ("limit", "path_mss", "version", "announced"),
    [(0xFFFF, 1380, 4, 1380), (748, 1380, 4, 708), (748, 1360, 6, 688), (748, 516, 4, 516), (50, 1380, 4, 64)],
)
def test_the_segment_size_that_a_syn_announces(limit: int, path_mss: int, version: int, announced: int) -> None:
    assert TcpConfig(receive_packet_max=limit).announced_mss(path_mss, version) == announced
