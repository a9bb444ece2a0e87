"""The payload of a Sphinx packet: zeros, message, marker, and one LIONESS layer per hop (sphinx 2.9)."""

from __future__ import annotations

from collections.abc import Sequence

from ..crypto.provider import Crypto
from ..errors import SphinxError, UsageError
from . import constants as c

_ZEROS = bytes(c.PAYLOAD_ZEROS)
_MARKER = b"\x01"


def frame_payload(message: bytes, payload_size: int) -> bytes:
    """`message` in a plain field of `payload_size` bytes; UsageError `bad_payload_size` when it does not fit."""
    if len(message) > payload_size - c.PAYLOAD_OVERHEAD or payload_size < c.MIN_PAYLOAD:
        raise UsageError(
            f"a payload field of {payload_size} bytes does not hold {len(message)} bytes", code="bad_payload_size"
        )
    return b"".join((_ZEROS, message, _MARKER, bytes(payload_size - c.PAYLOAD_OVERHEAD - len(message))))


def seal_payload(crypto: Crypto, keys: Sequence[bytes], message: bytes, payload_size: int) -> bytes:
    """The field under all `keys` (192 each, route order)."""
    return crypto.lioness_encrypt(keys, frame_payload(message, payload_size))


def recover_message(block: bytes) -> bytes:
    """The message of a fully decrypted payload; SphinxError `bad_payload` when it was altered on the way."""
    if block[: c.PAYLOAD_ZEROS] != _ZEROS:
        raise SphinxError("payload: the leading 16 bytes are not zero", code="bad_payload")
    end = block.rfind(_MARKER, c.PAYLOAD_ZEROS)
    if end < 0:
        raise SphinxError("payload: no end marker", code="bad_payload")
    return block[c.PAYLOAD_ZEROS : end]
