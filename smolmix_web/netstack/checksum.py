"""The Internet checksum (RFC 1071), computed with one big-integer division.

A buffer read as one big-endian integer is congruent to the sum of its 16-bit words modulo 0xFFFF, since
2^16 = 1 (mod 0xFFFF). So one `int.from_bytes` and one `%` replace the loop over words, and header fields can be
added as plain integers of any width before anything is packed.
"""

from __future__ import annotations


def word_sum(data: bytes | bytearray | memoryview) -> int:
    """An integer congruent to the sum of the 16-bit words of `data`; an odd tail is padded with zero."""
    value = int.from_bytes(data, "big")
    return value << 8 if len(data) & 1 else value


def checksum(total: int) -> int:
    """The checksum field for fields that add up to `total` (the field itself counted as 0)."""
    return -total % 0xFFFF


def pseudo_sum(source: bytes, destination: bytes, protocol: int) -> int:
    """Pseudo-header of TCP, UDP and ICMPv6 without the length (RFC 9293 3.1, RFC 8200 8.1); addresses packed."""
    return (int.from_bytes(source, "big") + int.from_bytes(destination, "big") + protocol) % 0xFFFF
