"""`InsecureFastCrypto`: the sizes, inputs and refusals of real cryptography, cheap. ONLY FOR SIMULATIONS.

It protects nothing. Key agreement is multiplication modulo a prime, anybody can forge a signature or read a secret
from a public key. What it keeps is what the protocols can notice: both sides derive the same keys, wrong keys give
noise, any changed bit breaks a tag, a signature or a payload, and every wrong length raises the same `CryptoError`.
Client and network of one simulation must use the same provider.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

from smolmix_web.crypto import hashes
from smolmix_web.crypto.onion import OnionFromPrimitives
from smolmix_web.crypto.pyca import PycaCrypto
from smolmix_web.errors import CryptoError

_P = (1 << 255) - 19
_MASK = (1 << 255) - 1
_BASE = 9


def _scalar(secret: bytes) -> int:
    if len(secret) != 32:
        raise CryptoError("x25519: a scalar has 32 bytes", code="bad_length")
    return (int.from_bytes(secret, "little") & (1 << 254) - 8) | 1 << 254


def _point(data: bytes) -> int:
    if len(data) != 32:
        raise CryptoError("x25519: a point has 32 bytes", code="bad_length")
    value = (int.from_bytes(data, "little") & _MASK) % _P
    if value in (0, 1, _P - 1):
        raise CryptoError("x25519: a point of low order", code="low_order_point")
    return value


def _xor_stream(seed: bytes, data: bytes) -> bytes:
    """XOR with a stream that is one 64-byte digest over and over."""
    size = len(data)
    stream = hashlib.blake2b(seed).digest() * (size // 64 + 1)
    return (int.from_bytes(data, "little") ^ int.from_bytes(stream[:size], "little")).to_bytes(size, "little")


def _mix(half: bytes, key: bytes, data: bytes) -> bytes:
    digest = hashlib.blake2b(data, key=key, digest_size=32).digest()
    return (int.from_bytes(half, "little") ^ int.from_bytes(digest, "little")).to_bytes(32, "little")


@functools.lru_cache(maxsize=256)
def _ed25519_public(seed: bytes) -> bytes:
    return PycaCrypto().ed25519_public(seed)


def _expanded(shared: int) -> bytes:
    return hashlib.shake_128(shared.to_bytes(32, "little")).digest(hashes.EXPANDED_SECRET_LENGTH)


class InsecureFastCrypto(OnionFromPrimitives):
    """See the module; methods as in `crypto.provider.Crypto`."""

    name = "insecure-fast"

    # -- curves

    def x25519(self, scalar: bytes, point: bytes) -> bytes:
        return (_scalar(scalar) * _point(point) % _P).to_bytes(32, "little")

    def x25519_base(self, scalar: bytes) -> bytes:
        return (_scalar(scalar) * _BASE % _P).to_bytes(32, "little")

    def ed25519_public(self, seed: bytes) -> bytes:
        """The real one: parsers refuse identities that are no point of the curve."""
        return _ed25519_public(seed)

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes:
        return hashlib.blake2b(self.ed25519_public(seed) + message).digest()

    def ed25519_verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        return len(public_key) == 32 and signature == hashlib.blake2b(public_key + message).digest()

    # -- ciphers and hashes

    def aes128_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        if len(key) != 16 or len(iv) != 16:
            raise CryptoError("aes128_ctr: key and iv are 16 bytes each", code="bad_length")
        return _xor_stream(key + iv, data)

    def aes256_gcm_siv_seal(self, key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
        self._check_siv(key, nonce)
        tag = hashlib.blake2b(nonce + plaintext, key=key, digest_size=16).digest()
        return _xor_stream(key + nonce, plaintext) + tag

    def aes256_gcm_siv_open(self, key: bytes, nonce: bytes, sealed: bytes) -> bytes:
        self._check_siv(key, nonce)
        plaintext = _xor_stream(key + nonce, sealed[:-16])
        if len(sealed) < 16 or hashlib.blake2b(nonce + plaintext, key=key, digest_size=16).digest() != sealed[-16:]:
            raise CryptoError("aes256_gcm_siv: the tag does not check", code="bad_tag")
        return plaintext

    @staticmethod
    def _check_siv(key: bytes, nonce: bytes) -> None:
        if len(key) != 32 or len(nonce) != 12:
            raise CryptoError("aes256_gcm_siv: key is 32 bytes, nonce 12", code="bad_length")

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        if len(key) != 32:
            raise CryptoError("chacha20: key is 32 bytes", code="bad_length")
        return _xor_stream(key, data)

    def blake2b(self, key: bytes, data: bytes) -> bytes:
        return hashes.blake2b_keyed(key, data)

    def blake3(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, digest_size=32).digest()

    # -- batches

    def header_secrets(self, initial_secret: bytes, public_keys: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        hashes.check_route(initial_secret, public_keys)
        factor = _scalar(initial_secret)
        alpha = (factor * _BASE % _P).to_bytes(32, "little")
        secrets = []
        for key in public_keys:
            secret = _expanded(factor * _point(key) % _P)
            secrets.append(secret)
            factor = factor * _scalar(secret[224:256]) % _P
        return alpha, secrets

    def node_secret(self, private_key: bytes, alpha: bytes) -> bytes:
        return _expanded(_scalar(private_key) * _point(alpha) % _P)

    def keystreams(self, keys: Sequence[bytes], length: int) -> list[bytes]:
        hashes.check_keystream_keys(keys)
        blocks = length // 64 + 1
        return [(hashlib.blake2b(key + bytes(16)).digest() * blocks)[:length] for key in keys]

    def payload_keys(self, seeds: Sequence[bytes]) -> list[bytes]:
        hashes.check_seeds(seeds)
        return [hashlib.shake_128(seed).digest(hashes.PAYLOAD_KEY_LENGTH) for seed in seeds]

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        hashes.check_lioness(keys, block)
        left, right = block[:32], block[32:]
        for key in reversed(keys):
            left = _mix(left, key[0:64], right)
            right = _xor_stream(left + key[64:128], right)
        return left + right

    def lioness_decrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        hashes.check_lioness(keys, block)
        left, right = block[:32], block[32:]
        for key in keys:
            right = _xor_stream(left + key[64:128], right)
            left = _mix(left, key[0:64], right)
        return left + right

    def seal_fragment(self, ephemeral_secret: bytes, recipient_key: bytes, plaintext: bytes) -> bytes:
        shared = self.x25519(ephemeral_secret, recipient_key)
        return self.x25519_base(ephemeral_secret) + _xor_stream(shared, plaintext)

    def open_fragment(self, private_key: bytes, sealed: bytes) -> bytes:
        if len(sealed) < 32:
            raise CryptoError("sealed fragment: shorter than its 32-byte key", code="bad_length")
        return _xor_stream(self.x25519(private_key, sealed[:32]), sealed[32:])
