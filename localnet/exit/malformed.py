"""Replies that no exit should send: each breaks one rule of docs/protocol/ipr.md, by name.

garbage       random bytes of the same length
truncated     the first half
trailing      four bytes too many
version       a version that does not exist
stream        a frame of another stream (versions 9 and 10)
bundle        a bundle whose last packet claims more bytes than there are
not_ip        a bundle with bytes that are no IP packet
foreign       a good IP packet for somebody else
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from smolmix_web.exit import messages as m
from smolmix_web.exit.bundles import join
from smolmix_web.mixnet.lp_frame import LpFrame, is_stream_frame
from smolmix_web.netstack import ipv4
from smolmix_web.rand import RandomSource

Change = Callable[[RandomSource, bytes], bytes]

# An empty datagram to an address that nobody has.
FOREIGN = ipv4.header(bytes((203, 0, 114, 10)), bytes((10, 9, 9, 9)), 17, 28, 1) + bytes((0, 53, 0, 53, 0, 8, 0, 0))
NO_SUCH_VERSION = 99


def _payload(change: Callable[[bytes], bytes], data: bytes) -> bytes:
    """Change the message inside the frame, where there is a frame."""
    if not is_stream_frame(data):
        return change(data)
    frame = LpFrame.from_bytes(data)
    return replace(frame, payload=change(frame.payload)).to_bytes()


def _bundle(bundle: bytes) -> Change:
    def change(_: RandomSource, data: bytes) -> bytes:
        return _payload(lambda message: m.encode_response(message[0], m.DataResponse(bundle)), data)

    return change


def _other_stream(rng: RandomSource, data: bytes) -> bytes:
    if not is_stream_frame(data):
        return data
    frame = LpFrame.from_bytes(data)
    return replace(frame, stream_id=frame.stream_id ^ 1).to_bytes()


MALFORMED: dict[str, Change] = {
    "garbage": lambda rng, data: rng.bytes(len(data)),
    "truncated": lambda rng, data: data[: len(data) // 2],
    "trailing": lambda rng, data: _payload(lambda message: message + bytes(4), data),
    "version": lambda rng, data: _payload(lambda message: bytes([NO_SUCH_VERSION]) + message[1:], data),
    "stream": _other_stream,
    "bundle": _bundle(b"\x05\xdc" + bytes(40)),
    "not_ip": _bundle(join([bytes(60)])),
    "foreign": _bundle(join([FOREIGN])),
}
