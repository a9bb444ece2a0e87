"""IPv6 header (RFC 8200): parse and build. A packet must carry TCP, UDP or ICMPv6 directly behind the fixed header;
extension headers, fragments among them, are refused with the code `ipv6_extension`."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..errors import PacketError

HEADER = struct.Struct("!IHBB16s16s")
HEADER_SIZE = 40
HOP_LIMIT = 64
EXTENSION_HEADERS = frozenset((0, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254))


class Ipv6Header(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    start: int
    end: int
    hop_limit: int


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
    if protocol in EXTENSION_HEADERS:
        raise PacketError(f"IPv6 next header at offset 6: extension header {protocol}", code="ipv6_extension")
    return Ipv6Header(source, destination, protocol, HEADER_SIZE, end, hop_limit)


def build(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    """A whole packet; addresses are 16 packed bytes."""
    return header(source, destination, protocol, len(payload)) + payload


def header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    return HEADER.pack(0x60000000, length, protocol, HOP_LIMIT, source, destination)
