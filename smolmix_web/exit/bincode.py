"""Reader and writer of the exit's serialisation: bincode 1.3 with big endian, variable-length integers and no
trailing bytes (docs/protocol/ipr.md 2.2).

Only the types that the protocol uses exist here. Every fault of the reader is an `ExitError` with code
`exit_malformed` that names the field and the offset in the message.
"""

from __future__ import annotations

import datetime
import struct
from dataclasses import dataclass
from typing import NoReturn

from ..errors import ExitError

_U16, _U32, _U64, _U128 = 0xFB, 0xFC, 0xFD, 0xFE
_MARKER_SIZES = {_U16: 2, _U32: 4, _U64: 8, _U128: 16}


def malformed(what: str, offset: int, problem: str) -> ExitError:
    """The error of a message that cannot be read: field, offset from the start of the message, problem."""
    return ExitError(f"{what} at offset {offset}: {problem}", code="exit_malformed", phase="exit")


class Writer:
    """Appends values to `data`."""

    def __init__(self) -> None:
        self.data = bytearray()

    def u8(self, value: int) -> None:
        self.data.append(value)

    def flag(self, value: bool) -> None:
        self.data.append(1 if value else 0)

    def i8(self, value: int) -> None:
        self.data.append(value & 0xFF)

    def varint(self, value: int) -> None:
        """An unsigned integer, length or enum tag in the shortest form; at most 64 bits."""
        if value < 0 or value >> 64:
            raise ValueError(f"{value} is not an unsigned 64-bit integer")
        if value < _U16:
            self.data.append(value)
        elif value < 1 << 16:
            self.data += struct.pack(">BH", _U16, value)
        elif value < 1 << 32:
            self.data += struct.pack(">BI", _U32, value)
        else:
            self.data += struct.pack(">BQ", _U64, value)

    def zigzag(self, value: int) -> None:
        """A signed integer of 16, 32 or 64 bits."""
        self.varint(value << 1 if value >= 0 else (-value << 1) - 1)

    def option(self, present: bool) -> None:
        """The marker in front of an optional value."""
        self.flag(present)

    def raw(self, value: bytes) -> None:
        """Bytes without a length: fixed-size fields."""
        self.data += value

    def blob(self, value: bytes) -> None:
        self.varint(len(value))
        self.data += value

    def text(self, value: str) -> None:
        self.blob(value.encode())


class Reader:
    """Reads values from `data`, starting at `offset`; `finish` refuses what is left over."""

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self.offset = offset

    def fail(self, what: str, problem: str, offset: int | None = None) -> NoReturn:
        raise malformed(what, self.offset if offset is None else offset, problem)

    def raw(self, count: int, what: str) -> bytes:
        end = self.offset + count
        if end > len(self._data):
            self.fail(what, f"{count} bytes needed, {len(self._data) - self.offset} left")
        piece = self._data[self.offset : end]
        self.offset = end
        return piece

    def u8(self, what: str) -> int:
        if self.offset >= len(self._data):
            self.fail(what, "1 byte needed, 0 left")
        self.offset += 1
        return self._data[self.offset - 1]

    def i8(self, what: str) -> int:
        value = self.u8(what)
        return value - 256 if value > 127 else value

    def flag(self, what: str) -> bool:
        at = self.offset
        value = self.u8(what)
        if value > 1:
            self.fail(what, f"{value} is neither 0 nor 1", at)
        return value == 1

    def varint(self, bits: int, what: str) -> int:
        """An unsigned integer in any of its forms, if the value fits `bits` bits."""
        at = self.offset
        value = self.u8(what)
        if value < _U16:
            return value
        size = _MARKER_SIZES.get(value)
        if size is None:
            self.fail(what, f"invalid integer marker {value:#04x}", at)
        value = int.from_bytes(self.raw(size, what), "big")
        if value >> bits:
            self.fail(what, f"{value} does not fit {bits} bits", at)
        return value

    def zigzag(self, bits: int, what: str) -> int:
        value = self.varint(bits, what)
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def tag(self, what: str) -> int:
        """The number of an enum's variant."""
        return self.varint(32, what)

    def option(self, what: str) -> bool:
        return self.flag(what)

    def blob(self, what: str) -> bytes:
        at = self.offset
        length = self.varint(64, what)
        left = len(self._data) - self.offset
        if length > left:
            self.fail(what, f"length {length} exceeds the {left} bytes left", at)
        return self.raw(length, what)

    def text(self, what: str) -> str:
        at = self.offset
        data = self.blob(what)
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.fail(what, "not UTF-8", at)

    def finish(self) -> None:
        left = len(self._data) - self.offset
        if left:
            self.fail("message", f"{left} trailing bytes")


@dataclass(frozen=True)
class Timestamp:
    """A moment as the protocol writes it: nine numbers, in UTC with all offsets zero when it is ours."""

    year: int
    day_of_year: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanosecond: int = 0
    offset_hours: int = 0
    offset_minutes: int = 0
    offset_seconds: int = 0

    @classmethod
    def from_unix(cls, unix_time: float, milliseconds: int) -> Timestamp:
        """The second of `unix_time`, and what the caller drew (0 to 999): nobody checks the fraction, which would tell
        our clock's skew, but others have one (ipr.md 2.2)."""
        moment = datetime.datetime.fromtimestamp(int(unix_time), datetime.UTC)
        day = moment.timetuple().tm_yday
        return cls(moment.year, day, moment.hour, moment.minute, moment.second, milliseconds * 1_000_000)

    def write(self, out: Writer) -> None:
        out.zigzag(self.year)
        out.varint(self.day_of_year)
        for value in (self.hour, self.minute, self.second):
            out.u8(value)
        out.varint(self.nanosecond)
        for value in (self.offset_hours, self.offset_minutes, self.offset_seconds):
            out.i8(value)

    @classmethod
    def read(cls, source: Reader) -> Timestamp:
        at = source.offset
        moment = cls(
            source.zigzag(32, "timestamp year"),
            source.varint(16, "timestamp day of year"),
            source.u8("timestamp hour"),
            source.u8("timestamp minute"),
            source.u8("timestamp second"),
            source.varint(32, "timestamp nanosecond"),
            source.i8("timestamp offset hours"),
            source.i8("timestamp offset minutes"),
            source.i8("timestamp offset seconds"),
        )
        for name, value, low, high in (
            ("year", moment.year, -9999, 9999),
            ("day of year", moment.day_of_year, 1, 366),
            ("hour", moment.hour, 0, 23),
            ("minute", moment.minute, 0, 59),
            ("second", moment.second, 0, 59),
            ("nanosecond", moment.nanosecond, 0, 999_999_999),
            ("offset hours", moment.offset_hours, -25, 25),
            ("offset minutes", moment.offset_minutes, -59, 59),
            ("offset seconds", moment.offset_seconds, -59, 59),
        ):
            if not low <= value <= high:
                source.fail(f"timestamp {name}", f"{value} is not in {low}..{high}", at)
        return moment


# What a client without a clock sends. Constant for all, so it tells nothing.
EPOCH = Timestamp(2026, 1)
