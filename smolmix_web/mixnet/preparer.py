"""From a fragment to a packet ready for the gateway: ack, end-to-end layer, Sphinx (sphinx 6, 10).

Every packet, also a retransmission of the same fragment, gets a new ack and a new ephemeral key, and should get new
routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..crypto.provider import Crypto
from ..errors import CryptoError, MessageError, UsageError
from ..rand import RandomSource
from ..sphinx.constants import DEFAULT_VERSION, KEY_PART, REGULAR, PacketSize
from ..sphinx.packet import Hop, build_packet
from ..sphinx.surb import ReplySurb
from .acks import AckPath, build_ack
from .addresses import Recipient, unpad_node_address
from .fragments import Fragment, FragmentIdentifier
from .mix_packet import SPHINX_PACKET, MixPacket

_ZERO_IV = bytes(16)
_MIX_HOPS = 3


class PreparedPacket(NamedTuple):
    """A packet, where it goes, and how long it should take until its ack is back."""

    first_hop: bytes  # unpadded node address, 7 or 19
    rotation: int  # rotation byte: 0, 1 or 2
    packet: bytes
    expected_delay: float  # seconds: sum of the delays in the mix nodes there and back, "D" of client-behaviour 3.2
    route: tuple[Hop, ...] = ()  # empty for a reply: its SURB's maker drew it

    def mix_packet(self) -> MixPacket:
        return MixPacket(SPHINX_PACKET, self.rotation, self.first_hop, self.packet)


def exponential_delays(rng: RandomSource, hops: int, mean: float) -> list[int]:
    """A delay per hop in nanoseconds, exponential with `mean` seconds; the last one is never used (sphinx 10)."""
    return [round(rng.exponential(mean * 1e9)) for _ in range(hops)]


def total_delay(delays_ns: Sequence[int]) -> float:
    """Seconds that a packet waits in its mix nodes: all but the last hop, gateways do not delay."""
    return sum(delays_ns[:-1]) / 1e9


def build_fragment_packet(
    crypto: Crypto,
    rng: RandomSource,
    recipient: Recipient,
    fragment: Fragment,
    *,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    rotation: int,
    ack: AckPath,
    size: PacketSize = REGULAR,
    version: int = DEFAULT_VERSION,
) -> PreparedPacket:
    """A packet for a known recipient; `route` ends at the recipient's gateway, `ack.route` at ours.

    UsageError `bad_fragment_size` unless the fragment fills a packet of `size`; SphinxError `bad_node_key`;
    MessageError `bad_recipient` when the recipient's key is not usable.
    """
    content = _checked(fragment, size)
    return seal_packet(
        crypto,
        rng,
        recipient,
        content,
        fragment.identifier,
        route=route,
        delays_ns=delays_ns,
        rotation=rotation,
        ack=ack,
        size=size,
        version=version,
    )


def seal_packet(
    crypto: Crypto,
    rng: RandomSource,
    recipient: Recipient,
    content: bytes,
    identifier: FragmentIdentifier,
    *,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    rotation: int,
    ack: AckPath,
    size: PacketSize,
    version: int,
    note_key: Callable[[bytes], None] | None = None,
) -> PreparedPacket:
    """The common part of data and cover packets: `content` has `size.fragment` bytes (sphinx 6.1).

    `note_key` is told the 32 bytes that the recipient's body will begin with.
    """
    try:
        sealed = crypto.seal_fragment(rng.bytes(32), recipient.encryption, content)
    except CryptoError as error:
        raise MessageError("recipient: its encryption key is not usable", code="bad_recipient") from error
    if note_key is not None:
        note_key(sealed[:KEY_PART])
    plaintext = build_ack(crypto, rng, ack, identifier, version) + sealed
    packet = build_packet(
        crypto,
        rng,
        route,
        delays_ns,
        recipient.identity,
        plaintext,
        payload_size=size.payload,
        version=version,
    )
    expected = total_delay(delays_ns) + total_delay(ack.delays_ns)
    return PreparedPacket(unpad_node_address(route[0].address), rotation, packet, expected, tuple(route))


def build_reply_packet(
    crypto: Crypto,
    rng: RandomSource,
    surb: ReplySurb,
    fragment: Fragment,
    *,
    ack: AckPath,
    average_delay: float,
    size: PacketSize = REGULAR,
    version: int = DEFAULT_VERSION,
) -> PreparedPacket:
    """A packet back to whoever made `surb`, which must never be used again (sphinx 6.2).

    `average_delay`: mean delay per mix node in seconds; the SURB's own delays are unknown, 3 means are assumed.
    `version` is that of the ack alone. UsageError `bad_fragment_size`; MessageError `bad_node_address` when the
    SURB's first hop is no address.
    """
    content = _checked(fragment, size)
    first_hop = unpad_node_address(surb.first_hop)
    key = surb.encryption_key
    plaintext = b"".join(
        (
            build_ack(crypto, rng, ack, fragment.identifier, version),
            surb.key_digest(crypto),
            crypto.aes128_ctr(key, _ZERO_IV, content),
        )
    )
    expected = _MIX_HOPS * average_delay + total_delay(ack.delays_ns)
    return PreparedPacket(first_hop, surb.rotation, surb.apply(crypto, plaintext, size.payload), expected)


def _checked(fragment: Fragment, size: PacketSize) -> bytes:
    content = fragment.to_bytes()
    if len(content) != size.fragment:
        raise UsageError(
            f"a fragment of {len(content)} bytes does not fill a {size.name} packet ({size.fragment})",
            code="bad_fragment_size",
        )
    return content
