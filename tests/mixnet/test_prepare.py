"""Packets made ahead of their ticks: how many, what becomes of them, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from smolmix_web.mixnet.client import MixnetClient, TrafficConfig
from smolmix_web.mixnet.lanes import Lane
from smolmix_web.mixnet.made_ahead import FIRST_WAIT, IN_A_ROW, READY, READY_COVER, READY_SURBS
from smolmix_web.rand import SeededRandom


def prepared(client: MixnetClient, now: float) -> int:
    """Make all that may be made now; how many steps it took."""
    for step in range(100):
        if not client.prepare(now):
            return step + 1
    raise AssertionError("there is always more to make")


@pytest.fixture
def made(network: Any) -> Any:
    """Two stations in default traffic; the first prepares whenever it sent something, as the driver does."""
    a, b = network.station("a"), network.station("b", gateway=1)
    poll = a.client.poll

    def poll_and_prepare(now: float, limit: int = 32) -> Any:
        packets = poll(now, limit)
        while a.client.prepare(now):
            pass
        return packets

    a.client.poll = poll_and_prepare
    return network, a, b


def test_a_bounded_stock_waits(network: Any) -> None:
    client = network.station("a").client
    now = network.now - 1.0  # far from any tick
    assert prepared(client, now) <= READY_COVER + 1
    assert client._ahead.cover == READY_COVER and not client._ahead
    client.send(client.address, bytes(5000), surbs=3, now=now)
    queued = client.queue_length
    assert queued > READY
    prepared(client, now)
    assert len(client._ahead) == READY and client.queue_length == queued and client.in_flight == 0
    assert not client._outbox.lacks_spare_surb(READY_SURBS)
    assert not client.prepare(now)


def left(client: MixnetClient, ticks: int, now: float) -> list[str]:
    """What kinds of packets the next ticks send."""
    kinds = []
    for _ in range(ticks):
        client.poll(client.next_deadline())
        kinds.append(client._newest[-1][1])
        prepared(client, now)
    return kinds


def test_data_passes_surbs_that_lie_ready(network: Any) -> None:
    """A question does not wait for the ticks of an answer to a SURB request."""
    client = network.station("a", TrafficConfig(cover_stream=False)).client
    now = network.now - 1.0
    client.keep_stock(client.address, 60, 100, now)
    prepared(client, now)
    assert len(client._ahead) == READY
    client.send(client.address, b"question", lane=Lane.SMALL, now=now)
    prepared(client, now)
    assert len(client._ahead) == READY + 1
    assert left(client, 4, now) == ["real", "surb", "surb", "surb"]


def test_an_upload_does_not_starve_a_peer_of_surbs(network: Any) -> None:
    client = network.station("a", TrafficConfig(cover_stream=False)).client
    now = network.now - 1.0
    client.keep_stock(client.address, 6, 6, now)
    prepared(client, now)
    assert len(client._ahead) == 2
    client.send(client.address, bytes(50_000), lane=Lane.BULK, now=now)
    prepared(client, now)
    assert left(client, 10, now) == [*["real"] * IN_A_ROW, "surb", *["real"] * IN_A_ROW, "surb", "real", "real"]


def test_a_tick_sends_what_lies_ready_and_cover_rather_than_wait(network: Any) -> None:
    client = network.station("a", TrafficConfig(cover_stream=False)).client
    now = network.now - 1.0
    prepared(client, now)
    client.send(client.address, b"later", now=now)
    tick = client.next_deadline()
    client.poll(tick)
    # It was not made yet: this tick is cover's, and no packet was made for it.
    assert (client.statistics.main_cover_sent, client.statistics.real_sent) == (1, 0)
    assert client._ahead.cover == READY_COVER - 1
    client.prepare(tick)
    client.poll(client.next_deadline())
    assert (client.statistics.main_cover_sent, client.statistics.real_sent) == (1, 1)


def test_nothing_is_made_right_before_a_tick(network: Any) -> None:
    client = network.station("a").client
    prepared(client, network.now - 1.0)
    tick = client.streams.deadline
    client._ahead._cover.pop()
    assert not client.prepare(tick - 0.001) and client._ahead.cover == READY_COVER - 1
    client._ahead._cover.clear()
    assert client.prepare(tick - 0.001) is False and client._ahead.cover == 1, "but when nothing is there"
    client.send(client.address, b"urgent", now=network.now - 1.0)
    assert not client.prepare(tick - 0.001) and not client._ahead, "this tick is the cover's"


def test_the_first_tick_of_all_waits_for_the_first_messages(network: Any) -> None:
    """What connects to the exit is long in making, and cover for each tick meanwhile would make it longer."""
    client = network.station("a").client
    now = network.now
    client.pause(now)
    client.resume(now)
    client.send(client.address, bytes(5000), surbs=3, now=now)
    assert client.next_tick() == now + FIRST_WAIT
    steps = 0
    while client.next_tick() == now + FIRST_WAIT:
        assert not client.take(now + 0.5, 32) and steps < 50
        client.prepare(now + 0.5)
        steps += 1
    assert len(client._ahead) == client.queue_length > READY and client._ahead._cover
    while client.queue_length:
        client.poll(client.next_tick())
    assert client.statistics.main_cover_sent == 0 < client.statistics.real_sent
    # Once only: whoever reconnects goes on at once, with cover if need be.
    client.pause(now + 5.0)
    client.send(client.address, bytes(5000), surbs=3, now=now + 5.0)
    client.resume(now + 5.0)
    assert client.next_tick() < now + 5.0 + FIRST_WAIT / 4


def test_the_first_tick_of_all_waits_no_longer_than_that(network: Any) -> None:
    client = network.station("a").client
    client.pause(network.now)
    client.resume(network.now)
    client.send(client.address, bytes(50_000), surbs=3, now=network.now)
    assert client.take(network.now + FIRST_WAIT, 1), "also where nobody prepares anything"


def test_unpaced_clients_make_nothing_ahead(network: Any, quiet: TrafficConfig) -> None:
    client = network.station("a", quiet).client
    client.send(client.address, bytes(5000), now=network.now)
    assert not client.prepare(network.now) and not client._ahead and not client._ahead._cover


@pytest.mark.parametrize("size", [10, 1500, 20_000])
def test_messages_arrive_as_without(made: Any, size: int) -> None:
    network, a, b = made
    data = SeededRandom(size).bytes(size)
    for _ in range(3):
        a.client.send(b.client.address, data, surbs=5, fill=True, now=network.now)
        network.run(3.0)
    assert b.data() == [data] * 3
    statistics = a.client.statistics
    assert statistics.retransmitted == 0 and a.client.in_flight == 0
    # Acks are measured from when a packet left, not from when it was made: 0.02 s for each of the eight links.
    assert a.client.ack_excess == pytest.approx(0.16, abs=1e-6)


def test_a_rotation_and_a_pause_lose_nothing(made: Any) -> None:
    network, a, b = made
    data = SeededRandom("rotation").bytes(30_000)
    a.client.send(b.client.address, data, now=network.now)
    network.run(0.1)
    assert a.client._ahead
    network.rotate(forget_old=True)
    a.client.set_topology(network.topology(), network.now)
    b.client.set_topology(network.topology(), network.now)
    assert not a.client._ahead and not a.client._ahead._cover
    network.run(0.1)
    a.client.pause(network.now)
    assert not a.client.prepare(network.now)
    network.run(20.0)
    a.client.resume(network.now)
    network.run(15.0)
    assert b.data() == [data]


def test_what_is_given_up_while_it_lies_ready_is_not_waited_for(network: Any) -> None:
    client = network.station("a", TrafficConfig(cover_stream=False)).client
    now = network.now - 1.0
    client.send(client.address, b"gone", now=now)
    prepared(client, now)
    (outgoing,) = client._ahead._data
    client._outbox.abandon([outgoing.pending], "not_acknowledged")
    client.poll(client.next_deadline())
    assert client.in_flight == 0 and client._outbox.acks.next_deadline() is None


# -- a rotation tears no message ----------------------------------------------------------------------------


def carried(messages: list[Any]) -> set[int]:
    return {surb.rotation for message in messages for surb in message}


@pytest.mark.parametrize("stage", ["ready", "begun"])
def test_a_rotation_tears_no_message(network: Any, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies ready is made anew, SURBs and all; what has begun to leave goes on with the keys of its SURBs."""
    from smolmix_web.mixnet import outbox
    from smolmix_web.mixnet.messages import encode_repliable

    made: list[list[Any]] = []

    def encode(tag: bytes, kind: Any, surbs: list[Any], data: bytes) -> bytes:
        made.append(list(surbs))
        return encode_repliable(tag, kind, surbs, data)

    monkeypatch.setattr(outbox, "encode_repliable", encode)
    a, b = network.station("a", TrafficConfig(cover_stream=False)), network.station("b", gateway=1)
    client, now = a.client, network.now - 1.0
    client.send(b.client.address, b"message" * 900, surbs=3, now=now)
    packets = client.queue_length
    prepared(client, now)
    assert len(client._ahead) == READY < packets and len(made) == 1
    old = client.topology.rotation
    if stage == "begun":
        client.poll(client.next_deadline())
    sent = len(made)
    network.rotate()
    client.set_topology(network.topology(), now)
    new = client.topology.rotation
    assert new != old and client.queue_length == packets - (stage == "begun")
    account = client.surb_account(b.client.address)
    if stage == "ready":
        assert (account.queued, client.statistics.messages_sent, client.statistics.surbs_given) == (3, 0, 0)
    a.sent.clear()
    network.run(20.0, until=lambda: bool(b.messages))
    assert b.data() == [b"message" * 900]
    first = [packet.rotation for _, packet in a.sent]
    if stage == "ready":
        assert len(made) == sent + 1 and carried(made[1:]) == {new} and set(first) == {new}
    else:
        assert len(made) == sent and carried(made) == {old}
        # What lay ready is made again by the new keys as any repetition; what was not made yet keeps to the old.
        assert first.count(old) == packets - READY
    assert client.statistics.messages_sent == 1 and client.statistics.surbs_given == 3
