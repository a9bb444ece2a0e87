"""The LP frame: what streams between clients, and versions 9 and 10 of the exit's protocol, travel in (ipr.md 4.2).

Sixteen bytes of header, then payload to the end: no length and no checksum, since Sphinx provides both. The reserved
byte is 0 and nobody looks at it; two clients of ours tell each other by it who they are (docs/peer-to-peer.md).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import MessageError

HEADER_SIZE = 16

KIND_OPAQUE, KIND_REGISTRATION, KIND_FORWARD, KIND_STREAM = range(4)
# The first two are all that clients of today know; a Ping has its nonce in the place of the sequence number.
OPEN, DATA, OPEN_ACK, PING, PONG = range(5)
CONTROL = 0xC1  # ours: dropped by all others
TYPES = (OPEN, DATA, OPEN_ACK, PING, PONG, CONTROL)

# The kind alone is little endian.
_KIND = struct.Struct("<H")
_REST = struct.Struct(">QBIB")


@dataclass(frozen=True, slots=True)
class LpFrame:
    """One stream frame. `message_type` is one of `TYPES`; control replies of an exit carry sequence 0 (ipr.md 4.3)."""

    stream_id: int
    message_type: int
    sequence: int
    payload: bytes = b""
    reserved: int = 0

    def to_bytes(self) -> bytes:
        rest = _REST.pack(self.stream_id, self.message_type, self.sequence, self.reserved)
        return _KIND.pack(KIND_STREAM) + rest + self.payload

    @classmethod
    def from_bytes(cls, data: bytes) -> LpFrame:
        """MessageError `bad_frame` for anything that is not a stream frame. The reserved byte is not checked."""
        if len(data) < HEADER_SIZE:
            raise _bad("LP frame", 0, f"{HEADER_SIZE} bytes of header needed, {len(data)} there")
        (kind,) = _KIND.unpack_from(data)
        if kind != KIND_STREAM:
            raise _bad("LP frame kind", 0, f"{kind} is not a stream frame")
        stream_id, message_type, sequence, reserved = _REST.unpack_from(data, 2)
        if message_type not in TYPES:
            raise _bad("LP frame message type", 10, f"{message_type} is unknown")
        return cls(stream_id, message_type, sequence, data[HEADER_SIZE:], reserved)


def is_stream_frame(data: bytes) -> bool:
    """Whether the message has the header of a stream frame; plain messages start with their version and never do."""
    return len(data) >= HEADER_SIZE and _KIND.unpack_from(data)[0] == KIND_STREAM


def _bad(what: str, offset: int, problem: str) -> MessageError:
    return MessageError(f"{what} at offset {offset}: {problem}", code="bad_frame")
