"""IPv4 header (RFC 791): parse and build. Options are skipped, never sent; packets leave with DF, TTL 64 and an
unguessable identification, and are never fragmented: the exit drops fragments (docs/protocol/ipr.md 5.3)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..errors import PacketError
from .checksum import checksum, word_sum

HEADER = struct.Struct("!BBHHHBBH4s4s")
HEADER_SIZE = 20
TTL = 64
FLAG_DF = 0x4000
FLAG_MF = 0x2000
FRAGMENT_MASK = 0x3FFF  # MF and the offset: not zero means "a fragment"


class Ipv4Header(NamedTuple):
    source: bytes
    destination: bytes
    protocol: int
    start: int  # offset of the payload
    end: int  # offset behind the payload; link padding may follow
    identification: int
    fragment: int  # flags and offset as on the wire
    ttl: int


def parse(packet: bytes) -> Ipv4Header:
    """Raises PacketError naming field and offset."""
    size = len(packet)
    if size < HEADER_SIZE:
        raise PacketError(f"IPv4 header: {size} bytes, at least 20 expected", code="ipv4_truncated")
    first, _, total, identification, fragment, ttl, protocol, _, source, destination = HEADER.unpack_from(packet)
    start = (first & 15) << 2
    if first >> 4 != 4:
        raise PacketError(f"IPv4 version at offset 0: {first >> 4}", code="ipv4_version")
    if start < HEADER_SIZE or start > total:
        raise PacketError(f"IPv4 header length at offset 0: {start}", code="ipv4_length")
    if total > size:
        raise PacketError(f"IPv4 total length at offset 2: {total}, but {size} bytes came", code="ipv4_length")
    if word_sum(packet[:start]) % 0xFFFF:
        raise PacketError("IPv4 header checksum at offset 10", code="ipv4_checksum")
    return Ipv4Header(source, destination, protocol, start, total, identification, fragment, ttl)


def build(
    source: bytes, destination: bytes, protocol: int, payload: bytes, identification: int, ttl: int = TTL
) -> bytes:
    """A whole packet with DF set; addresses are 4 packed bytes."""
    total = HEADER_SIZE + len(payload)
    return header(source, destination, protocol, total, identification, ttl=ttl) + payload


def header(
    source: bytes,
    destination: bytes,
    protocol: int,
    total: int,
    identification: int,
    flags: int = FLAG_DF,
    ttl: int = TTL,
) -> bytes:
    fields = 0x4500 + total + identification + flags + (ttl << 8 | protocol) + word_sum(source) + word_sum(destination)
    return HEADER.pack(0x45, 0, total, identification, flags, ttl, protocol, checksum(fields), source, destination)
