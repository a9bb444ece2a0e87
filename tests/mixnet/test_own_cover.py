"""Own cover packets that come back are known by what they begin with; all others are opened."""

from __future__ import annotations

from smolmix_web.crypto.provider import Crypto
from smolmix_web.mixnet.acks import AckPath, split_ack
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.cover import build_cover_packet
from smolmix_web.mixnet.factory import MAX_COVERS, PacketFactory
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.rand import SeededRandom
from tests.mixnet.test_cover import make_world, walk


def factory(crypto: Crypto, rng: SeededRandom) -> PacketFactory:
    address = Recipient(rng.bytes(32), rng.bytes(32), rng.bytes(32))
    return PacketFactory(crypto, rng, ClientKeys.generate(rng), address, TrafficConfig())


def test_each_is_known_once_and_the_oldest_are_forgotten(crypto: Crypto, rng: SeededRandom) -> None:
    made = factory(crypto, rng)
    keys = [rng.bytes(32) for _ in range(MAX_COVERS + 2)]
    for key in keys:
        made._note_cover(key)
    assert len(made._covers) == MAX_COVERS
    for key in keys[:2]:
        assert not made.is_own_cover(key + b"rest"), "forgotten: opened like everything else"
    for key in keys[2:]:
        assert made.is_own_cover(key + b"rest")
        assert not made.is_own_cover(key + b"rest"), "a copy is opened"
    assert not made._covers
    assert not made.is_own_cover(keys[2][:31])


def test_what_is_noted_is_what_the_body_begins_with(crypto: Crypto) -> None:
    rng, secrets, route, _, own = make_world(crypto)
    ack = AckPath(route, [0] * 4, own.identity, b"k" * 16)
    noted: list[bytes] = []
    prepared = build_cover_packet(
        crypto, rng, own, route=route, delays_ns=[0] * 4, rotation=1, ack=ack, note_key=noted.append
    )
    (key,) = noted
    assert len(key) == 32 and split_ack(walk(crypto, secrets, prepared.packet).message).body.startswith(key)
