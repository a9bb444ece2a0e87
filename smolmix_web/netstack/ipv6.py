"""IPv6 header (RFC 8200): parse and build. Hop-by-hop options, used-up routing headers and destination options are
skipped, in a bounded chain (RFC 8504 5.3); a fragment header (4.5) is understood. Other extension headers are refused
with the code `ipv6_extension`. None is ever sent."""

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
HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS = 0, 43, 60
REFUSED = frozenset((50, 51, 135, 139, 140, 253, 254))
EXTENSION_HEADERS = REFUSED | {HOP_BY_HOP, ROUTING, FRAGMENT_HEADER, DESTINATION_OPTIONS}
MAX_SKIPPED = 8  # headers in one packet


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
    if protocol not in EXTENSION_HEADERS:
        return Ipv6Header(source, destination, protocol, HEADER_SIZE, end, hop_limit)
    protocol, start = _skip(packet, protocol, HEADER_SIZE, end)
    if protocol != FRAGMENT_HEADER:
        return Ipv6Header(source, destination, protocol, start, end, hop_limit)
    if end < start + FRAGMENT_SIZE:
        raise PacketError(f"IPv6 fragment header at offset {start}: {end - start} of 8 bytes", code="ipv6_truncated")
    protocol, place, identification = FRAGMENT.unpack_from(packet, start)
    start += FRAGMENT_SIZE
    fragment = place >> 3 | (FLAG_MF if place & 1 else 0)
    if not fragment:  # whole by itself (RFC 6946)
        protocol, start = _skip(packet, protocol, start, end)
    if protocol == FRAGMENT_HEADER or protocol in REFUSED:
        raise PacketError(f"IPv6 next header before offset {start}: {protocol} in a fragment", code="ipv6_extension")
    return Ipv6Header(source, destination, protocol, start, end, hop_limit, identification, fragment)


def _skip(packet: bytes, protocol: int, at: int, end: int) -> tuple[int, int]:
    """Past headers that say nothing to us: the protocol of what follows (a fragment header, perhaps) and its offset."""
    for _ in range(MAX_SKIPPED):
        if protocol not in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
            if protocol in REFUSED:
                break
            return protocol, at
        if protocol == HOP_BY_HOP and at != HEADER_SIZE:
            break
        if at + 8 > end:
            raise PacketError(f"IPv6 extension header at offset {at}: {end - at} bytes", code="ipv6_truncated")
        if protocol == ROUTING and packet[at + 3]:
            raise PacketError(f"IPv6 routing header at offset {at}: segments are left", code="ipv6_routing")
        protocol, size = packet[at], (packet[at + 1] + 1) * 8
        if at + size > end:
            raise PacketError(f"IPv6 extension header at offset {at}: {size} bytes", code="ipv6_truncated")
        at += size
    raise PacketError(f"IPv6 next header before offset {at}: extension header {protocol}", code="ipv6_extension")


def build(source: bytes, destination: bytes, protocol: int, payload: bytes, hop_limit: int = HOP_LIMIT) -> bytes:
    """A whole packet; addresses are 16 packed bytes."""
    return header(source, destination, protocol, len(payload), hop_limit) + payload


def header(source: bytes, destination: bytes, protocol: int, length: int, hop_limit: int = HOP_LIMIT) -> bytes:
    return HEADER.pack(0x60000000, length, protocol, hop_limit, source, destination)
