"""Hash constructions built on hashlib and one BLAKE3 function: the same code under both providers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

# Fixed inputs of the Sphinx key derivations (sphinx 2.4, 2.5).
EXPANSION_INFO = b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton topothetisw kai tha kinisw thn gh."
PAYLOAD_KEY_SALT = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT"
PAYLOAD_KEY_INFO = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO"
EXPANDED_SECRET_LENGTH = 288
PAYLOAD_KEY_LENGTH = 192


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, data, "sha256")


def hkdf_sha256(salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 HKDF-SHA256; `length` at most 8160."""
    prk = hmac_sha256(salt, ikm)
    block, blocks = b"", []
    for counter in range(1, (length + 31) // 32 + 1):
        block = hmac_sha256(prk, block + info + bytes((counter,)))
        blocks.append(block)
    return b"".join(blocks)[:length]


def expand_secret(shared: bytes) -> bytes:
    """The 288-byte expanded shared secret of a hop (sphinx 2.4)."""
    return hkdf_sha256(b"", shared, EXPANSION_INFO, EXPANDED_SECRET_LENGTH)


def payload_key(seed: bytes) -> bytes:
    """The 192-byte payload key of a 16-byte seed (sphinx 2.5)."""
    return hkdf_sha256(PAYLOAD_KEY_SALT, seed, PAYLOAD_KEY_INFO, PAYLOAD_KEY_LENGTH)


def hmac_blake3(blake3: Callable[[bytes], bytes], key: bytes, data: bytes) -> bytes:
    """RFC 2104 around plain BLAKE3: block 64, output 32 (sphinx 6.1). Not BLAKE3's keyed mode."""
    if len(key) > 64:
        key = blake3(key)
    block = int.from_bytes(key.ljust(64, b"\0"), "big")
    inner = (block ^ int.from_bytes(b"\x36" * 64, "big")).to_bytes(64, "big")
    outer = (block ^ int.from_bytes(b"\x5c" * 64, "big")).to_bytes(64, "big")
    return blake3(outer + blake3(inner + data))


def hkdf_blake3(blake3: Callable[[bytes], bytes], salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 HKDF over `hmac_blake3`; an empty salt stands for none."""
    prk = hmac_blake3(blake3, salt, ikm)
    block, blocks = b"", []
    for counter in range(1, (length + 31) // 32 + 1):
        block = hmac_blake3(blake3, prk, block + info + bytes((counter,)))
        blocks.append(block)
    return b"".join(blocks)[:length]


def blake2b_keyed(key: bytes, data: bytes) -> bytes:
    """BLAKE2b keyed with up to 64 bytes, 32-byte digest."""
    return hashlib.blake2b(data, key=key, digest_size=32).digest()
