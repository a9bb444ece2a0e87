"""Signatures that libraries disagree about: both providers follow the strictest common rule.

Refused are S >= l, points whose y is p or more, points of small order as key or as R, and everything that holds only
after multiplication by the cofactor. The cases are made here with textbook Edwards arithmetic.
"""

from __future__ import annotations

import hashlib

import pytest

from smolmix_web.crypto import hashes
from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError
from smolmix_web.rand import SeededRandom

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(first: Point, second: Point) -> Point:
    (x1, y1), (x2, y2) = first, second
    product = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def multiply(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def decode(encoded: bytes) -> Point:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return (P - x if x & 1 != sign else x), y


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = decode(bytes.fromhex("58" + "66" * 31))
ORDER_8 = decode(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"))
TORSION = [multiply(i, ORDER_8) for i in range(8)]
SECRET = 0x1F2E3D4C5B6A79880123456789ABCDEF
NONCE = 0xFEDCBA9876543210F0E1D2C3B4A59687


def challenge(nonce_point: bytes, key: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(nonce_point + key + message).digest(), "little")


def forge(key: Point, nonce_point: Point, message: bytes) -> tuple[bytes, bytes]:
    """Key and signature with S as the holder of SECRET and NONCE computes it for these encodings."""
    nonce_bytes, key_bytes = encode(nonce_point), encode(key)
    s = (NONCE + challenge(nonce_bytes, key_bytes, message) * SECRET) % L
    return key_bytes, nonce_bytes + s.to_bytes(32, "little")


def test_the_arithmetic_makes_good_signatures(crypto: Crypto) -> None:
    key, signature = forge(multiply(SECRET, BASE), multiply(NONCE, BASE), b"message")
    assert crypto.ed25519_verify(key, b"message", signature)
    assert not crypto.ed25519_verify(key, b"massage", signature)


def test_s_must_be_below_l(crypto: Crypto, rng: SeededRandom) -> None:
    seed = rng.bytes(32)
    key, message = crypto.ed25519_public(seed), b"malleable"
    signature = crypto.ed25519_sign(seed, message)
    s = int.from_bytes(signature[32:], "little")
    assert crypto.ed25519_verify(key, message, signature)
    for multiple in range(1, 2**256 // L):
        if s + multiple * L < 2**256:
            assert not crypto.ed25519_verify(key, message, signature[:32] + (s + multiple * L).to_bytes(32, "little"))


def test_keys_of_small_order_are_refused(crypto: Crypto) -> None:
    """With such a key one signature would fit many messages."""
    signature = encode(multiply(NONCE, BASE)) + NONCE.to_bytes(32, "little")
    for torsion in TORSION:
        for count in range(16):
            assert not crypto.ed25519_verify(encode(torsion), bytes((count,)), signature)


def test_r_of_small_order_is_refused(crypto: Crypto) -> None:
    key = encode(multiply(SECRET, BASE))
    for torsion in TORSION:
        r = encode(torsion)
        s = challenge(r, key, b"x") * SECRET % L
        assert not crypto.ed25519_verify(key, b"x", r + s.to_bytes(32, "little"))


def test_equations_that_hold_only_with_the_cofactor(crypto: Crypto) -> None:
    """R or the key moved by a torsion point: only an exact equation is accepted, whichever library checks it."""
    key, nonce_point = multiply(SECRET, BASE), multiply(NONCE, BASE)
    for torsion in TORSION[1:]:
        moved_key, moved_nonce = add(key, torsion), add(nonce_point, torsion)
        for count in range(4):
            message = bytes((count,))
            encoded, signature = forge(key, moved_nonce, message)
            assert not crypto.ed25519_verify(encoded, message, signature)
            encoded, signature = forge(moved_key, nonce_point, message)
            # h mod l multiplies the key: where that kills the torsion part, the equation is exact.
            factor = challenge(signature[:32], encoded, message) % L
            assert crypto.ed25519_verify(encoded, message, signature) == (multiply(factor % 8, torsion) == IDENTITY)


def test_unreduced_and_impossible_points(crypto: Crypto) -> None:
    key, signature = forge(multiply(SECRET, BASE), multiply(NONCE, BASE), b"m")
    for y in range(P, 2**255):
        for sign in (0, 1):
            bad = (y | sign << 255).to_bytes(32, "little")
            assert not hashes.ed25519_point_is_strict(bad)
            assert not crypto.ed25519_verify(bad, b"m", signature)
            assert not crypto.ed25519_verify(key, b"m", bad + signature[32:])
    for y in (2, 7, 8, 11):  # no x fits
        bad = y.to_bytes(32, "little")
        with pytest.raises(AssertionError):
            decode(bad)
        assert not crypto.ed25519_verify(bad, b"m", signature)
        assert not crypto.ed25519_verify(key, b"m", bad + signature[32:])


def test_torsion_list_is_complete() -> None:
    for torsion in TORSION:
        assert not hashes.ed25519_point_is_strict(encode(torsion))
    assert hashes.ed25519_point_is_strict(encode(BASE))


def test_lengths_and_flipped_bits(crypto: Crypto, rng: SeededRandom) -> None:
    seed = rng.bytes(32)
    key = crypto.ed25519_public(seed)
    signature = crypto.ed25519_sign(seed, b"message")
    for length in (0, 1, 31, 33, 64):
        assert not crypto.ed25519_verify(key.ljust(length, b"\0")[:length], b"message", signature)
    for length in (0, 1, 63, 65, 96):
        assert not crypto.ed25519_verify(key, b"message", signature.ljust(length, b"\0")[:length])
    for position in range(64):
        for bit in (1, 0x80):
            changed = bytearray(signature)
            changed[position] ^= bit
            assert not crypto.ed25519_verify(key, b"message", bytes(changed))
    for length in (0, 31, 33):
        with pytest.raises(CryptoError) as caught:
            crypto.ed25519_sign(bytes(length), b"")
        assert caught.value.code == "bad_length"
        with pytest.raises(CryptoError):
            crypto.ed25519_public(bytes(length))
