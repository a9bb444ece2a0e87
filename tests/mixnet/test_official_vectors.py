"""The ten exchanges of the published official client: every field from the keys (sphinx 14 b)."""

from __future__ import annotations

import hashlib

import pytest

from smolmix_web.crypto import hashes
from smolmix_web.mixnet.acks import AckPath, decrypt_ack, split_ack
from smolmix_web.mixnet.addresses import (
    NodeAddress,
    Recipient,
    pack_node_address,
    pad_node_address,
    unpack_node_address,
)
from smolmix_web.mixnet.body import OWN_KEY, open_body
from smolmix_web.mixnet.fragments import COVER_IDENTIFIER, Fragment, split_message, unpad_message
from smolmix_web.mixnet.messages import (
    ContentKind,
    PlainMessage,
    RepliableMessage,
    ReplyMessage,
    decode_message,
    encode_plain,
    encode_repliable,
    encode_reply,
)
from smolmix_web.mixnet.mix_packet import MixPacket
from smolmix_web.mixnet.preparer import build_reply_packet
from smolmix_web.mixnet.reassembly import Reassembler
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, ReplySurb, process_packet
from smolmix_web.sphinx import constants as c

PACKETS = ["cover", "plain", "repliable", "reply V2", "reply V1", "linked 255", "linked 1"]


@pytest.fixture(scope="module")
def capture(nym_vectors):
    return nym_vectors["sphinx_official_client"]


@pytest.fixture(scope="module")
def nodes(capture):
    return {node["id"]: node for node in capture["nodes"]}


def text_of(address: bytes) -> str:
    return str(unpack_node_address(address))


def walk(crypto, nodes, first_hop, packet):
    """Let every node on the way process the packet: ids of the hops, versions, delays, the final result."""
    by_address = {node["address"]: node for node in nodes.values()}
    here = by_address[text_of(first_hop)]
    ids, versions, delays = [], [], []
    while True:
        result = process_packet(crypto, bytes.fromhex(here["sphinx_secret"]), packet)
        ids.append(here["id"])
        versions.append(result.version)
        if isinstance(result, FinalHop):
            return ids, versions, delays, result
        assert isinstance(result, ForwardHop)
        delays.append(result.delay_ns)
        here, packet = by_address[text_of(result.next_address)], result.packet


def opened(crypto, capture, vector, body):
    """The fragment inside a body, with whatever key it was made for."""
    if "surb" in vector:
        surb = ReplySurb.from_bytes(bytes.fromhex(vector["surb"]), vector["surb_rotation"])
        keys = {surb.key_digest(crypto): (surb.encryption_key, "client")}
    else:
        keys = {}
    owner = "peer" if vector["destination"] == Recipient.parse(capture["peer"]["address"]).identity.hex() else "client"
    secret = bytes.fromhex(capture[owner]["encryption_secret"])
    result = open_body(crypto, secret, lambda digest: keys.pop(digest, None), body)
    assert keys == {}
    return result


@pytest.mark.parametrize("index", range(7), ids=PACKETS)
def test_packets_of_the_client(crypto, capture, nodes, index):
    vector = capture["packets"][index]
    mix = MixPacket.from_bytes(bytes.fromhex(vector["mix_packet"]), vector["request_kind"])
    assert mix.to_bytes(vector["request_kind"]).hex() == vector["mix_packet"]
    assert mix.packet_type == 0
    assert mix.rotation == vector.get("surb_rotation", 1)
    assert len(mix.packet) == c.REGULAR.wire

    ids, versions, delays, final = walk(crypto, nodes, mix.first_hop, mix.packet)
    assert (ids, versions, delays) == (vector["hops"], vector["versions"], vector["delays_ns"])
    assert final.destination.hex() == vector["destination"]
    assert final.identifier == bytes(16)
    assert len(final.message) == 2048
    gateway = nodes[ids[-1]]
    owner = capture["client"] if index == 0 else capture["peer"]
    recipient = Recipient.parse(owner["address"])
    assert (final.destination, gateway["identity"]) == (recipient.identity, recipient.gateway.hex())

    ack = split_ack(final.message)
    assert text_of(ack.first_hop) == vector["ack_first_hop"]
    ids, versions, delays, returned = walk(crypto, nodes, ack.first_hop, ack.packet)
    assert (ids, versions, delays) == (vector["ack_hops"], vector["ack_versions"], vector["ack_delays_ns"])
    assert returned.message.hex() == vector["ack_content"]
    assert returned.destination == Recipient.parse(capture["client"]["address"]).identity
    identifier = decrypt_ack(crypto, bytes.fromhex(capture["client"]["ack_key"]), returned.message)
    assert identifier.to_bytes().hex() == vector["ack_id"]

    content = opened(crypto, capture, vector, ack.body)
    if index == 0:
        assert content is None
        assert identifier == COVER_IDENTIFIER
        return
    expected = vector["fragment"]
    fragment = Fragment.from_bytes(content.data)
    assert content.source == ("client" if "surb" in vector else OWN_KEY)
    assert fragment.header().hex() == expected["header"]
    assert fragment.to_bytes() == content.data
    assert fragment.identifier == identifier
    assert (fragment.set_id, fragment.total, fragment.position) == (
        expected["set_id"],
        expected["total"],
        expected["current"],
    )
    assert (fragment.previous_set, fragment.next_set) == (expected["previous_set"], expected["next_set"])
    assert hashlib.sha256(fragment.data).hexdigest() == expected["data_sha256"]
    if fragment.total == 1:
        message = Reassembler().insert(content.source, content.data, 0.0)
        assert message.hex() == vector["unpadded"]
        # The same message cut by us gives the same data.
        assert split_message(SeededRandom(0), message)[0].data == fragment.data


