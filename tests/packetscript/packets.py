"""A second reading of the wire formats: IPv4, IPv6, TCP, ICMP and UDP, written straight from the RFCs.

Nothing of smolmix_web.netstack is used, so that a codec of the stack that errs the same way in both directions is
still found out. Speed does not matter here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

FLAG_LETTERS = "FSRPAUEC"
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58


class Malformed(Exception):
    """The stack under test sent something that is no packet."""


@dataclass
class TcpPacket:
    source: Address
    destination: Address
    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: str  # letters in the order of FLAG_LETTERS
    window: int
    urgent: int = 0
    options: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    payload: bytes = b""


@dataclass
class IcmpPacket:
    source: Address
    destination: Address
    kind: int
    code: int
    rest: int  # the second word
    payload: bytes


@dataclass
class UdpPacket:
    source: Address
    destination: Address
    source_port: int
    destination_port: int
    payload: bytes


Packet = TcpPacket | IcmpPacket | UdpPacket


def ones_sum(data: bytes) -> int:
    """RFC 1071: the folded ones' complement sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes) -> int:
    return ~ones_sum(data) & 0xFFFF


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    if source.version == 4:
        return source.packed + destination.packed + struct.pack("!BBH", 0, protocol, length)
    return source.packed + destination.packed + struct.pack("!IHBB", length, 0, 0, protocol)


# -- building


def ip_packet(
    source: Address, destination: Address, protocol: int, body: bytes, *, fragment: int = 0x4000, ident: int = 77
) -> bytes:
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 60) + source.packed + destination.packed + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, fragment, 60, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def option_bytes(options: list[tuple[str, tuple[int, ...]]]) -> bytes:
    out = b""
    for name, values in options:
        if name == "mss":
            out += struct.pack("!BBH", 2, 4, values[0])
        elif name == "wscale":
            out += struct.pack("!BBB", 3, 3, values[0])
        elif name == "sackok":
            out += b"\4\2"
        elif name == "sack":
            out += struct.pack(f"!BB{len(values)}I", 5, 2 + 4 * len(values), *(value & 0xFFFFFFFF for value in values))
        elif name == "ts":
            out += struct.pack("!BBII", 8, 10, *(value & 0xFFFFFFFF for value in values))
        elif name == "nop":
            out += b"\1"
        elif name == "eol":
            out += b"\0"
        elif name == "raw":
            out += bytes(values)
        else:
            raise ValueError(f"unknown option {name}")
    return out + bytes(-len(out) % 4)


def tcp_body(packet: TcpPacket) -> bytes:
    options = option_bytes(packet.options)
    flags = sum(1 << FLAG_LETTERS.index(letter) for letter in packet.flags)
    head = struct.pack(
        "!HHIIBBHHH",
        packet.source_port,
        packet.destination_port,
        packet.seq & 0xFFFFFFFF,
        packet.ack & 0xFFFFFFFF,
        (20 + len(options)) // 4 << 4,
        flags,
        packet.window,
        0,
        packet.urgent,
    )
    return head + options + packet.payload


def with_checksum(source: Address, destination: Address, protocol: int, body: bytes, at: int) -> bytes:
    """`body` with the transport checksum written at offset `at`."""
    body = body[:at] + b"\0\0" + body[at + 2 :]
    pseudo = b"" if protocol == ICMP else pseudo_header(source, destination, protocol, len(body))
    value = checksum(pseudo + body)
    if protocol == UDP and value == 0:
        value = 0xFFFF
    return body[:at] + value.to_bytes(2, "big") + body[at + 2 :]


def build(packet: Packet) -> bytes:
    source, destination = packet.source, packet.destination
    if isinstance(packet, TcpPacket):
        return ip_packet(source, destination, TCP, with_checksum(source, destination, TCP, tcp_body(packet), 16))
    if isinstance(packet, UdpPacket):
        head = struct.pack("!HHHH", packet.source_port, packet.destination_port, 8 + len(packet.payload), 0)
        return ip_packet(source, destination, UDP, with_checksum(source, destination, UDP, head + packet.payload, 6))
    protocol = ICMP if source.version == 4 else ICMPV6
    body = struct.pack("!BBHI", packet.kind, packet.code, 0, packet.rest) + packet.payload
    return ip_packet(source, destination, protocol, with_checksum(source, destination, protocol, body, 2))


