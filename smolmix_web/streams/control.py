"""What two peers of ours tell each other about a stream, beside the data that any peer would understand.

Payload of a CONTROL frame, and of the OpenAck that answers a dialer of ours. It states how things are, not what
happened, so that a later one makes up for any that was lost; all numbers only grow.

    flags      1   FINAL, HEARD, RESET, ADDRESS, ASK
    received   8   frames of the other side that have arrived without a hole
    credit     8   bytes of payload that the other side may have sent in all
    ranges     1 + 4 each   arrived beyond: frames missing since the last one told of, frames there
    final      8   with FINAL: frames that this side has sent in all; no more will come
    reset      3 + n   with RESET: code, length, text
    address    2 + 96  with ADDRESS: how often this side has moved, where it is now

Integers are big endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import MessageError
from ..mixnet.addresses import RECIPIENT_LENGTH, Recipient

EXTENDED = 0xE1  # in the reserved byte of Open and OpenAck: a peer of ours, version 1 of this record

FINAL, HEARD, RESET, ADDRESS, ASK = 1, 2, 4, 8, 16
_KNOWN = FINAL | HEARD | RESET | ADDRESS | ASK

MAX_RANGES = 64
MAX_TEXT = 255
MAX_GAP = 0xFFFF

# Codes of a reset; those of an application begin at `FIRST_OWN`.
CLOSED, REFUSED, BUSY, UNKNOWN, FAILED = range(5)
FIRST_OWN = 256
NAMES = {CLOSED: "closed", REFUSED: "nobody listens", BUSY: "busy", UNKNOWN: "unknown stream", FAILED: "failed"}

_HEAD = struct.Struct(">BQQB")
_RANGE = struct.Struct(">HH")
_RESET = struct.Struct(">HB")


@dataclass(frozen=True, slots=True)
class Reset:
    code: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """See the module. `ranges`: (first, end) in absolute numbers, ascending; `heard`: the other side's final number is
    known; `ask`: an answer is wanted."""

    received: int
    credit: int
    ranges: tuple[tuple[int, int], ...] = ()
    final: int | None = None
    heard: bool = False
    reset: Reset | None = None
    moves: int = 0
    address: Recipient | None = None
    ask: bool = False

    def to_bytes(self) -> bytes:
        flags = HEARD * self.heard | ASK * self.ask
        tail = b""
        if self.final is not None:
            flags |= FINAL
            tail += self.final.to_bytes(8, "big")
        if self.reset is not None:
            flags |= RESET
            text = self.reset.text.encode()[:MAX_TEXT].decode(errors="ignore").encode()
            tail += _RESET.pack(self.reset.code, len(text)) + text
        if self.address is not None:
            flags |= ADDRESS
            tail += self.moves.to_bytes(2, "big") + self.address.to_bytes()
        packed, at = [], self.received
        for first, end in self.ranges[:MAX_RANGES]:
            if first - at > MAX_GAP or end - first > MAX_GAP:
                break
            packed.append(_RANGE.pack(first - at, end - first))
            at = end
        return _HEAD.pack(flags, self.received, self.credit, len(packed)) + b"".join(packed) + tail

    @classmethod
    def from_bytes(cls, data: bytes) -> Control:
        """Inverse of `to_bytes`. MessageError `bad_control` names the field and its offset."""
        if len(data) < _HEAD.size:
            raise _bad(f"{len(data)} bytes, at least {_HEAD.size} expected")
        flags, received, credit, count = _HEAD.unpack_from(data)
        if flags & ~_KNOWN:
            raise _bad(f"unknown flags {flags:#x} at offset 0")
        if count > MAX_RANGES:
            raise _bad(f"{count} ranges at offset {_HEAD.size - 1}, at most {MAX_RANGES} allowed")
        reader = _Reader(data, _HEAD.size)
        ranges, at = [], received
        for _ in range(count):
            start = reader.at
            gap, length = _RANGE.unpack(reader.take(_RANGE.size, "a range"))
            if not gap or not length:
                raise _bad(f"an empty gap or range at offset {start}")
            ranges.append((at + gap, at + gap + length))
            at += gap + length
        final = int.from_bytes(reader.take(8, "the final number"), "big") if flags & FINAL else None
        reset = None
        if flags & RESET:
            code, length = _RESET.unpack(reader.take(_RESET.size, "the reset"))
            reset = Reset(code, reader.take(length, "the text of the reset").decode(errors="replace"))
        moves, address = 0, None
        if flags & ADDRESS:
            moves = int.from_bytes(reader.take(2, "the number of moves"), "big")
            address = Recipient.from_bytes(reader.take(RECIPIENT_LENGTH, "the address"))
        reader.end()
        return cls(
            received, credit, tuple(ranges), final, bool(flags & HEARD), reset, moves, address, bool(flags & ASK)
        )


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def take(self, count: int, what: str) -> bytes:
        piece = self._data[self.at : self.at + count]
        if len(piece) < count:
            raise _bad(f"{what} at offset {self.at} is cut off")
        self.at += count
        return piece

    def end(self) -> None:
        if self.at < len(self._data):
            raise _bad(f"{len(self._data) - self.at} bytes too many at offset {self.at}")


def _bad(text: str) -> MessageError:
    return MessageError(f"stream control: {text}", code="bad_control")
