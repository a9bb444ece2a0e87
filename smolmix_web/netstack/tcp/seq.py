"""Sequence numbers (RFC 9293 3.4).

On the wire they are 32 bits and wrap. Inside, every position is an unbounded integer that starts at the initial
sequence number, so that comparisons are ordinary ones; `wrap` and `unwrap` stand at the border.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF
_HALF = 0x80000000


def wrap(position: int) -> int:
    """The 32-bit form."""
    return position & MASK


def unwrap(value: int, near: int) -> int:
    """The position closest to `near` whose 32-bit form is `value`: in `near - 2^31 <= p < near + 2^31`."""
    return near + ((value - near + _HALF) & MASK) - _HALF
