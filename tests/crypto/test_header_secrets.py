"""One multiplication per hop gives what the plain chain of sphinx.md 2.7 gives, for every kind of key there is.

The chain is built here from single X25519 calls. The providers replace it by one multiplication for keys on the curve;
keys of the twist, small-order and mixed-order keys and keys with other encodings must come out the same.
"""

from __future__ import annotations

import pytest

from smolmix_web.crypto import hashes, product
from smolmix_web.crypto.provider import Crypto
from smolmix_web.errors import CryptoError
from smolmix_web.rand import SeededRandom

P = 2**255 - 19
A = 486662
L = 2**252 + 27742317777372353535851937790883648493
# u coordinates whose order divides 8, on the curve or its twist.
LOW_ORDER = (
    0,
    1,
    P - 1,
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)


def plain_chain(crypto: Crypto, initial: bytes, keys: list[bytes]) -> tuple[bytes, list[bytes]]:
    secrets: list[bytes] = []
    scalars = [initial]
    for point in keys:
        for scalar in scalars:
            point = crypto.x25519(scalar, point)
        secrets.append(hashes.expand_secret(point))
        scalars.append(secrets[-1][224:256])
    return crypto.x25519_base(initial), secrets


def on_curve(u: int) -> bool:
    return pow((u * u * u + A * u * u + u) % P, (P - 1) // 2, P) == 1


def encode(u: int) -> bytes:
    return u.to_bytes(32, "little")


def add_on_curve(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    """Affine addition of two different points of the Montgomery curve that are not inverse to each other."""
    (x1, y1), (x2, y2) = first, second
    slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - A - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def lift(u: int) -> tuple[int, int]:
    """A point with this u coordinate (p = 5 mod 8)."""
    square = (u * u * u + A * u * u + u) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == square
    return u, root


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_ordinary_keys(crypto: Crypto, rng: SeededRandom, hops: int) -> None:
    for _ in range(10):
        initial = rng.bytes(32)
        keys = [crypto.x25519_base(rng.bytes(32)) for _ in range(hops)]
        assert crypto.header_secrets(initial, keys) == plain_chain(crypto, initial, keys)


def test_any_32_bytes_as_keys(crypto: Crypto, rng: SeededRandom) -> None:
    """Half of all u coordinates are on the twist, half have the top bit set: every mixture occurs."""
    seen = set()
    for _ in range(40):
        initial = rng.bytes(32)
        keys = [rng.bytes(32) for _ in range(3)]
        seen.add(tuple(on_curve(int.from_bytes(key, "little") % 2**255) for key in keys))
        assert crypto.header_secrets(initial, keys) == plain_chain(crypto, initial, keys)
    assert len(seen) == 8


def test_extreme_initial_secrets(crypto: Crypto, rng: SeededRandom) -> None:
    keys = [crypto.x25519_base(rng.bytes(32)) for _ in range(4)]
    for initial in (bytes(32), b"\xff" * 32, encode(L), encode(8 * L % 2**256), encode(2**254), encode(2**255 - 8)):
        assert crypto.header_secrets(initial, keys) == plain_chain(crypto, initial, keys)


def test_other_encodings_of_a_key(crypto: Crypto, rng: SeededRandom) -> None:
    """The top bit is ignored and values of p and more are reduced (RFC 7748 section 5)."""
    initial = rng.bytes(32)
    ordinary = crypto.x25519_base(rng.bytes(32))
    for u in range(2, 19):
        unreduced = encode(u + P)
        for key in (encode(u), unreduced, encode(u + 2**255), encode(u + P + 2**255)):
            keys = [ordinary, key, ordinary, key]
            expected = plain_chain(crypto, initial, [ordinary, encode(u), ordinary, encode(u)])
            assert crypto.header_secrets(initial, keys) == expected == plain_chain(crypto, initial, keys)
    marked = ordinary[:31] + bytes((ordinary[31] | 0x80,))
    assert crypto.header_secrets(initial, [marked] * 3) == crypto.header_secrets(initial, [ordinary] * 3)


def test_keys_with_a_torsion_part(crypto: Crypto, rng: SeededRandom) -> None:
    """A point plus one of order 2, 4 or 8 is another key with the same shared secrets."""
    order_4 = lift(1)
    order_8 = lift(next(u for u in LOW_ORDER[3:] if on_curve(u)))
    for _ in range(5):
        initial = rng.bytes(32)
        clean = crypto.x25519_base(rng.bytes(32))
        other = crypto.x25519_base(rng.bytes(32))
        point = lift(int.from_bytes(clean, "little"))
        expected = plain_chain(crypto, initial, [other, clean, other, clean])
        for torsion in ((0, 0), order_4, order_8):
            mixed = encode(add_on_curve(point, torsion)[0])
            assert mixed != clean
            keys = [other, mixed, other, mixed]
            assert crypto.header_secrets(initial, keys) == expected == plain_chain(crypto, initial, keys)


@pytest.mark.parametrize("u", LOW_ORDER)
def test_low_order_keys_are_refused(crypto: Crypto, rng: SeededRandom, u: int) -> None:
    good = crypto.x25519_base(rng.bytes(32))
    encodings = [encode(u), encode(u + 2**255)] + ([encode(u + P), encode(u + P + 2**255)] if u < 19 else [])
    for key in encodings:
        for position in range(4):
            keys = [good] * 4
            keys[position] = key
            with pytest.raises(CryptoError) as caught:
                crypto.header_secrets(rng.bytes(32), keys)
            assert caught.value.code == "low_order_point"
        with pytest.raises(CryptoError) as caught:
            crypto.x25519(rng.bytes(32), key)
        assert caught.value.code == "low_order_point"
        with pytest.raises(CryptoError) as caught:
            crypto.node_secret(rng.bytes(32), key)
        assert caught.value.code == "low_order_point"
        with pytest.raises(CryptoError) as caught:
            crypto.seal_fragment(rng.bytes(32), key, b"text")
        assert caught.value.code == "low_order_point"
        with pytest.raises(CryptoError) as caught:
            crypto.open_fragment(rng.bytes(32), key + b"text")
        assert caught.value.code == "low_order_point"
    assert crypto.header_secrets(bytes(32), [good])[0] == crypto.x25519_base(bytes(32))


def test_node_side_agrees(crypto: Crypto, rng: SeededRandom) -> None:
    private = [rng.bytes(32) for _ in range(5)]
    alpha, secrets = crypto.header_secrets(rng.bytes(32), [crypto.x25519_base(key) for key in private])
    for key, secret in zip(private, secrets, strict=True):
        assert crypto.node_secret(key, alpha) == secret
        alpha = crypto.x25519(secret[224:256], alpha)


def test_more_keys_than_are_remembered(crypto: Crypto) -> None:
    """Providers may remember facts about keys; the memory is bounded and forgetting changes nothing."""
    rng = SeededRandom("many keys")
    first = [rng.bytes(32) for _ in range(3)]
    before = crypto.header_secrets(bytes(32), first)
    for _ in range(420):
        crypto.header_secrets(bytes(32), [rng.bytes(32) for _ in range(5)])
    assert crypto.header_secrets(bytes(32), first) == before


def test_on_curve_is_told_apart(rng: SeededRandom) -> None:
    for _ in range(50):
        key = rng.bytes(32)
        u = int.from_bytes(key, "little") % 2**255
        assert product.is_on_curve(key) == on_curve(u)
    assert not product.is_on_curve(bytes(32))


def test_ladder_scalar(rng: SeededRandom) -> None:
    signs = set()
    for factor in [rng.below(L) for _ in range(300)] + [2**251, 2**252 - 1, 2**251 - 1, L - 2**252 + 1]:
        encoded = product.ladder_scalar(factor)
        assert encoded is not None
        scalar = int.from_bytes(encoded, "little")
        assert product.clamped(encoded) == scalar
        assert scalar // 8 in (factor, L - factor)
        signs.add(scalar // 8 == factor)
    assert signs == {True, False}
    for factor in (2**252, 2**252 + 1, L - 1, 1, 2, L - 2**252, L - 2**252 - 1):
        assert product.ladder_scalar(factor) is None, hex(factor)


def test_the_chain_is_taken_when_no_scalar_fits(
    crypto: Crypto, rng: SeededRandom, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too rare to meet: forced here for the provider that asks `product`."""
    keys = [crypto.x25519_base(rng.bytes(32)) for _ in range(4)]
    usual = crypto.header_secrets(bytes(32), keys)
    asked = []
    monkeypatch.setattr(product, "ladder_scalar", asked.append)
    assert crypto.header_secrets(bytes(32), keys) == usual
    assert bool(asked) == (crypto.name == "pyca")
