"""The record around the sealed identity: whole, cut, flipped, of another program, of a later release."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import StorageError
from smolmix_web.host.vault import Derivation
from smolmix_web.storage.envelope import MAX_RECORD, Envelope

SALT, NONCE, SEALED = bytes(range(16)), bytes(range(100, 112)), bytes(range(200, 240))
OWN = Envelope(None, NONCE, SEALED)
LOCKED = Envelope(Derivation(SALT), NONCE, SEALED)

OWN_BODY = b"SMOLMIX\x1a\x01\x01" + NONCE + SEALED
LOCKED_BODY = b"SMOLMIX\x1a\x01\x02" + bytes.fromhex("0001000000000003") + SALT + NONCE + SEALED


def record(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def refusal(data: bytes) -> str:
    with pytest.raises(StorageError) as raised:
        Envelope.from_bytes(data)
    return raised.value.code


@pytest.mark.parametrize(("envelope", "body"), [(OWN, OWN_BODY), (LOCKED, LOCKED_BODY)], ids=["own key", "passphrase"])
def test_vector(envelope: Envelope, body: bytes) -> None:
    assert envelope.to_bytes() == record(body)
    assert Envelope.from_bytes(record(body)) == envelope
    assert envelope.header + NONCE + SEALED == body


@pytest.mark.parametrize("body", [OWN_BODY, LOCKED_BODY], ids=["own key", "passphrase"])
def test_cut_and_lengthened(body: bytes) -> None:
    whole = record(body)
    for length in range(len(whole)):
        assert refusal(whole[:length]) == "store_damaged"
    for more in (b"\0", bytes(32), whole):
        assert refusal(whole + more) == "store_damaged"


@pytest.mark.parametrize("body", [OWN_BODY, LOCKED_BODY], ids=["own key", "passphrase"])
def test_every_flipped_bit_is_seen(body: bytes) -> None:
    whole = record(body)
    for at in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << bit
            expected = "store_foreign" if at < 8 else "store_newer" if at == 8 else "store_damaged"
            if at == 8 and flipped[8] == 0:
                expected = "store_damaged"
            assert refusal(bytes(flipped)) == expected, (at, bit)


def test_a_later_version_is_not_called_damaged_whatever_else_it_holds() -> None:
    assert refusal(b"SMOLMIX\x1a\x02") == "store_damaged", "too short for anything"
    assert refusal(b"SMOLMIX\x1a\x02\x01anything") == "store_newer"
    assert refusal(record(b"SMOLMIX\x1a\xff" + OWN_BODY[9:])) == "store_newer"


def test_other_programs_and_sizes() -> None:
    assert refusal(b"") == "store_damaged"
    assert refusal(b"SQLite format 3\0" * 10) == "store_foreign"
    assert refusal(OWN_BODY + bytes(MAX_RECORD)) == "store_damaged"


@pytest.mark.parametrize(
    "body",
    [
        b"SMOLMIX\x1a\x00" + OWN_BODY[9:],  # no such version
        b"SMOLMIX\x1a\x01\x00" + OWN_BODY[10:],  # no such locks
        b"SMOLMIX\x1a\x01\x03" + OWN_BODY[10:],
        b"SMOLMIX\x1a\x01\x02" + bytes(10),  # parameters cut
        b"SMOLMIX\x1a\x01\x01" + NONCE + bytes(15),  # no room for the tag
        b"SMOLMIX\x1a\x01\x01" + NONCE[:5],
        # costs that nobody should be made to pay, and none at all
        b"SMOLMIX\x1a\x01\x02" + bytes.fromhex("ffffffff00000003") + LOCKED_BODY[18:],
        b"SMOLMIX\x1a\x01\x02" + bytes.fromhex("00010000ffffffff") + LOCKED_BODY[18:],
        b"SMOLMIX\x1a\x01\x02" + bytes.fromhex("0001000000000000") + LOCKED_BODY[18:],
        b"SMOLMIX\x1a\x01\x02" + bytes.fromhex("0000000700000003") + LOCKED_BODY[18:],
    ],
)
def test_contents_that_no_release_wrote(body: bytes) -> None:
    assert refusal(record(body)) == "store_damaged"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_a_typed_error(data: bytes) -> None:
    for candidate in (data, record(OWN_BODY[:8] + data), record(LOCKED_BODY[:10] + data)):
        try:
            assert Envelope.from_bytes(candidate).to_bytes() == candidate
        except StorageError as error:
            assert error.code in ("store_damaged", "store_foreign", "store_newer")
