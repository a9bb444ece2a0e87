"""The JavaScript half alone: the choice of the ladder scalar, and the buffer it shares with Python."""

from __future__ import annotations

import pytest

from smolmix_web.crypto.browser import BrowserCrypto, _exchange
from smolmix_web.rand import SeededRandom

pytest.importorskip("smolmix_crypto", reason="the module is part of a page: needs Pyodide", exc_type=ImportError)

L = 2**252 + 27742317777372353535851937790883648493


def ladder_scalar(factor: int) -> int | None:
    """The clamped scalar for 8 * factor, or None where neither sign has one."""
    exchange = _exchange()
    exchange.send(factor.to_bytes(32, "little"))
    if exchange.js.ladderScalar() != 0:
        return None
    return int.from_bytes(exchange.take(0, 32), "little")


def test_ladder_scalar_is_plus_or_minus_the_product() -> None:
    rng = SeededRandom("ladder")
    signs = set()
    for factor in [rng.below(L) for _ in range(300)] + [2**251, 2**252 - 1, 2**251 - 1, L - 2**252 + 1]:
        scalar = ladder_scalar(factor)
        assert scalar is not None
        assert scalar % 8 == 0 and scalar >> 254 == 1, "a clamped scalar"
        assert scalar // 8 in (factor, L - factor)
        signs.add(scalar // 8 == factor)
    assert signs == {True, False}


def test_ladder_scalar_refuses_what_does_not_fit() -> None:
    """2^252 .. l and its mirror: the chain takes over."""
    for factor in (2**252, 2**252 + 1, L - 1, 1, 2, L - 2**252, L - 2**252 - 1):
        assert ladder_scalar(factor) is None, hex(factor)


def test_two_providers_share_the_module() -> None:
    first, second = BrowserCrypto(), BrowserCrypto()
    secret = bytes(range(32))
    public = first.x25519_base(secret)
    assert second.x25519_base(secret) == public
    assert first.x25519(secret, public) == second.x25519(secret, public)


def test_the_buffer_survives_growth_of_the_memory() -> None:
    """When Python's memory grows, JavaScript's view of it is detached and has to be taken again."""
    crypto = BrowserCrypto()
    before = crypto.x25519_base(bytes(32))
    held = []
    for _ in range(6):
        held.append(bytearray(16 << 20))
        assert crypto.x25519_base(bytes(32)) == before
    assert len(held) == 6


def test_large_inputs_do_not_keep_a_large_buffer() -> None:
    crypto = BrowserCrypto()
    size = len(_exchange()._room)
    data = bytes(1 << 20)
    digest = crypto.blake3(data)
    assert len(_exchange()._room) >= len(data)
    assert crypto.blake3(b"") == bytes.fromhex("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
    assert len(_exchange()._room) == size
    assert crypto.blake3(data) == digest


def test_inputs_are_wiped_from_the_buffer() -> None:
    crypto = BrowserCrypto()
    room = _exchange()._room
    key = b"\xa5" * 32
    calls = {
        32: lambda: crypto.x25519(key, key),
        48: lambda: crypto.aes128_ctr(key[:16], key[:16], b"\xa5" * 16),
        1000: lambda: crypto.chacha20(key, b"\xa5" * 1000),
        16: lambda: crypto.aes256_gcm_siv_seal(key, key[:12], b""),
        288: lambda: crypto.node_secret(key, key),
        233: lambda: crypto.lioness_encrypt([key * 6], b"\xa5" * 233),
        72: lambda: crypto.seal_fragment(key, key, b"\xa5" * 40),
    }
    for outputs, call in calls.items():
        room[:2000] = bytes(2000)
        call()
        assert room[outputs:2000] == bytes(2000 - outputs)
