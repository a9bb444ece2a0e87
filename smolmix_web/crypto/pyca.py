"""Crypto provider on the package `cryptography`: CPython, and Pyodide where its distribution has that wheel.

X25519 comes from PyNaCl, whose libsodium multiplies raw bytes: OpenSSL derives the public key whenever a secret is
loaded, which doubles the cost of a secret that is used once. BLAKE3 comes from the package `blake3`. Where these are
missing, others may be given (a browser has both in JavaScript).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES, ChaCha20
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import CryptoError
from . import hashes, product
from .onion import OnionFromPrimitives

try:
    from blake3 import blake3 as _blake3
except ImportError:  # no wheel for this runtime
    _native_blake3: Callable[[bytes], bytes] | None = None
else:

    def _native_blake3(data: bytes) -> bytes:
        return _blake3(data).digest()


class Curve(Protocol):
    """X25519 as `Crypto` has it."""

    def x25519(self, scalar: bytes, point: bytes) -> bytes: ...

    def x25519_base(self, scalar: bytes) -> bytes: ...


try:
    from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
    from nacl.exceptions import RuntimeError as SodiumRefused
except ImportError:
    _native_curve: Curve | None = None
else:

    class _Sodium:
        def x25519(self, scalar: bytes, point: bytes) -> bytes:
            if len(scalar) != 32 or len(point) != 32:
                raise CryptoError("x25519: scalar and point are 32 bytes each", code="bad_length")
            try:
                return crypto_scalarmult(scalar, point)
            except SodiumRefused:
                raise CryptoError("x25519: the point has low order", code="low_order_point") from None

        def x25519_base(self, scalar: bytes) -> bytes:
            if len(scalar) != 32:
                raise CryptoError("x25519_base: the scalar is 32 bytes", code="bad_length")
            return crypto_scalarmult_base(scalar)

    _native_curve = _Sodium()

_ZERO16 = bytes(16)
_SHA256 = SHA256()
# For the keys of gateways and clients, under which many frames are sealed.
_siv_cipher = functools.lru_cache(maxsize=256)(AESGCMSIV)


def _xor(left: bytes, right: bytes) -> bytes:
    size = len(left)
    return (int.from_bytes(left, "little") ^ int.from_bytes(right, "little")).to_bytes(size, "little")


class PycaCrypto(OnionFromPrimitives):
    """See `crypto.provider.Crypto` for the contract of each method."""

    name = "pyca"

    def __init__(self, blake3: Callable[[bytes], bytes] | None = None, curve: Curve | None = None) -> None:
        """`blake3`: plain BLAKE3 with a 32-byte digest; `curve`: X25519. `ImportError` without the package and them."""
        function, points = blake3 or _native_blake3, curve or _native_curve
        if function is None:
            raise ImportError("package blake3 is missing and no other BLAKE3 was given")
        if points is None:
            raise ImportError("package pynacl is missing and no other X25519 was given")
        self._blake3 = function
        self.x25519 = points.x25519
        self.x25519_base = points.x25519_base

    def ed25519_public(self, seed: bytes) -> bytes:
        return self._signer(seed).public_key().public_bytes_raw()

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes:
        return self._signer(seed).sign(message)

    def ed25519_verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if len(public_key) != 32 or len(signature) != 64:
            return False
        # OpenSSL itself refuses S >= l and any R but the one recomputed; libsodium also refuses these.
        if not (hashes.ed25519_point_is_strict(public_key) and hashes.ed25519_point_is_strict(signature[:32])):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (ValueError, InvalidSignature):
            return False
        return True

    @staticmethod
    def _signer(seed: bytes) -> Ed25519PrivateKey:
        try:
            return Ed25519PrivateKey.from_private_bytes(seed)
        except ValueError as error:
            raise CryptoError(f"ed25519 seed: {error}", code="bad_length") from None

    def aes128_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        if len(key) != 16 or len(iv) != 16:
            raise CryptoError("aes128_ctr: key and iv are 16 bytes each", code="bad_length")
        return Cipher(AES(key), CTR(iv)).encryptor().update(data)

    def aes256_gcm_siv_seal(self, key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
        return self._siv(key, nonce).encrypt(nonce, plaintext, None)

    def aes256_gcm_siv_open(self, key: bytes, nonce: bytes, sealed: bytes) -> bytes:
        cipher = self._siv(key, nonce)
        try:
            return cipher.decrypt(nonce, sealed, None)
        except (InvalidTag, ValueError):
            raise CryptoError("aes256_gcm_siv: the tag does not check", code="bad_tag") from None

    @staticmethod
    def _siv(key: bytes, nonce: bytes) -> AESGCMSIV:
        if len(key) != 32 or len(nonce) != 12:
            raise CryptoError("aes256_gcm_siv: key is 32 bytes, nonce 12", code="bad_length")
        return _siv_cipher(key)

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        if len(key) != 32:
            raise CryptoError("chacha20: key is 32 bytes", code="bad_length")
        return Cipher(ChaCha20(key, _ZERO16), None).encryptor().update(data)

    def blake2b(self, key: bytes, data: bytes) -> bytes:
        return hashes.blake2b_keyed(key, data)

    def blake3(self, data: bytes) -> bytes:
        return self._blake3(data)

    # -- batches ----------------------------------------------------------------------------------

    def header_secrets(self, initial_secret: bytes, public_keys: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        hashes.check_route(initial_secret, public_keys)
        scalars = [initial_secret]
        factor = product.clamped(initial_secret) >> 3  # below l
        secrets: list[bytes] = []
        for point in public_keys:
            scalar = product.ladder_scalar(factor) if secrets and product.is_on_curve(point) else None
            if scalar is not None:
                point = self.x25519(scalar, point)
            else:  # the chain: also the first hop's, of one link
                for step in scalars:
                    point = self.x25519(step, point)
            secret = _expand(point)
            secrets.append(secret)
            scalars.append(secret[224:256])
            factor = factor * product.clamped(scalars[-1]) % product.L
        return self.x25519_base(initial_secret), secrets

    def node_secret(self, private_key: bytes, alpha: bytes) -> bytes:
        return _expand(self.x25519(private_key, alpha))

    def keystreams(self, keys: Sequence[bytes], length: int) -> list[bytes]:
        hashes.check_keystream_keys(keys)
        zeros = bytes(length)
        return [self.aes128_ctr(key, _ZERO16, zeros) for key in keys]

    def payload_keys(self, seeds: Sequence[bytes]) -> list[bytes]:
        hashes.check_seeds(seeds)
        salt, info = hashes.PAYLOAD_KEY_SALT, hashes.PAYLOAD_KEY_INFO
        return [HKDF(_SHA256, hashes.PAYLOAD_KEY_LENGTH, salt, info).derive(seed) for seed in seeds]

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        hashes.check_lioness(keys, block)
        left, right = block[:32], block[32:]
        for key in reversed(keys):
            right = self.chacha20(_xor(left, key[0:32]), right)
            left = _xor(left, hashes.blake2b_keyed(key[32:96], right))
            right = self.chacha20(_xor(left, key[96:128]), right)
            left = _xor(left, hashes.blake2b_keyed(key[128:192], right))
        return left + right

    def lioness_decrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        hashes.check_lioness(keys, block)
        left, right = block[:32], block[32:]
        for key in keys:
            left = _xor(left, hashes.blake2b_keyed(key[128:192], right))
            right = self.chacha20(_xor(left, key[96:128]), right)
            left = _xor(left, hashes.blake2b_keyed(key[32:96], right))
            right = self.chacha20(_xor(left, key[0:32]), right)
        return left + right

    def seal_fragment(self, ephemeral_secret: bytes, recipient_key: bytes, plaintext: bytes) -> bytes:
        shared = self.x25519(ephemeral_secret, recipient_key)
        return self.x25519_base(ephemeral_secret) + self._under(shared, plaintext)

    def open_fragment(self, private_key: bytes, sealed: bytes) -> bytes:
        if len(sealed) < 32:
            raise CryptoError("sealed fragment: shorter than its 32-byte key", code="bad_length")
        return self._under(self.x25519(private_key, sealed[:32]), sealed[32:])

    def _under(self, shared: bytes, data: bytes) -> bytes:
        return self.aes128_ctr(hashes.hkdf_blake3(self.blake3, b"", shared, b"", 16), _ZERO16, data)


def _expand(shared: bytes) -> bytes:
    return HKDF(_SHA256, hashes.EXPANDED_SECRET_LENGTH, None, hashes.EXPANSION_INFO).derive(shared)
