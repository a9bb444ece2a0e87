"""Reading what a server sends: from bytes to messages, pings and the close (RFC 6455 5, 7.1; RFC 7692 6.2).

Each head is judged when it is there, text as it comes: what breaks the rules ends the connection although the rest of
its frame may never come. (`websockets`, which does the sending, judges whole frames.) One thing is read at a time: what
stands before a bad frame is dealt with before it.
"""

from __future__ import annotations

import codecs
import io
import struct
import zlib
from dataclasses import dataclass

from ..errors import WebSocketError

CONTINUATION, TEXT, BINARY = 0, 1, 2
CLOSE, PING, PONG = 8, 9, 10
MAX_CONTROL = 125  # bytes of payload
PIECE = 16_384  # bytes of a payload that are looked at in one step

NO_CODE, PROTOCOL_ERROR, BAD_DATA, TOO_BIG = 1005, 1002, 1007, 1009
_ERROR_CODES = {PROTOCOL_ERROR: "websocket_protocol", BAD_DATA: "bad_text", TOO_BIG: "message_too_big"}


class Violation(Exception):
    """What ends the connection: the close code that the server is told, and why in words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def error(self) -> WebSocketError:
        return WebSocketError(str(self), code=_ERROR_CODES[self.code], phase="receive")


class Inflater:
    """One message after the other, in any pieces.

    Its window is the largest, and the context is kept also of a server that promises to use none or a smaller window:
    their messages read the same. A block with the final bit set ends zlib's stream, not the connection's (RFC 7692
    7.2.3.4): what follows comes from a compressor that starts anew.
    """

    TAIL = b"\0\0\xff\xff"  # taken off each message by the sender (RFC 7692 7.2.1)

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=-zlib.MAX_WBITS)

    def decompress(self, data: bytes, limit: int) -> bytes:
        """Raises `zlib.error`. When there are `limit` bytes or more the rest is lost."""
        out = self._zlib.decompress(data, limit)
        while self._zlib.eof and len(out) < limit:
            rest = self._zlib.unused_data
            self._zlib = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            if not rest:
                break
            out += self._zlib.decompress(rest, limit - len(out))
        return out


@dataclass(frozen=True)
class Control:
    """A ping, a pong or a close."""

    opcode: int
    payload: bytes


@dataclass
class _Frame:
    """The one whose payload is being read."""

    opcode: int
    final: bool
    left: int  # bytes


class _Message:
    """The one whose fragments are coming, its text checked as it comes."""

    def __init__(self, text: bool, inflater: Inflater | None, limit: int) -> None:
        self._inflater = inflater
        self._limit = limit
        self._decoder = codecs.getincrementaldecoder("utf-8")() if text else None
        self._text = io.StringIO()
        self._data = bytearray()
        self.size = 0  # bytes so far, decompressed

    @property
    def compressed(self) -> bool:
        return self._inflater is not None

    def add(self, data: bytes) -> None:
        if self._inflater is not None:
            data = self._inflate(data)
        self.size += len(data)
        if self.size > self._limit:
            raise Violation(TOO_BIG, f"a message of more than {self._limit} bytes")
        if self._decoder is None:
            self._data += data
        else:
            self._text.write(self._decode(data))

    def _inflate(self, data: bytes) -> bytes:
        assert self._inflater is not None
        try:
            # What goes beyond the limit by a byte goes beyond it: no more is made.
            return self._inflater.decompress(data, self._limit - self.size + 1)
        except zlib.error as error:
            raise Violation(PROTOCOL_ERROR, "the compressed data is damaged") from error

    def _decode(self, data: bytes, final: bool = False) -> str:
        assert self._decoder is not None
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise Violation(BAD_DATA, f"text that is not UTF-8: {error.reason}") from None

    def end(self) -> str | bytes:
        if self._inflater is not None:
            self.add(Inflater.TAIL)
        if self._decoder is None:
            return bytes(self._data)
        self._decode(b"", True)
        return self._text.getvalue()


class FrameReader:
    """Takes bytes in any pieces. `max_size`: bytes of a message; `inflater`: where compression was agreed on."""

    def __init__(self, max_size: int, inflater: Inflater | None = None) -> None:
        self._max_size = max_size
        self._inflater = inflater
        self._buffer = bytearray()
        self._frame: _Frame | None = None
        self._message: _Message | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> str | bytes | Control | None:
        """The next message or control frame; None: more bytes are needed. Raises `Violation`, and is then of no use."""
        while True:
            if self._frame is None and not self._read_head():
                return None
            frame = self._frame
            assert frame is not None
            if frame.opcode >= CLOSE:
                if len(self._buffer) < frame.left:
                    return None
                self._frame = None
                return Control(frame.opcode, self._take(frame.left))
            assert self._message is not None
            if frame.left:
                if not self._buffer:
                    return None
                piece = self._take(min(frame.left, PIECE))
                frame.left -= len(piece)
                self._message.add(piece)
            if not frame.left:
                self._frame = None
                if frame.final:
                    message, self._message = self._message, None
                    return message.end()

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _read_head(self) -> bool:
        """Whether it is there. Judged are its first two bytes before the length behind them."""
        if len(self._buffer) < 2:
            return False
        first, second = self._buffer[0], self._buffer[1]
        opcode, final = first & 15, bool(first & 128)
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise Violation(PROTOCOL_ERROR, f"opcode {opcode} is not known")
        compressed = bool(first & 64) and self._inflater is not None and opcode in (TEXT, BINARY)
        if first & 0x30 or (first & 64 and not compressed):
            raise Violation(PROTOCOL_ERROR, "a reserved bit is set")
        if second & 128:
            raise Violation(PROTOCOL_ERROR, "a server's frame is masked")
        length = second & 127
        if opcode >= CLOSE and not (final and length <= MAX_CONTROL):
            raise Violation(PROTOCOL_ERROR, "a control frame is fragmented or longer than 125 bytes")
        if opcode < CLOSE and (opcode == CONTINUATION) != (self._message is not None):
            raise Violation(
                PROTOCOL_ERROR, "a continuation of nothing" if opcode == CONTINUATION else "a message within a message"
            )
        size = 2 + {126: 2, 127: 8}.get(length, 0)
        if len(self._buffer) < size:
            return False
        if size > 2:
            length = self._long_length(bytes(self._buffer[2:size]))
        del self._buffer[:size]
        if opcode in (TEXT, BINARY):
            self._message = _Message(opcode == TEXT, self._inflater if compressed else None, self._max_size)
        if opcode < CLOSE and self._message is not None:
            before = 0 if self._message.compressed else self._message.size
            if before + length > self._max_size:
                raise Violation(TOO_BIG, f"a message of more than {self._max_size} bytes")
        self._frame = _Frame(opcode, final, length)
        return True

    def _long_length(self, data: bytes) -> int:
        (length,) = struct.unpack("!H" if len(data) == 2 else "!Q", data)
        if length <= (MAX_CONTROL if len(data) == 2 else 0xFFFF) or length >> 63:
            raise Violation(PROTOCOL_ERROR, "a length that is not in its shortest form, or beyond 63 bits")
        return int(length)


def parse_close(payload: bytes) -> tuple[int, str]:
    """Code, 1005 for none, and reason. Raises `Violation`."""
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise Violation(PROTOCOL_ERROR, "a close frame with a code that none may have")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise Violation(BAD_DATA, "a close reason that is not UTF-8") from None
