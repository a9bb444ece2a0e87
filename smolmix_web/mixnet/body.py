"""Bodies that the gateway pushes: which key opens them, and what is inside (sphinx 9, steps 1 to 5).

A body of 21 bytes is an ack (`acks.decrypt_ack`). Everything else comes here and leaves as cover or as a fragment with
the source that `reassembly` keeps apart.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from ..crypto.provider import Crypto
from ..errors import CryptoError, MessageError
from ..sphinx.constants import KEY_PART
from .cover import is_cover

# The source of everything that came under our own public key.
OWN_KEY = "own key"

_ZERO_IV = bytes(16)

# Digest of a SURB key (32) -> the key (16) and the peer to whom the SURB was given, or None. The key is spent by this.
TakeReplyKey = Callable[[bytes], tuple[bytes, Hashable] | None]


class OpenedFragment(NamedTuple):
    """A fragment with its header, not parsed yet."""

    source: Hashable
    data: bytes


def open_body(
    crypto: Crypto, encryption_secret: bytes, take_reply_key: TakeReplyKey, body: bytes
) -> OpenedFragment | None:
    """Decrypt a pushed body; None for a cover packet. One border crossing.

    `encryption_secret`: own X25519 secret (32). `take_reply_key` is asked once, with the first 32 bytes.
    MessageError `bad_body` when it is too short or its key part is not usable.
    """
    if len(body) <= KEY_PART:
        raise MessageError(f"body: {len(body)} bytes, more than {KEY_PART} expected", code="bad_body")
    found = take_reply_key(body[:KEY_PART])
    if found is not None:
        key, source = found
        content = crypto.aes128_ctr(key, _ZERO_IV, body[KEY_PART:])
    else:
        source = OWN_KEY
        try:
            content = crypto.open_fragment(encryption_secret, body)
        except CryptoError:
            raise MessageError("body: the key at offset 0 is not a usable point", code="bad_body") from None
    return None if is_cover(content) else OpenedFragment(source, content)
