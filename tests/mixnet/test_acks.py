"""Acks: content, packet, the gateway's cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.acks import AckPath, build_ack, decrypt_ack, encrypt_ack, split_ack
from smolmix_web.mixnet.addresses import pack_node_address, pad_node_address
from smolmix_web.mixnet.fragments import COVER_IDENTIFIER, FragmentIdentifier
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import Hop, process_packet

KEY = b"ack key of 16 b."
IDENTIFIER = FragmentIdentifier(0x2729588E, 1)


def make_path(crypto, ip="127.0.0.1", hops=4):
    rng = SeededRandom("ack path")
    secrets = [rng.bytes(32) for _ in range(hops)]
    route = [
        Hop(pad_node_address(pack_node_address(ip, 1000 + at)), crypto.x25519_base(secret))
        for at, secret in enumerate(secrets)
    ]
    return secrets, AckPath(route, [1, 2, 3, 4][:hops], b"\x0a" * 32, KEY)


@given(set_id=st.integers(0, 2**31 - 1), position=st.integers(0, 255))
def test_content_round_trip(crypto, set_id, position):
    identifier = FragmentIdentifier(set_id, position)
    content = encrypt_ack(crypto, SeededRandom(set_id), KEY, identifier)
    assert len(content) == 21
    assert decrypt_ack(crypto, KEY, content) == identifier


def test_content_is_fresh_each_time(crypto, rng):
    first, second = (encrypt_ack(crypto, rng, KEY, IDENTIFIER) for _ in range(2))
    assert first[:16] != second[:16]
    assert first[16:] != second[16:]


def test_published_content(crypto, nym_vectors):
    client = nym_vectors["sphinx_official_client"]
    key = bytes.fromhex(client["client"]["ack_key"])
    for packet in client["packets"]:
        identifier = decrypt_ack(crypto, key, bytes.fromhex(packet["ack_content"]))
        assert identifier.to_bytes().hex() == packet["ack_id"]


def test_content_refused(crypto):
    content = encrypt_ack(crypto, SeededRandom(0), KEY, IDENTIFIER)
    for length in (*range(21), 22, 48):
        with pytest.raises(MessageError) as caught:
            decrypt_ack(crypto, KEY, content.ljust(length, b"\0")[:length])
        assert caught.value.code == "bad_ack"
    with pytest.raises(MessageError) as caught:
        decrypt_ack(crypto, KEY, content[:16] + bytes((content[16] ^ 0x80,)) + content[17:])
    assert caught.value.code == "bad_fragment_id"
    # Another key: a wrong identifier or none, never a crash.
    for seed in range(20):
        try:
            assert decrypt_ack(crypto, SeededRandom(seed).bytes(16), content) != IDENTIFIER
        except MessageError:
            continue


@settings(max_examples=8)
@given(
    ip=st.sampled_from(["10.1.2.3", "2001:db8::7"]),
    hops=st.integers(1, 4),
    version=st.sampled_from([258, 259]),
)
def test_ack_part_travels_home(crypto, ip, hops, version):
    secrets, path = make_path(crypto, ip, hops)
    part = build_ack(crypto, SeededRandom(ip), path, IDENTIFIER, version)
    assert len(part) == 405
    first_hop, packet, body = split_ack(part + b"the rest")
    assert first_hop == pack_node_address(ip, 1000)
    assert body == b"the rest"
    for at, secret in enumerate(secrets[:-1]):
        hop = process_packet(crypto, secret, packet)
        assert (hop.version, hop.delay_ns) == (version, at + 1)
        packet = hop.packet
    final = process_packet(crypto, secrets[-1], packet)
    assert (final.destination, final.identifier) == (b"\x0a" * 32, bytes(16))
    assert decrypt_ack(crypto, KEY, final.message) == IDENTIFIER


def test_cover_identifier(crypto, rng):
    assert decrypt_ack(crypto, KEY, encrypt_ack(crypto, rng, KEY, COVER_IDENTIFIER)) == COVER_IDENTIFIER


def test_cut_refused(crypto, rng):
    _, path = make_path(crypto)
    part = build_ack(crypto, rng, path, IDENTIFIER)
    for length in range(405):
        with pytest.raises(MessageError) as caught:
            split_ack(part[:length])
        assert caught.value.code == "truncated"
    with pytest.raises(MessageError) as caught:
        split_ack(b"\x05" + part[1:])
    assert caught.value.code == "bad_node_address"
