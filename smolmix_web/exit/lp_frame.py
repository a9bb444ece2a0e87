"""The LP frame that carries protocol versions 9 and 10 inside a mixnet message (docs/protocol/ipr.md 4.2).

Sixteen bytes of header, then payload to the end: no length and no checksum, since Sphinx provides both.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .bincode import malformed

HEADER_SIZE = 16

KIND_OPAQUE, KIND_REGISTRATION, KIND_FORWARD, KIND_STREAM = range(4)
OPEN, DATA = 0, 1

# The kind alone is little endian.
_KIND = struct.Struct("<H")
_REST = struct.Struct(">QBIB")


@dataclass(frozen=True)
class LpFrame:
    """One stream frame. `message_type` is OPEN or DATA; control replies carry sequence 0 (ipr.md 4.3)."""

    stream_id: int
    message_type: int
    sequence: int
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        return _KIND.pack(KIND_STREAM) + _REST.pack(self.stream_id, self.message_type, self.sequence, 0) + self.payload

    @classmethod
    def from_bytes(cls, data: bytes) -> LpFrame:
        """Raises `ExitError` for anything that is not a stream frame. The reserved byte is not checked."""
        if len(data) < HEADER_SIZE:
            raise malformed("LP frame", 0, f"{HEADER_SIZE} bytes of header needed, {len(data)} there")
        (kind,) = _KIND.unpack_from(data)
        if kind != KIND_STREAM:
            raise malformed("LP frame kind", 0, f"{kind} is not a stream frame")
        stream_id, message_type, sequence, _reserved = _REST.unpack_from(data, 2)
        if message_type not in (OPEN, DATA):
            raise malformed("LP frame message type", 10, f"{message_type} is neither Open nor Data")
        return cls(stream_id, message_type, sequence, data[HEADER_SIZE:])


def is_stream_frame(data: bytes) -> bool:
    """Whether the message has the header of a stream frame; plain messages start with their version and never do."""
    return len(data) >= HEADER_SIZE and _KIND.unpack_from(data)[0] == KIND_STREAM
