"""Wrong lengths, wrong tags, inverses and counters: what the published vectors do not reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.crypto import hashes
from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError
from smolmix_web.rand import SeededRandom

# name, right lengths of the byte arguments (None: any), call
CALLS: list[tuple[str, list[int | None], Callable[..., object]]] = [
    ("x25519", [32, 32], lambda c, a, b: c.x25519(a, b)),
    ("x25519_base", [32], lambda c, a: c.x25519_base(a)),
    ("ed25519_public", [32], lambda c, a: c.ed25519_public(a)),
    ("ed25519_sign", [32, None], lambda c, a, b: c.ed25519_sign(a, b)),
    ("aes128_ctr", [16, 16, None], lambda c, a, b, d: c.aes128_ctr(a, b, d)),
    ("siv_seal", [32, 12, None], lambda c, a, b, d: c.aes256_gcm_siv_seal(a, b, d)),
    ("chacha20", [32, None], lambda c, a, b: c.chacha20(a, b)),
    ("header_secrets", [32, 32], lambda c, a, b: c.header_secrets(a, [b])),
    ("header_secrets_second", [32, 32], lambda c, a, b: c.header_secrets(a, [c.x25519_base(a[:32].ljust(32)), b])),
    ("node_secret", [32, 32], lambda c, a, b: c.node_secret(a, b)),
    ("keystreams", [16, 16], lambda c, a, b: c.keystreams([a, b], 20)),
    ("payload_keys", [16, 16], lambda c, a, b: c.payload_keys([a, b])),
    ("lioness_encrypt", [192, 192], lambda c, a, b: c.lioness_encrypt([a, b], bytes(100))),
    ("lioness_decrypt", [192, 192], lambda c, a, b: c.lioness_decrypt([a, b], bytes(100))),
    ("seal_fragment", [32, 32, None], lambda c, a, b, d: c.seal_fragment(a, b, d)),
    ("open_fragment", [32, 64], lambda c, a, b: c.open_fragment(a, b)),
]


@pytest.mark.parametrize(("name", "lengths", "call"), CALLS, ids=[name for name, _, _ in CALLS])
def test_wrong_lengths(
    crypto: Crypto, rng: SeededRandom, name: str, lengths: list[int | None], call: Callable[..., object]
) -> None:
    good = [rng.bytes(20 if length is None else length) for length in lengths]
    call(crypto, *good)
    for index, length in enumerate(lengths):
        wrong = {0, 1, (length or 0) - 1, (length or 0) + 1, 2 * (length or 0)}
        for size in wrong if length is not None else {0}:
            if size < 0 or (name == "open_fragment" and index == 1 and size >= 32):
                continue
            arguments = [*good]
            arguments[index] = rng.bytes(size)
            if length is None:
                call(crypto, *arguments)  # any length will do, also none at all
                continue
            with pytest.raises(CryptoError) as caught:
                call(crypto, *arguments)
            assert caught.value.code == "bad_length", (index, size)


def test_siv_open_of_anything(crypto: Crypto, rng: SeededRandom) -> None:
    key, nonce = rng.bytes(32), rng.bytes(12)
    for length in (0, 1, 15, 16, 17, 100, 2000):
        with pytest.raises(CryptoError) as caught:
            crypto.aes256_gcm_siv_open(key, nonce, rng.bytes(length))
        assert caught.value.code == "bad_tag"
    sealed = crypto.aes256_gcm_siv_seal(key, nonce, b"text")
    for wrong_key, wrong_nonce in ((rng.bytes(32), nonce), (key, rng.bytes(12))):
        with pytest.raises(CryptoError) as caught:
            crypto.aes256_gcm_siv_open(wrong_key, wrong_nonce, sealed)
        assert caught.value.code == "bad_tag"
    for bad_key, bad_nonce in ((key[:31], nonce), (key[:16], nonce), (key, nonce[:11]), (key, nonce + b"\0")):
        with pytest.raises(CryptoError) as caught:
            crypto.aes256_gcm_siv_open(bad_key, bad_nonce, sealed)
        assert caught.value.code == "bad_length"


def test_a_route_has_one_to_five_hops(crypto: Crypto, rng: SeededRandom) -> None:
    key = crypto.x25519_base(rng.bytes(32))
    for count in (0, 6, 40):
        with pytest.raises(CryptoError) as caught:
            crypto.header_secrets(rng.bytes(32), [key] * count)
        assert caught.value.code == "bad_length"


def test_short_lioness_blocks_are_refused(crypto: Crypto, rng: SeededRandom) -> None:
    keys = [rng.bytes(192)]
    for length in (0, 1, 31, 32):
        for function in (crypto.lioness_encrypt, crypto.lioness_decrypt):
            with pytest.raises(CryptoError) as caught:
                function(keys, rng.bytes(length))
            assert caught.value.code == "bad_length"
    block = rng.bytes(33)
    assert crypto.lioness_decrypt(keys, crypto.lioness_encrypt(keys, block)) == block


def test_long_blake2b_keys_are_refused(crypto: Crypto) -> None:
    assert crypto.blake2b(bytes(64), b"") != crypto.blake2b(bytes(63), b"x")
    with pytest.raises(CryptoError) as caught:
        crypto.blake2b(bytes(65), b"")
    assert caught.value.code == "bad_length"


def test_the_ctr_counter_is_128_bits_wide(crypto: Crypto, rng: SeededRandom) -> None:
    """The keystream after a carry continues as if started there, from each byte boundary of the counter."""
    key = rng.bytes(16)
    for width in range(1, 17):
        start = (1 << 8 * width) - 2
        stream = crypto.aes128_ctr(key, start.to_bytes(16, "big"), bytes(64))
        assert stream[32:] == crypto.aes128_ctr(key, ((start + 2) % 2**128).to_bytes(16, "big"), bytes(32))


def test_keystreams_are_ctr_of_zeros(crypto: Crypto, rng: SeededRandom) -> None:
    keys = [rng.bytes(16) for _ in range(5)]
    for length in (0, 1, 15, 16, 17, 360):
        assert crypto.keystreams(keys, length) == [crypto.aes128_ctr(key, bytes(16), bytes(length)) for key in keys]
    assert crypto.keystreams([], 360) == []


def test_lioness_layers_are_single_layers_in_turn(crypto: Crypto, rng: SeededRandom) -> None:
    keys = [rng.bytes(192) for _ in range(4)]
    for length in (33, 38, 64, 65, 2065):
        block = rng.bytes(length)
        layered = block
        for key in reversed(keys):
            layered = crypto.lioness_encrypt([key], layered)
        assert crypto.lioness_encrypt(keys, block) == layered
        assert crypto.lioness_decrypt(keys, layered) == block
        assert crypto.lioness_encrypt([], block) == block


def test_inputs_may_be_larger_than_the_usual(crypto: Crypto, rng: SeededRandom) -> None:
    data = rng.bytes(200_000)
    key = rng.bytes(32)
    assert crypto.chacha20(key, crypto.chacha20(key, data)) == data
    sealed = crypto.aes256_gcm_siv_seal(key, bytes(12), data)
    assert crypto.aes256_gcm_siv_open(key, bytes(12), sealed) == data
    assert crypto.lioness_decrypt([bytes(192)], crypto.lioness_encrypt([bytes(192)], data)) == data
    signature = crypto.ed25519_sign(key, data)
    assert crypto.ed25519_verify(crypto.ed25519_public(key), data, signature)
    assert crypto.keystreams([key[:16]], 100_000)[0] == crypto.aes128_ctr(key[:16], bytes(16), bytes(100_000))
    assert crypto.x25519(key, crypto.x25519_base(key)) == crypto.x25519(key, crypto.x25519_base(key))


@given(data=st.binary(max_size=300), seed=st.integers(0, 2**32))
def test_fragments_open_as_sealed(crypto: Crypto, data: bytes, seed: int) -> None:
    rng = SeededRandom(seed)
    private, ephemeral = rng.bytes(32), rng.bytes(32)
    sealed = crypto.seal_fragment(ephemeral, crypto.x25519_base(private), data)
    assert len(sealed) == 32 + len(data)
    assert crypto.open_fragment(private, sealed) == data
    shared = crypto.x25519(private, sealed[:32])
    key = hashes.hkdf_blake3(crypto.blake3, b"", shared, b"", 16)
    assert sealed[32:] == crypto.aes128_ctr(key, bytes(16), data)


@given(plaintext=st.binary(max_size=200), position=st.integers(min_value=0))
def test_a_changed_frame_does_not_open(crypto: Crypto, plaintext: bytes, position: int) -> None:
    key, nonce = bytes(range(32)), bytes(range(12))
    sealed = bytearray(crypto.aes256_gcm_siv_seal(key, nonce, plaintext))
    assert crypto.aes256_gcm_siv_open(key, nonce, bytes(sealed)) == plaintext
    sealed[position % len(sealed)] ^= 1 << position % 8
    with pytest.raises(CryptoError):
        crypto.aes256_gcm_siv_open(key, nonce, bytes(sealed))


def test_blake2b_is_the_keyed_mode(crypto: Crypto) -> None:
    import hashlib

    for size in (0, 1, 16, 32, 64):
        key = bytes(range(size))
        assert crypto.blake2b(key, b"data") == hashlib.blake2b(b"data", key=key, digest_size=32).digest()
