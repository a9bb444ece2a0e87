"""The plain encoding of the stored identity, and what becomes of it when a gateway takes us."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import StorageError
from smolmix_web.mixnet.keys import ClientKeys
from smolmix_web.storage.identity import MAX_REGISTRATIONS, MAX_URL, Registration, StoredIdentity

KEYS = ClientKeys(bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 16)
FIRST = Registration(bytes([4]) * 32, bytes([5]) * 32, "wss://gateway.test:9001/", 1_800_000_000, 1_800_000_100)
SECOND = Registration(bytes([6]) * 32, bytes([7]) * 32, "ws://10.0.0.1:9000/", 1_700_000_000)
STORED = StoredIdentity(KEYS, (FIRST, SECOND))

BYTES = (
    bytes([1]) * 32
    + bytes([2]) * 32
    + bytes([3]) * 16
    + b"\x02"
    + bytes([4]) * 32
    + bytes([5]) * 32
    + bytes.fromhex("000000006b49d200000000006b49d264")
    + b"\x00\x18wss://gateway.test:9001/"
    + bytes([6]) * 32
    + bytes([7]) * 32
    + bytes.fromhex("000000006553f1000000000000000000")
    + b"\x00\x13ws://10.0.0.1:9000/"
)

registrations = st.builds(
    Registration,
    gateway=st.binary(min_size=32, max_size=32),
    shared_key=st.binary(min_size=32, max_size=32),
    url=st.text(st.characters(exclude_categories=("Cs",)), max_size=80),
    registered_at=st.integers(0, 2**64 - 1),
    authenticated_at=st.integers(0, 2**64 - 1),
)


def test_vector() -> None:
    assert STORED.to_bytes() == BYTES
    assert StoredIdentity.from_bytes(BYTES) == STORED


@given(st.lists(registrations, max_size=MAX_REGISTRATIONS, unique_by=lambda one: one.gateway))
def test_what_is_written_is_read(given_registrations: list[Registration]) -> None:
    stored = StoredIdentity(KEYS, tuple(given_registrations))
    assert StoredIdentity.from_bytes(stored.to_bytes()) == stored


def test_truncated_at_every_length_and_with_bytes_too_many() -> None:
    for length in range(len(BYTES)):
        with pytest.raises(StorageError) as raised:
            StoredIdentity.from_bytes(BYTES[:length])
        assert raised.value.code == "store_damaged" and "offset" in raised.value.message
    for more in (b"\0", bytes(100)):
        with pytest.raises(StorageError):
            StoredIdentity.from_bytes(BYTES + more)


@given(st.binary(max_size=400))
def test_any_bytes_are_an_identity_or_a_typed_error(data: bytes) -> None:
    try:
        assert StoredIdentity.from_bytes(data).to_bytes() == data
    except StorageError as error:
        assert error.code == "store_damaged"


def test_refused_contents() -> None:
    head = BYTES[:80]
    for body in (
        bytes([MAX_REGISTRATIONS + 1]),
        b"\x01" + bytes(80) + b"\x00\x02\xff\xfe",  # no UTF-8
        b"\x01" + bytes(80) + (MAX_URL + 1).to_bytes(2, "big") + b"x" * (MAX_URL + 1),
        b"\x02" + (bytes(80) + b"\x00\x01x") * 2,  # the same gateway twice
    ):
        with pytest.raises(StorageError):
            StoredIdentity.from_bytes(head + body)
    with pytest.raises(StorageError):
        StoredIdentity(KEYS, (replace(FIRST, url="x" * (MAX_URL + 1)),)).to_bytes()


def test_no_secret_in_a_repr() -> None:
    text = repr(STORED)
    for secret in (KEYS.identity_seed, KEYS.encryption_secret, KEYS.ack_key, FIRST.shared_key):
        assert repr(secret) not in text and secret.hex() not in text


def test_the_last_gateway_comes_first() -> None:
    shared = STORED.shared_keys
    updated = STORED.updated(SECOND.gateway, SECOND.url, shared, 1_800_000_500, 1_900_000_000.7)
    assert updated.last_gateway == SECOND.gateway
    assert updated.registrations == (replace(SECOND, authenticated_at=1_800_000_500), FIRST)
    assert updated.timestamps == {SECOND.gateway: 1_800_000_500, FIRST.gateway: FIRST.authenticated_at}
    assert updated.keys is KEYS


def test_nothing_new_is_the_same_identity() -> None:
    again = STORED.updated(FIRST.gateway, FIRST.url, STORED.shared_keys, FIRST.authenticated_at, 1_900_000_000)
    assert again == STORED


def test_a_new_key_is_a_new_registration_and_lost_ones_go() -> None:
    """The gateway registered us anew; the other one's key was dropped meanwhile."""
    fresh = bytes([9]) * 32
    updated = STORED.updated(FIRST.gateway, FIRST.url, {FIRST.gateway: fresh}, 0, 1_900_000_000.7)
    assert updated.registrations == (Registration(FIRST.gateway, fresh, FIRST.url, 1_900_000_000, 0),)


def test_only_so_many_are_kept_and_the_oldest_go() -> None:
    stored, shared = StoredIdentity(KEYS), {}
    for number in range(MAX_REGISTRATIONS + 4):
        gateway = bytes([number]) * 32
        shared[gateway] = bytes([number + 100]) * 32
        stored = stored.updated(gateway, f"ws://10.0.0.{number}:9000/", shared, number, 1_800_000_000)
    assert [one.gateway[0] for one in stored.registrations] == list(range(MAX_REGISTRATIONS + 3, 3, -1))
