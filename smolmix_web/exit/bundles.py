"""Several IP packets in one message: the MultiIpPacketCodec (docs/protocol/ipr.md 3).

Each packet follows its length as a fixed u16, big endian; a bundle is their concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence

TARGET_SIZE = 1500  # bytes of a bundle with its prefixes; what the exit's own encoder aims at
PREFIX_SIZE = 2
MAX_PACKET_SIZE = 0xFFFF


def join(packets: Sequence[bytes]) -> bytes:
    """The bundle of these packets, whatever its size. A packet has 1 to 65535 bytes."""
    parts = []
    for packet in packets:
        if not 1 <= len(packet) <= MAX_PACKET_SIZE:
            raise ValueError(f"a packet of {len(packet)} bytes cannot be bundled")
        parts.append(len(packet).to_bytes(PREFIX_SIZE, "big"))
        parts.append(packet)
    return b"".join(parts)


def split(bundle: bytes) -> tuple[list[bytes], bool]:
    """The packets of a bundle, and whether it ended cleanly.

    A truncated tail costs only the tail: what came before is good. A packet of length 0 is returned as such;
    it is not an IP packet, and the reader drops it there.
    """
    packets = []
    at, end = 0, len(bundle)
    while end - at >= PREFIX_SIZE:
        start = at + PREFIX_SIZE
        stop = start + (bundle[at] << 8 | bundle[at + 1])
        if stop > end:
            break
        packets.append(bundle[start:stop])
        at = stop
    return packets, at == end


class BundleEncoder:
    """Collects packets up to `target` bytes. Times are the owner's: it calls `flush` when one has waited enough.

    A packet that fills the bundle exactly does not emit it; the next packet or the flush does. A packet that is
    too large for any bundle leaves alone, at once if nothing waits before it.
    """

    def __init__(self, target: int = TARGET_SIZE) -> None:
        self.target = target
        self.packets = 0  # that wait
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes that wait."""
        return len(self._buffer)

    def append(self, packet: bytes) -> bytes | None:
        """Take a packet; a bundle if that pushed one out."""
        item = join((packet,))
        if not self._buffer and len(item) > self.target:
            return item
        if len(self._buffer) + len(item) > self.target:
            full = bytes(self._buffer)
            self._buffer[:] = item
            self.packets = 1
            return full
        self._buffer += item
        self.packets += 1
        return None

    def flush(self) -> bytes | None:
        """What waits, if anything."""
        if not self._buffer:
            return None
        bundle = bytes(self._buffer)
        self._buffer.clear()
        self.packets = 0
        return bundle
