"""Packets of every route length: built, unwrapped hop by hop, cut and altered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import SmolmixError, SphinxError, UsageError
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, build_packet, process_packet
from smolmix_web.sphinx import constants as c
from smolmix_web.sphinx.header import header_mac, xor

DESTINATION = bytes(range(32))


def make_route(crypto, hops, seed=0):
    rng = SeededRandom(f"route {seed}")
    secrets = [rng.bytes(32) for _ in range(hops)]
    return secrets, [Hop(rng.bytes(32), crypto.x25519_base(secret)) for secret in secrets]


def unwrap(crypto, secrets, packet):
    """All layers of a packet; the last result."""
    for secret in secrets[:-1]:
        hop = process_packet(crypto, secret, packet)
        assert isinstance(hop, ForwardHop)
        packet = hop.packet
    return process_packet(crypto, secrets[-1], packet)


def ack_packet(crypto, hops=4, message=b"\x77" * 21, version=259):
    secrets, route = make_route(crypto, hops)
    packet = build_packet(
        crypto,
        SeededRandom("ack"),
        route,
        [5] * hops,
        DESTINATION,
        message,
        payload_size=c.ACK.payload,
        version=version,
    )
    return secrets, packet


@settings(max_examples=30)
@given(
    hops=st.integers(1, 5),
    version=st.sampled_from([258, 259]),
    delays=st.lists(st.integers(0, 2**64 - 1), min_size=5, max_size=5),
    message=st.binary(max_size=200),
    room=st.integers(0, 300),
    seed=st.integers(0, 2**32),
)
def test_build_then_unwrap_at_every_hop(crypto, hops, version, delays, message, room, seed):
    secrets, route = make_route(crypto, hops, seed)
    size = max(c.MIN_PAYLOAD, len(message) + c.PAYLOAD_OVERHEAD + room)
    identifier = bytes(reversed(range(16)))
    packet = build_packet(
        crypto,
        SeededRandom(seed),
        route,
        delays[:hops],
        DESTINATION,
        message,
        payload_size=size,
        version=version,
        identifier=identifier,
    )
    assert len(packet) == c.HEADER + size
    tags = set()
    for at in range(hops):
        result = process_packet(crypto, secrets[at], packet)
        tags.add(result.replay_tag)
        assert result.version == version
        if at < hops - 1:
            assert isinstance(result, ForwardHop)
            assert result.next_address == route[at + 1].address
            assert result.delay_ns == delays[at]
            assert len(result.packet) == len(packet)
            packet = result.packet
        else:
            assert isinstance(result, FinalHop)
            assert (result.destination, result.identifier, result.message) == (DESTINATION, identifier, message)
    assert len(tags) == hops


def test_marker_bytes_inside_the_message_survive(crypto):
    secrets, packet = ack_packet(crypto, message=b"\x01" * 21)
    assert unwrap(crypto, secrets, packet).message == b"\x01" * 21
    secrets, packet = ack_packet(crypto, message=b"")
    assert unwrap(crypto, secrets, packet).message == b""


def test_two_packets_share_nothing(crypto):
    secrets, route = make_route(crypto, 4)
    rng = SeededRandom("pair")
    first, second = (
        build_packet(crypto, rng, route, [0] * 4, DESTINATION, bytes(2048), payload_size=2065) for _ in range(2)
    )
    same = sum(a == b for a, b in zip(first, second, strict=True))
    assert len(first) == 2413
    assert same < 40  # 2413 / 256 by chance
    assert unwrap(crypto, secrets, first).message == unwrap(crypto, secrets, second).message == bytes(2048)


def test_all_packet_sizes():
    table = {size.name: (size.tag, size.plaintext, size.payload, size.wire) for size in c.SIZES}
    assert table == {
        "regular": (1, 2048, 2065, 2413),
        "ack": (2, 21, 38, 386),
        "extended32": (3, 32768, 32785, 33133),
        "extended8": (4, 8192, 8209, 8557),
        "extended16": (5, 16384, 16401, 16749),
    }
    assert [size.fragment for size in c.SIZES if size is not c.ACK] == [1611, 32331, 7755, 15947]
    assert [size.body for size in c.SIZES if size is not c.ACK] == [1643, 32363, 7787, 15979]
    assert (c.HEADER, c.BETA, c.KEYSTREAM, c.SLOT) == (348, 300, 360, 60)


# -- refused ------------------------------------------------------------------------------------------


def test_truncated_at_every_length(crypto):
    secrets, packet = ack_packet(crypto)
    for length in range(len(packet)):
        with pytest.raises(SphinxError) as caught:
            unwrap(crypto, secrets, packet[:length])
        # A payload that is long enough to be decrypted shows its loss at the last hop.
        assert caught.value.code == ("truncated" if length < c.HEADER + c.MIN_PAYLOAD else "bad_payload")


def test_trailing_bytes(crypto):
    secrets, packet = ack_packet(crypto)
    for extra in (1, 2, 17, 300):
        with pytest.raises(SphinxError, match="payload"):
            unwrap(crypto, secrets, packet + bytes(extra))


def test_every_flipped_byte_is_refused(crypto):
    secrets, packet = ack_packet(crypto, hops=2)
    for offset in range(len(packet)):
        altered = bytearray(packet)
        altered[offset] ^= 0x01
        with pytest.raises(SphinxError) as caught:
            unwrap(crypto, secrets, bytes(altered))
        assert caught.value.code == ("bad_mac" if offset < c.HEADER else "bad_payload")


def test_header_damage_is_seen_by_the_first_hop_and_payload_damage_by_the_last(crypto):
    secrets, packet = ack_packet(crypto)
    damaged = packet[:-1] + bytes((packet[-1] ^ 0x80,))
    for secret in secrets[:-1]:
        hop = process_packet(crypto, secret, damaged)
        assert isinstance(hop, ForwardHop)
        damaged = hop.packet
    with pytest.raises(SphinxError) as caught:
        process_packet(crypto, secrets[-1], damaged)
    assert caught.value.code == "bad_payload"


def test_the_unused_bit_of_alpha_changes_nothing_but_cannot_hide_a_replay(crypto):
    """X25519 ignores the top bit of a point: such a copy is valid, and has the same replay tag."""
    secrets, packet = ack_packet(crypto)
    copy = bytearray(packet)
    copy[31] ^= 0x80
    assert process_packet(crypto, secrets[0], bytes(copy)) == process_packet(crypto, secrets[0], packet)


def test_wrong_key(crypto):
    secrets, packet = ack_packet(crypto)
    with pytest.raises(SphinxError) as caught:
        process_packet(crypto, secrets[1], packet)
    assert caught.value.code == "bad_mac"


def test_low_order_alpha(crypto):
    secrets, packet = ack_packet(crypto)
    for point in (bytes(32), b"\x01" + bytes(31)):
        with pytest.raises(SphinxError) as caught:
            process_packet(crypto, secrets[0], point + packet[32:])
        assert caught.value.code == "bad_alpha"


def test_replay_is_asked_once_after_the_mac(crypto):
    secrets, packet = ack_packet(crypto)
    seen = set()

    def is_replay(tag):
        known = tag in seen
        seen.add(tag)
        return known

    first = process_packet(crypto, secrets[0], packet, is_replay=is_replay)
    assert seen == {first.replay_tag}
    with pytest.raises(SphinxError) as caught:
        process_packet(crypto, secrets[0], packet, is_replay=is_replay)
    assert caught.value.code == "replay"
    altered = packet[:40] + bytes((packet[40] ^ 1,)) + packet[41:]
    with pytest.raises(SphinxError) as caught:
        process_packet(crypto, secrets[0], altered, is_replay=lambda tag: pytest.fail("asked before the MAC held"))
    assert caught.value.code == "bad_mac"


def rewrite(crypto, secret, packet, offset, value):
    """A packet whose routing block has `value` at `offset`, with a MAC that holds."""
    expanded = crypto.node_secret(secret, packet[:32])
    stream = crypto.keystreams([expanded[c.RHO]], c.KEYSTREAM)[0]
    block = bytearray(xor(packet[48:348], stream[:300]))
    block[offset : offset + len(value)] = value
    beta = xor(bytes(block), stream[:300])
    return packet[:32] + header_mac(expanded[c.MU], beta) + beta + packet[348:]


@pytest.mark.parametrize("version", [1, 257])
def test_legacy_versions_are_refused(crypto, version):
    secrets, packet = ack_packet(crypto, hops=1)
    with pytest.raises(SphinxError) as caught:
        process_packet(crypto, secrets[0], rewrite(crypto, secrets[0], packet, 1, version.to_bytes(3, "big")))
    assert caught.value.code == "unsupported_version"
    with pytest.raises(SphinxError) as caught:
        ack_packet(crypto, version=version)
    assert caught.value.code == "unsupported_version"


@pytest.mark.parametrize("version", [0, 2, 256, 260, 65535])
def test_every_other_version_is_read_as_259(crypto, version):
    secrets, packet = ack_packet(crypto, hops=1)
    result = process_packet(crypto, secrets[0], rewrite(crypto, secrets[0], packet, 1, version.to_bytes(3, "big")))
    assert (result.version, result.message) == (version, b"\x77" * 21)
    with pytest.raises(SphinxError, match="not built"):
        ack_packet(crypto, version=version)


def test_the_first_version_byte_is_not_looked_at(crypto):
    secrets, packet = ack_packet(crypto, hops=1, version=258)
    result = process_packet(crypto, secrets[0], rewrite(crypto, secrets[0], packet, 1, b"\x7f"))
    assert (result.version, result.message) == (258, b"\x77" * 21)


@pytest.mark.parametrize("flag", [0, 3, 255])
def test_unknown_flag(crypto, flag):
    secrets, packet = ack_packet(crypto, hops=1)
    with pytest.raises(SphinxError) as caught:
        process_packet(crypto, secrets[0], rewrite(crypto, secrets[0], packet, 0, bytes((flag,))))
    assert caught.value.code == "bad_flag"


def test_payload_without_marker_or_with_a_dirty_start(crypto):
    secrets, packet = ack_packet(crypto, hops=1)
    key = crypto.payload_keys([crypto.node_secret(secrets[0], packet[:32])[c.SEED]])
    for block in (bytes(38), bytes(15) + b"\x02" + bytes(21) + b"\x01", bytes(15) + b"\x01" + bytes(22)):
        with pytest.raises(SphinxError) as caught:
            process_packet(crypto, secrets[0], packet[:348] + crypto.lioness_encrypt(key, block))
        assert caught.value.code == "bad_payload"
    # What follows the marker is not looked at, the last marker counts.
    block = bytes(16) + b"ab\x01cd\x01\x02\x03".ljust(22, b"\x05")
    result = process_packet(crypto, secrets[0], packet[:348] + crypto.lioness_encrypt(key, block))
    assert result.message == b"ab\x01cd"


@settings(max_examples=40)
@given(data=st.binary(min_size=0, max_size=600))
def test_noise_is_refused(crypto, data):
    with pytest.raises(SphinxError):
        process_packet(crypto, b"\x09" * 32, data)


def test_errors_say_nothing_about_the_content(crypto):
    """The same damage on packets with other keys, routes and messages gives the same words."""
    texts = []
    for seed in range(3):
        secrets, route = make_route(crypto, 2, seed)
        packet = build_packet(
            crypto, SeededRandom(seed), route, [seed] * 2, bytes((seed,)) * 32, bytes((seed,)) * 21, payload_size=38
        )
        found = []
        for broken in (
            packet[:100],
            bytes(32) + packet[32:],
            packet[:60] + bytes((packet[60] ^ 1,)) + packet[61:],
            packet[:380] + bytes((packet[380] ^ 1,)) + packet[381:],
            rewrite(crypto, secrets[0], packet, 0, b"\x09"),
            rewrite(crypto, secrets[0], packet, 1, b"\x00\x01\x01"),
        ):
            with pytest.raises(SphinxError) as caught:
                unwrap(crypto, secrets, broken)
            found.append((caught.value.code, str(caught.value)))
        texts.append(found)
    assert texts[0] == texts[1] == texts[2]
    assert len({code for code, _ in texts[0]}) == 6


# -- wrong use ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"hops": 0},
        {"hops": 6},
        {"delays": 3},
        {"address": b"short"},
        {"key": b"short"},
        {"destination": bytes(31)},
        {"identifier": bytes(15)},
        {"padding": bytes(67)},
        {"message": bytes(22)},
        {"payload_size": 32, "message": b""},
    ],
    ids=lambda change: "-".join(change),
)
def test_usage_errors(crypto, change):
    hops = change.get("hops", 4)
    _, route = make_route(crypto, hops)
    if "address" in change:
        route[1] = Hop(change["address"], route[1].public_key)
    if "key" in change:
        route[1] = Hop(route[1].address, change["key"])
    with pytest.raises(UsageError):
        build_packet(
            crypto,
            SeededRandom(1),
            route,
            [0] * change.get("delays", hops),
            change.get("destination", DESTINATION),
            change.get("message", bytes(21)),
            payload_size=change.get("payload_size", 38),
            identifier=change.get("identifier", bytes(16)),
            padding=change.get("padding"),
        )


def test_a_node_key_of_low_order_is_refused(crypto):
    _, route = make_route(crypto, 4)
    route[2] = Hop(route[2].address, bytes(32))
    with pytest.raises(SphinxError) as caught:
        build_packet(crypto, SeededRandom(1), route, [0] * 4, DESTINATION, b"", payload_size=38)
    assert caught.value.code == "bad_node_key"
    assert isinstance(caught.value, SmolmixError)
