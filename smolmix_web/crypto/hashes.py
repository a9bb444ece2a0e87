"""Hash constructions on hashlib and one BLAKE3 function, and input checks: the same code under both providers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from ..errors import CryptoError

# Fixed inputs of the Sphinx key derivations (sphinx 2.4, 2.5).
EXPANSION_INFO = b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton topothetisw kai tha kinisw thn gh."
PAYLOAD_KEY_SALT = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT"
PAYLOAD_KEY_INFO = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO"
EXPANDED_SECRET_LENGTH = 288
PAYLOAD_KEY_LENGTH = 192
PAYLOAD_SEED_LENGTH = 16
MAX_HOPS = 5


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
    if len(key) > 64:
        raise CryptoError("blake2b: a key has at most 64 bytes", code="bad_length")
    return hashlib.blake2b(data, key=key, digest_size=32).digest()


def check_route(initial_secret: bytes, public_keys: Sequence[bytes]) -> None:
    """The inputs of `header_secrets`."""
    if len(initial_secret) != 32 or any(len(key) != 32 for key in public_keys):
        raise CryptoError("header_secrets: secret and keys are 32 bytes each", code="bad_length")
    if not 1 <= len(public_keys) <= MAX_HOPS:
        raise CryptoError(f"header_secrets: a route has 1 to {MAX_HOPS} hops", code="bad_length")


def check_seeds(seeds: Sequence[bytes]) -> None:
    """The inputs of `payload_keys`."""
    if len(seeds) > MAX_HOPS or any(len(seed) != 16 for seed in seeds):
        raise CryptoError(f"payload_keys: at most {MAX_HOPS} seeds of 16 bytes each", code="bad_length")


def check_keystream_keys(keys: Sequence[bytes]) -> None:
    """The inputs of `keystreams`."""
    if any(len(key) != 16 for key in keys):
        raise CryptoError("keystreams: a key has 16 bytes", code="bad_length")


def check_lioness(keys: Sequence[bytes], block: bytes) -> None:
    """The inputs of `lioness_encrypt` and `lioness_decrypt`."""
    if len(block) < 33:
        raise CryptoError("lioness: a block has at least 33 bytes", code="bad_length")
    if any(len(key) != PAYLOAD_KEY_LENGTH for key in keys):
        raise CryptoError("lioness: a key has 192 bytes", code="bad_length")


_P = (1 << 255) - 19
# The y coordinates of the eight points whose order divides 8.
_TORSION_Y = {
    0,
    1,
    _P - 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
}


def ed25519_point_is_strict(encoded: bytes) -> bool:
    """Whether a 32-byte Ed25519 point has y below p and is none of the small-order points (libsodium's rule)."""
    y = int.from_bytes(encoded, "little") & ((1 << 255) - 1)
    return y < _P and y not in _TORSION_Y
