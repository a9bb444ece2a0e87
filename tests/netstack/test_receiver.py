"""The receiving half: reassembly against a model, window, SACK, acknowledgement policy."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.netstack.tcp.config import TcpConfig
from smolmix_web.netstack.tcp.receiver import Receiver

START = 1_000_000
DATA = bytes(range(256)) * 16


def made(**changes: object) -> Receiver:
    receiver = Receiver(TcpConfig(**changes), START, 100, 0)  # type: ignore[arg-type]
    receiver.sack_permitted = True
    return receiver


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300)), max_size=40), st.booleans())
def test_any_segments_in_any_order_give_the_stream(segments: list[tuple[int, int]], reading: bool) -> None:
    receiver = made()
    have: set[int] = set()
    got = b""
    for start, size in segments:
        receiver.text(START + start, DATA[start : start + size], False, 0.0)
        have.update(range(start, start + size))
        prefix = next(n for n in range(2000) if n not in have)
        assert receiver.rcv_nxt == START + prefix
        if reading:
            got += receiver.read(50, 0.0, 1.0)
        assert receiver.buffered == len(have) - len(got)
        # SACK blocks: disjoint from what is acknowledged, all of it received, first one with the latest arrival.
        receiver.ack_now = True
        blocks = [(a - START, b - START) for a, b in receiver.sack_blocks()]
        for left, right in blocks:
            assert left < right and set(range(left, right)) <= have
        receiver.acknowledged()
    got += receiver.read(1 << 20, 0.0, 1.0)
    assert got == DATA[: receiver.rcv_nxt - START]


def test_sack_blocks_latest_first_then_recent_at_most_four() -> None:
    receiver = made()
    for start in (100, 300, 500, 700, 900):
        receiver.text(START + start, bytes(50), False, 0.0)
    assert receiver.sack_blocks() == [(START + start, START + start + 50) for start in (900, 700, 500, 300)]
    receiver.text(START + 150, bytes(10), False, 0.0)
    assert receiver.sack_blocks()[0] == (START + 100, START + 160)


def test_dsack_reports_a_repeated_segment_once() -> None:
    receiver = made()
    receiver.text(START, bytes(200), False, 0.0)
    receiver.text(START + 300, bytes(100), False, 0.0)
    receiver.text(START + 50, bytes(60), False, 0.0)
    assert receiver.sack_blocks() == [(START + 50, START + 110), (START + 300, START + 400)]
    receiver.acknowledged()
    assert receiver.sack_blocks() == [(START + 300, START + 400)]
    receiver.text(START + 300, bytes(100), False, 0.0)
    assert receiver.sack_blocks()[:2] == [(START + 300, START + 400)] * 2


def test_nothing_beyond_the_promised_edge_is_taken() -> None:
    receiver = made(receive_buffer=1000, receive_buffer_max=1000)
    receiver.text(START + 900, bytes(200), True, 0.0)
    assert receiver.buffered == 100
    assert receiver.fin_at is None  # the FIN was outside
    receiver.text(START + 1000, b"x", False, 0.0)
    assert receiver.buffered == 100


def test_text_behind_the_fin_is_ignored() -> None:
    receiver = made()
    receiver.text(START + 10, b"end", True, 0.0)
    receiver.text(START + 5, b"abcdeend, not", False, 0.0)
    receiver.text(START, b"01234", False, 0.0)
    assert receiver.read(100, 0.0, 1.0) == b"01234abcdeend"
    assert receiver.fin_received
    assert receiver.rcv_nxt == START + 14


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 600)), max_size=60))
def test_the_window_edge_never_moves_left_and_memory_stays_bounded(steps: list[tuple[int, int]]) -> None:
    receiver = made(receive_buffer=1000, receive_buffer_max=1000)
    edge = receiver.rcv_adv
    for size, read in steps:
        receiver.text(receiver.rcv_nxt, bytes(size), False, 0.0)
        assert receiver.available <= 1000
        receiver.read(read, 0.0, 1.0)
        promised = receiver.window_field()
        assert receiver.rcv_nxt + promised == receiver.rcv_adv >= edge
        edge = receiver.rcv_adv
        receiver.acknowledged()


def test_byte_by_byte_does_not_push_a_scaled_window_past_the_buffer() -> None:
    receiver = Receiver(TcpConfig(receive_buffer=5000, receive_buffer_max=5000), START, 100, 4)
    for _ in range(6000):
        receiver.text(receiver.rcv_nxt, b"x", False, 0.0)
        receiver.window_field()
        receiver.acknowledged()
    assert receiver.available <= 5000
    assert receiver.window_field() == 0


def test_silly_windows_are_not_offered() -> None:
    """RFC 9293 3.8.6.2.2: the edge moves by a segment or half the buffer, not by a byte."""
    receiver = made(receive_buffer=1000, receive_buffer_max=1000)
    for at in range(0, 1000, 100):
        receiver.text(START + at, bytes(100), False, 0.0)
    assert receiver.window_field() == 0
    receiver.acknowledged()
    receiver.read(60, 0.0, 1.0)
    assert not receiver.ack_now and receiver.window_field() == 0
    receiver.read(150, 0.0, 1.0)
    assert receiver.ack_now and receiver.window_field() == 210


def test_acks_are_delayed_but_not_for_long() -> None:
    receiver = made(ack_delay=0.05)
    receiver.text(START, bytes(50), False, 10.0)
    assert not receiver.ack_now and receiver.ack_at == 10.05
    receiver.text(START + 50, bytes(100), False, 10.01)
    assert not receiver.ack_now
    receiver.text(START + 150, bytes(50), False, 10.01)
    assert receiver.ack_now  # two segments' worth
    receiver.acknowledged()
    assert receiver.ack_at == float("inf")
    receiver.text(START + 300, bytes(50), False, 10.0)
    assert receiver.ack_now  # a gap
    receiver.acknowledged()
    receiver.text(START + 200, bytes(100), False, 10.0)
    assert receiver.ack_now  # the gap was filled
    receiver.acknowledged()
    receiver.text(START + 350, b"", True, 10.0)
    assert receiver.ack_now  # FIN


def test_without_sack_every_gap_is_told_once() -> None:
    receiver = made()
    receiver.sack_permitted = False
    for at in (2, 3, 4):
        receiver.text(START + at * 100, bytes(100), False, 0.0)
    acks = 0
    while receiver.ack_now:
        receiver.acknowledged()
        acks += 1
    assert acks == 3
    assert receiver.sack_blocks() == []


def test_the_window_grows_for_a_fast_reader_up_to_the_limit() -> None:
    receiver = made(receive_buffer=1000, receive_buffer_max=6000)
    now = 0.0
    for _ in range(20):
        now += 0.25
        free = receiver.rcv_adv - receiver.rcv_nxt
        receiver.text(receiver.rcv_nxt, bytes(free), False, now)
        receiver.read(1 << 20, now, 1.0)
        receiver.window_field()
    assert receiver.capacity == 6000
    slow = made(receive_buffer=1000, receive_buffer_max=6000)
    for step in range(20):
        slow.text(slow.rcv_nxt, bytes(100), False, step * 1.0)
        slow.read(1 << 20, step * 1.0, 0.5)
        slow.window_field()
    assert slow.capacity == 1000


# -- holes that fill by themselves -------------------------------------------------------------------------------------

PATIENCE = 0.06


def patient() -> Receiver:
    receiver = made(gap_patience=PATIENCE)
    receiver.text(START, bytes(100), False, 1.0)
    receiver.acknowledged()
    return receiver


def test_a_hole_that_fills_in_time_is_told_to_nobody() -> None:
    receiver = patient()
    receiver.text(START + 200, bytes(100), False, 1.0)
    receiver.text(START + 300, bytes(100), False, 1.01)
    assert not receiver.ack_now and not receiver.wants_sack and receiver.ack_at == 1.0 + PATIENCE
    receiver.text(START + 100, bytes(100), False, 1.05)
    assert receiver.rcv_nxt == START + 400 and receiver.ack_now, "three segments came in order: their ACK, as always"
    assert receiver.sack_blocks() == []
    receiver.acknowledged()
    assert receiver.ack_at == float("inf")


def test_a_hole_that_stays_is_told_when_its_time_is_over() -> None:
    receiver = patient()
    receiver.text(START + 200, bytes(100), False, 1.0)
    receiver.on_timer(1.0 + PATIENCE)
    assert receiver.ack_now and receiver.sack_blocks() == [(START + 200, START + 300)]
    receiver.acknowledged()
    receiver.text(START + 300, bytes(100), False, 1.1)
    assert receiver.ack_now, "from then on as with any hole"
    receiver.acknowledged()
    receiver.text(START + 100, bytes(100), False, 1.2)
    assert receiver.ack_now and receiver.rcv_nxt == START + 400


def test_an_ack_that_leaves_meanwhile_does_not_give_it_away() -> None:
    receiver = patient()
    receiver.text(START + 200, bytes(100), False, 1.0)
    receiver.ack_now = True  # for data of ours, or a window that opened
    assert receiver.sack_blocks() == [] and receiver.sack_size(3) == 4
    receiver.acknowledged()
    assert not receiver.ack_now and receiver.ack_at == 1.0 + PATIENCE, "its time still runs"
    receiver.text(START + 200, bytes(100), False, 1.01)
    assert receiver.ack_now and receiver.sack_blocks() == [(START + 200, START + 300)] * 2, (
        "a repetition is told at once"
    )


def test_each_hole_that_comes_first_gets_its_time() -> None:
    receiver = patient()
    receiver.text(START + 200, bytes(100), False, 1.0)
    receiver.text(START + 400, bytes(100), False, 1.02)
    receiver.text(START + 100, bytes(100), False, 1.05)
    assert receiver.rcv_nxt == START + 300 and receiver.ack_now and receiver.sack_blocks() == []
    receiver.acknowledged()
    assert receiver.ack_at == 1.05 + PATIENCE
    receiver.on_timer(1.05 + PATIENCE)
    assert receiver.sack_blocks() == [(START + 400, START + 500)]


def test_without_sack_there_is_no_patience() -> None:
    receiver = patient()
    receiver.sack_permitted = False
    receiver.text(START + 200, bytes(100), False, 1.0)
    assert receiver.ack_now, "such a peer counts duplicates"


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 300), st.floats(0, 0.1)), max_size=40), st.integers(0, 999)
)
def test_with_patience_too_every_hole_is_told_in_time(segments: list[tuple[int, int, float]], seed: int) -> None:
    """Whatever arrives: no hole that is in front stays hidden longer, and the stream is whole."""
    receiver, now, front, since = made(gap_patience=PATIENCE), 1.0, -1, 1.0
    have: set[int] = set()
    for start, size, pause in segments:
        for due in [now + pause]:
            while receiver.ack_at <= due:
                now = max(now, receiver.ack_at)
                receiver.on_timer(now)
                receiver.acknowledged()
            now = due
        receiver.text(START + start, DATA[start : start + size], False, now)
        have.update(range(start, start + size))
        holes = receiver.buffered > receiver.available
        if receiver.rcv_nxt != front:
            front, since = receiver.rcv_nxt, now
        if holes and not receiver.ack_now and not receiver.wants_sack:
            assert receiver.ack_at <= max(since, now) + PATIENCE
        if receiver.ack_now and seed % 2:
            receiver.acknowledged()
    prefix = next(n for n in range(2000) if n not in have)
    assert receiver.rcv_nxt == START + prefix
    assert receiver.read(1 << 20, now, 1.0) == DATA[:prefix]
