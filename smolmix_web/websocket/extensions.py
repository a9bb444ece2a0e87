"""permessage-deflate (RFC 7692): offered and sent as `websockets` does it, with a small window of our own; a decompressor
that goes on behind a final block.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.typing import ExtensionParameter

# A sender may use a smaller window than was agreed: 4 KiB costs 32 KiB of memory for each connection, not 256.
OWN_WINDOW_BITS = 12
MEMORY_LEVEL = 5


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


class Deflate(PerMessageDeflate):
    """What was agreed: the library's for sending; receiving is for `inflater`."""

    def __init__(self, agreed: PerMessageDeflate) -> None:
        super().__init__(
            remote_no_context_takeover=True,  # no decoder of its own
            local_no_context_takeover=agreed.local_no_context_takeover,
            remote_max_window_bits=agreed.remote_max_window_bits,
            local_max_window_bits=min(agreed.local_max_window_bits, OWN_WINDOW_BITS),
            compress_settings=agreed.compress_settings,
        )
        self.inflater = Inflater()


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
