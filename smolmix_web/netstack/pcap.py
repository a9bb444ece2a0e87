"""Everything that crosses the tunnel, as a file for Wireshark: classic pcap (draft-ietf-opsawg-pcap), whole packets.

The link type is RAW: each packet begins with its IPv4 or IPv6 header. Timestamps have microseconds.

    stack.observer = PcapWriter(file, unix_offset=time.time() - net.now())
"""

from __future__ import annotations

import struct
from typing import Protocol

from .observer import Observer

MAGIC = 0xA1B2C3D4  # big endian as written here; microseconds
VERSION = (2, 4)
SNAPLEN = 65_535
LINKTYPE_RAW = 101

_FILE_HEADER = struct.Struct(">IHHiIII")
_PACKET_HEADER = struct.Struct(">IIII")


class BinaryFile(Protocol):
    def write(self, data: bytes, /) -> object: ...


class PcapWriter(Observer):
    """Writes the file header at once and a record for each packet; flushing and closing `file` is the caller's.

    `unix_offset` is what makes Unix time of the stack's `now`. Past `limit` bytes of file, and after an error of the
    file (kept in `error`), nothing more is written: a capture never disturbs the traffic. `skipped` counts packets.
    """

    def __init__(self, file: BinaryFile, *, unix_offset: float = 0.0, limit: int | None = None) -> None:
        self._file = file
        self._offset = unix_offset
        self._limit = limit
        self.error: OSError | ValueError | None = None
        self.packets = 0
        self.skipped = 0
        self.bytes = 0
        self._write(_FILE_HEADER.pack(MAGIC, *VERSION, 0, 0, SNAPLEN, LINKTYPE_RAW))

    def write(self, packet: bytes, now: float) -> None:
        size = len(packet)
        kept = min(size, SNAPLEN)
        if self._limit is not None and self.bytes + _PACKET_HEADER.size + kept > self._limit:
            self._limit = 0  # and not a smaller packet later
            self.skipped += 1
            return
        microseconds = max(0, round((now + self._offset) * 1_000_000))
        seconds, fraction = divmod(microseconds, 1_000_000)
        header = _PACKET_HEADER.pack(seconds & 0xFFFFFFFF, fraction, kept, size)
        if self._write(header + packet[:kept]):
            self.packets += 1
        else:
            self.skipped += 1

    def _write(self, data: bytes) -> bool:
        if self.error is not None:
            return False
        try:
            self._file.write(data)
        except (OSError, ValueError) as error:  # ValueError: the file was closed
            self.error = error
            return False
        self.bytes += len(data)
        return True

    packet_in = packet_out = write
