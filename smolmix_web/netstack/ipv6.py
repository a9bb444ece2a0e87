"""IPv6 header (RFC 8200): parse and build. TCP, UDP or ICMPv6 must stand directly behind the fixed header or behind one
fragment header (4.5); other extension headers are refused with the code `ipv6_extension`."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..errors import PacketError

HEADER = struct.Struct("!IHBB16s16s")
HEADER_SIZE = 40
FRAGMENT = struct.Struct("!BxHI")
FRAGMENT_HEADER = 44
FRAGMENT_SIZE = 8
FLAG_MF = 0x2000  # as in IPv4
HOP_LIMIT = 64
EXTENSION_HEADERS = frozenset((0, 43, FRAGMENT_HEADER, 50, 51, 60, 135, 139, 140, 253, 254))


class Ipv6Header(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    start: int  # offset of the payload
    end: int
    hop_limit: int
    identification: int = 0  # of a fragment
    fragment: int = 0  # flag MF and offset in eights, in the places where IPv4 has them; 0 for a whole packet


def parse(packet: bytes) -> Ipv6Header:
    """Raises PacketError naming field and offset."""
    size = len(packet)
    if size < HEADER_SIZE:
        raise PacketError(f"IPv6 header: {size} bytes, at least 40 expected", code="ipv6_truncated")
    first, length, protocol, hop_limit, source, destination = HEADER.unpack_from(packet)
    if first >> 28 != 6:
        raise PacketError(f"IPv6 version at offset 0: {first >> 28}", code="ipv6_version")
    end = HEADER_SIZE + length
    if end > size:
        raise PacketError(f"IPv6 payload length at offset 4: {length}, but {size} bytes came", code="ipv6_length")
    if protocol == FRAGMENT_HEADER:
        return _parse_fragment(packet, source, destination, end, hop_limit)
    if protocol in EXTENSION_HEADERS:
        raise PacketError(f"IPv6 next header at offset 6: extension header {protocol}", code="ipv6_extension")
    return Ipv6Header(source, destination, protocol, HEADER_SIZE, end, hop_limit)


def _parse_fragment(packet: bytes, source: bytes, destination: bytes, end: int, hop_limit: int) -> Ipv6Header:
    start = HEADER_SIZE + FRAGMENT_SIZE
    if end < start:
        raise PacketError(f"IPv6 fragment header at offset 40: {end - HEADER_SIZE} of 8 bytes", code="ipv6_truncated")
    protocol, place, identification = FRAGMENT.unpack_from(packet, HEADER_SIZE)
    if protocol in EXTENSION_HEADERS:
        raise PacketError(f"IPv6 next header at offset 40: extension header {protocol}", code="ipv6_extension")
    # Offset 0 and nothing more to come: whole by itself (RFC 6946).
    fragment = place >> 3 | (FLAG_MF if place & 1 else 0)
    return Ipv6Header(source, destination, protocol, start, end, hop_limit, identification, fragment)


def build(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """A whole packet; addresses are 16 packed bytes."""
    return header(source, destination, protocol, len(payload)) + payload


def header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    return HEADER.pack(0x60000000, length, protocol, HOP_LIMIT, source, destination)
