"""What an exit reads of a packet before it lets it out, and the ICMP errors of its host (docs/protocol/ipr.md 5.3-5.5).

Fragments have no transport header to judge by, so they are refused, as everything malformed is. IPv4 checksums are
not verified here; the next hop does that.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.errors import PacketError
from smolmix_web.netstack import icmp, ip, ipv4
from smolmix_web.netstack.icmp import ErrorKind

Address = IPv4Address | IPv6Address

EXIT_IPV4, EXIT_IPV6 = IPv4Address("10.0.0.1"), IPv6Address("fc00::1")

_IPV6_EXTENSIONS = {0, 43, 60}  # hop-by-hop, routing, destination options
_IPV6_FRAGMENT = 44
_SMALLEST = {ip.TCP: 20, ip.UDP: 8, ip.ICMP: 8, ip.ICMPV6: 8}


@dataclass(frozen=True)
class PacketInfo:
    source: Address
    destination: Address
    protocol: int
    port: int  # destination port; 0 where there is none
    ttl: int


def inspect(packet: bytes) -> PacketInfo:
    """Raises `PacketError` with code `fragment` or `malformed`."""
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _inspect4(packet)
    if version == 6:
        return _inspect6(packet)
    raise PacketError(f"IP version at offset 0: {version}", code="malformed")


def _inspect4(packet: bytes) -> PacketInfo:
    header = (packet[0] & 15) * 4
    if len(packet) < 20 or not 20 <= header <= len(packet):
        raise PacketError(f"IPv4 header at offset 0: {len(packet)} bytes", code="malformed")
    total = int.from_bytes(packet[2:4], "big")
    if not header <= total <= len(packet):
        raise PacketError(f"IPv4 total length at offset 2: {total}, but {len(packet)} bytes came", code="malformed")
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        raise PacketError("IPv4 fragment at offset 6", code="fragment")
    protocol = packet[9]
    port = _port(protocol, packet, header, total)
    return PacketInfo(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), protocol, port, packet[8])


def _inspect6(packet: bytes) -> PacketInfo:
    if len(packet) < 40:
        raise PacketError(f"IPv6 header at offset 0: {len(packet)} bytes", code="malformed")
    end = 40 + int.from_bytes(packet[4:6], "big")
    if end > len(packet):
        raise PacketError(f"IPv6 payload length at offset 4: {end - 40}", code="malformed")
    protocol, at = packet[6], 40
    while protocol in _IPV6_EXTENSIONS:
        if at + 8 > end:
            raise PacketError(f"IPv6 extension header at offset {at}: truncated", code="malformed")
        protocol, at = packet[at], at + 8 + packet[at + 1] * 8
    if protocol == _IPV6_FRAGMENT:
        raise PacketError(f"IPv6 fragment header at offset {at}", code="fragment")
    port = _port(protocol, packet, at, end)
    return PacketInfo(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]), protocol, port, packet[7])


def _port(protocol: int, packet: bytes, start: int, end: int) -> int:
    if end - start < _SMALLEST.get(protocol, 0):
        raise PacketError(f"header of protocol {protocol} at offset {start}: truncated", code="malformed")
    return int.from_bytes(packet[start + 2 : start + 4], "big") if protocol in (ip.TCP, ip.UDP) else 0


def icmp_error(kind: ErrorKind, packet: bytes, mtu: int) -> bytes | None:
    """An ICMP error from the exit's own address; None for what must not be answered with one. `mtu` is told with
    FRAGMENTATION_NEEDED."""
    if not icmp.may_be_answered(packet):
        return None
    source = EXIT_IPV4 if packet[0] >> 4 == 4 else EXIT_IPV6
    return icmp.build_error(kind, packet, source.packed, 0, mtu=mtu)


def fragments(packet: bytes, mtu: int) -> list[bytes]:
    """An IPv4 packet without options cut for a link of this MTU, as the exit's kernel does when DF is clear."""
    if len(packet) <= mtu:
        return [packet]
    header, payload = ipv4.parse(packet), packet[ipv4.HEADER_SIZE :]
    room = (mtu - ipv4.HEADER_SIZE) // 8 * 8
    out = []
    for at in range(0, len(payload), room):
        piece = payload[at : at + room]
        more = ipv4.FLAG_MF if at + room < len(payload) else 0
        out.append(
            ipv4.header(
                header.source,
                header.destination,
                header.protocol,
                ipv4.HEADER_SIZE + len(piece),
                header.identification,
                more | at // 8,
            )
            + piece
        )
    return out
