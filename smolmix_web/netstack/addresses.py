"""Addresses and endpoints: `ipaddress` objects at the surface, packed bytes inside.

A flow is keyed by the packed bytes as they stand in an arriving packet, `remote address || local address ||
remote port || local port`, so that finding its connection costs one slice and one dictionary look-up.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Endpoint(NamedTuple):
    """An address and a port; port 0 stands for "any" where the text of a function says so."""

    address: IpAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


def flow_key(remote: Endpoint, local: Endpoint) -> bytes:
    """12 bytes (IPv4) or 36 bytes (IPv6)."""
    return b"".join(
        (remote.address.packed, local.address.packed, remote.port.to_bytes(2, "big"), local.port.to_bytes(2, "big"))
    )


def unpack_address(packed: bytes) -> IpAddress:
    return ipaddress.IPv4Address(packed) if len(packed) == 4 else ipaddress.IPv6Address(packed)


_V4_BROADCAST = b"\xff\xff\xff\xff"


def is_martian_source(packed: bytes) -> bool:
    """No host may use it as a source: unspecified, loopback, multicast, broadcast (RFC 1122 3.2.1.3, RFC 4291 2)."""
    if len(packed) == 4:
        return packed[0] in (0, 127) or packed[0] >= 224
    return packed[0] == 0xFF or (packed[:15] == bytes(15) and packed[15] < 2)


def is_group(packed: bytes) -> bool:
    """Multicast or limited broadcast: never answered with an error or a RST (RFC 1122 3.2.2)."""
    if len(packed) == 4:
        return 224 <= packed[0] <= 239 or packed == _V4_BROADCAST
    return packed[0] == 0xFF
