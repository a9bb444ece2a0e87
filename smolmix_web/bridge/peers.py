"""What one id of the page does with other clients: messages, listening, streams. Each is one task.

The messages they exchange with the page are described in `javascript/shared/messages.js`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..edge.peers import MESSAGE_TIMEOUT, PeerStream, Sent
from ..errors import UsageError
from ..streams.control import FIRST_OWN
from .channel import Channel, field, optional
from .sockets import carry

if TYPE_CHECKING:
    from ..tunnel.pool import AnyTunnel

CLOSE_TIMEOUT = 120.0  # s for what was written to arrive, once both halves have ended

Fields = Mapping[str, Any]


# -- messages ---------------------------------------------------------------------------------------


async def messages(tunnel: AnyTunnel, channel: Channel, _fields: Fields) -> None:
    """`opened`, then a `chunk` for each pull, with the tag of its sender; ends by `abort` only, or with the tunnel."""
    inbox = tunnel.messages
    channel.send("opened", detail={})
    while True:
        await channel.pulled()
        one = await inbox.receive()
        tag = None if one.sender_tag is None else one.sender_tag.hex()
        channel.send("chunk", data=one.data, senderTag=tag, source=one.source)


async def message(tunnel: AnyTunnel, channel: Channel, fields: Fields) -> None:
    """`opened` when it is queued, one `result` when the recipient's gateway has all of it."""
    timeout = _timeout(fields)
    sent = tunnel.messages.send(
        field(fields, "address", str), field(fields, "data", bytes), surbs=field(fields, "surbs", int), timeout=timeout
    )
    await _delivered(channel, sent, timeout)


async def reply(tunnel: AnyTunnel, channel: Channel, fields: Fields) -> None:
    """As `message`, to whoever is behind a tag."""
    timeout = _timeout(fields)
    try:
        tag = bytes.fromhex(field(fields, "senderTag", str))
    except ValueError:
        raise UsageError("a sender tag is 32 hexadecimal digits", code="bad_message", phase="reply") from None
    await _delivered(channel, tunnel.messages.reply(tag, field(fields, "data", bytes), timeout=timeout), timeout)


def _timeout(fields: Fields) -> float | None:
    timeout = optional(fields, "timeout", int, float)
    return None if timeout is None else float(timeout) / 1000


async def _delivered(channel: Channel, sent: Sent, timeout: float | None) -> None:
    channel.send("opened", detail={})
    await sent.delivered(MESSAGE_TIMEOUT if timeout is None else timeout)
    channel.send("result", value=None)


# -- streams ----------------------------------------------------------------------------------------


async def listen(tunnel: AnyTunnel, channel: Channel, _fields: Fields) -> None:
    """`opened`; from now on streams are taken, until `abort`."""
    with tunnel.listen() as listener:
        channel.send("opened", detail={"localAddress": tunnel.address})
        raise await listener.ended()


async def accept(tunnel: AnyTunnel, channel: Channel, _fields: Fields) -> None:
    """Waits for the next stream that another client opens, and is that stream from then on."""
    listener = tunnel.listener
    await _carry(channel, await listener.accept(), tunnel.address)


async def stream(tunnel: AnyTunnel, channel: Channel, fields: Fields) -> None:
    """`opened`, a `chunk` for each pull, `eof` when the peer has ended, `end` when both halves have ended and all that
    was written has arrived. `peer` tells whether it is a client of ours, once that is known."""
    opened = await tunnel.open_stream(field(fields, "address", str), surbs=field(fields, "surbs", int))
    await _carry(channel, opened, tunnel.address)


async def _carry(channel: Channel, stream: PeerStream, own: str) -> None:
    told: bool | None = None

    def tell() -> None:
        nonlocal told
        if stream.reliable is not told:
            told = stream.reliable
            channel.send("peer", reliable=told)

    try:
        channel.send("opened", detail={"remoteAddress": stream.remote, "localAddress": own})
        stream.watch(tell)
        tell()
        await carry(channel, stream, lambda: False)
        await stream.finished(CLOSE_TIMEOUT)
        channel.send("end")
    except BaseException:
        code, text = channel.farewell
        stream.abort(code=code if code is not None and FIRST_OWN <= code <= 0xFFFF else FIRST_OWN, text=text)
        raise
    finally:
        stream.watch(None)
