"""Both directions of an open WebSocket without I/O: what came, what is to go, how far the close is."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from websockets.extensions import Extension
from websockets.frames import Frame, Opcode

from .extensions import Deflate
from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Control, FrameReader, parse_close

FRAGMENT = 65_536  # bytes of a message that leave in one frame
MAX_PONGS = 256  # that wait to be sent; of more, the newest (RFC 6455 5.5.3)

Bytes = bytes | bytearray | memoryview


class Protocol:
    """`deflate`: what was agreed on compression, None: nothing."""

    def __init__(self, max_size: int, deflate: Deflate | None) -> None:
        self._reader = FrameReader(max_size, deflate.inflater if deflate is not None else None)
        self._extensions: Sequence[Extension] = [deflate] if deflate is not None else []
        self._out: list[bytes] = []
        self._pongs: deque[bytes] = deque(maxlen=MAX_PONGS)
        self.close_received: tuple[int, str] | None = None  # code, reason
        self.close_sent = False  # nothing may follow

    # -- what comes ---------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """What comes behind a close frame is dropped (RFC 6455 1.4)."""
        if self.close_received is None:
            self._reader.feed(data)

    def next(self) -> str | bytes | None:
        """The next message; None: there is none yet, or it was the last. Pings and the close frame are answered.
        Raises `frames.Violation`."""
        while self.close_received is None and (item := self._reader.next()) is not None:
            if not isinstance(item, Control):
                return item
            if item.opcode == PING and not self.close_sent:
                self._pongs.append(item.payload)
            elif item.opcode == CLOSE:
                self.close_received = parse_close(item.payload)
                if not self.close_sent:
                    self._send_close(item.payload)  # the same, also when there is no code
        return None

    # -- what goes ----------------------------------------------------------------------------------

    def fragments(self, data: Bytes, text: bool) -> Iterator[tuple[Frame, int]]:
        """A message as frames for `send`, and the payload's size: others may go between, and memory is bounded."""
        view = memoryview(data)
        for start in range(0, len(view) or 1, FRAGMENT):
            piece = view[start : start + FRAGMENT]
            opcode = CONTINUATION if start else TEXT if text else BINARY
            yield Frame(Opcode(opcode), piece, start + FRAGMENT >= len(view)), len(piece)

    def send(self, frame: Frame) -> None:
        self._out.append(frame.serialize(mask=True, extensions=self._extensions))

    def ping(self) -> None:
        self.send(Frame(Opcode(PING), b""))

    def close(self, code: int | None, reason: str) -> None:
        """None sends no code. The reason has at most 123 bytes."""
        self._send_close(b"" if code is None else code.to_bytes(2, "big") + reason.encode())

    def _send_close(self, payload: bytes) -> None:
        self.close_sent = True
        self.send(Frame(Opcode(CLOSE), payload))

    def take_outgoing(self) -> bytes:
        pongs = [Frame(Opcode(PONG), payload).serialize(mask=True) for payload in self._pongs]
        out = b"".join([*pongs, *self._out])
        self._pongs.clear()
        self._out.clear()
        return out
