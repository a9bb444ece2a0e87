"""Every primitive of this runtime's provider against published values (tests/vectors/crypto.json names the sources)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from smolmix_web.crypto import hashes
from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "crypto.json").read_text())
unhex = bytes.fromhex


@pytest.mark.parametrize("case", VECTORS["x25519"]["multiply"])
def test_x25519(crypto: Crypto, case: dict[str, str]) -> None:
    assert crypto.x25519(unhex(case["scalar"]), unhex(case["point"])).hex() == case["result"]


def test_x25519_iterated(crypto: Crypto) -> None:
    scalar = point = bytes((9,)).ljust(32, b"\0")
    for count in range(1, 1001):
        scalar, point = crypto.x25519(scalar, point), scalar
        if str(count) in VECTORS["x25519"]["iterated"]:
            assert scalar.hex() == VECTORS["x25519"]["iterated"][str(count)], count


def test_x25519_exchange(crypto: Crypto) -> None:
    values = {name: unhex(value) for name, value in VECTORS["x25519"]["exchange"].items()}
    assert crypto.x25519_base(values["alice_secret"]) == values["alice_public"]
    assert crypto.x25519_base(values["bob_secret"]) == values["bob_public"]
    assert crypto.x25519(values["alice_secret"], values["bob_public"]) == values["shared"]
    assert crypto.x25519(values["bob_secret"], values["alice_public"]) == values["shared"]


@pytest.mark.parametrize("case", VECTORS["ed25519"]["cases"])
def test_ed25519(crypto: Crypto, case: dict[str, str]) -> None:
    seed, public, message, signature = (unhex(case[name]) for name in ("seed", "public", "message", "signature"))
    assert crypto.ed25519_public(seed) == public
    assert crypto.ed25519_sign(seed, message) == signature
    assert crypto.ed25519_verify(public, message, signature)


@pytest.mark.parametrize("case", VECTORS["aes128_ctr"]["cases"])
def test_aes128_ctr(crypto: Crypto, case: dict[str, str]) -> None:
    key, iv, plaintext, ciphertext = (unhex(case[name]) for name in ("key", "iv", "plaintext", "ciphertext"))
    assert crypto.aes128_ctr(key, iv, plaintext) == ciphertext
    assert crypto.aes128_ctr(key, iv, ciphertext) == plaintext


@pytest.mark.parametrize("case", VECTORS["aes256_gcm_siv"]["cases"])
def test_aes256_gcm_siv(crypto: Crypto, case: dict[str, str]) -> None:
    key, nonce, plaintext, sealed = (unhex(case[name]) for name in ("key", "nonce", "plaintext", "sealed"))
    assert crypto.aes256_gcm_siv_seal(key, nonce, plaintext) == sealed
    assert crypto.aes256_gcm_siv_open(key, nonce, sealed) == plaintext
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(CryptoError) as caught:
            crypto.aes256_gcm_siv_open(key, nonce, bytes(changed))
        assert caught.value.code == "bad_tag"


@pytest.mark.parametrize("case", VECTORS["chacha20"]["cases"])
def test_chacha20(crypto: Crypto, case: dict[str, Any]) -> None:
    start = 64 * case["counter"]
    assert crypto.chacha20(unhex(case["key"]), bytes(start + 64))[start:].hex() == case["block"]


@pytest.mark.parametrize("case", VECTORS["blake3"]["cases"])
def test_blake3(crypto: Crypto, case: dict[str, Any]) -> None:
    assert crypto.blake3(bytes(i % 251 for i in range(case["length"]))).hex() == case["digest"]


@pytest.mark.parametrize("case", VECTORS["hmac_sha256"]["cases"])
def test_hmac_sha256(case: dict[str, str]) -> None:
    mac = hashes.hmac_sha256(unhex(case["key"]), unhex(case["data"]))
    assert len(mac) == 32
    assert mac.hex().startswith(case["mac"])


@pytest.mark.parametrize("case", VECTORS["hkdf_sha256"]["cases"])
def test_hkdf_sha256(case: dict[str, str]) -> None:
    ikm, salt, info, okm = (unhex(case[name]) for name in ("ikm", "salt", "info", "okm"))
    assert hashes.hkdf_sha256(salt, ikm, info, len(okm)) == okm


def test_blake2b_of_this_hashlib() -> None:
    assert hashlib.blake2b(b"abc").hexdigest() == VECTORS["blake2b"]["abc"]


def test_blake2b_self_test(crypto: Crypto) -> None:
    """RFC 7693 appendix E; its 32-byte digests come from the provider, the other lengths from hashlib."""

    def sequence(length: int, seed: int) -> bytes:
        a, b, out = 0xDEAD4BAD * seed & 0xFFFFFFFF, 1, bytearray()
        for _ in range(length):
            a, b = b, (a + b) & 0xFFFFFFFF
            out.append(b >> 24)
        return bytes(out)

    def blake2b(key: bytes, data: bytes, size: int) -> bytes:
        if size == 32:
            return crypto.blake2b(key, data)
        return hashlib.blake2b(data, key=key, digest_size=size).digest()

    total = hashlib.blake2b(digest_size=32)
    for size in (20, 32, 48, 64):
        for length in (0, 3, 128, 129, 255, 1024):
            data = sequence(length, length)
            total.update(blake2b(b"", data, size))
            total.update(blake2b(sequence(size, size), data, size))
    assert total.hexdigest() == VECTORS["blake2b"]["self_test"]


# -- constructions of the packet layer, from tests/vectors/nym.json ------------------------------------


def test_expanded_secret(crypto: Crypto, nym_vectors: dict[str, Any]) -> None:
    vector = nym_vectors["sphinx"]["expanded_shared_secret"]
    keystream = crypto.chacha20(unhex(vector["chacha20rng_seed"]), bytes(64))
    public = crypto.x25519_base(keystream[32:])
    secret = crypto.node_secret(keystream[:32], public)
    assert len(secret) == 288
    assert secret[:16].hex() == vector["stream_cipher_key"]
    assert secret[16:32].hex() == vector["header_integrity_hmac_key"]
    assert secret[32:224].hex() == vector["full_payload_key_192"]
    assert secret[224:256].hex() == vector["blinding_factor"]


def test_lioness(crypto: Crypto, nym_vectors: dict[str, Any]) -> None:
    vector = nym_vectors["sphinx"]["lioness_chacha20_blake2b"]
    key, plain, sealed = (unhex(vector[name]) for name in ("key", "input", "output"))
    assert crypto.lioness_encrypt([key], plain) == sealed
    assert crypto.lioness_decrypt([key], sealed) == plain


def test_payload_key(crypto: Crypto) -> None:
    (key,) = crypto.payload_keys([bytes(16)])
    assert key.hex().startswith("602ce44c3069f98f348c22a84a66ec17")
    assert hashlib.sha256(key).hexdigest() == "3dd25ee361a3da9780396501df93c0bae06c143eb54686523f01d106e8827c59"


def test_hmac_and_hkdf_blake3(crypto: Crypto, nym_vectors: dict[str, Any]) -> None:
    for key, message, mac in nym_vectors["sphinx"]["hmac_blake3"]["cases"]:
        assert hashes.hmac_blake3(crypto.blake3, unhex(key), unhex(message)).hex() == mac
    for ikm, salt, info, okm in nym_vectors["sphinx"]["hkdf_blake3"]["cases"]:
        length = len(okm) // 2
        assert hashes.hkdf_blake3(crypto.blake3, unhex(salt), unhex(ikm), info.encode(), length).hex() == okm


def test_fragment_key(crypto: Crypto, nym_vectors: dict[str, Any]) -> None:
    """The end-to-end key of sphinx.md 13, seen through both directions of the fragment layer."""
    first, second, _ = nym_vectors["sphinx"]["header_test_keys"]["nodes"]
    sealed = crypto.seal_fragment(unhex(first["secret"]), unhex(second["public"]), bytes(40))
    assert sealed[:32] == crypto.x25519_base(unhex(first["secret"]))
    assert sealed[32:] == crypto.aes128_ctr(unhex("38eabfa47c59de847fcaeda378047f69"), bytes(16), bytes(40))
    assert crypto.open_fragment(unhex(second["secret"]), sealed) == bytes(40)
