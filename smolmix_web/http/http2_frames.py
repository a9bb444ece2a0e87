"""Frames of HTTP/2 cut out of a byte stream (RFC 9113 4.1), before the library sees them.

One frame at a time, so that what came before a malformed one still counts; and a length beyond the limit, or a server
that speaks something else, is refused at the first bytes and not after megabytes of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import HttpError

HEADER = 9
MAX_FRAME = 16_384  # SETTINGS_MAX_FRAME_SIZE as it is without saying anything
RESET_LENGTH = HEADER + 4  # of a whole RST_STREAM frame

DATA, RST_STREAM, SETTINGS, GOAWAY = 0x0, 0x3, 0x4, 0x7
ACK = 0x1


def stream_of(frame: bytes) -> int:
    """The stream identifier of a whole frame, 0 for the connection."""
    return int.from_bytes(frame[5:9], "big") & 0x7FFFFFFF


def goaway_of(frame: bytes) -> tuple[int, int]:
    """Last stream and error code of a GOAWAY frame."""
    if len(frame) < HEADER + 8 or stream_of(frame):
        raise malformed("a GOAWAY frame has the wrong form")
    last = int.from_bytes(frame[HEADER : HEADER + 4], "big") & 0x7FFFFFFF
    return last, int.from_bytes(frame[HEADER + 4 : HEADER + 8], "big")


def malformed(text: str) -> HttpError:
    return HttpError(f"the server does not speak valid HTTP/2: {text}", code="http_protocol", phase="response")


class FrameSplitter:
    """`feed` gives whole frames, header included. Raises `HttpError(http_protocol)`; then nothing more may follow."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._first = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        if self._first and len(self._buffer) > 4 and (self._buffer[3] != SETTINGS or self._buffer[4] & ACK):
            raise malformed("it does not begin with SETTINGS")
        while len(self._buffer) >= HEADER:
            length = int.from_bytes(self._buffer[:3], "big")
            if length > MAX_FRAME:
                raise malformed(f"a frame of {length} bytes")
            if len(self._buffer) < HEADER + length:
                return
            self._first = False
            frame = bytes(self._buffer[: HEADER + length])
            del self._buffer[: HEADER + length]
            yield frame
