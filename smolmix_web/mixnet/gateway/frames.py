"""Binary WebSocket frames between client and gateway, both directions (gateway.md 5.2).

    kind u8 | encrypted u8 (1, or 0 for plain) | nonce 12 | AES-256-GCM-SIV(key, nonce, plaintext) with its tag

The kind is not authenticated: it says only how to read the plaintext.
"""

from __future__ import annotations

from typing import NamedTuple

from ...crypto.provider import Crypto
from ...errors import CryptoError, GatewayError
from ...rand import RandomSource

FORWARD_V1 = 1  # client to gateway: packet type, first hop, packet
FORWARD_V2 = 2  # client to gateway, protocol 5 and newer: packet type, key rotation, first hop, packet
PUSHED = 1  # gateway to client: one mixnet payload

NONCE_LENGTH = 12
TAG_LENGTH = 16
HEADER_LENGTH = 2 + NONCE_LENGTH
# The node's own WebSocket library limits a frame to 16 MiB; nothing in this protocol comes near a tenth of this.
MAX_FRAME = 1 << 20


class BinaryFrame(NamedTuple):
    kind: int
    plaintext: bytes


def seal_frame(crypto: Crypto, key: bytes, nonce: bytes, kind: int, plaintext: bytes) -> bytes:
    """One binary frame; `nonce` is 12 fresh random bytes."""
    return bytes((kind, 1)) + nonce + crypto.aes256_gcm_siv_seal(key, nonce, plaintext)


def open_frame(crypto: Crypto, key: bytes, frame: bytes) -> BinaryFrame:
    """Inverse of `seal_frame`; plain frames are accepted only where they say so.

    Raises `GatewayError`: `bad_frame` for a bad length or flag, `bad_tag` when it does not decrypt.
    """
    if not HEADER_LENGTH <= len(frame) <= MAX_FRAME:
        raise GatewayError(
            f"binary frame: {len(frame)} bytes, expected {HEADER_LENGTH}..{MAX_FRAME}",
            code="bad_frame",
            phase="gateway",
        )
    kind, flag = frame[0], frame[1]
    body = bytes(frame[HEADER_LENGTH:])
    if flag == 0:
        return BinaryFrame(kind, body)
    if flag != 1:
        raise GatewayError(f"binary frame: encryption flag {flag} at offset 1", code="bad_frame", phase="gateway")
    if len(body) < TAG_LENGTH:
        raise GatewayError(
            f"binary frame: {len(body)} bytes of ciphertext at offset {HEADER_LENGTH}, no room for a tag",
            code="bad_frame",
            phase="gateway",
        )
    try:
        plaintext = crypto.aes256_gcm_siv_open(key, bytes(frame[2:HEADER_LENGTH]), body)
    except CryptoError:
        raise GatewayError(
            "binary frame: does not decrypt under the shared key", code="bad_tag", phase="gateway"
        ) from None
    return BinaryFrame(kind, plaintext)


def seal_push(crypto: Crypto, rng: RandomSource, key: bytes, payload: bytes) -> bytes:
    """Gateway side: push one mixnet payload (21 bytes: an ack; 1643: a message part) to the client."""
    return seal_frame(crypto, key, rng.bytes(NONCE_LENGTH), PUSHED, payload)
