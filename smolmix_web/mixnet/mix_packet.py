"""The mix packet: how a client hands a Sphinx packet to its gateway (sphinx 4.2).

Form v2 is `type || rotation || first hop || packet`, form v1 lacks the rotation byte. The request kind byte of the
gateway protocol says which one it is.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import MessageError
from ..sphinx.constants import SIZE_BY_WIRE
from .addresses import node_address_length
from .rotation import ROTATION_EVEN, ROTATION_UNKNOWN

SPHINX_PACKET = 0
OUTFOX_PACKET = 2


class MixPacket(NamedTuple):
    """`rotation` is the rotation byte (0 unknown, 1 odd, 2 even); `first_hop` is unpadded, 7 or 19 bytes."""

    packet_type: int
    rotation: int
    first_hop: bytes
    packet: bytes

    def to_bytes(self, version: int = 2) -> bytes:
        """The plaintext of a forward request: v2 for gateway protocols from 5 on, v1 for older ones."""
        if version == 1:
            return bytes((self.packet_type,)) + self.first_hop + self.packet
        return bytes((self.packet_type, self.rotation)) + self.first_hop + self.packet

    @classmethod
    def from_bytes(cls, data: bytes, version: int = 2) -> MixPacket:
        """Inverse of `to_bytes`.

        MessageError codes: `truncated`, `unsupported_packet_type` (all but Sphinx), `bad_rotation`,
        `bad_node_address`, `bad_packet_size`.
        """
        start = 1 if version == 1 else 2
        if len(data) < start:
            raise MessageError(f"mix packet: {len(data)} bytes, its first fields are missing", code="truncated")
        check_packet_type(data[0], "mix packet")
        rotation = ROTATION_UNKNOWN if version == 1 else data[1]
        check_rotation(rotation, "mix packet: offset 1")
        end = start + node_address_length(data, start)
        if len(data) - end not in SIZE_BY_WIRE:
            raise MessageError(
                f"mix packet: {len(data) - end} bytes at offset {end} are no packet size", code="bad_packet_size"
            )
        return cls(data[0], rotation, data[start:end], data[end:])


def check_packet_type(packet_type: int, what: str) -> None:
    """Only Sphinx (0) is known here; MessageError `unsupported_packet_type` otherwise, Outfox (2) included."""
    if packet_type != SPHINX_PACKET:
        raise MessageError(f"{what}: packet type {packet_type} is not supported", code="unsupported_packet_type")


def check_rotation(rotation: int, what: str) -> None:
    """0, 1 or 2; MessageError `bad_rotation` otherwise."""
    if rotation > ROTATION_EVEN:
        raise MessageError(f"{what}: unknown key rotation {rotation}", code="bad_rotation")
