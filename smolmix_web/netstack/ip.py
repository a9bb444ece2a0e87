"""Both IP families behind one face: what the stack needs to build a packet from packed addresses."""

from __future__ import annotations

from collections.abc import Iterator

from ..rand import RandomSource
from . import ipv4, ipv6

ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58


def header_size(address: bytes) -> int:
    """20 for a packed IPv4 address, 40 for IPv6."""
    return ipv4.HEADER_SIZE if len(address) == 4 else ipv6.HEADER_SIZE


def build(
    source: bytes, destination: bytes, protocol: int, payload: bytes, identification: int, hop_limit: int = ipv4.TTL
) -> bytes:
    """A whole packet of the family of the addresses; IPv6 has no identification."""
    if len(source) == 4:
        return ipv4.build(source, destination, protocol, payload, identification, hop_limit)
    return ipv6.build(source, destination, protocol, payload, hop_limit)


def successive(first: int) -> Iterator[int]:
    """The numbers of one connection, counted as a Linux kernel does: they tell its server what it counts anyway."""
    while True:
        yield first
        first = (first + 1) & 0xFFFF


def identifications(rng: RandomSource) -> Iterator[int]:
    """An endless row of random 16-bit numbers, drawn in blocks. All packets carry DF, so repeats are harmless
    (RFC 6864 4.1) and nobody can count our packets."""
    while True:
        block = rng.bytes(512)
        for at in range(0, 512, 2):
            yield block[at] << 8 | block[at + 1]
