"""What fits one Sphinx packet beside the exit's framing: the size of a full bundle (docs/protocol/ipr.md 4.6)."""

from __future__ import annotations

from ..mixnet.lp_frame import HEADER_SIZE
from ..mixnet.messages import REPLIABLE_OVERHEAD
from .bundles import PREFIX_SIZE

PLAINTEXT_PER_PACKET = 1604  # message bytes of one regular packet of a single-set message
PADDING = 1  # one mandatory byte at the end of a message
DATA_REQUEST_OVERHEAD = 2 + 1 + 3  # version and provider, request tag, longest usual length field

# A bundle that leaves in one packet without any SURB: 1559 bytes, one IP packet of 1557.
BUNDLE_ROOM = PLAINTEXT_PER_PACKET - PADDING - REPLIABLE_OVERHEAD - HEADER_SIZE - DATA_REQUEST_OVERHEAD
# No IP packet is smaller than an IPv4 header, so a bundle with less room than this is full.
SMALLEST_ITEM = PREFIX_SIZE + 20
