"""What the protocol of `websockets` passes each frame through: permessage-deflate (RFC 7692) with a small window of our
own and a decompressor that goes on behind a final block, and the check of whole messages that it leaves to others.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Sequence

from websockets.exceptions import PayloadTooBig
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.typing import ExtensionName, ExtensionParameter

# A sender may use a smaller window than was agreed: 4 KiB costs 32 KiB of memory for each connection, not 256.
OWN_WINDOW_BITS = 12
MEMORY_LEVEL = 5
MAX_RESTARTS = 16  # final blocks within one frame


class Inflater:
    """Stands where the extension has a `zlib.decompressobj`.

    A block with the final bit set ends zlib's stream, not the connection's (RFC 7692 7.2.3.4): what follows comes from
    a compressor that starts anew.
    """

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._zlib = zlib.decompressobj(wbits=-window_bits)

    @property
    def unconsumed_tail(self) -> bytes:
        return self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes, and one for each restart; 0: no limit."""
        out = self._zlib.decompress(data, max_length)
        restarts = 0
        while self._zlib.eof:
            rest = self._zlib.unused_data
            self._zlib = zlib.decompressobj(wbits=-self._window_bits)
            restarts += 1
            if restarts > MAX_RESTARTS:
                raise zlib.error("too many final blocks in one frame")
            if rest:
                out += self._zlib.decompress(rest, max(1, max_length - len(out)) if max_length else 0)
        return out


class Deflate(PerMessageDeflate):
    """What was agreed.

    The context is kept even of a server that promises to use none: its messages read the same, and with the context the
    memory is bounded all the same, by one window.
    """

    def __init__(self, agreed: PerMessageDeflate) -> None:
        super().__init__(
            remote_no_context_takeover=False,
            local_no_context_takeover=agreed.local_no_context_takeover,
            remote_max_window_bits=agreed.remote_max_window_bits,
            local_max_window_bits=min(agreed.local_max_window_bits, OWN_WINDOW_BITS),
            compress_settings=agreed.compress_settings,
        )
        self.decoder = Inflater(self.remote_max_window_bits)  # type: ignore[assignment]


class DeflateOffer(ClientPerMessageDeflateFactory):
    """The offer that browsers make: any parameters are fine."""

    def __init__(self) -> None:
        super().__init__(client_max_window_bits=True, compress_settings={"memLevel": MEMORY_LEVEL})

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> PerMessageDeflate:
        # zlib makes no raw stream for a window of 256 bytes, but what it makes for 512 refers back by at most 250.
        known = [(name, "9" if (name, value) == ("client_max_window_bits", "8") else value) for name, value in params]
        return Deflate(super().process_response_params(known, accepted_extensions))


class MessageCheck(Extension):
    """No negotiated extension: the last step of receiving. A message has at most `max_size` bytes, a text is UTF-8
    (RFC 6455 8.1); checked fragment by fragment, so that the first thing wrong decides the close code.
    """

    name = ExtensionName("")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._text = False
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Raises `PayloadTooBig` and `UnicodeDecodeError`, of which the protocol makes 1009 and 1007."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return frame
        if frame.opcode is not Opcode.CONT:
            self._text = frame.opcode is Opcode.TEXT
        self._size += len(frame.data)
        if self._size > self._max_size:
            raise PayloadTooBig(self._size, self._max_size)
        if self._text:
            self._decoder.decode(frame.data, frame.fin)
        if frame.fin:
            self._size = 0
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame
