"""Addresses of the mixnet: Nym addresses of clients, node routing addresses, sender tags (sphinx 1.5, 1.6, 8)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from ..errors import MessageError, UsageError
from ..rand import RandomSource
from .base58 import base58_decode, base58_encode

KEY_LENGTH = 32
RECIPIENT_LENGTH = 96
SENDER_TAG_LENGTH = 16
MAX_RECIPIENT_TEXT = 3 * 45 + 2

DEFAULT_MIX_PORT = 1789
HEADER_ADDRESS_LENGTH = 32  # padded, inside Sphinx headers and SURBs
ACK_ADDRESS_LENGTH = 19  # padded, in front of an ack

_V4, _V6 = 4, 6
_LENGTHS = {_V4: 7, _V6: 19}

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class Recipient(NamedTuple):
    """A Nym address: where a client is reached and by which key. Each part has 32 bytes."""

    identity: bytes  # Ed25519; also the destination in Sphinx headers
    encryption: bytes  # X25519
    gateway: bytes  # Ed25519 identity of its gateway

    def to_bytes(self) -> bytes:
        """The 96-byte form."""
        return self.identity + self.encryption + self.gateway

    @classmethod
    def from_bytes(cls, data: bytes) -> Recipient:
        """Inverse of `to_bytes`; MessageError `bad_recipient` for another length. Points are not checked."""
        if len(data) != RECIPIENT_LENGTH:
            raise MessageError(f"recipient: {len(data)} bytes, {RECIPIENT_LENGTH} expected", code="bad_recipient")
        return cls(data[0:32], data[32:64], data[64:96])

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """`identity.encryption@gateway`, each base58, as people write it.

        MessageError `bad_recipient` or `bad_base58` names the part that is wrong; a key that is no point of the
        curve is refused too, since nothing else would show a mistyped letter.
        """
        if len(text) > MAX_RECIPIENT_TEXT:
            raise MessageError(f"Nym address: {len(text)} characters are too many", code="bad_recipient")
        parts = text.split("@")
        if len(parts) != 2:
            raise MessageError("Nym address: exactly one '@' expected", code="bad_recipient")
        keys = parts[0].split(".")
        if len(keys) != 2:
            raise MessageError("Nym address: exactly one '.' before the '@' expected", code="bad_recipient")
        recipient = cls(
            base58_decode(keys[0], KEY_LENGTH, "identity of a Nym address"),
            base58_decode(keys[1], KEY_LENGTH, "encryption key of a Nym address"),
            base58_decode(parts[1], KEY_LENGTH, "gateway of a Nym address"),
        )
        for key, what in ((recipient.identity, "identity"), (recipient.gateway, "gateway")):
            if not is_ed25519_point(key):
                raise MessageError(f"{what} of a Nym address: not an Ed25519 key", code="bad_recipient")
        return recipient

    def __str__(self) -> str:
        return f"{base58_encode(self.identity)}.{base58_encode(self.encryption)}@{base58_encode(self.gateway)}"


def is_ed25519_point(key: bytes) -> bool:
    """True if 32 bytes decompress to a point (RFC 8032 5.1.3: x^2 = (y^2 - 1) / (d y^2 + 1) has a root)."""
    if len(key) != KEY_LENGTH:
        return False
    square = pow(int.from_bytes(key, "little") & (2**255 - 1), 2, _P)
    # u/v is a square exactly when u*v is.
    return pow((square - 1) * (_D * square + 1), (_P - 1) // 2, _P) in (0, 1)


# -- node routing addresses -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """IP address and mix port of a node."""

    ip: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"


def pack_node_address(ip: IPv4Address | IPv6Address | str, port: int = DEFAULT_MIX_PORT) -> bytes:
    """The unpadded form: 7 bytes for IPv4, 19 for IPv6. MessageError `bad_node_address` for a text that is no IP."""
    if isinstance(ip, str):
        try:
            ip = ip_address(ip)
        except ValueError:
            raise MessageError("node address: not an IP address", code="bad_node_address") from None
    if not 0 <= port <= 65535:
        raise UsageError(f"node address: port {port} is not in 0..65535", code="bad_node_address")
    return bytes((ip.version,)) + port.to_bytes(2, "big") + ip.packed


def node_address_length(data: bytes, offset: int = 0) -> int:
    """7 or 19 by the first byte, checked to be there whole; MessageError `bad_node_address` otherwise."""
    kind = data[offset] if len(data) > offset else None
    length = _LENGTHS.get(kind) if kind is not None else None
    if length is None:
        raise MessageError(f"node address: unknown or missing kind byte at offset {offset}", code="bad_node_address")
    if len(data) - offset < length:
        raise MessageError(
            f"node address: {len(data) - offset} bytes at offset {offset}, {length} expected", code="bad_node_address"
        )
    return length


def unpack_node_address(data: bytes) -> NodeAddress:
    """The address at the start of `data`, in any padding; MessageError `bad_node_address`."""
    length = node_address_length(data)
    port = int.from_bytes(data[1:3], "big")
    if length == 7:
        return NodeAddress(IPv4Address(data[3:7]), port)
    return NodeAddress(IPv6Address(data[3:19]), port)


def pad_node_address(packed: bytes, length: int = HEADER_ADDRESS_LENGTH) -> bytes:
    """Zero-padded to 32 (headers, SURBs) or 19 (in front of an ack)."""
    return packed[: node_address_length(packed)].ljust(length, b"\0")


def unpad_node_address(padded: bytes) -> bytes:
    """The 7 or 19 bytes that mean something; MessageError `bad_node_address`."""
    return padded[: node_address_length(padded)]


# -- sender tags --------------------------------------------------------------------------------------


def new_sender_tag(rng: RandomSource) -> bytes:
    """16 random bytes by which a recipient knows our anonymous messages to belong together."""
    return rng.bytes(SENDER_TAG_LENGTH)


def sender_tag_text(tag: bytes) -> str:
    """Base58 of a sender tag."""
    return base58_encode(tag)


def parse_sender_tag(text: str) -> bytes:
    """Inverse of `sender_tag_text`; MessageError `bad_base58`."""
    return base58_decode(text, SENDER_TAG_LENGTH, "sender tag")
