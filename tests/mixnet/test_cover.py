"""Loop cover packets."""

from __future__ import annotations

from typing import Any

import pytest

from smolmix_web.mixnet.acks import AckPath, decrypt_ack, split_ack
from smolmix_web.mixnet.addresses import Recipient, pack_node_address, pad_node_address
from smolmix_web.mixnet.body import open_body
from smolmix_web.mixnet.cover import COVER_MARKER, build_cover_packet, cover_content, is_cover
from smolmix_web.mixnet.fragments import COVER_IDENTIFIER, split_message
from smolmix_web.mixnet.preparer import build_fragment_packet
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import Hop, process_packet
from smolmix_web.sphinx.constants import EXTENDED32, REGULAR
from tests.mixnet.conftest import Fate


def walk(crypto, secrets, packet):
    for secret in secrets[:-1]:
        packet = process_packet(crypto, secret, packet).packet
    return process_packet(crypto, secrets[-1], packet)


def make_world(crypto):
    rng = SeededRandom("cover")
    secrets = [rng.bytes(32) for _ in range(4)]
    route = [
        Hop(pad_node_address(pack_node_address("10.0.0.1", 1789 + at)), crypto.x25519_base(secret))
        for at, secret in enumerate(secrets)
    ]
    own_secret = rng.bytes(32)
    own = Recipient(rng.bytes(32), crypto.x25519_base(own_secret), rng.bytes(32))
    return rng, secrets, route, own_secret, own


def test_content(nym_vectors):
    assert bytes.fromhex(nym_vectors["sphinx"]["cover_text"]["bytes"]) == COVER_MARKER
    content = cover_content()
    assert len(content) == 1611
    assert content == COVER_MARKER + b"\x01" + bytes(1611 - 19)
    assert len(cover_content(EXTENDED32)) == EXTENDED32.fragment
    assert is_cover(content)


def test_no_fragment_is_taken_for_cover(rng):
    assert not is_cover(split_message(rng, COVER_MARKER)[0].to_bytes())
    assert not is_cover(COVER_MARKER[:-1])


@pytest.mark.parametrize(("options", "version"), [({}, 259), ({"version": 258}, 258)])
def test_cover_comes_back_to_us(crypto, options, version):
    rng, secrets, route, own_secret, own = make_world(crypto)
    ack = AckPath(route, [2_000_000] * 4, own.identity, b"k" * 16)
    prepared = build_cover_packet(
        crypto, rng, own, route=route, delays_ns=[1_000_000] * 4, rotation=2, ack=ack, **options
    )
    assert (len(prepared.packet), prepared.rotation) == (REGULAR.wire, 2)
    assert prepared.expected_delay == pytest.approx(0.009)
    final = walk(crypto, secrets, prepared.packet)
    assert (final.version, final.destination) == (version, own.identity)
    part = split_ack(final.message)
    returned = walk(crypto, secrets, part.packet)
    assert (returned.version, returned.destination) == (version, own.identity)
    assert decrypt_ack(crypto, b"k" * 16, returned.message) == COVER_IDENTIFIER
    assert open_body(crypto, own_secret, lambda digest: None, part.body) is None


def test_cover_looks_like_data_to_every_node(crypto):
    """Same lengths, same version at every hop, same route shape: what a node reads does not tell them apart."""
    rng, secrets, route, _, own = make_world(crypto)
    options = {"route": route, "delays_ns": [5] * 4, "rotation": 1}
    options["ack"] = AckPath(route, [5] * 4, own.identity, b"k" * 16)
    cover = build_cover_packet(crypto, rng, own, **options)
    data = build_fragment_packet(crypto, rng, own, split_message(rng, b"\x00data")[0], **options)
    assert cover._replace(packet=b"") == data._replace(packet=b"")
    one, other = cover.packet, data.packet
    for secret in secrets[:-1]:
        first, second = (process_packet(crypto, secret, packet) for packet in (one, other))
        assert first._replace(packet=b"", replay_tag=b"") == second._replace(packet=b"", replay_tag=b"")
        assert len(first.packet) == len(second.packet)
        one, other = first.packet, second.packet


# -- is our path clear? -----------------------------------------------------------------------------------------------


def test_a_check_leaves_in_its_turn_and_its_return_is_known(network: Any) -> None:
    """Also where nothing else leaves by itself; nobody can tell it from other cover."""
    for config in (TrafficConfig(), TrafficConfig.preset("no_cover"), TrafficConfig(cover_stream=False)):
        station = network.station(f"check {config.main_stream}{config.cover_stream}", config)
        client = station.client
        network.run(1.0)
        assert client.proven == float("-inf")
        asked, sent = network.now, len(station.sent)
        client.check_path(network.now)
        network.run(5.0)
        left = station.sent[sent][0]
        assert client.proven == left and asked <= left < asked + 0.5
        assert {len(packet.packet) for _, packet in station.sent} == {REGULAR.wire}
        assert client.statistics.acks_unknown == client.statistics.bad_bodies == 0
        station.frozen = True


def test_a_check_that_is_lost_proves_nothing_and_the_next_one_does(network: Any, quiet: TrafficConfig) -> None:
    station = network.station("lossy", quiet)
    network.fate = lambda kind, when: Fate(copies=0)
    for _ in range(30):
        station.client.check_path(network.now)
        network.run(2.0)
    assert station.client.proven == float("-inf") and len(station.client._checks) <= 8
    network.fate = lambda kind, when: Fate()
    before = network.now
    station.client.check_path(before)
    network.run(3.0)
    assert station.client.proven >= before


def test_acks_of_data_prove_the_path_by_when_it_left_first(network: Any, quiet: TrafficConfig) -> None:
    a, b = network.station("a", quiet), network.station("b", quiet, gateway=1)
    a.client.send(b.client.address, b"data", now=network.now)
    left = network.now
    network.run(3.0)
    assert a.client.proven == left
    lost = [True]
    network.fate = lambda kind, when: Fate(copies=0 if lost[0] else 1)
    a.client.send(b.client.address, b"more", now=network.now)
    network.run(1.0)
    lost[0] = False
    network.run(20.0)
    assert a.client.statistics.retransmitted and a.client.proven == left, "an ack does not say of which copy it is"
