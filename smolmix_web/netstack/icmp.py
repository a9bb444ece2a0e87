"""ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, and errors in both directions.

Both families are mapped to one `ErrorKind`, so that the layers above have one list of reasons.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ..errors import ConnectionRefused, HostUnreachable, MessageTooLong, NetworkError, PacketError
from . import ip
from .checksum import checksum, pseudo_sum, word_sum

HEADER = struct.Struct("!BBHHH")
HEADER_SIZE = 8
_QUOTE_V4 = 548  # an error stays within 576 bytes (RFC 1812 4.3.2.3)
_QUOTE_V6 = 1232  # within the minimum MTU (RFC 4443 2.4)


class ErrorKind(enum.Enum):
    """Why a packet was not delivered; the value is the error code shown to the application."""

    NETWORK_UNREACHABLE = "network_unreachable"
    HOST_UNREACHABLE = "host_unreachable"
    PROTOCOL_UNREACHABLE = "protocol_unreachable"
    PORT_UNREACHABLE = "port_unreachable"
    PROHIBITED = "admin_prohibited"
    FRAGMENTATION_NEEDED = "fragmentation_needed"
    TTL_EXCEEDED = "ttl_exceeded"

    def to_error(self, where: str, phase: str) -> NetworkError:
        """The typed error of a socket."""
        message = f"{where}: {self.value.replace('_', ' ')}"
        if self in (ErrorKind.PORT_UNREACHABLE, ErrorKind.PROTOCOL_UNREACHABLE):
            return ConnectionRefused(message, code=self.value, phase=phase)
        if self is ErrorKind.FRAGMENTATION_NEEDED:
            return MessageTooLong(message, phase=phase)
        return HostUnreachable(message, code=self.value, phase=phase)


_E = ErrorKind
_BUILD_V4 = {
    _E.NETWORK_UNREACHABLE: (3, 0),
    _E.HOST_UNREACHABLE: (3, 1),
    _E.PROTOCOL_UNREACHABLE: (3, 2),
    _E.PORT_UNREACHABLE: (3, 3),
    _E.FRAGMENTATION_NEEDED: (3, 4),
    _E.PROHIBITED: (3, 13),
    _E.TTL_EXCEEDED: (11, 0),
}
_PARSE_V4 = {value: kind for kind, value in _BUILD_V4.items()} | {
    (3, 5): _E.NETWORK_UNREACHABLE,
    (3, 6): _E.NETWORK_UNREACHABLE,
    (3, 7): _E.HOST_UNREACHABLE,
    (3, 8): _E.HOST_UNREACHABLE,
    (3, 9): _E.PROHIBITED,
    (3, 10): _E.PROHIBITED,
    (3, 11): _E.NETWORK_UNREACHABLE,
    (3, 12): _E.HOST_UNREACHABLE,
}
_BUILD_V6 = {
    _E.NETWORK_UNREACHABLE: (1, 0),
    _E.PROHIBITED: (1, 1),
    _E.HOST_UNREACHABLE: (1, 3),
    _E.PORT_UNREACHABLE: (1, 4),
    _E.FRAGMENTATION_NEEDED: (2, 0),
    _E.TTL_EXCEEDED: (3, 0),
    _E.PROTOCOL_UNREACHABLE: (4, 1),
}
_PARSE_V6 = {value: kind for kind, value in _BUILD_V6.items()} | {
    (1, 2): _E.HOST_UNREACHABLE,
    (1, 5): _E.PROHIBITED,
    (1, 6): _E.PROHIBITED,
}


@dataclass(frozen=True, slots=True)
class Echo:
    """An echo request or reply."""

    reply: bool
    identifier: int
    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Error:
    """An error about a packet that we sent: addresses, protocol and first bytes of what it quotes."""

    kind: ErrorKind
    source: bytes
    destination: bytes
    protocol: int
    transport: bytes  # the quoted transport header: at least the 8 bytes that RFC 792 promises
    mtu: int  # of the next hop, for FRAGMENTATION_NEEDED; 0 when not told
    total: int  # size of the quoted packet by its own header


def parse(source: bytes, destination: bytes, body: bytes) -> Echo | Error | None:
    """None for a type that means nothing to us. Raises PacketError."""
    v6 = len(source) == 16
    if len(body) < HEADER_SIZE:
        raise PacketError(f"ICMP: {len(body)} bytes, at least 8 expected", code="icmp_truncated")
    pseudo = pseudo_sum(source, destination, ip.ICMPV6) + len(body) if v6 else 0
    if (pseudo + word_sum(body)) % 0xFFFF:
        raise PacketError("ICMP checksum at offset 2", code="icmp_checksum")
    kind, code, _, high, low = HEADER.unpack_from(body)
    if kind in ((128, 129) if v6 else (8, 0)):
        if code:
            raise PacketError(f"ICMP echo code at offset 1: {code}", code="icmp_code")
        return Echo(kind in (0, 129), high, low, body[HEADER_SIZE:])
    reason = (_PARSE_V6 if v6 else _PARSE_V4).get((kind, code))
    if reason is None:
        return None
    return _parse_quote(reason, body[HEADER_SIZE:], (high << 16 | low) if v6 else low)


def _parse_quote(kind: ErrorKind, quote: bytes, mtu: int) -> Error:
    if len(quote) >= 28 and quote[0] >> 4 == 4:
        start = (quote[0] & 15) << 2
        if start >= 20 and len(quote) >= start + 8 and not (quote[6] << 8 | quote[7]) & 0x1FFF:
            total = quote[2] << 8 | quote[3]
            return Error(kind, quote[12:16], quote[16:20], quote[9], quote[start:], mtu, total)
    elif len(quote) >= 48 and quote[0] >> 4 == 6:
        return Error(kind, quote[8:24], quote[24:40], quote[6], quote[40:], mtu, 40 + (quote[4] << 8 | quote[5]))
    raise PacketError(f"ICMP quotation at offset 8: {len(quote)} bytes that are no packet", code="icmp_quote")


def _message(source: bytes, destination: bytes, kind: int, code: int, rest: int, payload: bytes) -> bytes:
    total = (kind << 8 | code) + rest + word_sum(payload)
    if len(source) == 16:
        total += pseudo_sum(source, destination, ip.ICMPV6) + HEADER_SIZE + len(payload)
    return HEADER.pack(kind, code, checksum(total), rest >> 16, rest & 0xFFFF) + payload


def build_echo(source: bytes, destination: bytes, echo: Echo) -> bytes:
    """The ICMP message (behind the IP header)."""
    kinds = (128, 129) if len(source) == 16 else (8, 0)
    rest = echo.identifier << 16 | echo.sequence
    return _message(source, destination, kinds[echo.reply], 0, rest, echo.payload)


def protocol_of(address: bytes) -> int:
    return ip.ICMP if len(address) == 4 else ip.ICMPV6


def build_error(kind: ErrorKind, packet: bytes, source: bytes, identification: int, *, mtu: int = 0) -> bytes:
    """A whole packet from `source` that tells the sender of `packet` (of the same family) why it was not delivered."""
    if len(source) == 4:
        destination, quote = packet[12:16], packet[:_QUOTE_V4]
        number, code = _BUILD_V4[kind]
    else:
        destination, quote = packet[8:24], packet[:_QUOTE_V6]
        number, code = _BUILD_V6[kind]
    message = _message(source, destination, number, code, mtu if kind is _E.FRAGMENTATION_NEEDED else 0, quote)
    return ip.build(source, destination, protocol_of(source), message, identification)


def may_be_answered(packet: bytes) -> bool:
    """False for ICMP errors, which never cause another (RFC 1122 3.2.2)."""
    if packet[0] >> 4 == 4:
        start = (packet[0] & 15) << 2
        return packet[9] != ip.ICMP or (len(packet) > start and packet[start] in (0, 8, 13, 14))
    return packet[6] != ip.ICMPV6 or (len(packet) > 40 and packet[40] >= 128)
