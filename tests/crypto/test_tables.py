"""Keys that come often get fixed-base tables in the browser: nothing but the time may change.

The plain chain of single X25519 calls, which never uses a table, is what everything is compared with. Under a provider
without tables the same holds trivially; that tables are really made and used is asserted where the module tells.
"""

from __future__ import annotations

import pytest

from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError
from smolmix_web.rand import SeededRandom
from tests.crypto.test_header_secrets import plain_chain

P = 2**255 - 19
ORDER_4 = (1).to_bytes(32, "little")
# Adding the point of order 2 turns u into 1/u.
BASE_AND_ORDER_2 = pow(9, -1, P).to_bytes(32, "little")
TURNS = 40  # enough for a table of each of four keys


def table_count() -> int | None:
    """Tables in the module of this page; None where there is no such module."""
    try:
        from smolmix_web.crypto.browser import _exchange

        return int(_exchange().js.tableCount())
    except ImportError:
        return None


def test_keys_that_come_again_and_again(crypto: Crypto, rng: SeededRandom) -> None:
    before = table_count()
    keys = [crypto.x25519_base(rng.bytes(32)) for _ in range(3)] + [BASE_AND_ORDER_2]
    for _ in range(TURNS):
        initial = rng.bytes(32)
        assert crypto.header_secrets(initial, keys) == plain_chain(crypto, initial, keys)
    for initial in (bytes(32), b"\xff" * 32):
        assert crypto.header_secrets(initial, keys)[1] == plain_chain(crypto, initial, keys)[1]
    assert before is None or table_count() == before + len(keys), "each of them has its table"


def test_other_encodings_have_tables_too(crypto: Crypto, rng: SeededRandom) -> None:
    plain = crypto.x25519_base(rng.bytes(32))
    for key in (plain[:31] + bytes((plain[31] | 0x80,)), (9 + P).to_bytes(32, "little")):
        before = table_count()
        for _ in range(TURNS):
            initial = rng.bytes(32)
            assert crypto.header_secrets(initial, [key])[1] == plain_chain(crypto, initial, [key])[1]
        assert before is None or table_count() == before + 1


def test_keys_of_the_twist_and_of_low_order_have_none(crypto: Crypto, rng: SeededRandom) -> None:
    twist = next(u.to_bytes(32, "little") for u in range(2, 99) if pow(u * (u * u + 486662 * u + 1), P // 2, P) != 1)
    before = table_count()
    for _ in range(TURNS):
        initial = rng.bytes(32)
        assert crypto.header_secrets(initial, [twist])[1] == plain_chain(crypto, initial, [twist])[1]
    assert table_count() == before
    for key in (ORDER_4, bytes(32)):
        for _ in range(TURNS):
            with pytest.raises(CryptoError) as caught:
                crypto.header_secrets(rng.bytes(32), [key])
            assert caught.value.code == "low_order_point"
            with pytest.raises(CryptoError) as caught:
                crypto.seal_fragment(rng.bytes(32), key, b"text")
            assert caught.value.code == "low_order_point"


def test_a_peer_that_comes_again_and_again(crypto: Crypto, rng: SeededRandom) -> None:
    secret = rng.bytes(32)
    peer = crypto.x25519_base(secret)
    for _ in range(TURNS):
        text = rng.bytes(50)
        assert crypto.open_fragment(secret, crypto.seal_fragment(rng.bytes(32), peer, text)) == text


def test_the_base_point_keeps_its_own_table(crypto: Crypto, rng: SeededRandom) -> None:
    seed = rng.bytes(32)
    expected = crypto.x25519_base(seed), crypto.ed25519_public(seed), crypto.ed25519_sign(seed, b"text")
    key = crypto.x25519_base(rng.bytes(32))
    for _ in range(TURNS):
        crypto.header_secrets(rng.bytes(32), [key])
        assert (crypto.x25519_base(seed), crypto.ed25519_public(seed), crypto.ed25519_sign(seed, b"text")) == expected
        assert crypto.ed25519_verify(expected[1], b"text", expected[2])
        assert crypto.x25519(seed, (9).to_bytes(32, "little")) == expected[0]


def test_more_keys_than_tables(crypto: Crypto) -> None:
    """The number of tables is bounded, and what lost its table or never got one works on."""
    rng = SeededRandom("tables")
    keys = [crypto.x25519_base(rng.bytes(32)) for _ in range(20)]
    for turn in range(3 * TURNS):
        initial = rng.bytes(32)
        route = [keys[(turn + step) % len(keys)] for step in range(4)]
        if turn % 10:
            crypto.header_secrets(initial, route)
        else:
            assert crypto.header_secrets(initial, route)[1] == plain_chain(crypto, initial, route)[1]
    count = table_count()
    assert count is None or 0 < count <= 256