# -- parsing


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise Malformed(what)


def parse(data: bytes) -> Packet:
    """Every field that the RFCs fix is checked. Raises Malformed."""
    _check(len(data) >= 20, "shorter than an IP header")
    version = data[0] >> 4
    source: Address
    destination: Address
    if version == 4:
        _check(data[0] == 0x45, "IPv4 options")
        _check(int.from_bytes(data[2:4], "big") == len(data), "IPv4 total length")
        _check(ones_sum(data[:20]) == 0xFFFF, "IPv4 header checksum")
        _check(int.from_bytes(data[6:8], "big") == 0x4000, "IPv4 flags: DF alone expected")
        _check(data[8] > 0, "IPv4 TTL")
        protocol, start = data[9], 20
        source, destination = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    else:
        _check(version == 6 and len(data) >= 40, "IP version")
        _check(int.from_bytes(data[4:6], "big") == len(data) - 40, "IPv6 payload length")
        _check(data[7] > 0, "IPv6 hop limit")
        protocol, start = data[6], 40
        source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    body = data[start:]
    pseudo = b"" if protocol == ICMP else pseudo_header(source, destination, protocol, len(body))
    _check(ones_sum(pseudo + body) == 0xFFFF, f"checksum of protocol {protocol}")
    if protocol == TCP:
        return _parse_tcp(source, destination, body)
    _check(len(body) >= 8, f"protocol {protocol}: shorter than its header")
    if protocol == UDP:
        ports = struct.unpack("!HHHH", body[:8])
        _check(ports[2] == len(body), "UDP length")
        return UdpPacket(source, destination, ports[0], ports[1], body[8:])
    _check(protocol == (ICMP if version == 4 else ICMPV6), f"protocol {protocol}")
    return IcmpPacket(source, destination, body[0], body[1], int.from_bytes(body[4:8], "big"), body[8:])


def _parse_tcp(source: Address, destination: Address, body: bytes) -> TcpPacket:
    _check(len(body) >= 20, "TCP: shorter than its header")
    from_, to, seq, ack, offset, flags, window, _, urgent = struct.unpack("!HHIIBBHHH", body[:20])
    head = (offset >> 4) * 4
    _check(20 <= head <= len(body) and not offset & 15, "TCP data offset")
    letters = "".join(letter for bit, letter in enumerate(FLAG_LETTERS) if flags >> bit & 1)
    options = parse_options(body[20:head])
    return TcpPacket(source, destination, from_, to, seq, ack, letters, window, urgent, options, body[head:])


def parse_options(data: bytes) -> list[tuple[str, tuple[int, ...]]]:
    """NOPs are left out."""
    options: list[tuple[str, tuple[int, ...]]] = []
    while data:
        kind = data[0]
        if kind == 0:
            _check(not any(data), "TCP options behind the end")
            break
        if kind == 1:
            data = data[1:]
            continue
        _check(len(data) >= 2 and 2 <= data[1] <= len(data), f"TCP option {kind}: length")
        value, data = data[2 : data[1]], data[data[1] :]
        if kind == 2:
            options.append(("mss", struct.unpack("!H", value)))
        elif kind == 3:
            options.append(("wscale", struct.unpack("!B", value)))
        elif kind == 4:
            options.append(("sackok", ()))
        elif kind == 5:
            _check(len(value) % 8 == 0 and len(value) > 0, "SACK option length")
            options.append(("sack", struct.unpack(f"!{len(value) // 4}I", value)))
        elif kind == 8:
            options.append(("ts", struct.unpack("!II", value)))
        else:
            options.append(("raw", (kind, *value)))
    return options


def pattern(offset: int, count: int) -> bytes:
    """The bytes at this position of a stream: what overlaps must agree, and no two places look alike for long."""
    return bytes((at * 7 + (at >> 8) * 13 + (at >> 16)) & 0xFF for at in range(offset, offset + count))


def ip_address_pair(data: bytes) -> tuple[Address, Address]:
    """Source and destination of a packet."""
    if data[0] >> 4 == 4:
        return IPv4Address(data[12:16]), IPv4Address(data[16:20])
    return IPv6Address(data[8:24]), IPv6Address(data[24:40])
