"""Acks, timers, retransmission, giving up: the controller alone, and clients over a lossy network."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.mixnet.client import Delivery, Lane, TrafficConfig
from smolmix_web.mixnet.fragments import Fragment
from smolmix_web.mixnet.retransmission import AckClock, AckController, PendingFragment

CONFIG = TrafficConfig()
D = 0.1  # delays in the mix nodes there and back


def pending(number: int = 1, limit: int | None = None) -> PendingFragment[str]:
    return PendingFragment(Fragment(number, 1, 1, b"x"), "owner", limit, 1e9)


# -- the clock --------------------------------------------------------------------------------------------


def test_first_wait_and_backoff() -> None:
    clock = AckClock(CONFIG)
    base = 1.5 * D + 1.5
    assert clock.wait(D, 0) == pytest.approx(base)
    assert [clock.wait(D, count) for count in (1, 2, 3)] == pytest.approx([base * 1.5**count for count in (1, 2, 3)])
    assert clock.wait(D, 1000) == 30.0
    assert clock.wait(100.0, 3) == 151.5  # never less than the packet itself needs


def test_the_wait_adapts_to_slow_acks_and_never_falls_below_the_rule() -> None:
    clock = AckClock(CONFIG)
    for _ in range(50):
        clock.measure(0.05)
    assert clock.wait(D, 0) == pytest.approx(1.5 * D + 1.5)
    for _ in range(60):
        clock.measure(4.0)
    assert 4.1 < clock.wait(D, 0) < 8.0
    assert clock.excess is not None and 3.9 < clock.excess < 4.1


def test_overdue_fragments_slow_new_ones_until_a_measurement() -> None:
    clock = AckClock(CONFIG)
    assert clock.exponent(0) == 0 and clock.exponent(3) == 3 and clock.exponent(10_000) == 16
    clock.overdue(0)
    clock.overdue(clock.exponent(0))
    assert clock.exponent(0) == 2 and clock.exponent(5) == 5
    clock.measure(0.1)
    assert clock.exponent(0) == 0
    clock.overdue(100)
    assert clock.exponent(0) == 6 and clock.wait(D, 6) == pytest.approx((1.5 * D + 1.5) * 1.5**6)


# -- the controller ---------------------------------------------------------------------------------------


def test_acks_stop_timers() -> None:
    acks: AckController[str] = AckController(CONFIG)
    one, two = pending(1), pending(2)
    for each in (one, two):
        acks.enter(each)
    assert acks.next_deadline() is None and len(acks) == 2  # nothing left yet
    acks.left(one, D, 10.0)
    acks.left(two, 2 * D, 10.0)
    assert acks.next_deadline() == pytest.approx(10 + 1.65)
    assert acks.acknowledge(one.identifier, 10.4) is one
    assert acks.clock.excess == pytest.approx(0.3)
    assert acks.acknowledge(one.identifier, 10.5) is None
    assert acks.next_deadline() == pytest.approx(10 + 1.8)
    assert acks.expired(11.7) == [] and acks.expired(12.0) == [two]
    assert acks.expired(99.0) == [] and acks.next_deadline() is None and len(acks) == 1


def test_an_ack_before_its_timer_starts_counts() -> None:
    """A repeated packet may wait in its lane when the ack of the first one arrives."""
    acks: AckController[str] = AckController(CONFIG)
    one = pending()
    acks.enter(one)
    acks.left(one, D, 0.0)
    assert acks.expired(5.0) == [one]
    assert acks.acknowledge(one.identifier, 6.0) is one and one.acknowledged
    assert acks.clock.excess == pytest.approx(5.9)


def test_acks_of_repeated_fragments_are_not_measured() -> None:
    acks: AckController[str] = AckController(CONFIG)
    one = pending()
    acks.enter(one)
    acks.left(one, D, 0.0)
    acks.expired(5.0)
    one.retransmissions = 1
    acks.left(one, D, 5.0)
    acks.acknowledge(one.identifier, 5.2)
    assert acks.clock.excess is None


def test_postponed_timers_keep_their_order_and_measure_nothing() -> None:
    acks: AckController[str] = AckController(CONFIG)
    one, two = pending(1), pending(2)
    for number, each in enumerate((one, two)):
        acks.enter(each)
        acks.left(each, D, number * 0.1)
    give_up_at = one.give_up_at
    acks.postpone(100.0)
    assert acks.expired(101.0) == [] and acks.next_deadline() == pytest.approx(101.65)
    assert one.give_up_at == give_up_at + 100
    assert acks.expired(101.7) == [one] and acks.expired(102.0) == [two]
    acks.acknowledge(one.identifier, 100.3)
    assert acks.clock.excess is None


def test_a_senseless_measurement_is_capped() -> None:
    clock = AckClock(CONFIG)
    clock.measure(1e6)
    clock.measure(-5.0)
    assert clock.excess is not None and clock.excess <= 30.0 and clock.wait(0.0, 0) <= 30.0


def test_memory_of_timers_is_bounded() -> None:
    acks: AckController[str] = AckController(CONFIG)
    for number in range(1, 3000):
        each = pending(number)
        acks.enter(each)
        acks.left(each, D, number * 1e-3)
        acks.acknowledge(each.identifier, number * 1e-3)
    assert len(acks) == 0 and len(acks._timers) < 100


@given(st.lists(st.sampled_from(["send", "ack", "expire", "postpone", "again"]), max_size=60), st.integers(1, 5))
def test_any_order_of_events_keeps_the_controller_sound(events: list[str], step: int) -> None:
    acks: AckController[str] = AckController(CONFIG)
    now, number, live = 0.0, 0, []
    for event in events:
        now += step * 0.3
        if event == "send":
            number += 1
            live.append(pending(number))
            acks.enter(live[-1])
            acks.left(live[-1], D, now)
        elif event == "ack" and live:
            done = live.pop(0)
            assert acks.acknowledge(done.identifier, now) is done
        elif event == "expire":
            for each in acks.expired(now):
                assert each in live
                each.retransmissions += 1
                acks.left(each, D, now)
        elif event == "again" and live:
            acks.again(live[0], now)
        elif event == "postpone":
            acks.postpone(1.0)
        assert len(acks) == len(live)
        deadline = acks.next_deadline()
        assert (deadline is None) == (not live)


# -- over the network -------------------------------------------------------------------------------------


def drop_first(network: Any, kind: str, count: int) -> dict[str, int]:
    """The first `count` packets of a kind are lost on their first link."""
    from dataclasses import replace

    seen = {"lost": 0}
    whole = network.fate

    def fate(what: str, now: float) -> Any:
        if what == kind and seen["lost"] < count:
            seen["lost"] += 1
            return replace(whole(what, now), copies=0)
        return whole(what, now)

    network.fate = fate
    return seen


def pair(network: Any, config: TrafficConfig) -> tuple[Any, Any]:
    return network.station("a", config), network.station("b", config, gateway=1)


def test_a_lost_packet_is_repeated_once(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    drop_first(network, "data", 1)
    a.client.send(b.client.address, b"hello", now=network.now)
    network.run(1.4)
    assert b.data() == []
    network.run(10.0)
    assert b.data() == [b"hello"]
    statistics = a.client.statistics
    assert (statistics.real_sent, statistics.retransmitted, statistics.acks_received) == (1, 1, 1)
    assert a.client.in_flight == 0 and a.client.next_deadline() is None


def test_a_lost_ack_makes_no_second_message(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    drop_first(network, "ack", 1)
    a.client.send(b.client.address, b"hello", now=network.now)
    network.run(30.0)
    assert b.data() == [b"hello"] and b.client.statistics.duplicates == 1
    assert a.client.statistics.retransmitted == 1 and a.client.in_flight == 0


def test_only_the_lost_fragment_is_repeated(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    lost = drop_first(network, "data", 1)
    data = bytes(range(256)) * 40
    a.client.send(b.client.address, data, now=network.now)
    network.run(30.0)
    assert b.data() == [data] and lost["lost"] == 1
    assert (a.client.statistics.real_sent, a.client.statistics.retransmitted) == (7, 1)


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_the_limit_of_a_message_holds_and_failure_is_reported(network: Any, quiet: TrafficConfig, limit: int) -> None:
    a, b = pair(network, quiet)
    drop_first(network, "data", 1000)
    ends: list[str | None] = []
    delivery = Delivery(lambda one: ends.append(one.failure))
    a.client.send(
        b.client.address,
        bytes(5000),
        surbs=2,
        lane=Lane.BULK,
        max_retransmissions=limit,
        delivery=delivery,
        now=network.now,
    )
    network.run(120.0)
    statistics = a.client.statistics
    assert statistics.packets_sent == 4 * (1 + limit) and statistics.abandoned == 1
    assert ends == ["not_acknowledged"]
    assert a.client.in_flight == 0 and a.client.queue_length == 0 and a.client.next_deadline() is None
    account = a.client.surb_account(b.client.address)
    assert (account.given, account.held, account.queued) == (2, 0, 0)


def test_unlimited_messages_end_with_their_lifetime(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    drop_first(network, "data", 1000)
    a.client.send(b.client.address, b"hello", lifetime=60.0, delivery=(delivery := Delivery()), now=network.now)
    network.run(59.0)
    assert not delivery.ended
    assert 4 <= a.client.statistics.retransmitted <= 10
    network.run(100.0)
    assert delivery.failure == "not_acknowledged"
    assert a.client.next_deadline() is None


def test_a_slow_network_is_learnt(network: Any, quiet: TrafficConfig) -> None:
    """Round trips of 5 s: in the beginning packets are repeated in vain, later they are not."""
    a, b = pair(network, quiet)
    network.latency = 5.0 / 8
    for number in range(40):
        network.at(network.now + number, lambda: a.client.send(b.client.address, b"x", now=network.now))
    network.run(20.0)
    early = a.client.statistics.retransmitted
    network.run(60.0)
    assert early > 3 and a.client.statistics.retransmitted - early <= 1
    assert len(b.messages) == 40 and a.client.ack_excess == pytest.approx(5.0, abs=0.3)


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_everything_arrives_over_a_bad_network(network: Any, quiet: TrafficConfig, loss: float) -> None:
    """Loss, duplicates, jitter on every link: each message once, none altered."""
    from dataclasses import replace

    a, b = pair(network, quiet)
    good = network.fate

    def fate(kind: str, now: float) -> Any:
        luck = network.rng.uniform()
        copies = 0 if luck < loss else 2 if luck > 0.97 else 1
        return replace(good(kind, now), copies=copies, delay=network.rng.exponential(0.05))

    network.fate = fate
    sent = [bytes((number,)) * (100 + 400 * number) for number in range(25)]
    for number, data in enumerate(sent):
        network.at(network.now + 0.2 * number, lambda data=data: a.client.send(b.client.address, data, now=network.now))
    network.run(200.0, until=lambda: len(b.messages) == len(sent) and a.client.in_flight == 0)
    assert sorted(b.data()) == sorted(sent)
    assert a.client.statistics.retransmitted > 0 and a.client.statistics.abandoned == 0
    assert set(network.refused) <= {"replay"}


def test_the_window_of_packets_in_flight_is_bounded(network: Any) -> None:
    config = TrafficConfig(main_stream=False, cover_stream=False, max_pending=16)
    a, b = pair(network, config)
    drop_first(network, "data", 40)
    for _ in range(100):
        a.client.send(b.client.address, bytes(1000), lane=Lane.SMALL, now=network.now)
    most = 0

    def watch() -> bool:
        nonlocal most
        most = max(most, a.client.in_flight)
        return len(b.messages) == 100

    network.run(120.0, until=watch)
    assert len(b.messages) == 100 and most == 16


def test_acks_are_given_time_after_a_pause(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    for _ in range(5):
        a.client.send(b.client.address, bytes(1000), now=network.now)
    network.run(0.05)
    a.client.pause(network.now)
    assert a.client.next_deadline() is None and a.client.poll(network.now) == []
    a.client.send(b.client.address, b"queued meanwhile", now=network.now)
    network.run(30.0)
    a.client.resume(network.now)
    network.run(10.0)
    assert a.client.statistics.retransmitted == 0 and len(b.messages) == 6


def test_a_machine_that_slept_repeats_nothing_at_once(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    for _ in range(5):
        a.client.send(b.client.address, bytes(1000), now=network.now)
    a.client.poll(network.now)  # these are lost
    later = network.now + 600.0
    assert a.client.poll(later) == [] and a.client.statistics.late_ticks == 1
    deadline = a.client.next_deadline()
    assert deadline is not None and later + 1.0 < deadline < later + 3.0
    network.now = later
    network.run(30.0)
    assert a.client.statistics.retransmitted == 5 and len(b.messages) == 5


def test_pauses_and_sleep_are_not_taken_for_slow_acks(network: Any, quiet: TrafficConfig) -> None:
    a, b = pair(network, quiet)
    a.client.send(b.client.address, bytes(1000), now=network.now)
    network.run(0.05)
    a.client.pause(network.now)
    network.run(20.0)  # the ack comes meanwhile
    assert a.client.in_flight == 0 and a.client.ack_excess is None
    network.run(1000.0)
    a.client.resume(network.now)
    a.client.send(b.client.address, bytes(1000), now=network.now)
    packets = a.client.poll(network.now)
    assert len(packets) == 1 and a.client.statistics.late_ticks == 0
    deadline = a.client.next_deadline()
    assert deadline is not None and deadline < network.now + 3.0
    # An ack that waited in the socket of a sleeping machine is handed over before the first poll.
    network.submit(packets[0])
    a.frozen = True
    receive, held = a.client.receive, []
    a.client.receive = lambda body, now: held.append(body)
    network.run(600.0)
    for body in held:
        receive(body, network.now)
    assert a.client.in_flight == 0 and a.client.ack_excess is None and a.client.statistics.late_ticks == 1
    assert a.client.poll(network.now) == [] and a.client.statistics.late_ticks == 1


def test_what_was_queued_for_repetition_is_forgotten_with_its_message(network: Any) -> None:
    """One fragment is given up while another one waits to be repeated: neither stays among those in flight."""
    config = TrafficConfig(cover_stream=False, main_interval=3.0)
    a, b = network.station("a", config), network.station("b", config, gateway=1)
    drop_first(network, "data", 1000)
    a.client.send(b.client.address, bytes(9000), max_retransmissions=1, now=network.now)
    network.run(400.0)
    assert a.client.in_flight == 0 and a.client.queue_length == 0
    assert a.client.statistics.abandoned == 1
