"""What a mix node or an egress gateway does with a Sphinx packet (sphinx 2.3, 2.11, 4.4).

Every refusal is a SphinxError; its text names the field and never carries bytes of the packet. Codes: `truncated`,
`bad_alpha`, `bad_mac`, `replay`, `unsupported_version` (1 and 257, the legacy group arithmetic), `bad_flag`,
`bad_payload`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import NamedTuple

from ..crypto.onion import header_mac
from ..crypto.provider import Crypto
from ..errors import CryptoError, SphinxError
from . import constants as c
from .header import payload_keys, xor
from .payload import recover_message

_ZERO_SLOT = bytes(c.SLOT)


class ForwardHop(NamedTuple):
    """The packet goes on: `packet` (same length) to `next_address` (32, zero-padded) after `delay_ns`."""

    next_address: bytes
    delay_ns: int
    packet: bytes
    replay_tag: bytes
    version: int


class FinalHop(NamedTuple):
    """The packet ends here: `message` is for the client with identity `destination` (32)."""

    destination: bytes
    identifier: bytes
    message: bytes
    replay_tag: bytes
    version: int


def process_packet(
    crypto: Crypto,
    private_key: bytes,
    packet: bytes,
    *,
    is_replay: Callable[[bytes], bool] | None = None,
) -> ForwardHop | FinalHop:
    """Remove one layer with the node's X25519 secret.

    `is_replay`, if given, is asked once with the 32-byte replay tag, after the MAC held and before the costly part;
    True refuses the packet. `bad_mac` is the sign to try a secondary key.
    """
    if len(packet) < c.HEADER + c.MIN_PAYLOAD:
        raise SphinxError(
            f"packet: {len(packet)} bytes, at least {c.HEADER + c.MIN_PAYLOAD} expected", code="truncated"
        )
    alpha, mac, beta = packet[: c.ALPHA], packet[c.ALPHA : c.ALPHA + c.MAC], packet[c.ALPHA + c.MAC : c.HEADER]
    try:
        secret = crypto.node_secret(private_key, alpha)
    except CryptoError:
        raise SphinxError("header: alpha at offset 0 is not a usable point", code="bad_alpha") from None
    if not hmac.compare_digest(header_mac(secret[c.MU], beta), mac):
        raise SphinxError("header: the MAC at offset 32 does not hold", code="bad_mac")
    replay_tag = secret[c.REPLAY_TAG]
    if is_replay is not None and is_replay(replay_tag):
        raise SphinxError("packet: its replay tag was seen before", code="replay")

    routing = xor(beta + _ZERO_SLOT, crypto.keystreams([secret[c.RHO]], c.KEYSTREAM)[0])
    version = int.from_bytes(routing[2:4], "big")
    if version in c.LEGACY_VERSIONS:
        raise SphinxError(f"header: version {version} is not supported", code="unsupported_version")
    flag = routing[0]
    if flag not in (c.FORWARD_FLAG, c.FINAL_FLAG):
        raise SphinxError("header: unknown flag of the routing block", code="bad_flag")
    payload = crypto.lioness_decrypt(payload_keys(crypto, (secret,), version), packet[c.HEADER :])
    if flag == c.FINAL_FLAG:
        return FinalHop(routing[4:36], routing[36:52], recover_message(payload), replay_tag, version)
    try:
        next_alpha = crypto.x25519(secret[c.BLINDING], alpha)
    except CryptoError:
        raise SphinxError("header: alpha at offset 0 cannot be blinded", code="bad_alpha") from None
    next_packet = b"".join((next_alpha, routing[c.FORWARD_META :], payload))
    return ForwardHop(routing[4:36], int.from_bytes(routing[36:44], "big"), next_packet, replay_tag, version)
