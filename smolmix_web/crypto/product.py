"""One X25519 in place of a chain of them: the sender's secrets of a Sphinx header (sphinx 2.7), in Python integers.

Every clamped scalar is 8 times an integer between 2^251 and 2^252. Write the product of all of them as 8*t. Points of
the curve form a group of order 8*l, and 8 times any point lies in the subgroup of order l, so t counts mod l only.
X25519 computes (8*t)*Y unchanged when 2^251 <= t < 2^252, since such a scalar is already clamped; for nearly all other
t, l - t is in that range and gives the negated point, which has the same u coordinate. Not for points of the twist,
whose group has another order, nor for the 2^-126 of all t that fit neither way: there the caller takes the chain.

javascript/worker/crypto/curve.js does the same in constant time. Python integers are not constant-time; the scalars are
used for one packet only.
"""

from __future__ import annotations

import functools

P = (1 << 255) - 19
L = (1 << 252) + 27742317777372353535851937790883648493
_A = 486662
_MASK = (1 << 255) - 1


def clamped(scalar: bytes) -> int:
    """The integer that X25519 multiplies by (RFC 7748 section 5)."""
    return (int.from_bytes(scalar, "little") & (1 << 254) - 8) | 1 << 254


@functools.lru_cache(maxsize=2048)
def is_on_curve(point: bytes) -> bool:
    """Whether a 32-byte u coordinate belongs to the curve and not to its twist; u = 0 gives False."""
    u = (int.from_bytes(point, "little") & _MASK) % P
    return pow(((u + _A) * u + 1) * u, (P - 1) // 2, P) == 1


def ladder_scalar(factor: int) -> bytes | None:
    """The clamped scalar that multiplies by plus or minus 8*t, for t below l; None when there is none."""
    for candidate in (factor, L - factor):
        if candidate >> 251 == 1:
            return (candidate << 3).to_bytes(32, "little")
    return None
