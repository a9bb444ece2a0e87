"""Sphinx against fixed data: the worked example of docs/protocol/sphinx.md 13 and the published pieces."""

from __future__ import annotations

import hashlib

import pytest

from smolmix_web.crypto import hashes
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, build_packet, process_packet
from smolmix_web.sphinx import constants as c
from smolmix_web.sphinx.header import xor
from smolmix_web.sphinx.payload import seal_payload

PACKET_259 = bytes.fromhex(
    "768a7c629e33e5f148969dca4103334e680bff81b525006de75041abab9f660ecbb11cbd17ba73ff2cd66d37e93655ad"
    "d18385a2e680398e1dc9878e1fe7151c021b9edbe5192fec1ab9532e3b56331199ec9432da5943c5e4e15cf5ec6ffb32"
    "fe3093d13cafe0236e4ef452c6355af1f89893ed5db6482ed6ad21d257871257db357678fb1c2e7394c9c647211857fb"
    "d6f1b5cc06ef8d39818d0db4659d67412fb9fa6c8119061481cbc4aa1970109fd8d992fcd435ccb1cf2cabde587470f4"
    "154ed5e2947daa3ff8c3669a77433f000a58c594b781d7a30d0c9eb52c1c637c48bb5dcc0fe56e3b042c4ee1c8b85582"
    "366c5885d1672f2d13c4899415f374ed06193f4e4bd2326eee816b9b4e7a9c74cda0bdd1bdc2f8c59172a1dd752f5f4f"
    "26ad03b552addb53cdd181c2b4718bbd2f67f8cd9b412a599b2df08b666c0eedd01f28323dd4f0698e70fa37a25c60d3"
    "037f1c3283db20081b1ed88b0f891229c4b953e71d79ab97d98d41b5e13e205e7557ad1c3e1d9d2e4e5752d39c946fd9"
    "98ba"
)
SHA_258 = "48cc8d5450aeb8ce02c4a8486904cb80fea093a01adf2511fa5078b1d64b1c3e"

# alpha seen, rho, seed, SHA-256 of the packet sent on
HOPS = [
    (
        "768a7c629e33e5f148969dca4103334e680bff81b525006de75041abab9f660e",
        "b23cc6fd04ff57f223f4739e331a0615",
        "5d9f746dd6684f78c1016a966b0aac41",
        "0a37ac17d8a35cc5ec5e9bf752c68cf25e49652a69e096d141bd3b364b082b83",
    ),
    (
        "9d193218f2c1ffa257088315b28f7a394647fe3df4b35e4c726e06bc6bab1321",
        "f6af57b8f22b500c04e1b2a7e9e865e2",
        "cb29d524961ebac18d14219d48197c28",
        "b1e15c2ea16c521e5ea6ad88da1d1592484d080fe425c26edbbe491e6ea254fd",
    ),
    (
        "04c493b32abf96a29be9c1c488fcf1620734b0a488d3cbb9bd8de8149c0c1527",
        "5ec24c477e92c16aee547affa9a70dff",
        "1bb52b34d9c629fadae905bae7cda9b2",
        "161429c7b45e58bbf8a1a080b6f3642726868e4bb8120953ef87e6923582b08c",
    ),
    (
        "de1dbb528e875f138617f4fc51edba0f1bbd31d68efa612311ba21696327bb37",
        "8ce756dd79595ed6b00b666cd641d263",
        "3c02356a88b6db413717b569091a8a52",
        None,
    ),
]
MESSAGE = bytes(range(21))


def example_nodes(crypto, vectors):
    """The four private keys and the route of the example."""
    keys = vectors["sphinx"]["header_test_keys"]
    secrets = [bytes.fromhex(node["secret"]) for node in keys["nodes"]] + [bytes((5,)) * 32]
    route = [
        Hop(bytes.fromhex(f"04{1001 + at:04x}7f000001") + bytes(25), crypto.x25519_base(secret))
        for at, secret in enumerate(secrets)
    ]
    return secrets, route


def example_packet(crypto, vectors, version):
    secrets, route = example_nodes(crypto, vectors)
    packet = build_packet(
        crypto,
        SeededRandom(0),
        route,
        [1_000_000, 2_000_000, 3_000_000, 4_000_000],
        bytes((3,)) * 32,
        MESSAGE,
        payload_size=c.ACK.payload,
        version=version,
        initial_secret=bytes.fromhex(vectors["sphinx"]["header_test_keys"]["initial_secret"]),
        padding=b"\xaa" * 68,
    )
    return secrets, packet


def test_public_keys_of_the_example(crypto, nym_vectors):
    _, route = example_nodes(crypto, nym_vectors)
    published = [node["public"] for node in nym_vectors["sphinx"]["header_test_keys"]["nodes"]]
    last = "50a61409b1ddd0325e9b16b700e719e9772c07000b1bd7786e907c653d20495d"
    assert [hop.public_key.hex() for hop in route] == [*published, last]


def test_packet_259(crypto, nym_vectors):
    _, packet = example_packet(crypto, nym_vectors, 259)
    assert packet == PACKET_259
    assert hashlib.sha256(packet).hexdigest() == "b8d956ef1ed815794b8b8a84fc95dc759bc9bcc6f5f138809578de7a5742ff45"


def test_packet_258(crypto, nym_vectors):
    _, packet = example_packet(crypto, nym_vectors, 258)
    assert len(packet) == 386
    assert hashlib.sha256(packet).hexdigest() == SHA_258


