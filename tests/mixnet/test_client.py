"""The mixnet client as a whole: messages between clients, shape of its packets, bad input, bounds, moving house."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import DirectoryError, StateError
from smolmix_web.mixnet.client import Delivery, Lane, MixnetClient, TrafficConfig
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.rand import SeededRandom

EXIT = TrafficConfig.for_exit()


def test_address_is_made_of_the_keys(crypto: Crypto, network: Any) -> None:
    keys = ClientKeys.generate(SeededRandom(1))
    client = MixnetClient(crypto, SeededRandom(2), keys, network.gateways[0], network.topology())
    assert client.address.identity == crypto.ed25519_public(keys.identity_seed)
    assert client.address.encryption == crypto.x25519_base(keys.encryption_secret)
    assert client.address.gateway == network.gateways[0]


@pytest.mark.parametrize("size", [0, 1, 1581, 1582, 3000, 50_000, 420_000])
def test_messages_of_all_sizes(network: Any, quiet: TrafficConfig, size: int) -> None:
    a, b = network.station("a", quiet), network.station("b", quiet, gateway=1)
    data = SeededRandom(size).bytes(size)
    a.client.send(b.client.address, data, now=network.now)
    packets = a.client.queue_length
    assert packets == {0: 1, 1: 1, 1581: 1, 1582: 2, 3000: 2, 50_000: 32, 420_000: 262}[size]
    network.run(20.0)
    assert b.data() == [data]
    assert a.client.statistics.packets_sent == packets == a.client.statistics.acks_received
    assert (a.client.statistics.bytes_sent, b.client.statistics.bytes_received) == (size, size)


def test_a_message_to_ourselves(network: Any, quiet: TrafficConfig) -> None:
    a = network.station("a", quiet)
    a.client.send(a.client.address, b"me", surbs=1, now=network.now)
    network.run(5.0)
    assert a.data() == [b"me"]


@pytest.mark.parametrize(
    ("size", "surbs", "expected"), [(10, 0, 3), (10, 2, 3), (201, 0, 3), (202, 0, 2), (1200, 0, 0), (10, 4, 6)]
)
def test_free_surbs_fill_the_last_packet(
    network: Any, quiet: TrafficConfig, size: int, surbs: int, expected: int
) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    a.client.send(b.client.address, bytes(size), surbs=surbs, now=network.now)
    packets = a.client.queue_length
    a.client.send(b.client.address, bytes(size), surbs=surbs, fill=True, now=network.now)
    assert a.client.queue_length == 2 * packets
    account = a.client.surb_account(b.client.address)
    assert account.queued == surbs + expected and account.given == 0
    network.run(1.0, until=lambda: len(b.messages) == 2)
    assert len(b.messages) == 2 and account.given >= surbs + expected


def test_a_peer_with_plenty_gets_none_for_free(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", replace(quiet, surb_fill_ceiling=7)), network.station("b", quiet, gateway=1)
    for _ in range(5):
        a.client.send(b.client.address, b"x", fill=True, now=network.now)
    assert a.client.surb_account(b.client.address).queued == 7


def test_everything_looks_alike_at_every_hop(network: Any) -> None:
    """Data, SURBs, replies, retransmissions, both kinds of cover: one version, two sizes."""
    a, b = network.station("a"), network.station("b", gateway=1)
    good = network.fate
    network.fate = lambda kind, now: replace(good(kind, now), copies=int(network.rng.uniform() > 0.03))
    b.on_message = lambda message: b.client.send_reply(message.sender_tag, bytes(5000), now=network.now)
    for _ in range(5):
        a.client.send(b.client.address, bytes(3000), surbs=20, fill=True, now=network.now)
    network.run(6.0)
    assert len(a.messages) == 5 and a.client.statistics.retransmitted > 0
    for client in (a.client, b.client):
        statistics = client.statistics
        assert statistics.main_cover_sent > 100 and statistics.loop_cover_sent > 10
        assert statistics.cover_received > 100 and statistics.acks_for_cover > 100
        assert statistics.bad_bodies == 0
    for node in network.nodes:
        assert node.versions == {259} and node.sizes == {2413, 386}
    assert {(packet.packet_type, packet.rotation, len(packet.packet)) for _, packet in a.sent} == {(0, 1, 2413)}
    # Routes are spread evenly over the first layer.
    counts = [sum(packet.first_hop == node.address for _, packet in a.sent) for node in network.nodes[:2]]
    assert sum(counts) == len(a.sent) and abs(counts[0] - counts[1]) < 5 * len(a.sent) ** 0.5


def test_urgent_messages_pass_bulk(network: Any) -> None:
    config = TrafficConfig(cover_stream=False)
    a, b = network.station("a", config), network.station("b", config, gateway=1)
    for _ in range(3):
        a.client.send(b.client.address, bytes(100_000), lane=Lane.BULK, now=network.now)
    a.client.send(b.client.address, b"urgent", lane=Lane.SMALL, now=network.now)
    network.run(2.0, until=lambda: bool(b.messages))
    assert b.data() == [b"urgent"]


# -- bounds and refusals ------------------------------------------------------------------------------------


def test_a_full_lane_refuses(network: Any) -> None:
    config = TrafficConfig(lane_limit=10)
    a, b = network.station("a", config), network.station("b", gateway=1)
    assert a.client.room(Lane.SMALL) == 10
    for _ in range(10):
        a.client.send(b.client.address, b"x", lane=Lane.SMALL, now=network.now)
    assert a.client.room(Lane.SMALL) == 0 and a.client.room(Lane.BULK) == 10
    with pytest.raises(StateError) as caught:
        a.client.send(b.client.address, b"x", surbs=5, lane=Lane.SMALL, now=network.now)
    assert caught.value.code == "queue_full"
    assert a.client.surb_account(b.client.address).queued == 0
    # One large message may enter an empty lane.
    a.client.send(b.client.address, bytes(30_000), lane=Lane.BULK, now=network.now)
    assert a.client.queue_length == 29


def test_unknown_recipients_are_refused_at_once(network: Any, quiet: TrafficConfig) -> None:
    a = network.station("a", quiet)
    with pytest.raises(DirectoryError) as caught:
        a.client.send(a.client.address._replace(gateway=bytes(32)), b"x", now=network.now)
    assert caught.value.code == "gateway_unknown" and caught.value.phase == "route"
    assert a.client.queue_length == 0


def test_a_gateway_that_left_fails_the_message(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", quiet, gateway=1)
    a.client.send(b.client.address, bytes(4000), surbs=2, delivery=(lost := Delivery()), now=network.now)
    topology = network.topology()
    nodes = {identity: node for identity, node in topology.nodes.items() if identity != network.gateways[1]}
    a.client.set_topology(replace(topology, nodes=nodes), network.now)
    assert a.client.poll(network.now) == []
    assert (lost.ended, lost.failure) == (True, "unroutable")
    assert a.client.statistics.unroutable == 4 and a.client.queue_length == 0
    assert a.client.surb_account(b.client.address).queued == 0 and a.client.next_deadline() is None


def test_an_unusable_recipient_key_fails_the_message(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", quiet, gateway=1)
    a.client.send(b.client.address._replace(encryption=bytes(32)), b"x", delivery=(bad := Delivery()), now=network.now)
    a.client.send(b.client.address, b"good", delivery=(good := Delivery()), now=network.now)
    network.run(5.0)
    assert b.data() == [b"good"]
    assert bad.failure == "unroutable" and good.delivered


@pytest.mark.parametrize("config", [TrafficConfig(), TrafficConfig(main_stream=False, cover_stream=False)])
def test_packets_wait_for_a_topology(network: Any, config: TrafficConfig) -> None:
    a, b = network.station("a", config), network.station("b", config, gateway=1)
    a.client.set_topology(None, network.now)
    a.client.send(b.client.address, b"x", now=network.now)
    assert a.client.poll(network.now + 1) == [] and a.client.next_deadline() is None
    network.now += 100.0
    a.client.set_topology(network.topology(), network.now)
    packets = a.client.poll(network.now)
    assert len(packets) <= 1  # no burst
    for packet in packets:
        network.submit(packet)
    network.run(5.0, until=lambda: bool(b.messages))
    assert b.data() == [b"x"]


def test_fragments_in_flight_wait_for_a_topology(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", quiet, gateway=1)
    good = network.fate
    network.fate = lambda kind, now: replace(good(kind, now), copies=0)
    a.client.send(b.client.address, b"x", now=network.now)
    network.run(0.1)
    network.fate = good
    a.client.set_topology(None, network.now)
    network.run(60.0)
    assert a.client.in_flight == 1 and a.client.statistics.retransmitted == 0
    a.client.set_topology(network.topology(), network.now)
    network.run(40.0)
    assert b.data() == [b"x"]


def test_messages_nobody_takes_are_bounded(network: Any, quiet: TrafficConfig) -> None:
    a = network.station("a", quiet)
    b = network.station("b", replace(quiet, max_messages=3, max_message_bytes=2500), gateway=1)
    network._after = lambda station: None
    for size in (1000, 1000, 1000, 10, 10):
        a.client.send(b.client.address, bytes(size), now=network.now)
        network.run(2.0)
    assert [len(message.data) for message in b.client.take_messages()] == [1000, 1000, 10]
    assert b.client.statistics.messages_dropped == 2
    assert b.client.take_messages() == []


# -- bad bodies -----------------------------------------------------------------------------------------------


def test_malformed_bodies_are_counted(network: Any, quiet: TrafficConfig) -> None:
    client = network.station("a", quiet).client
    rng = SeededRandom("bodies")
    for length in [*range(64), 386, 1610, 1642, 1643, 1644, 7787, 32_363, 40_000]:
        before = replace(client.statistics)
        client.receive(rng.bytes(length), network.now)
        after = client.statistics
        assert after.bodies_received == before.bodies_received + 1
        seen = after.bad_bodies + after.acks_unknown + after.fragments_received
        assert seen > before.bad_bodies + before.acks_unknown + before.fragments_received
    assert client.take_messages() == [] and client.next_deadline() is None


@given(st.integers(0, 2**32), st.sampled_from(["flip", "cut", "extend", "repeat"]))
def test_damaged_replies_and_messages_do_no_harm(crypto: Crypto, seed: int, damage: str) -> None:
    from smolmix_web.mixnet.messages import encode_plain

    rng = SeededRandom(seed)
    client = MixnetClient(crypto, rng, ClientKeys.generate(rng), bytes(32), None)
    from smolmix_web.mixnet.fragments import split_message

    (fragment,) = split_message(rng, encode_plain(b"plain text"))
    sealed = crypto.seal_fragment(rng.bytes(32), client.address.encryption, fragment.to_bytes())
    bodies = {
        "flip": [sealed[:at] + bytes((sealed[at] ^ 1 << rng.below(8),)) + sealed[at + 1 :] for at in (0, 31, 32, 36)],
        "cut": [sealed[: rng.below(len(sealed))]],
        "extend": [sealed + rng.bytes(1 + rng.below(9))],
        "repeat": [sealed, sealed, sealed],
    }[damage]
    for body in bodies:
        client.receive(body, 0.0)
    messages = client.take_messages()
    if damage == "repeat":
        assert [message.data for message in messages] == [b"plain text"]
        assert client.statistics.duplicates == 2 and client.statistics.bad_bodies == 0
    client.receive(crypto.seal_fragment(rng.bytes(32), client.address.encryption, fragment.to_bytes()), 1.0)


def test_a_repeated_reply_is_a_duplicate(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    b.on_message = lambda message: b.client.send_reply(message.sender_tag, b"reply", now=network.now)
    bodies: list[bytes] = []
    receive = a.client.receive
    a.client.receive = lambda body, now: (bodies.append(body), receive(body, now))[1]
    a.client.send(b.client.address, b"x", surbs=12, now=network.now)
    network.run(5.0)
    assert a.data() == [b"reply"]
    before = replace(a.client.statistics)
    for body in bodies:
        receive(body, network.now)
    after = a.client.statistics
    assert after.duplicates == before.duplicates + sum(len(body) != 21 for body in bodies)
    assert after.acks_unknown == before.acks_unknown + sum(len(body) == 21 for body in bodies)
    assert after.bad_bodies == 0 and a.client.take_messages() == []


# -- another gateway ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_tags", [False, True])
def test_moving_to_another_gateway(network: Any, quiet: TrafficConfig, new_tags: bool) -> None:
    a, b = network.station("a", quiet), network.station("b", replace(EXIT, surb_buffer=0), gateway=1)
    b.on_message = lambda message: b.client.send_reply(message.sender_tag, b"re " + message.data, now=network.now)
    a.client.send(b.client.address, b"one", surbs=14, now=network.now)
    network.run(5.0)
    assert a.data() == [b"re one"]
    old = a.client.address
    a.client.keep_stock(b.client.address, 8, 30, network.now)
    a.client.move_to_gateway(old.gateway, network.now)
    account = a.client.surb_account(b.client.address)
    assert account.held == b.client.surbs_held(account.tag) == 13
    a.client.move_to_gateway(network.gateways[1], network.now, new_tags=new_tags)
    assert a.client.address == old._replace(gateway=network.gateways[1])
    assert account.queued == 30  # the old ones lead to the old gateway
    a.client.send(b.client.address, b"two", surbs=12, now=network.now)
    network.run(10.0)
    # The old gateway acknowledges replies by old SURBs, so they are not repeated.
    assert a.data() == ([b"re one", b"re two"] if new_tags else [b"re one"])
    for number in range(14):
        a.client.send(b.client.address, bytes((number,)), fill=True, now=network.now)
        network.run(1.0)
    assert a.data()[-1] == b"re \x0d" and len(a.messages) == (16 if new_tags else 3)


def test_a_new_client_at_the_peer_needs_a_new_tag(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    tags = []
    b.on_message = lambda message: tags.append(message.sender_tag)
    for _ in range(2):
        a.client.send(b.client.address, b"x", now=network.now)
    network.run(5.0)
    a.client.forget_recipient(b.client.address)
    a.client.send(b.client.address, b"x", now=network.now)
    network.run(5.0)
    assert tags[0] == tags[1] != tags[2]


def test_forgotten_peers_leave_nothing_behind(network: Any, quiet: TrafficConfig) -> None:
    """A peer makes room for a newer one while replies to it are in flight and wait for SURBs."""
    a, b = network.station("a", quiet), network.station("b", replace(EXIT, max_peers=1), gateway=1)
    c = network.station("c", quiet)
    a.client.send(b.client.address, b"a", surbs=13, now=network.now)
    network.run(0.5, until=lambda: bool(b.messages))
    good = network.fate
    network.fate = lambda kind, now: replace(good(kind, now), copies=0)
    b.client.send_reply(b.messages[0].sender_tag, bytes(30_000), delivery=(delivery := Delivery()), now=network.now)
    network.run(20.0)
    network.fate = good
    c.client.send(b.client.address, b"c", surbs=13, now=network.now)
    network.run(300.0, until=lambda: b.client.in_flight == 0)
    network.run(60.0)
    assert b.client.in_flight == b.client.queue_length == 0 and b.client.next_deadline() is None
    assert delivery.ended and not delivery.delivered


# -- any order of events ----------------------------------------------------------------------------------------

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["send", "reply", "ack", "time", "sleep", "junk", "pause", "resume", "blind", "see", "peer"]),
        st.integers(0, 50),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(EVENTS, st.booleans(), st.booleans())
def test_any_order_of_events_leaves_a_client_that_asks_for_the_future(
    crypto: Crypto, network: Any, events: list[tuple[str, int]], main: bool, cover: bool
) -> None:
    """After a poll without a limit the next deadline lies ahead, and all that was sent ends some day."""
    from smolmix_web.mixnet.acks import encrypt_ack
    from smolmix_web.mixnet.preparer import PreparedPacket

    fake = PreparedPacket(network.nodes[0].address, 1, bytes(2413), 0.09)
    config = TrafficConfig(main_stream=main, cover_stream=cover, max_pending=20, lane_limit=30, message_lifetime=50.0)
    rng = SeededRandom("any order")
    keys = ClientKeys.generate(rng)
    topology = network.topology()
    client = MixnetClient(crypto, rng, keys, network.gateways[0], topology, config, 0.0)
    client._factory.cover = lambda topology: fake  # type: ignore[method-assign]
    client._factory.data = lambda *arguments: fake  # type: ignore[method-assign]
    client._factory.reply = lambda *arguments: fake  # type: ignore[method-assign]
    peer = client.address._replace(gateway=network.gateways[1], identity=bytes(32))
    tag, now = b"t" * 16, 0.0
    surb = client._factory.surb(topology)
    client._replies.received(client.address, tag, [surb] * 3, False, now)
    for event, amount in events:
        now += amount * 0.01
        try:
            if event == "send":
                client.send(peer, bytes(amount * 100), surbs=amount % 3, fill=amount % 2 == 0, now=now)
            elif event == "reply":
                client.send_reply(tag, bytes(1 + amount * 100), max_retransmissions=amount % 3, now=now)
        except StateError as error:
            assert error.code == "queue_full"
        if event == "ack":
            for identifier in list(client._outbox.acks._pending)[:amount]:
                client.receive(encrypt_ack(crypto, rng, keys.ack_key, identifier), now)
        elif event == "time":
            now += amount * 0.2
        elif event == "sleep":
            now += amount * 100.0
        elif event == "junk":
            client.receive(rng.bytes(amount), now)
        elif event == "pause":
            client.pause(now)
        elif event == "resume":
            client.resume(now)
        elif event in ("blind", "see"):
            client.set_topology(None if event == "blind" else topology, now)
        elif event == "peer":
            client._replies.received(client.address, tag, [surb] * amount, True, now)
        while client.poll(now, 1000):
            pass
        deadline = client.next_deadline()
        assert deadline is None or deadline > now
        assert client.in_flight <= 20
    client.resume(now)
    client.set_topology(topology, now)
    for _ in range(100_000):
        client.poll(now, 1000)
        idle = not client.queue_length and not client.in_flight
        deadline = client.next_deadline()
        if idle and (deadline is None or main or cover):
            break
        assert deadline is not None and deadline > now
        now = deadline
    else:
        pytest.fail("something never ends")


def test_a_dry_pile_is_topped_up_with_the_next_message(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", EXIT, gateway=1)
    a.client.keep_stock(b.client.address, 10, 20, network.now)
    account = a.client.surb_account(b.client.address)
    assert account.queued == 20
    network.run(3.0)
    account.held = 2
    a.client.send(b.client.address, b"x", now=network.now)
    assert account.queued == 18


def test_a_low_pile_gets_the_peer_s_own_request_time(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", replace(EXIT, surb_buffer=0), gateway=1)
    a.client.send(b.client.address, b"x", surbs=20, now=network.now)
    network.run(3.0)
    account, given = a.client.surb_account(b.client.address), a.client.statistics.surbs_given
    a.client.keep_stock(b.client.address, 10, 30, network.now, patience=2.0)
    a.client.note_missing(b.client.address, 12, network.now)
    assert account.held == 8 and account.queued == 0
    network.run(1.9)
    assert a.client.statistics.surbs_given == given
    # Two of those thought lost were only late.
    a.client.note_missing(b.client.address, 10, network.now)
    network.run(3.0)
    assert a.client.statistics.surbs_given == given and account.held == 10
    a.client.note_missing(b.client.address, 15, network.now)
    network.run(2.1)
    assert a.client.statistics.surbs_given == given + 25 and account.held == 30
    a.client.note_missing(b.client.address, 1_000, network.now)
    a.client.forget_recipient(b.client.address)
    network.run(5.0)
    assert a.client.statistics.surbs_given == given + 25