def test_cover_packet_is_258_and_data_is_259(capture):
    assert set(capture["packets"][0]["versions"] + capture["packets"][0]["ack_versions"]) == {258}
    for vector in capture["packets"][1:]:
        assert set(vector["ack_versions"]) == {259}


def test_messages_of_the_client(capture):
    plain, repliable, reply_v2, reply_v1 = (bytes.fromhex(capture["packets"][at]["unpadded"]) for at in (1, 2, 3, 4))
    text = bytes.fromhex(capture["packets"][1]["message"])
    assert decode_message(plain) == PlainMessage(text)
    assert encode_plain(text) == plain

    vector = capture["packets"][2]
    message = decode_message(repliable)
    assert isinstance(message, RepliableMessage)
    assert (message.kind, message.version) == (ContentKind.DATA, 2)
    assert message.sender_tag.hex() == vector["sender_tag"]
    assert message.data.hex() == vector["message"]
    assert [surb.to_bytes().hex() for surb in message.surbs] == vector["surbs"]
    assert {(surb.hops, surb.uses_seeds, surb.rotation) for surb in message.surbs} == {(4, True, 1)}
    assert encode_repliable(message.sender_tag, ContentKind.DATA, message.surbs, message.data) == repliable

    for data, words in ((reply_v2, b"client reply to 259"), (reply_v1, b"client reply to 258")):
        assert decode_message(data) == ReplyMessage(words)
        assert encode_reply(words) == data


@pytest.mark.parametrize("index", [3, 4], ids=["V2", "V1"])
def test_replies_use_the_surb_as_we_do(crypto, capture, index):
    """With the same plaintext our packet from the SURB is the client's packet, byte for byte."""
    vector = capture["packets"][index]
    mix = MixPacket.from_bytes(bytes.fromhex(vector["mix_packet"]))
    surb = ReplySurb.from_bytes(bytes.fromhex(vector["surb"]), vector["surb_rotation"])
    assert (surb.hops, surb.uses_seeds) == (4, index == 3)
    assert surb.first_hop[:7] == mix.first_hop
    nodes = {node["id"]: node for node in capture["nodes"]}
    *_, final = walk(crypto, nodes, mix.first_hop, mix.packet)
    assert surb.apply(crypto, final.message) == mix.packet


def test_the_client_s_surbs_lead_to_the_client(crypto, capture, nodes):
    identity = Recipient.parse(capture["client"]["address"]).identity
    rng = SeededRandom("answers")
    peer = Recipient.parse(capture["peer"]["address"])
    hops = [nodes[number] for number in (1, 2, 3, 5)]
    route = [Hop(_address(hop["address"]), bytes.fromhex(hop["sphinx_public"])) for hop in hops]
    for data in capture["packets"][2]["surbs"]:
        surb = ReplySurb.from_bytes(bytes.fromhex(data), 1)
        [fragment] = split_message(rng, encode_reply(b"answer by surb"))
        prepared = build_reply_packet(
            crypto, rng, surb, fragment, ack=AckPath(route, [0] * 4, peer.identity, b"a" * 16), average_delay=0.015
        )
        ids, versions, delays, final = walk(crypto, nodes, prepared.first_hop, prepared.packet)
        assert [nodes[number]["role"] for number in ids] == ["layer 1", "layer 2", "layer 3", "gateway"]
        assert ids[-1] == capture["client"]["gateway_id"]
        assert versions == [259] * 4
        assert all(0 < delay < 10**9 for delay in delays)
        assert final.destination == identity
        keys = {surb.key_digest(crypto): (surb.encryption_key, "peer")}
        content = open_body(crypto, bytes(32), keys.get, split_ack(final.message).body)
        assert Fragment.from_bytes(content.data) == fragment


def _address(text: str) -> bytes:
    ip, port = text.split(":")
    return pad_node_address(pack_node_address(ip, int(port)))


def test_linked_fragments_belong_together(crypto, capture, nodes):
    """Fragments 255 of the first set and 1 of the second, of 255 * 1604 + 3000 bytes, byte i being i mod 251."""
    last, first = (_fragment(crypto, capture, nodes, capture["packets"][at]) for at in (5, 6))
    assert (last.next_set, first.previous_set) == (first.set_id, last.set_id)
    message = encode_plain(bytes(at % 251 for at in range(255 * 1604 + 3000)))
    ours = split_message(SeededRandom(1), message)
    assert len(ours) == 257
    assert [fragment.data for fragment in ours[254:256]] == [last.data, first.data]
    assert (len(last.data), len(first.data)) == (1601, 1601)
    # Put into the rest of our cut they complete the message, whatever comes first.
    mine = [fragment._replace(set_id=last.set_id) for fragment in ours[:254]]
    rest = Fragment(first.set_id, 2, 2, ours[256].data)
    reassembler = Reassembler()
    out = [reassembler.insert("x", fragment.to_bytes(), 0.0) for fragment in (rest, first, last, *mine)]
    assert out[:-1] == [None] * 256
    assert out[-1] == message


