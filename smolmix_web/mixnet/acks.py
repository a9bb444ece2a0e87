"""SURB-acks: a small Sphinx packet inside each packet, sent back by the recipient's gateway (sphinx 5, 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..crypto.provider import Crypto
from ..errors import MessageError
from ..rand import RandomSource
from ..sphinx.constants import ACK, ACK_PART, DEFAULT_VERSION
from ..sphinx.packet import Hop, build_packet
from .addresses import ACK_ADDRESS_LENGTH, unpad_node_address
from .fragments import FragmentIdentifier

ACK_LENGTH = ACK.plaintext  # 21: what comes back to the client
_IV = 16


class AckPath(NamedTuple):
    """How an ack finds home: its own route to the sender's gateway, and who can read it there."""

    route: Sequence[Hop]
    delays_ns: Sequence[int]  # one per hop, the last unused
    destination: bytes  # identity of the sender, 32
    key: bytes  # ack key of the sender, 16


class AckPart(NamedTuple):
    """What an egress gateway cuts out of a final payload; `first_hop` is unpadded."""

    first_hop: bytes
    packet: bytes
    body: bytes


def encrypt_ack(crypto: Crypto, rng: RandomSource, key: bytes, identifier: FragmentIdentifier) -> bytes:
    """The 21 bytes that come back: random IV, then the encrypted fragment identifier."""
    iv = rng.bytes(_IV)
    return iv + crypto.aes128_ctr(key, iv, identifier.to_bytes())


def decrypt_ack(crypto: Crypto, key: bytes, content: bytes) -> FragmentIdentifier:
    """Whose ack this is; `COVER_IDENTIFIER` for a cover packet. MessageError `bad_ack` or `bad_fragment_id`.

    There is no integrity: a foreign or altered ack gives a random identifier, which is not pending.
    """
    if len(content) != ACK_LENGTH:
        raise MessageError(f"ack: {len(content)} bytes, {ACK_LENGTH} expected", code="bad_ack")
    return FragmentIdentifier.from_bytes(crypto.aes128_ctr(key, content[:_IV], content[_IV:]))


def build_ack(
    crypto: Crypto, rng: RandomSource, path: AckPath, identifier: FragmentIdentifier, version: int = DEFAULT_VERSION
) -> bytes:
    """The 405-byte ack part of a payload: first hop padded to 19, ack packet of 386."""
    content = encrypt_ack(crypto, rng, path.key, identifier)
    packet = build_packet(
        crypto,
        rng,
        path.route,
        path.delays_ns,
        path.destination,
        content,
        payload_size=ACK.payload,
        version=version,
    )
    return path.route[0].address[:ACK_ADDRESS_LENGTH] + packet


def split_ack(message: bytes) -> AckPart:
    """The gateway's cut through a final message; MessageError `truncated` or `bad_node_address`."""
    if len(message) < ACK_PART:
        raise MessageError(f"payload: {len(message)} bytes, the ack part alone has {ACK_PART}", code="truncated")
    first_hop = unpad_node_address(message[:ACK_ADDRESS_LENGTH])
    return AckPart(first_hop, message[ACK_ADDRESS_LENGTH:ACK_PART], message[ACK_PART:])
