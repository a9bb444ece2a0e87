"""Between messages and frames: fragments put together, and long messages cut into them (RFC 6455 5.4)."""

from __future__ import annotations

from collections.abc import Iterator

MAX_CONTROL = 125  # bytes of payload of a control frame
FRAGMENT = 65_536  # bytes of a message that leave in one frame

CONTINUATION, TEXT, BINARY = 0, 1, 2

Bytes = bytes | bytearray | memoryview


class Assembler:
    """Takes data frames in the order in which they came. Order, size and encoding have been checked."""

    def __init__(self) -> None:
        self._text = False
        self._data = bytearray()

    def take(self, opcode: int, data: Bytes, final: bool) -> str | bytes | None:
        """The message that this frame ends, None while there is more to come."""
        if opcode != CONTINUATION:
            self._text = opcode == TEXT
        if self._data or not final:
            self._data += data
            if not final:
                return None
            data, self._data = self._data, bytearray()
        return str(data, "utf-8") if self._text else bytes(data)


def fragments(data: Bytes, opcode: int, size: int = FRAGMENT) -> Iterator[tuple[int, memoryview, bool]]:
    """A message as frames to send: (opcode, payload, final). Other frames may go between, and memory is bounded."""
    view = memoryview(data)
    for start in range(0, len(view) or 1, size):
        yield opcode if start == 0 else CONTINUATION, view[start : start + size], start + size >= len(view)
