"""permessage-deflate (RFC 7692): offered, agreed on, sent as `websockets` does it, with a small window of our own."""

from __future__ import annotations

from collections.abc import Sequence

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, PerMessageDeflate
from websockets.typing import ExtensionParameter

from .frames import Inflater

# A sender may use a smaller window than was agreed: 4 KiB costs 32 KiB of memory for each connection, not 256.
OWN_WINDOW_BITS = 12
MEMORY_LEVEL = 5


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