@pytest.mark.parametrize("version", [258, 259])
def test_every_hop(crypto, nym_vectors, version):
    secrets, packet = example_packet(crypto, nym_vectors, version)
    for at, (alpha, rho, seed, sent_on) in enumerate(HOPS):
        assert packet[:32].hex() == alpha
        expanded = crypto.node_secret(secrets[at], packet[:32])
        assert expanded[c.RHO].hex() == rho
        assert expanded[c.SEED].hex() == seed
        result = process_packet(crypto, secrets[at], packet)
        assert result.version == version
        assert result.replay_tag == expanded[256:288]
        if at == 3:
            assert isinstance(result, FinalHop)
            assert result.destination == bytes((3,)) * 32
            assert result.identifier == bytes(16)
            assert result.message == MESSAGE
            block = crypto.lioness_decrypt(
                [expanded[c.FULL_KEY] if version == 258 else hashes.payload_key(expanded[c.SEED])], packet[348:]
            )
            assert block == bytes(16) + MESSAGE + b"\x01"
        else:
            assert isinstance(result, ForwardHop)
            assert result.delay_ns == 1_000_000 * (at + 1)
            assert result.next_address == bytes.fromhex(f"04{1002 + at:04x}7f000001") + bytes(25)
            assert len(result.packet) == 386
            if version == 259:
                assert hashlib.sha256(result.packet).hexdigest() == sent_on
            else:
                # The header does not depend on the payload keys, only its version field differs.
                assert result.packet[:32].hex() == HOPS[at + 1][0]
            packet = result.packet


def test_values_beside_the_example(crypto, nym_vectors):
    key = crypto.payload_keys([bytes(16)])[0]
    assert key.hex().startswith("602ce44c3069f98f348c22a84a66ec17")
    assert hashlib.sha256(key).hexdigest() == "3dd25ee361a3da9780396501df93c0bae06c143eb54686523f01d106e8827c59"
    secrets, route = example_nodes(crypto, nym_vectors)
    shared = crypto.x25519(secrets[0], route[1].public_key)
    assert shared.hex() == "c84c07597100b3082caa16cb3915ffc1ea0cd2d51c6be5cb8a68f4ccfcf8d565"
    assert hashes.hkdf_blake3(crypto.blake3, b"", shared, b"", 16).hex() == "38eabfa47c59de847fcaeda378047f69"
    sealed = crypto.seal_fragment(secrets[0], route[1].public_key, bytes(16))
    assert sealed[:32] == route[0].public_key
    assert crypto.open_fragment(secrets[1], sealed) == bytes(16)
    assert crypto.blake3(b"\x42" * 16).hex() == "a1c1d9a33b8870aa7f571b6fa60ab31f667aa28b219a49ba4907e3d7cac90dfa"


def test_expanded_shared_secret(crypto, nym_vectors):
    vector = nym_vectors["sphinx"]["expanded_shared_secret"]
    stream = crypto.chacha20(bytes.fromhex(vector["chacha20rng_seed"]), bytes(64))
    first, second = stream[:32], stream[32:]
    for expanded in (
        crypto.node_secret(second, crypto.x25519_base(first)),
        crypto.header_secrets(second, [crypto.x25519_base(first)])[1][0],
    ):
        assert len(expanded) == 288
        assert expanded[c.RHO].hex() == vector["stream_cipher_key"]
        assert expanded[c.MU].hex() == vector["header_integrity_hmac_key"]
        assert expanded[c.FULL_KEY].hex() == vector["full_payload_key_192"]
        assert expanded[c.SEED].hex() == vector["full_payload_key_192"][:32]
        assert expanded[c.BLINDING].hex() == vector["blinding_factor"]


def test_lioness_inside_a_payload(crypto, nym_vectors):
    vector = nym_vectors["sphinx"]["lioness_chacha20_blake2b"]
    key, block = bytes.fromhex(vector["key"]), bytes.fromhex(vector["input"])
    assert crypto.lioness_encrypt([key], block).hex() == vector["output"]
    # seal_payload puts its frame around the message and then does exactly this.
    sealed = seal_payload(crypto, [key], MESSAGE, 64)
    assert crypto.lioness_decrypt([key], sealed) == bytes(16) + MESSAGE + b"\x01" + bytes(64 - 38)


def test_published_three_hop_route(crypto, nym_vectors):
    """Upstream's own test route: 3 hops, addresses 01.., 02.., 03.., identifier 04.., destination 03.. ."""
    keys = nym_vectors["sphinx"]["header_test_keys"]
    route = [Hop(bytes((at + 1,)) * 32, bytes.fromhex(node["public"])) for at, node in enumerate(keys["nodes"])]
    packet = build_packet(
        crypto,
        SeededRandom("route"),
        route,
        [7, 8, 9],
        bytes((3,)) * 32,
        b"message",
        payload_size=1024,
        identifier=bytes((4,)) * 16,
        initial_secret=bytes.fromhex(keys["initial_secret"]),
    )
    for at in (0, 1):
        hop = process_packet(crypto, bytes.fromhex(keys["nodes"][at]["secret"]), packet)
        assert isinstance(hop, ForwardHop)
        assert (hop.next_address, hop.delay_ns) == (bytes((at + 2,)) * 32, 7 + at)
        packet = hop.packet
    final = process_packet(crypto, bytes.fromhex(keys["nodes"][2]["secret"]), packet)
    assert isinstance(final, FinalHop)
    assert (final.destination, final.identifier, final.message) == (bytes((3,)) * 32, bytes((4,)) * 16, b"message")


def test_xor():
    assert xor(b"\x00\xff\x0f", b"\xff\xff\xf0") == b"\xff\x00\xff"
    assert xor(b"", b"") == b""
