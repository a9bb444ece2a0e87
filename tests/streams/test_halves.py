"""The two directions of a stream by themselves: order, holes, bounds, credit, losses; then any order of it all."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.rand import SeededRandom
from smolmix_web.streams.receiver import MAX_AHEAD, MODULUS, Arrival, Receiver
from smolmix_web.streams.sender import (
    FRAMES_OPENING,
    FRAMES_TRUSTED,
    FRAMES_UNKNOWN,
    INITIAL_CREDIT,
    RTO_FIRST,
    Flight,
    Sender,
)
from tests.simnet.world import pattern

# -- arriving


def test_frames_come_out_in_order_once() -> None:
    receiver = Receiver(1000)
    assert receiver.insert(1, b"b", 0.0) is Arrival.TAKEN and receiver.available == 0
    assert receiver.insert(1, b"b", 0.0) is Arrival.KNOWN
    assert receiver.insert(0, b"a", 0.0) is Arrival.TAKEN and receiver.available == 2
    assert receiver.insert(0, b"x", 0.0) is Arrival.KNOWN
    assert (receiver.read(1), receiver.read(10), receiver.read(10)) == (b"a", b"b", b"")
    assert (receiver.expected, receiver.credit, receiver.eof) == (2, 1002, False)
    receiver.final = 3
    assert receiver.insert(3, b"beyond", 0.0) is Arrival.KNOWN
    assert receiver.insert(2, b"", 0.0) is Arrival.TAKEN and receiver.eof


def test_the_open_s_own_data_come_first() -> None:
    receiver = Receiver(1000)
    receiver.insert(0, b"second", 0.0)
    receiver.prefix(b"first ")
    assert receiver.read(100) == b"first second"


def test_a_hole_is_timed_from_when_it_was_seen() -> None:
    receiver = Receiver(1000)
    assert receiver.hole_since is None
    receiver.insert(2, b"", 5.0)
    receiver.insert(4, b"", 6.0)
    assert receiver.hole_since == 5.0
    assert receiver.ranges(10) == ((2, 3), (4, 5)) and receiver.ranges(1) == ((2, 3),)
    receiver.insert(0, b"", 7.0)
    assert receiver.hole_since == 7.0  # number 1 is missing now
    receiver.insert(1, b"", 8.0)
    assert (receiver.expected, receiver.hole_since) == (3, 8.0)
    receiver.insert(3, b"", 9.0)
    assert (receiver.expected, receiver.hole_since, receiver.early) == (5, None, 0)


def test_everything_is_bounded() -> None:
    receiver = Receiver(1000, max_early=10)
    assert receiver.insert(MAX_AHEAD + 1, b"", 0.0) is Arrival.REFUSED
    for number in range(1, 11):
        assert receiver.insert(number, b"x", 0.0) is Arrival.TAKEN
    assert receiver.insert(11, b"x", 0.0) is Arrival.REFUSED
    assert receiver.insert(0, bytes(1001), 0.0) is Arrival.REFUSED
    assert receiver.insert(0, bytes(900), 0.0) is Arrival.TAKEN and receiver.available == 910
    assert receiver.insert(11, bytes(91), 0.0) is Arrival.REFUSED
    receiver.read(1)
    assert receiver.insert(11, bytes(91), 0.0) is Arrival.TAKEN
    assert receiver.insert(13, bytes(1000), 0.0) is Arrival.REFUSED
    assert receiver.refused == 5
    receiver.discard()
    assert receiver.insert(12, bytes(1000), 0.0) is Arrival.TAKEN and receiver.available == 0
    assert receiver.credit == 1000 + 910 + 91 + 1000


@given(st.integers(0, 1 << 40), st.integers(-(1 << 30), 1 << 30))
def test_numbers_of_32_bits_are_the_nearest_ones(expected: int, ahead: int) -> None:
    receiver = Receiver(1000)
    receiver.expected = expected
    number = max(0, expected + ahead)
    assert receiver.number(number % MODULUS) == number


# -- leaving


def filled(size: int, *, trusted: bool = False, buffer: int = 1 << 22) -> Sender:
    sender = Sender(buffer)
    assert sender.write(bytes(size)) == size
    if trusted:
        sender.trust(0)
    return sender


def drain(sender: Sender, size: int = 100, now: float = 0.0) -> list[Flight]:
    flights = []
    while (flight := sender.take(size, now)) is not None:
        flights.append(flight)
    return flights


def test_the_buffer_is_bounded_and_the_end_is_known_when_it_is_empty() -> None:
    sender = Sender(250)
    assert sender.write(bytes(300)) == 250 and sender.space == 0 and sender.write(b"x") == 0
    sender.finished = True
    assert sender.final is None and sender.space == 0
    assert [len(flight.payload) for flight in drain(sender)] == [100, 100, 50]
    assert (sender.final, sender.done) == (3, False)


def test_how_many_frames_may_be_on_their_way() -> None:
    sender = filled(1 << 20)
    sender.opening = True
    first = drain(sender)
    assert len(first) == FRAMES_OPENING
    sender.opening = False
    second = drain(sender)
    assert len(first + second) == FRAMES_UNKNOWN
    # To a peer of which nothing is known: what its gateway has is not done yet.
    sender.delivered(first[0], 1.0)
    assert not sender.ready(100)
    sender.settle(2.0)
    assert len(drain(sender)) == 1
    # The oldest one counts, not how many are out: a reference client skips what is too far ahead.
    for flight in first[2:] + second:
        sender.delivered(flight, 3.0)
    assert not sender.ready(100)
    sender.delivered(first[1], 4.0)
    assert len(drain(sender)) == FRAMES_UNKNOWN - 1
    # It acknowledges after all: what was taken for done is its business again.
    sender.trust(1 << 30)
    assert sender.in_flight == 2 * FRAMES_UNKNOWN and drain(sender)
    assert sender.in_flight == FRAMES_TRUSTED and not sender.lacks(0)
    assert sender.acknowledge(sender.next, (), 5.0) and not sender.in_flight


def test_what_was_taken_for_arrived_is_kept_for_a_while_only() -> None:
    sender = filled(100 * (FRAMES_UNKNOWN + 50))
    sender.settle(0.0)
    while (flight := sender.take(100, 1.0)) is not None:
        sender.delivered(flight, 1.0)
    assert sender.done
    sender.trust(1 << 30)
    assert sender.in_flight == FRAMES_UNKNOWN and sender.lacks(49) and not sender.lacks(50)


def test_credit_binds_and_a_rest_of_it_is_used_only_when_nothing_else_will_come() -> None:
    sender = filled(INITIAL_CREDIT + 1000, trusted=True)
    flights = drain(sender, 1500)
    size = len(flights) * 1500
    assert INITIAL_CREDIT - 1500 < size <= INITIAL_CREDIT and not sender.blocked
    assert sender.acknowledge(len(flights), (), 1.0)
    (rest,) = drain(sender, 1500)
    assert len(rest.payload) == INITIAL_CREDIT - size and sender.blocked
    sender.trust(INITIAL_CREDIT + 10)
    assert drain(sender, 1500) == []
    sender.acknowledge(sender.next, (), 2.0)
    assert len(drain(sender, 1500)[0].payload) == 10
    sender.trust(5)  # what was said before, overtaken
    assert sender.credit == INITIAL_CREDIT + 10


def test_what_the_mixnet_gives_up_is_sent_again_first() -> None:
    sender = filled(500)
    flights = [sender.take(100, 0.0) for _ in range(2)]
    assert flights[0] is not None
    sender.undelivered(flights[0])
    sender.undelivered(flights[0])
    again = sender.take(100, 1.0)
    assert again is flights[0] and again.repeats == 1
    assert [flight.number for flight in drain(sender)] == [2, 3, 4] and sender.repeated == 1


def test_what_arrived_at_the_gateway_and_not_at_the_peer_is_lost_after_a_while() -> None:
    sender = filled(500, trusted=True)
    flights = drain(sender)
    for flight in flights:
        sender.delivered(flight, 2.5 if flight.number == 2 else 1.0)
    assert sender.next_deadline() == 1.0 + RTO_FIRST
    sender.acknowledge(1, ((2, 3),), 4.0)  # a trip of 3 s; number 2 was delivered later than all that is missing
    due = sender.next_deadline()
    assert due is not None
    sender.poll(due - 0.001)
    assert not sender.ready(100)
    sender.poll(due)
    assert [flight.number for flight in drain(sender)] == [1, 3, 4]


def test_a_silent_peer_is_asked_with_one_frame_at_a_time_more_and_more_seldom() -> None:
    sender = filled(500, trusted=True)
    for flight in drain(sender):
        sender.delivered(flight, 0.0)
    now, waits = 0.0, []
    for _ in range(6):
        due = sender.next_deadline()
        assert due is not None
        waits.append(due - now)
        now = due
        sender.poll(now)
        (again,) = drain(sender)
        assert again.number == 0
        sender.delivered(again, now)
    assert waits == sorted(waits) and waits[-1] > 3 * waits[0] and waits[-1] <= 30.0


def test_the_answer_to_a_probe_tells_what_else_is_lost() -> None:
    sender = filled(500, trusted=True)
    for flight in drain(sender):
        sender.delivered(flight, 0.0)
    due = sender.next_deadline()
    assert due is not None
    sender.poll(due)
    (probe,) = drain(sender)
    sender.delivered(probe, due + 0.2)
    sender.acknowledge(1, (), due + 0.5)
    sender.poll(due + 0.5)
    assert [flight.number for flight in drain(sender)] == [1, 2, 3, 4]


def test_acknowledgements_that_cannot_be_true_are_refused() -> None:
    sender = filled(500, trusted=True)
    drain(sender)
    assert not sender.acknowledge(6, (), 1.0)
    assert not sender.acknowledge(0, ((4, 6),), 1.0)
    assert sender.acknowledge(3, ((4, 5),), 1.0) and sender.in_flight == 1
    assert sender.acknowledge(0, (), 2.0) and sender.in_flight == 1
    assert sender.acknowledge(5, (), 2.0) and sender.done


# -- both, with anything in between


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 40_000), st.floats(0, 0.5), st.floats(0, 0.3), st.integers(100, 5000))
def test_all_bytes_arrive_in_order(seed: int, size: int, loss: float, doubled: float, reading: int) -> None:
    """Frames and acknowledgements lost for good, doubled, late; a reader that takes little at a time."""
    rng = SeededRandom(f"halves {seed}")
    data, got = pattern(size, seed), bytearray()
    sender, receiver = Sender(8000), Receiver(INITIAL_CREDIT)
    sender.trust(0)
    events: list[tuple[float, int, str, object]] = []
    now, count, written = 0.0, 0, 0

    def later(delay: float, kind: str, what: object) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (now + delay, count, kind, what))

    later(0.0, "tick", None)
    while len(got) < size or not sender.done:
        now, _, kind, what = heapq.heappop(events)
        assert now < 100_000, "it does not end"
        if kind == "tick":
            written += sender.write(data[written : written + 5000])
            sender.poll(now)
            for _ in range(4):
                flight = sender.take(150, now)
                if flight is None:
                    break
                later(0.05, "delivered", flight)
                for _ in range(2 if rng.uniform() < doubled else 1):
                    if rng.uniform() >= loss:
                        later(0.06 + rng.exponential(0.2), "frame", (flight.number % MODULUS, flight.payload))
            got += receiver.read(reading)
            if rng.uniform() >= loss:
                later(0.05 + rng.exponential(0.2), "ack", (receiver.expected, receiver.ranges(64), receiver.credit))
            later(0.1, "tick", None)
        elif kind == "delivered":
            assert isinstance(what, Flight)
            sender.delivered(what, now)
        elif kind == "frame":
            assert isinstance(what, tuple)
            receiver.insert(receiver.number(what[0]), what[1], now)
        else:
            assert isinstance(what, tuple)
            sender.trust(what[2])
            assert sender.acknowledge(what[0], what[1], now)
    assert got == data


@pytest.mark.parametrize("start", [MODULUS - 3, 5 * MODULUS - 1])
def test_numbers_go_on_beyond_32_bits(start: int) -> None:
    sender, receiver = filled(600, trusted=True), Receiver(INITIAL_CREDIT)
    sender.next = sender._oldest = receiver.expected = start
    for flight in reversed(drain(sender)):
        receiver.insert(receiver.number(flight.number % MODULUS), flight.payload, 0.0)
    assert receiver.expected == start + 6 and sender.acknowledge(receiver.expected, (), 1.0) and sender.done
