"""Base58, Nym addresses, node addresses, sender tags, rotation numbers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import MessageError, UsageError
from smolmix_web.mixnet.addresses import (
    NodeAddress,
    Recipient,
    is_ed25519_point,
    new_sender_tag,
    node_address_length,
    pack_node_address,
    pad_node_address,
    parse_sender_tag,
    sender_tag_text,
    unpack_node_address,
    unpad_node_address,
)
from smolmix_web.mixnet.base58 import base58_decode, base58_encode
from smolmix_web.mixnet.rotation import rotation_byte, rotation_id

# -- base58 ---------------------------------------------------------------------------------------------


def test_base58_known_values():
    # draft-msporny-base58, section 5
    assert base58_encode(b"Hello World!") == "2NEpo7TZRRrLZSi2U"
    assert base58_encode(b"The quick brown fox jumps over the lazy dog.") == (
        "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"
    )
    assert base58_encode(bytes.fromhex("0000287fb4cd")) == "11233QC4"
    assert base58_decode("11233QC4", 6).hex() == "0000287fb4cd"
    assert base58_encode(b"") == ""
    assert base58_encode(bytes(32)) == "1" * 32


@given(st.binary(max_size=48))
def test_base58_round_trip(data):
    assert base58_decode(base58_encode(data), len(data)) == data


def test_base58_refuses():
    text = base58_encode(b"\xff" * 32)
    for bad in (text[:-2], text + "1", "1" + text, text[:-1] + "0", text[:-1] + "l", text[:-1] + "é", "", "1" * 31):
        with pytest.raises(MessageError) as caught:
            base58_decode(bad, 32, "key")
        assert caught.value.code == "bad_base58"
        assert str(caught.value).startswith("key: ")


def test_base58_length_is_bounded_before_arithmetic():
    with pytest.raises(MessageError, match="1000000 characters are too many"):
        base58_decode("z" * 1_000_000, 32)


# -- recipient ------------------------------------------------------------------------------------------


def test_recipient_vectors(nym_vectors):
    vector = nym_vectors["sphinx"]["recipient"]
    data = bytes.fromhex(vector["bytes_96"])
    recipient = Recipient.from_bytes(data)
    assert (recipient.identity, recipient.encryption, recipient.gateway) == (data[:32], data[32:64], data[64:])
    assert Recipient.parse(str(recipient)).to_bytes() == data
    connect = bytes.fromhex(vector["serialised_connect"])
    assert str(Recipient.from_bytes(connect[-96:])) == vector["text_of_last_96_bytes"]
    for text in (vector["text_of_last_96_bytes"], *vector["valid_texts"]):
        parsed = Recipient.parse(text)
        assert str(parsed) == text
        assert Recipient.from_bytes(parsed.to_bytes()) == parsed


def test_recipient_binary_at_every_length(nym_vectors):
    data = bytes.fromhex(nym_vectors["sphinx"]["recipient"]["bytes_96"])
    for length in (*range(96), 97, 200):
        with pytest.raises(MessageError) as caught:
            Recipient.from_bytes(data.ljust(length, b"\0")[:length])
        assert caught.value.code == "bad_recipient"


def test_recipient_text_truncated_at_every_length(nym_vectors):
    text = nym_vectors["sphinx"]["recipient"]["valid_texts"][0]
    for length in range(len(text)):
        with pytest.raises(MessageError):
            Recipient.parse(text[:length])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda text: text.replace("@", ""), "'@'"),
        (lambda text: text + "@", "'@'"),
        (lambda text: text.replace(".", ""), "'.'"),
        (lambda text: text.replace(".", ".."), "'.'"),
        (lambda text: text.replace("@", ".@"), "'.'"),
        (lambda text: text.replace("@", "@."), "gateway"),
        (lambda text: " " + text, "identity"),
        (lambda text: text + "\n", "gateway"),
        (lambda text: text.replace(".", ".O"), "encryption key"),
        (lambda text: text + "1" * 200, "too many"),
    ],
)
def test_recipient_text_refused_by_name(nym_vectors, change, match):
    with pytest.raises(MessageError, match=match):
        Recipient.parse(change(nym_vectors["sphinx"]["recipient"]["valid_texts"][0]))


def test_recipient_text_with_a_key_that_is_no_point(crypto):
    good = crypto.ed25519_public(b"\x01" * 32)
    bad = b"\x02" + bytes(31)  # y = 2 is on no point of the curve
    assert is_ed25519_point(good)
    assert not is_ed25519_point(bad)
    assert not is_ed25519_point(good[:31])
    assert Recipient.parse(str(Recipient(good, bytes(32), good))).gateway == good
    with pytest.raises(MessageError, match=r"^identity"):
        Recipient.parse(str(Recipient(bad, bytes(32), good)))
    with pytest.raises(MessageError, match=r"^gateway"):
        Recipient.parse(str(Recipient(good, bytes(32), bad)))


def test_public_keys_are_points(crypto):
    for seed in range(16):
        key = crypto.ed25519_public(bytes((seed,)) * 32)
        assert is_ed25519_point(key)


# -- node addresses -------------------------------------------------------------------------------------


def test_node_address_known_bytes():
    assert pack_node_address("127.0.0.1", 1001).hex() == "0403e97f000001"
    assert pack_node_address("10.0.0.1").hex() == "0406fd0a000001"
    assert pack_node_address(IPv6Address("2001:db8::1"), 1789).hex() == "0606fd20010db8000000000000000000000001"
    assert str(NodeAddress(IPv4Address("10.0.0.1"), 1789)) == "10.0.0.1:1789"
    assert str(NodeAddress(IPv6Address("::1"), 5)) == "[::1]:5"


@given(
    ip=st.ip_addresses(),
    port=st.integers(0, 65535),
    length=st.sampled_from([19, 32]),
)
def test_node_address_round_trip_in_every_padding(ip, port, length):
    packed = pack_node_address(ip, port)
    assert len(packed) == (7 if ip.version == 4 else 19)
    padded = pad_node_address(packed, length)
    assert len(padded) == length
    assert unpad_node_address(padded) == unpad_node_address(packed) == packed
    assert unpack_node_address(padded) == unpack_node_address(packed) == NodeAddress(ip, port)
    assert node_address_length(b"ab" + packed, 2) == len(packed)


def test_node_address_refused():
    for ip in ("127.0.0.1", "::1"):
        packed = pack_node_address(ip, 80)
        for length in range(len(packed)):
            with pytest.raises(MessageError) as caught:
                unpack_node_address(packed[:length])
            assert caught.value.code == "bad_node_address"
    for kind in (0, 1, 3, 5, 7, 0x84, 255):
        with pytest.raises(MessageError, match="kind byte at offset 0"):
            unpack_node_address(bytes((kind,)) + bytes(31))
    with pytest.raises(MessageError):
        pack_node_address("node.test", 80)
    with pytest.raises(UsageError):
        pack_node_address("127.0.0.1", 65536)


# -- sender tags, rotation --------------------------------------------------------------------------------


def test_sender_tags(rng):
    tag = new_sender_tag(rng)
    assert len(tag) == 16
    assert parse_sender_tag(sender_tag_text(tag)) == tag
    assert tag != new_sender_tag(rng)
    for text in ("", "1", sender_tag_text(tag) + "2", "1" * 17, "!" * 20):
        with pytest.raises(MessageError, match="sender tag"):
            parse_sender_tag(text)


def test_rotation_ids(nym_vectors):
    for validity, initial, current, expected in nym_vectors["sphinx"]["key_rotation_id"]["cases"]:
        assert rotation_id(current, initial, validity) == expected


def test_rotation_bytes():
    assert [rotation_byte(value) for value in (0, 1, 2, 7, 8, 2**32 - 1, 2**32 - 2)] == [0, 1, 2, 1, 2, 0, 2]
