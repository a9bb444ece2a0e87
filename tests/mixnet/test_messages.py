"""Plain, repliable and reply messages; SURB lists of both forms; limits."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import MessageError, ProtocolError, UsageError
from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.mixnet.fragments import packets_needed
from smolmix_web.mixnet.messages import (
    REPLIABLE_OVERHEAD,
    ContentKind,
    PlainMessage,
    RepliableMessage,
    ReplyMessage,
    SurbRequest,
    decode_message,
    encode_plain,
    encode_repliable,
    encode_reply,
    encode_surb_request,
    encode_surbs,
    surb_length,
)
from smolmix_web.rand import SeededRandom
from smolmix_web.sphinx import ReplySurb

TAG = bytes(range(16))
ME = Recipient(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32)


def surbs(count, hops=4, rotation=1, unit=16):
    rng = SeededRandom("surbs")
    return tuple(
        ReplySurb(rng.bytes(16), rng.bytes(348), rng.bytes(32), rng.bytes(unit * hops), rotation) for _ in range(count)
    )


def v1_list(items):
    return len(items).to_bytes(4, "big") + b"".join(item.to_bytes() for item in items)


# -- round trips ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=100))
def test_plain(data):
    assert encode_plain(data) == b"\x00" + data
    assert decode_message(encode_plain(data)) == PlainMessage(data)


@given(data=st.binary(min_size=1, max_size=100))
def test_reply(data):
    assert encode_reply(data) == b"\x02\x00" + data
    assert decode_message(encode_reply(data)) == ReplyMessage(data)


@given(amount=st.integers(1, 2**32 - 1))
def test_surb_request(amount):
    data = encode_surb_request(ME, amount)
    assert data == b"\x02\x01" + ME.to_bytes() + amount.to_bytes(4, "big")
    assert decode_message(data) == SurbRequest(ME, amount)


@given(
    count=st.integers(0, 6),
    hops=st.integers(1, 5),
    rotation=st.integers(0, 2),
    data=st.binary(max_size=100),
)
def test_repliable_data(count, hops, rotation, data):
    items = surbs(count, hops, rotation)
    encoded = encode_repliable(TAG, ContentKind.DATA, items, data)
    assert len(encoded) == REPLIABLE_OVERHEAD + count * surb_length(hops) + len(data)
    assert encoded[:18] == b"\x01" + TAG + b"\x03"
    assert decode_message(encoded) == RepliableMessage(TAG, ContentKind.DATA, items, data, 2)


@pytest.mark.parametrize(("kind", "tag"), [(ContentKind.ADDITIONAL_SURBS, 4), (ContentKind.HEARTBEAT, 5)])
def test_surbs_alone(kind, tag):
    items = surbs(3)
    encoded = encode_repliable(TAG, kind, items)
    assert encoded[17] == tag
    assert encoded[18:22] == bytes((0, 3, 4, 1))
    assert decode_message(encoded) == RepliableMessage(TAG, kind, items)
    with pytest.raises(UsageError):
        encode_repliable(TAG, kind, items, b"data")


@pytest.mark.parametrize("kind", list(ContentKind))
@pytest.mark.parametrize("count", [0, 1, 3])
def test_v1_is_read(kind, count):
    items = surbs(count, 4, 0, 192)
    data = b"data" if kind is ContentKind.DATA else b""
    encoded = b"\x01" + TAG + bytes((kind.value,)) + v1_list(items) + data
    message = decode_message(encoded)
    assert message == RepliableMessage(TAG, kind, items, data, 1)
    assert all(not surb.uses_seeds and surb.rotation == 0 and surb.hops == 4 for surb in message.surbs)


def test_empty_list_is_all_zero():
    assert encode_surbs(()) == bytes(4)


def test_surbs_that_fit():
    """Sphinx 8.2: 3 SURBs and 201 bytes in one packet; 10 SURBs 3 packets; 50 SURBs 15."""

    def packets(count, data):
        return packets_needed(len(encode_repliable(TAG, ContentKind.DATA, surbs(count), bytes(data))))

    assert [packets(3, 201), packets(3, 202), packets(10, 0), packets(50, 0)] == [1, 2, 3, 15]
    assert packets_needed(len(encode_plain(bytes(1602)))) == 1
    assert packets_needed(len(encode_plain(bytes(1603)))) == 2
    assert packets_needed(len(encode_reply(bytes(1601)))) == 1
    assert packets_needed(len(encode_reply(bytes(1602)))) == 2


# -- wrong use ------------------------------------------------------------------------------------------------


def test_lists_that_cannot_be_written():
    good = surbs(2)
    for bad in (
        (*good, *surbs(1, hops=3)),
        (*good, *surbs(1, rotation=2)),
        surbs(1, 4, 0, 192),
        good[:1] * 65536,
    ):
        with pytest.raises(UsageError) as caught:
            encode_repliable(TAG, ContentKind.DATA, bad)
        assert caught.value.code == "bad_surbs"


def test_other_wrong_use():
    with pytest.raises(UsageError):
        encode_reply(b"")
    with pytest.raises(UsageError):
        encode_repliable(TAG[:15], ContentKind.DATA, ())
    for amount in (0, -1, 2**32):
        with pytest.raises(UsageError):
            encode_surb_request(ME, amount)


# -- malformed ------------------------------------------------------------------------------------------------


def whole_messages():
    """Name, bytes, and the lengths below the whole at which a cut message is valid too (cut data)."""
    v2 = encode_repliable(TAG, ContentKind.DATA, surbs(2), b"data")
    v1 = b"\x01" + TAG + b"\x00" + v1_list(surbs(1, 4, 0, 192)) + b"data"
    return [
        ("v2", v2, range(len(v2) - 4, len(v2))),
        ("v1", v1, range(len(v1) - 4, len(v1))),
        ("additional", encode_repliable(TAG, ContentKind.ADDITIONAL_SURBS, surbs(1)), ()),
        ("heartbeat", encode_repliable(TAG, ContentKind.HEARTBEAT, ()), ()),
        ("request", encode_surb_request(ME, 5), ()),
        ("reply", encode_reply(b"data"), range(3, 6)),
    ]


@pytest.mark.parametrize(("name", "data", "valid"), whole_messages(), ids=lambda value: str(value)[:12])
def test_truncated_at_every_length(name, data, valid):
    decode_message(data)
    for length in range(len(data)):
        if length in valid:
            decode_message(data[:length])
            continue
        with pytest.raises(MessageError) as caught:
            decode_message(data[:length])
        assert caught.value.code in ("bad_message", "bad_surbs")


def test_trailing_bytes():
    for name, data, _ in whole_messages():
        if name in ("additional", "heartbeat", "request"):
            with pytest.raises(MessageError):
                decode_message(data + b"x")
        else:
            assert decode_message(data + b"x").data == b"datax"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "empty"),
        (b"\x03abc", "unknown type 3 at offset 0"),
        (b"\xffabc", "unknown type 255"),
        (b"\x01" + TAG + b"\x06" + bytes(4), "unknown content tag 6 at offset 17"),
        (b"\x02\x02abc", "unknown reply tag 2 at offset 1"),
        (b"\x02\x00", "without data"),
        (b"\x01" + TAG + b"\x03" + bytes((0, 1, 0, 1)) + bytes(500), "0 hops at offset 20"),
        (b"\x01" + TAG + b"\x03" + bytes((0, 1, 6, 1)) + bytes(500), "6 hops at offset 20"),
        (b"\x01" + TAG + b"\x03" + bytes((0, 1, 4, 3)) + bytes(500), "offset 21: unknown key rotation 3"),
        (b"\x01" + TAG + b"\x03" + bytes((255, 255, 4, 1)) + bytes(500), "65535 of 460 bytes"),
        (b"\x01" + TAG + b"\x00" + b"\xff" * 4 + bytes(2000), "4294967295 of 1164 bytes"),
    ],
)
def test_malformed(data, match):
    with pytest.raises(MessageError, match=match):
        decode_message(data)


@given(st.binary(max_size=600))
def test_noise_gives_typed_errors(data):
    with contextlib.suppress(ProtocolError):
        decode_message(data)


def test_errors_do_not_quote_the_message():
    secret = b"very secret text"
    for data in (
        b"\x09" + secret,
        b"\x01" + secret + b"\x09" + secret,
        b"\x02\x01" + secret,
        b"\x01" + secret + b"\x03",
    ):
        with pytest.raises(MessageError) as caught:
            decode_message(data)
        assert "secret" not in str(caught.value)
        assert secret.hex() not in str(caught.value)
