"""Mix packets in both forms."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.addresses import pack_node_address
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.sphinx.constants import SIZES

V4 = pack_node_address("10.0.0.1", 1789)
V6 = pack_node_address("2001:db8::1", 1789)


@pytest.mark.parametrize("hop", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("rotation", [0, 1, 2])
def test_round_trip(hop, size, rotation):
    packet = MixPacket(0, rotation, hop, b"\x55" * size.wire)
    assert MixPacket.from_bytes(packet.to_bytes()) == packet
    assert MixPacket.from_bytes(packet.to_bytes(1), 1) == packet._replace(rotation=0)


def test_known_layout():
    packet = MixPacket(0, 1, V4, bytes(2413))
    assert packet.to_bytes() == bytes.fromhex("00010406fd0a000001") + bytes(2413)
    assert packet.to_bytes(1) == bytes.fromhex("000406fd0a000001") + bytes(2413)
    assert len(packet.to_bytes()) == 2422
    assert len(packet._replace(first_hop=V6).to_bytes()) == 2434
    assert len(packet.to_bytes(1)) == 2421


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("hop", [V4, V6], ids=["v4", "v6"])
def test_truncated_at_every_length_and_trailing(version, hop):
    data = MixPacket(0, 1, hop, bytes(386)).to_bytes(version)
    for length in range(len(data)):
        with pytest.raises(MessageError):
            MixPacket.from_bytes(data[:length], version)
    for extra in (1, 2, 100):
        with pytest.raises(MessageError) as caught:
            MixPacket.from_bytes(data + bytes(extra), version)
        assert caught.value.code == "bad_packet_size"


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ("0101", "unsupported_packet_type"),
        ("0201", "unsupported_packet_type"),
        ("ff01", "unsupported_packet_type"),
        ("0003", "bad_rotation"),
        ("00ff", "bad_rotation"),
    ],
)
def test_refused(start, code):
    with pytest.raises(MessageError) as caught:
        MixPacket.from_bytes(bytes.fromhex(start) + V4 + bytes(2413))
    assert caught.value.code == code


def test_unknown_address_kind():
    with pytest.raises(MessageError) as caught:
        MixPacket.from_bytes(b"\x00\x01\x05" + bytes(2413 + 6))
    assert caught.value.code == "bad_node_address"
    assert "offset 2" in str(caught.value)


@given(st.binary(max_size=500), st.sampled_from([1, 2]))
def test_noise(data, version):
    with contextlib.suppress(MessageError):
        MixPacket.from_bytes(data, version)
