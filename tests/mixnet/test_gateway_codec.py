"""Handshake, authentication, binary frames and control messages, for both roles (gateway.md 3 to 5, 11)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import GatewayError, SmolmixError, UsageError
from smolmix_web.mixnet.gateway import auth, control, frames
from smolmix_web.mixnet.gateway.handshake import (
    CONFIRMED,
    ClientHandshake,
    GatewayHandshake,
    derive_shared_key,
)
from smolmix_web.mixnet.keys import ClientKeys, IdentityKeys
from smolmix_web.rand import SeededRandom, SystemRandom


def span(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


class FixedRandom(SystemRandom):
    """Gives the listed values, whose lengths must be the ones asked for."""

    def __init__(self, *values: bytes) -> None:
        super().__init__()
        self._values = list(values)

    def bytes(self, count: int) -> bytes:
        value = self._values.pop(0)
        assert len(value) == count
        return value


KEY = bytes.fromhex("ea29dd6532d3581d39cde0fda6f64452f357dc3c2839ce902901f5a036d41de9")
MESSAGE_1 = bytes.fromhex(
    "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
    "79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a"
    "808182838485868788898a8b8c8d8e8f"
)
MESSAGE_2 = bytes.fromhex(
    "675dd574ed7789310b3d2e7681f3790b466c773b1521fecf36577958371ea52f"
    "e87ef5a13a3665943cf41e501c5c95e857ba131c0103a0007f4de5a28762d1c5"
    "b7367108ea344d5cdc32cb8fcf39d327f8d266e23982d58fdcb4c4ba9ce36903"
    "630eba32d7bc061355ba4f70661882dd909192939495969798999a9b"
)
MESSAGE_3 = bytes.fromhex(
    "a48fba49c050e0c67525a57a6f589ae30c8c77c518b2c0aa5f3f8d1690cbdf91"
    "239a4e3a95a746ded315eb877c299f9e3eff428cce77e36897f4930dc74603af"
    "3d4e480d71980d97595e0de1520429eca0a1a2a3a4a5a6a7a8a9aaab"
)


@pytest.fixture
def client_identity(crypto: Crypto) -> IdentityKeys:
    return IdentityKeys.from_seed(crypto, span(0x00, 0x1F))


@pytest.fixture
def gateway_identity(crypto: Crypto) -> IdentityKeys:
    return IdentityKeys.from_seed(crypto, span(0x20, 0x3F))


def make_pair(crypto: Crypto, client: IdentityKeys, gateway: IdentityKeys) -> tuple[ClientHandshake, GatewayHandshake]:
    return (
        ClientHandshake(
            crypto, FixedRandom(span(0x40, 0x5F), span(0x80, 0x8F), span(0xA0, 0xAB)), client, gateway.public
        ),
        GatewayHandshake(crypto, FixedRandom(span(0x60, 0x7F), span(0x90, 0x9B)), gateway),
    )


# -- handshake ----------------------------------------------------------------------------------------


def test_handshake_vector(crypto: Crypto, client_identity: IdentityKeys, gateway_identity: IdentityKeys) -> None:
    assert gateway_identity.public.hex() == "29acbae141bccaf0b22e1a94d34d0bc7361e526d0bfe12c89794bc9322966dd7"
    client, gateway = make_pair(crypto, client_identity, gateway_identity)
    assert client.init() == MESSAGE_1
    assert gateway.answer(MESSAGE_1) == MESSAGE_2
    assert client.answer(MESSAGE_2) == MESSAGE_3
    assert gateway.finish(MESSAGE_3) == CONFIRMED
    assert client.finish(b"\x01") == gateway.shared_key == KEY
    assert gateway.client_identity == client_identity.public
    assert crypto.blake3(KEY).hex() == "c0cf0e0fca57a120554624e0dd763c6c3980bc9f3536f689c30dc2d85e1f91b6"


def test_handshake_of_the_official_client(crypto: Crypto, nym_vectors: dict[str, Any]) -> None:
    """The gateway side of a registration that the published client completed."""
    vector = nym_vectors["sphinx_official_client"]["gateway_registration"]
    init = bytes.fromhex(vector["client_init"])
    secret = bytes.fromhex(vector["gateway_ephemeral_secret"])
    gateway = GatewayHandshake(crypto, FixedRandom(secret, bytes(12)), IdentityKeys.from_seed(crypto, bytes(32)))
    gateway.answer(init)
    assert gateway.shared_key is not None and gateway.shared_key.hex() == vector["shared_key"]
    assert gateway.finish(bytes.fromhex(vector["client_materials"])) == CONFIRMED
    assert gateway.client_identity == init[:32]


def test_binary_frame_of_the_official_client(crypto: Crypto, nym_vectors: dict[str, Any]) -> None:
    vector = nym_vectors["sphinx_official_client"]["websocket_binary"]
    opened = frames.open_frame(crypto, bytes.fromhex(vector["key"]), bytes.fromhex(vector["message"]))
    assert opened.kind == frames.FORWARD_V2
    assert hashlib.sha256(opened.plaintext).hexdigest() == vector["plaintext_sha256"]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_every_cut_of_a_handshake_message_is_refused(
    crypto: Crypto, client_identity: IdentityKeys, gateway_identity: IdentityKeys, step: int
) -> None:
    def feed(message: bytes) -> None:
        client, gateway = make_pair(crypto, client_identity, gateway_identity)
        client.init()
        if step == 1:
            gateway.answer(message)
        elif step == 2:
            client.answer(message)
        elif step == 3:
            gateway.answer(MESSAGE_1)
            gateway.finish(message)
        else:
            client.answer(MESSAGE_2)
            client.finish(message)

    whole = {1: MESSAGE_1, 2: MESSAGE_2, 3: MESSAGE_3, 4: CONFIRMED}[step]
    feed(whole)
    for length in [*range(len(whole)), len(whole) + 1]:
        with pytest.raises(GatewayError) as caught:
            feed(whole[:length] + b"\0" * max(0, length - len(whole)))
        assert caught.value.code == "registration_refused"
    if step == 1:
        return  # any identity, point and salt of the right length are plausible
    for index in range(0, len(whole), 7):
        with pytest.raises(GatewayError):
            feed(whole[:index] + bytes((whole[index] ^ 1,)) + whole[index + 1 :])


def test_another_gateway_cannot_answer(
    crypto: Crypto, client_identity: IdentityKeys, gateway_identity: IdentityKeys
) -> None:
    client, _ = make_pair(crypto, client_identity, gateway_identity)
    impostor = GatewayHandshake(crypto, SeededRandom(1), IdentityKeys.from_seed(crypto, bytes(32)))
    with pytest.raises(GatewayError, match="does not verify"):
        client.answer(impostor.answer(client.init()))
    assert client.shared_key is None


def test_low_order_ephemeral_key_is_refused(crypto: Crypto) -> None:
    with pytest.raises(GatewayError, match="ephemeral key"):
        derive_shared_key(crypto, bytes(32), bytes(32), bytes(16))


def test_steps_out_of_order(crypto: Crypto, client_identity: IdentityKeys, gateway_identity: IdentityKeys) -> None:
    client, gateway = make_pair(crypto, client_identity, gateway_identity)
    with pytest.raises(GatewayError):
        client.finish(CONFIRMED)
    with pytest.raises(GatewayError):
        gateway.finish(MESSAGE_3)


# -- authentication -------------------------------------------------------------------------------------

TIME = 1790000000


@pytest.fixture
def request_v2(crypto: Crypto, client_identity: IdentityKeys) -> control.AuthenticateV2:
    return auth.sign_authentication(crypto, FixedRandom(span(0xB0, 0xBB)), client_identity, KEY, 6, TIME)


def test_authentication_vector(request_v2: control.AuthenticateV2) -> None:
    fields = json.loads(request_v2.encode())
    assert list(fields) == [
        "type",
        "protocolVersion",
        "clientIdentity",
        "addressCiphertext",
        "nonce",
        "requestUnixTimestamp",
        "requestSignature",
    ]
    assert fields["type"] == "authenticateV2"
    assert fields["addressCiphertext"] == "zwcwpSx/Li2sHaR9YbdFMQzcNdYkI9qvvXBrmKtS1/iERc1tbdNTby4n3JuzCh8c"
    assert fields["nonce"] == "sLGys7S1tre4ubq7"
    assert bytes(fields["requestSignature"]).hex() == (
        "cea849a0700abca05384b5b0a1b11b8c651877c36af1a7da4c40f322e268f1da"
        "cef0af89b5789bd840930ab56d4f8ee913031beaf8f06515c439dc1381b0ee05"
    )
    assert control.parse_request(request_v2.encode()) == request_v2


def test_authentication_checks(crypto: Crypto, request_v2: control.AuthenticateV2) -> None:
    def check(**change: Any) -> None:
        arguments: dict[str, Any] = {"shared_key": KEY, "unix_time": TIME, **change}
        auth.verify_authentication(crypto, request_v2, **arguments)

    check()
    check(unix_time=TIME + 120)
    check(last_timestamp=TIME - 1)
    for change, text in (
        ({"unix_time": TIME + 121}, "off"),
        ({"unix_time": TIME - 121}, "off"),
        ({"shared_key": bytes(32)}, "stored key"),
        ({"last_timestamp": TIME}, "used before"),
        ({"newest_protocol": 5}, "protocol 6"),
    ):
        with pytest.raises(GatewayError, match=text) as caught:
            check(**change)
        assert caught.value.code == "authentication_refused"
    with pytest.raises(GatewayError) as caught:
        check(shared_key=None)
    assert caught.value.code == "not_registered"


def test_authentication_signature_covers_all_fields(crypto: Crypto, request_v2: control.AuthenticateV2) -> None:
    import dataclasses

    for name, value in (
        ("protocol_version", 5),
        ("client_identity", bytes(32)),
        ("address_ciphertext", bytes(48)),
        ("nonce", bytes(12)),
        ("timestamp", TIME + 1),
        ("signature", bytes(64)),
    ):
        changed = dataclasses.replace(request_v2, **{name: value})
        with pytest.raises(GatewayError, match="signature"):
            auth.verify_authentication(crypto, changed, KEY, unix_time=TIME)


@pytest.mark.parametrize(("announced", "chosen"), [(4, 4), (5, 5), (6, 6), (7, 6), (255, 6)])
def test_protocol_choice(announced: int, chosen: int) -> None:
    assert auth.choose_protocol(announced) == chosen


@pytest.mark.parametrize("announced", [0, 1, 2, 3])
def test_old_protocols_are_refused(announced: int) -> None:
    with pytest.raises(GatewayError) as caught:
        auth.choose_protocol(announced)
    assert caught.value.code == "gateway_too_old"


def test_encrypted_request_vector(crypto: Crypto) -> None:
    request = auth.seal_request(crypto, FixedRandom(span(0xB0, 0xBB)), KEY, auth.FORGET_CLIENT)
    assert request.ciphertext.hex() == (
        "bdb136fcd3b6fef8de733085a4c2283613834038e18e3d167cdcfa76eee83705ce9f6c5f0bad6be54ef707f688244780"
        "8f9625962b7c60e91f"
    )
    again = control.parse_request(request.encode())
    assert isinstance(again, control.EncryptedRequest)
    assert auth.open_encrypted(crypto, KEY, again) == auth.FORGET_CLIENT
    with pytest.raises(GatewayError):
        auth.open_encrypted(crypto, bytes(32), again)
    answer = auth.seal_response(crypto, SeededRandom(1), KEY, {"ForgetMeAck": {}})
    parsed = control.parse_response(answer.encode())
    assert isinstance(parsed, control.EncryptedResponse)
    assert auth.open_encrypted(crypto, KEY, parsed) == {"ForgetMeAck": {}}
    with pytest.raises(GatewayError, match="object"):
        auth.open_encrypted(crypto, KEY, auth.seal_response(crypto, SeededRandom(1), KEY, [1]))


# -- binary frames ------------------------------------------------------------------------------------


def test_pushed_frame_vector(crypto: Crypto) -> None:
    frame = frames.seal_push(crypto, FixedRandom(span(0xB0, 0xBB)), KEY, span(0x00, 0x14))
    assert frame.hex() == (
        "0101b0b1b2b3b4b5b6b7b8b9babb2e7ca996d6ec441976e800aea8b91739ed2a1d7e46f420686f0dbebadac74a8d3e232ab4a5"
    )
    assert frames.open_frame(crypto, KEY, frame) == (frames.PUSHED, span(0x00, 0x14))
    for length in range(len(frame)):
        with pytest.raises(GatewayError):
            frames.open_frame(crypto, KEY, frame[:length])
    with pytest.raises(GatewayError):
        frames.open_frame(crypto, KEY, frame + b"\0")
    for index in range(2, len(frame)):
        with pytest.raises(GatewayError) as caught:
            frames.open_frame(crypto, KEY, frame[:index] + bytes((frame[index] ^ 0x80,)) + frame[index + 1 :])
        assert caught.value.code == "bad_tag"


def test_plain_and_odd_flags(crypto: Crypto) -> None:
    assert frames.open_frame(crypto, KEY, b"\x01\x00" + bytes(12) + b"plain") == (1, b"plain")
    for flag in (2, 255):
        with pytest.raises(GatewayError) as caught:
            frames.open_frame(crypto, KEY, bytes((1, flag)) + bytes(12) + b"plain")
        assert caught.value.code == "bad_frame"
    with pytest.raises(GatewayError):
        frames.open_frame(crypto, KEY, b"\x01\x00" + bytes(frames.MAX_FRAME))


# -- control messages ---------------------------------------------------------------------------------

RESPONSES: list[tuple[control.ControlMessage, str]] = [
    (control.SupportedProtocol(6), '{"type":"supportedProtocol","version":6}'),
    (control.HandshakePayload(6, b"\x01"), '{"type":"handshakePayload","protocol_version":6,"data":[1]}'),
    (control.HandshakeError("no"), '{"type":"handshakeError","message":"no"}'),
    (control.Register(6, True), '{"type":"register","protocol_version":6,"status":true,"upgrade_mode":false}'),
    (
        control.Authenticate(6, True, 0),
        '{"type":"authenticate","protocol_version":6,"status":true,"bandwidth_remaining":0,"upgrade_mode":false}',
    ),
    (
        control.Bandwidth(68719476736),
        '{"type":"bandwidth","available_total":68719476736,"upgrade_mode":false}',
    ),
    (control.Send(-5, True), '{"type":"send","remaining_bandwidth":-5,"upgrade_mode":true}'),
    (control.Error("text"), '{"type":"error","message":"text"}'),
    (
        control.OutOfBandwidth(2413, 7),
        '{"type":"typedError","error":{"out_of_bandwidth":{"required":2413,"available":7}}}',
    ),
    (control.OtherTypedError("ticket_replay"), '{"type":"typedError","error":"ticket_replay"}'),
    (
        control.EncryptedResponse(b"\x05", bytes(12)),
        '{"type":"encryptedResponse","ciphertext":[5],"nonce":[0,0,0,0,0,0,0,0,0,0,0,0]}',
    ),
]
REQUESTS: list[tuple[control.ControlMessage, str]] = [
    (control.SupportedProtocolRequest(), '{"type":"supportedProtocol"}'),
    (control.ClaimFreeBandwidth(), '{"type":"claimFreeTestnetBandwidth"}'),
    (control.HandshakePayload(6, b"\x01\xff"), '{"type":"handshakePayload","protocol_version":6,"data":[1,255]}'),
    (control.RetiredRequest("bandwidthCredential"), '{"type":"bandwidthCredential"}'),
]


@pytest.mark.parametrize(("message", "text"), RESPONSES)
def test_responses_both_ways(message: control.ControlMessage, text: str) -> None:
    assert message.encode() == text
    assert control.parse_response(text) == message
    # The discriminator may stand anywhere, and unknown fields do not matter.
    fields = json.loads(text)
    kind = fields.pop("type")
    assert control.parse_response(json.dumps({**fields, "later": [1], "type": kind})) == message
    for length in range(len(text)):
        with pytest.raises(GatewayError):
            control.parse_response(text[:length])
    with pytest.raises(GatewayError):
        control.parse_response(text + "x")


@pytest.mark.parametrize(("message", "text"), REQUESTS)
def test_requests_both_ways(message: control.ControlMessage, text: str) -> None:
    assert message.encode() == text
    assert control.parse_request(text) == message


def test_defaults_and_aliases() -> None:
    assert control.parse_response('{"type":"register","status":true}') == control.Register(0, True)
    assert control.parse_response(
        '{"type":"authenticate","status":false,"bandwidth_remaining":1,"upgrade_mode":null}'
    ) == control.Authenticate(0, False, 1)
    assert control.parse_request('{"type":"registerHandshakeInitRequest","data":[]}') == control.HandshakePayload(
        0, b""
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "JSON"),
        ("[]", "JSON object"),
        ("{}", "no type"),
        ('{"type":7}', "no type"),
        ('{"type":"hello"}', "unknown type 'hello'"),
        ('{"type":"supportedProtocol"}', "supportedProtocol.version"),
        ('{"type":"supportedProtocol","version":256}', "0..255"),
        ('{"type":"supportedProtocol","version":-1}', "0..255"),
        ('{"type":"supportedProtocol","version":true}', "not an integer"),
        ('{"type":"supportedProtocol","version":6.0}', "not an integer"),
        ('{"type":"send","remaining_bandwidth":9223372036854775808}', "send.remaining_bandwidth"),
        ('{"type":"send","remaining_bandwidth":"7"}', "send.remaining_bandwidth"),
        ('{"type":"register","status":1}', "register.status"),
        ('{"type":"register","status":true,"upgrade_mode":"no"}', "register.upgrade_mode"),
        ('{"type":"handshakePayload","data":"AA"}', "handshakePayload.data"),
        ('{"type":"handshakePayload","data":[1,256]}', r"handshakePayload.data\[1\]"),
        ('{"type":"handshakePayload","data":[true]}', r"handshakePayload.data\[0\]"),
        ('{"type":"encryptedResponse","ciphertext":[],"nonce":[1]}', "encryptedResponse.nonce"),
        ('{"type":"error"}', "error.message"),
        ('{"type":"typedError","error":{}}', "typedError.error"),
        ('{"type":"typedError","error":{"out_of_bandwidth":3}}', "out_of_bandwidth"),
        ('{"type":"typedError","error":{"out_of_bandwidth":{"required":1}}}', "available"),
        ("[" * 100_000, "JSON"),
        ('{"type":"' + "x" * control.MAX_TEXT + '"}', "characters"),
    ],
)
def test_malformed_responses_name_the_place(text: str, where: str) -> None:
    with pytest.raises(GatewayError, match=where) as caught:
        control.parse_response(text)
    assert caught.value.code == ("unknown_message" if where.startswith("unknown type") else "bad_message")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"clientIdentity": [0] * 31}, "clientIdentity"),
        ({"addressCiphertext": "zwcw"}, "addressCiphertext"),
        ({"addressCiphertext": "!!"}, "addressCiphertext"),
        ({"nonce": 3}, "nonce"),
        ({"requestUnixTimestamp": -1}, "requestUnixTimestamp"),
        ({"requestSignature": [0] * 65}, "requestSignature"),
    ],
)
def test_malformed_authentication(request_v2: control.AuthenticateV2, change: dict[str, Any], where: str) -> None:
    fields = {**json.loads(request_v2.encode()), **change}
    with pytest.raises(GatewayError, match=where):
        control.parse_request(json.dumps(fields))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 300) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted({json.loads(text)["type"] for _, text in RESPONSES + REQUESTS})),
    st.dictionaries(
        st.sampled_from(
            ["version", "data", "status", "message", "error", "nonce", "ciphertext", "remaining_bandwidth"]
        ),
        json_values,
    ),
)
def test_any_fields_parse_or_are_refused(kind: str, fields: dict[str, Any]) -> None:
    text = json.dumps({**fields, "type": kind})
    for parse in (control.parse_response, control.parse_request):
        try:
            message = parse(text)
        except GatewayError as error:
            assert error.code in ("bad_message", "unknown_message")
        else:
            assert parse(message.encode()) == message


# -- keys ---------------------------------------------------------------------------------------------


def test_keys_show_no_secret_and_check_lengths(crypto: Crypto) -> None:
    keys = ClientKeys.generate(SeededRandom(1))
    assert keys.identity_seed.hex() not in repr(keys) and repr(keys) == "ClientKeys()"
    identity = keys.identity(crypto)
    assert repr(keys.identity_seed) not in repr(identity)
    assert identity.public == crypto.ed25519_public(keys.identity_seed)
    for bad in ((b"", bytes(32), bytes(16)), (bytes(32), bytes(31), bytes(16)), (bytes(32), bytes(32), bytes(32))):
        with pytest.raises(UsageError):
            ClientKeys(*bad)
    assert issubclass(UsageError, SmolmixError)
