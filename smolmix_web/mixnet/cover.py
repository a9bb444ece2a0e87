"""Loop cover packets: to ourselves, and to everybody else no different from data (sphinx 6.3, client-behaviour 2.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..crypto.provider import Crypto
from ..rand import RandomSource
from ..sphinx.constants import DEFAULT_VERSION, REGULAR, PacketSize
from ..sphinx.packet import Hop
from .acks import AckPath
from .addresses import Recipient
from .fragments import COVER_IDENTIFIER, FragmentIdentifier
from .preparer import PreparedPacket, seal_packet

COVER_MARKER = b"The cake is a lie!"


def cover_content(size: PacketSize = REGULAR) -> bytes:
    """What stands in place of a fragment."""
    return (COVER_MARKER + b"\x01").ljust(size.fragment, b"\0")


def is_cover(content: bytes) -> bool:
    """True for the decrypted content of a cover packet; a fragment starts with a byte >= 0x80."""
    return content.startswith(COVER_MARKER)


def build_cover_packet(
    crypto: Crypto,
    rng: RandomSource,
    own: Recipient,
    *,
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    rotation: int,
    ack: AckPath,
    size: PacketSize = REGULAR,
    version: int = DEFAULT_VERSION,
    identifier: FragmentIdentifier = COVER_IDENTIFIER,
    note_key: Callable[[bytes], None] | None = None,
) -> PreparedPacket:
    """A cover packet to `own`; `route` and `ack.route` both end at our gateway.

    `version` is the one of data packets, since hops can read it. 258 makes the cover packets that the reference client
    sends, for test nodes to meet. `identifier` is what the ack will say, for a packet that is looked for.
    `note_key` is told by which 32 bytes the body can be known again.
    """
    return seal_packet(
        crypto,
        rng,
        own,
        cover_content(size),
        identifier,
        route=route,
        delays_ns=delays_ns,
        rotation=rotation,
        ack=ack,
        size=size,
        version=version,
        note_key=note_key,
    )
