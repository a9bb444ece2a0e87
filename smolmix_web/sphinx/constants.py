"""Numbers of the Sphinx format and the table of packet sizes (sphinx 2.1, 2.3, 3). Lengths are bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ..crypto import hashes, onion

ALPHA = 32
ADDRESS = 32
IDENTIFIER = 16
DELAY = 8

# What a header is made of, known to the providers that make it.
MAX_HOPS = onion.MAX_HOPS
MAC = onion.MAC
FORWARD_META = onion.FORWARD_META
SLOT = onion.SLOT
BETA = onion.BETA
KEYSTREAM = onion.KEYSTREAM
HEADER = onion.HEADER
RHO = onion.RHO
MU = onion.MU
FULL_KEY = onion.FULL_KEY
SEED = onion.SEED
BLINDING = onion.BLINDING
REPLAY_TAG = onion.REPLAY_TAG
PAYLOAD_KEY = hashes.PAYLOAD_KEY_LENGTH
PAYLOAD_SEED = hashes.PAYLOAD_SEED_LENGTH

FORWARD_FLAG = 1
FINAL_FLAG = 2

FINAL_META = 52  # flag, version, destination, identifier

PAYLOAD_ZEROS = 16
PAYLOAD_MARKER = 1
PAYLOAD_OVERHEAD = PAYLOAD_ZEROS + 1
MIN_PAYLOAD = 33  # LIONESS needs a right half

# Versions. 1 and 257 multiply scalars modulo the group order; this package refuses them.
LEGACY_VERSIONS = frozenset((1, 257))
EXPLICIT_KEYS_VERSION = 258
KEY_SEEDS_VERSION = 259
DEFAULT_VERSION = KEY_SEEDS_VERSION

# In a packet for a client: the ack part in front, then the 32-byte key part, then the fragment (sphinx 5, 6).
ACK_PART = 405
KEY_PART = 32


@dataclass(frozen=True)
class PacketSize:
    """One row of the size table; `tag` is its number in node frames."""

    name: str
    tag: int
    plaintext: int

    @property
    def payload(self) -> int:
        """The encrypted payload field."""
        return self.plaintext + PAYLOAD_OVERHEAD

    @property
    def wire(self) -> int:
        """The whole packet."""
        return self.plaintext + PAYLOAD_OVERHEAD + HEADER

    @property
    def body(self) -> int:
        """What the gateway pushes to the client after it cut off the ack."""
        return self.plaintext - ACK_PART

    @property
    def fragment(self) -> int:
        """Bytes of one fragment, header included."""
        return self.plaintext - ACK_PART - KEY_PART


REGULAR = PacketSize("regular", 1, 2048)
ACK = PacketSize("ack", 2, 21)
EXTENDED32 = PacketSize("extended32", 3, 32768)
EXTENDED8 = PacketSize("extended8", 4, 8192)
EXTENDED16 = PacketSize("extended16", 5, 16384)

SIZES = (REGULAR, ACK, EXTENDED32, EXTENDED8, EXTENDED16)
SIZE_BY_TAG = {size.tag: size for size in SIZES}
SIZE_BY_WIRE = {size.wire: size for size in SIZES}