def _fragment(crypto, capture, nodes, vector) -> Fragment:
    mix = MixPacket.from_bytes(bytes.fromhex(vector["mix_packet"]))
    *_, final = walk(crypto, nodes, mix.first_hop, mix.packet)
    return Fragment.from_bytes(opened(crypto, capture, vector, split_ack(final.message).body).data)


def test_bodies_the_client_accepted(crypto, capture):
    secret = bytes.fromhex(capture["client"]["encryption_secret"])
    by_surb, regular = capture["incoming"]
    key = bytes.fromhex(by_surb["surb_key"])
    assert key == ReplySurb.from_bytes(bytes.fromhex(capture["packets"][2]["surbs"][0])).encryption_key
    keys = {crypto.blake3(key): (key, "peer")}
    for vector, source, kind in ((by_surb, "peer", ReplyMessage), (regular, OWN_KEY, PlainMessage)):
        body = bytes.fromhex(vector["body"])
        assert len(body) == c.REGULAR.body
        content = open_body(crypto, secret, lambda digest: keys.pop(digest, None), body)
        assert content.source == source
        message = Reassembler().insert(content.source, content.data, 0.0)
        assert decode_message(message) == kind(bytes.fromhex(vector["delivered"]))
        assert unpad_message(Fragment.from_bytes(content.data).data) == message
    assert keys == {}


def test_keys_of_client_and_nodes(crypto, capture):
    client = Recipient.parse(capture["client"]["address"])
    assert str(client) == capture["client"]["address"]
    assert crypto.ed25519_public(bytes.fromhex(capture["client"]["identity_seed"])) == client.identity
    assert crypto.x25519_base(bytes.fromhex(capture["client"]["encryption_secret"])) == client.encryption
    peer = Recipient.parse(capture["peer"]["address"])
    assert crypto.x25519_base(bytes.fromhex(capture["peer"]["encryption_secret"])) == peer.encryption
    by_id = {node["id"]: node for node in capture["nodes"]}
    assert by_id[capture["client"]["gateway_id"]]["identity"] == client.gateway.hex()
    assert by_id[capture["peer"]["gateway_id"]]["identity"] == peer.gateway.hex()
    for node in capture["nodes"]:
        assert crypto.x25519_base(bytes.fromhex(node["sphinx_secret"])).hex() == node["sphinx_public"]
        ip, port = node["address"].split(":")
        packed = unpack_node_address(_address(node["address"]))
        assert packed == NodeAddress(packed.ip, int(port))
        assert str(packed.ip) == ip


def test_gateway_registration(crypto, capture):
    vector = capture["gateway_registration"]
    init = bytes.fromhex(vector["client_init"])
    identity, ephemeral, salt = init[:32], init[32:64], init[64:]
    assert len(salt) == 16
    assert identity == Recipient.parse(capture["client"]["address"]).identity
    secret = bytes.fromhex(vector["gateway_ephemeral_secret"])
    shared = crypto.x25519(secret, ephemeral)
    key = hashes.hkdf_blake3(crypto.blake3, salt, shared, b"", 32)
    assert key.hex() == vector["shared_key"]
    materials = bytes.fromhex(vector["client_materials"])
    sealed, nonce = materials[:80], materials[80:]
    signature = crypto.aes256_gcm_siv_open(key, nonce, sealed)
    assert crypto.ed25519_verify(identity, ephemeral + crypto.x25519_base(secret), signature)
    assert crypto.aes256_gcm_siv_seal(key, nonce, signature) == sealed
    # Ed25519 is deterministic: the client's own seed gives this signature.
    seed = bytes.fromhex(capture["client"]["identity_seed"])
    assert crypto.ed25519_sign(seed, ephemeral + crypto.x25519_base(secret)) == signature


def test_websocket_message(crypto, capture, nodes):
    vector = capture["websocket_binary"]
    message, key = bytes.fromhex(vector["message"]), bytes.fromhex(vector["key"])
    assert vector["key"] == capture["gateway_registration"]["shared_key"]
    assert (len(message), message[0], message[1]) == (2452, 2, 1)
    plaintext = crypto.aes256_gcm_siv_open(key, message[2:14], message[14:])
    assert hashlib.sha256(plaintext).hexdigest() == vector["plaintext_sha256"]
    assert crypto.aes256_gcm_siv_seal(key, message[2:14], plaintext) == message[14:]
    mix = MixPacket.from_bytes(plaintext)
    assert mix.to_bytes() == plaintext
    ids, versions, _, _ = walk(crypto, nodes, mix.first_hop, mix.packet)
    assert (len(ids), len(set(versions))) == (4, 1)
