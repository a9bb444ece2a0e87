"""What fits one Sphinx packet: the sizes behind bundling and the SURBs we attach (docs/protocol/ipr.md 4.6)."""

from __future__ import annotations

from .bundles import PREFIX_SIZE
from .lp_frame import HEADER_SIZE

PLAINTEXT_PER_PACKET = 1604  # message bytes of one regular packet of a single-set message
PADDING = 1  # one mandatory byte at the end of a message
SURB_SIZE = 460  # a reply SURB with key seeds for four hops
REPLIABLE_OVERHEAD = 1 + 16 + 1 + 4  # message type, sender tag, content tag, SURB header
REPLY_OVERHEAD = 1 + 1  # message type, content tag
DATA_REQUEST_OVERHEAD = 2 + 1 + 3  # version and provider, request tag, longest usual length field

# A bundle that leaves in one packet without any SURB: 1559 bytes, one IP packet of 1557.
BUNDLE_ROOM = PLAINTEXT_PER_PACKET - PADDING - REPLIABLE_OVERHEAD - HEADER_SIZE - DATA_REQUEST_OVERHEAD
# No IP packet is smaller than an IPv4 header, so a bundle with less room than this is full.
SMALLEST_ITEM = PREFIX_SIZE + 20


def request_packets(length: int, surbs: int) -> int:
    """Sphinx packets of a repliable message with `length` bytes of data and `surbs` SURBs."""
    return -(-(REPLIABLE_OVERHEAD + surbs * SURB_SIZE + length + PADDING) // PLAINTEXT_PER_PACKET)


def reply_packets(length: int) -> int:
    """Sphinx packets, thus SURBs, that a reply of `length` bytes takes."""
    return -(-(REPLY_OVERHEAD + length + PADDING) // PLAINTEXT_PER_PACKET)


def surbs_for_free(length: int, at_least: int = 0) -> int:
    """The most SURBs a message of `length` bytes carries in the packets that `at_least` SURBs need anyway."""
    room = request_packets(length, at_least) * PLAINTEXT_PER_PACKET - PADDING - REPLIABLE_OVERHEAD - length
    return room // SURB_SIZE
