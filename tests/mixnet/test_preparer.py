"""From message to message through a route: data packets, replies, what the gateway and the receiver see."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MessageError, UsageError
from smolmix_web.mixnet.acks import AckPath, decrypt_ack, split_ack
from smolmix_web.mixnet.addresses import Recipient, pack_node_address, pad_node_address
from smolmix_web.mixnet.body import OWN_KEY, OpenedFragment, open_body
from smolmix_web.mixnet.fragments import Fragment, split_message
from smolmix_web.mixnet.messages import ContentKind, decode_message, encode_plain, encode_repliable, encode_reply
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.mixnet.preparer import build_fragment_packet, build_reply_packet, exponential_delays, total_delay
from smolmix_web.mixnet.reassembly import Reassembler
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import Hop, ReplySurb, build_surb, process_packet
from smolmix_web.sphinx.constants import EXTENDED8, EXTENDED16, EXTENDED32, REGULAR

ACK_KEY = b"k" * 16


class World:
    """A route, a sender and a recipient."""

    def __init__(self, crypto, hops=4, ip="10.0.0.{}"):
        self.crypto = crypto
        self.rng = SeededRandom("world")
        self.secrets = [self.rng.bytes(32) for _ in range(hops)]
        self.route = [
            Hop(pad_node_address(pack_node_address(ip.format(at + 1), 1789)), crypto.x25519_base(secret))
            for at, secret in enumerate(self.secrets)
        ]
        self.encryption_secret = self.rng.bytes(32)
        self.recipient = Recipient(self.rng.bytes(32), crypto.x25519_base(self.encryption_secret), self.rng.bytes(32))
        self.sender_identity = self.rng.bytes(32)

    def ack(self):
        delays = [10_000_000] * len(self.route)
        return AckPath(self.route, delays, self.sender_identity, ACK_KEY)

    def build(self, fragment, **options):
        return build_fragment_packet(
            self.crypto,
            self.rng,
            self.recipient,
            fragment,
            route=self.route,
            delays_ns=[20_000_000] * len(self.route),
            rotation=1,
            ack=self.ack(),
            **options,
        )

    def walk(self, packet):
        for secret in self.secrets[:-1]:
            packet = process_packet(self.crypto, secret, packet).packet
        return process_packet(self.crypto, self.secrets[-1], packet)

    def arrive(self, prepared):
        """The body for the client and the identifier of the ack."""
        final = self.walk(prepared.packet)
        part = split_ack(final.message)
        ack = self.walk(part.packet)
        assert ack.destination == self.sender_identity
        return final, part.body, decrypt_ack(self.crypto, ACK_KEY, ack.message)

    def open(self, body, keys=None):
        return open_body(self.crypto, self.encryption_secret, lambda digest: (keys or {}).pop(digest, None), body)


@pytest.mark.parametrize("version", [258, 259])
def test_a_data_packet(crypto, version):
    world = World(crypto)
    [fragment] = split_message(world.rng, encode_plain(b"hello"))
    prepared = world.build(fragment, version=version)
    assert len(prepared.packet) == 2413
    assert prepared.first_hop == pack_node_address("10.0.0.1", 1789)
    assert prepared.rotation == 1
    assert prepared.expected_delay == pytest.approx(3 * 0.020 + 3 * 0.010)
    assert prepared.mix_packet() == MixPacket(0, 1, prepared.first_hop, prepared.packet)
    assert len(prepared.mix_packet().to_bytes()) == 2422
    final, body, identifier = world.arrive(prepared)
    assert final.version == version
    assert final.destination == world.recipient.identity
    assert final.identifier == bytes(16)
    assert len(body) == 1643
    assert identifier == fragment.identifier
    opened = world.open(body)
    assert opened == OpenedFragment(OWN_KEY, fragment.to_bytes())
    assert decode_message(Reassembler().insert(opened.source, opened.data, 0.0)).data == b"hello"


@settings(max_examples=10)
@given(length=st.integers(0, 12_000), seed=st.integers(0, 99))
def test_a_message_of_many_packets_in_any_order(crypto, length, seed):
    world = World(crypto)
    message = encode_plain(SeededRandom(seed).bytes(length))
    packets = [world.build(fragment) for fragment in split_message(world.rng, message)]
    order = SeededRandom(f"order {seed}")
    reassembler = Reassembler()
    out = []
    while packets:
        _, body, _ = world.arrive(packets.pop(order.below(len(packets))))
        out.append(reassembler.insert(*world.open(body), 0.0))
    assert [got for got in out if got is not None] == [message]


def test_a_retransmission_shares_nothing_on_the_wire_and_is_a_duplicate_inside(crypto):
    world = World(crypto)
    [fragment] = split_message(world.rng, encode_plain(b"once"))
    first, second = world.build(fragment), world.build(fragment)
    assert sum(a == b for a, b in zip(first.packet, second.packet, strict=True)) < 40
    bodies = [world.arrive(prepared)[1] for prepared in (first, second)]
    assert bodies[0][:32] != bodies[1][:32]
    reassembler = Reassembler()
    assert [reassembler.insert(*world.open(body), 0.0) for body in bodies] == [encode_plain(b"once"), None]


@pytest.mark.parametrize("size", [EXTENDED8, EXTENDED16, EXTENDED32], ids=lambda size: size.name)
def test_larger_packets(crypto, size):
    world = World(crypto)
    [fragment] = split_message(world.rng, encode_plain(b"x" * 5000), size.fragment)
    prepared = world.build(fragment, size=size)
    assert len(prepared.packet) == size.wire
    _, body, _ = world.arrive(prepared)
    assert len(body) == size.body
    assert world.open(body).data == fragment.to_bytes()


@pytest.mark.parametrize("hops", [1, 2, 5])
def test_other_route_lengths(crypto, hops):
    world = World(crypto, hops)
    [fragment] = split_message(world.rng, encode_plain(b"short way"))
    prepared = world.build(fragment)
    assert prepared.expected_delay == pytest.approx((hops - 1) * 0.030)
    assert world.open(world.arrive(prepared)[1]).data == fragment.to_bytes()


def test_ipv6_nodes(crypto):
    world = World(crypto, ip="2001:db8::{}")
    [fragment] = split_message(world.rng, encode_plain(b"six"))
    prepared = world.build(fragment)
    assert len(prepared.first_hop) == 19
    assert len(prepared.mix_packet().to_bytes()) == 2434
    assert world.open(world.arrive(prepared)[1]).data == fragment.to_bytes()


def test_a_fragment_of_the_wrong_size(crypto):
    world = World(crypto)
    for length in (0, REGULAR.fragment - 8, REGULAR.fragment):
        with pytest.raises(UsageError) as caught:
            world.build(Fragment(1, 1, 1, bytes(length)))
        assert caught.value.code == "bad_fragment_size"


def test_a_recipient_key_of_low_order(crypto):
    world = World(crypto)
    world.recipient = world.recipient._replace(encryption=bytes(32))
    with pytest.raises(MessageError) as caught:
        world.build(split_message(world.rng, encode_plain(b""))[0])
    assert caught.value.code == "bad_recipient"


# -- replies --------------------------------------------------------------------------------------------------


def test_replies_through_surbs(crypto):
    """A long reply takes one SURB per fragment; all have one source, the peer."""
    world = World(crypto)
    surbs = [
        build_surb(crypto, world.rng, world.route, [1] * 4, world.recipient.identity, 2, version=version)
        for version in (259, 258, 259)
    ]
    keys = {surb.key_digest(crypto): (surb.encryption_key, "the exit") for surb in surbs}
    reply = encode_reply(b"r" * 4000)
    fragments = split_message(world.rng, reply)
    assert len(fragments) == 3
    reassembler = Reassembler()
    out = []
    for surb, fragment in zip(surbs, reversed(fragments), strict=True):
        prepared = build_reply_packet(crypto, world.rng, surb, fragment, ack=world.ack(), average_delay=0.015)
        assert (prepared.rotation, len(prepared.packet)) == (2, 2413)
        assert prepared.first_hop == pack_node_address("10.0.0.1", 1789)
        assert prepared.expected_delay == pytest.approx(3 * 0.015 + 3 * 0.010)
        _, body, identifier = world.arrive(prepared)
        assert identifier == fragment.identifier
        assert body[:32] == surb.key_digest(crypto)
        opened = world.open(body, keys)
        assert opened.source == "the exit"
        out.append(reassembler.insert(*opened, 0.0))
    assert out == [None, None, reply]
    assert keys == {}


def test_a_surb_key_opens_one_packet_only(crypto):
    world = World(crypto)
    surb = build_surb(crypto, world.rng, world.route, [1] * 4, world.recipient.identity, 1)
    keys = {surb.key_digest(crypto): (surb.encryption_key, "peer")}
    [fragment] = split_message(world.rng, encode_reply(b"x"))
    prepared = build_reply_packet(crypto, world.rng, surb, fragment, ack=world.ack(), average_delay=0.0)
    _, body, _ = world.arrive(prepared)
    assert world.open(body, keys).data == fragment.to_bytes()
    # The second time it is taken for a packet to our public key, and gives noise.
    again = world.open(body, keys)
    assert (again.source, again.data == fragment.to_bytes()) == (OWN_KEY, False)


def test_surbs_inside_a_message_can_be_used(crypto):
    world = World(crypto)
    surbs = [build_surb(crypto, world.rng, world.route, [0] * 4, world.recipient.identity, 1) for _ in range(3)]
    message = encode_repliable(b"t" * 16, ContentKind.DATA, surbs, b"d" * 201)
    [fragment] = split_message(world.rng, message)
    received = decode_message(Reassembler().insert(*world.open(world.arrive(world.build(fragment))[1]), 0.0))
    assert received.surbs == tuple(surbs)
    keys = {surb.key_digest(crypto): (surb.encryption_key, "peer") for surb in surbs}
    for surb in received.surbs:
        [answer] = split_message(world.rng, encode_reply(b"y"))
        prepared = build_reply_packet(crypto, world.rng, surb, answer, ack=world.ack(), average_delay=0.0)
        assert world.open(world.arrive(prepared)[1], keys).data == answer.to_bytes()


def test_a_surb_that_leads_nowhere(crypto):
    world = World(crypto)
    surb = ReplySurb(bytes(16), bytes(348), b"\x09" + bytes(31), bytes(64), 1)
    with pytest.raises(MessageError) as caught:
        build_reply_packet(
            crypto,
            world.rng,
            surb,
            split_message(world.rng, encode_reply(b"x"))[0],
            ack=world.ack(),
            average_delay=0.0,
        )
    assert caught.value.code == "bad_node_address"


# -- bodies ---------------------------------------------------------------------------------------------------


def test_bodies_refused(crypto):
    world = World(crypto)
    for length in range(33):
        with pytest.raises(MessageError) as caught:
            world.open(b"\x05" * length)
        assert caught.value.code == "bad_body"
    with pytest.raises(MessageError) as caught:
        world.open(bytes(1643))
    assert caught.value.code == "bad_body"


@settings(max_examples=25)
@given(data=st.binary(min_size=33, max_size=200))
def test_noise_bodies_end_in_typed_errors(crypto, data):
    world = World(crypto)
    reassembler = Reassembler()
    try:
        opened = world.open(data)
        assert opened is not None
        reassembler.insert(*opened, 0.0)
    except MessageError:
        pass


# -- delays ---------------------------------------------------------------------------------------------------


def test_delays_are_exponential(rng):
    values = [delay for _ in range(1000) for delay in exponential_delays(rng, 4, 0.015)]
    assert all(isinstance(value, int) and value >= 0 for value in values)
    mean = sum(values) / len(values)
    assert 14.2e6 < mean < 15.8e6
    assert 0.33 < sum(value > 15e6 for value in values) / len(values) < 0.41  # 1/e
    assert exponential_delays(rng, 3, 0.0) == [0, 0, 0]


def test_the_last_delay_does_not_count():
    assert total_delay([1_000_000, 2_000_000, 3_000_000, 9_000_000_000]) == pytest.approx(0.006)
    assert total_delay([5]) == 0.0
