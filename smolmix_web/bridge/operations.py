"""What one id of the page does: resolve, fetch, WebSocket. Each is one task; cancelling it frees its flow.

The messages they exchange with the page are described in `javascript/shared/messages.js`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

from ..errors import SmolmixError, UsageError
from ..http import HttpRequest, Timeouts
from ..http.headers import forbidden
from ..http.timings import Timings
from ..websocket import Close as WebSocketClose
from ..websocket import WebSocketConnection, WebSocketTimeouts
from .channel import Channel, Close, Write, field, isolation, optional
from .progress import Progress, milliseconds
from .upload import BlobUpload, Upload

if TYPE_CHECKING:
    from ..tunnel.pool import AnyTunnel

AHEAD_MESSAGES = 64  # of a WebSocket, on their way to a page that has not taken them yet
AHEAD_BYTES = 1 << 20

Message = Mapping[str, Any]


async def resolve(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """One `result`: the addresses as text."""
    family = message.get("family")
    if family not in (4, 6, None):
        raise UsageError(f"family must be 4, 6 or null, not {family!r}", code="bad_message", phase="dns")
    addresses = await tunnel.resolve(field(message, "name", str), family=family, isolation=isolation(message))
    channel.send("result", value=[str(address) for address in addresses])


async def lookup(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """One `result`: the records of a name, with where they came from."""
    given = {"dns": message.get("timeout")}
    answer = await tunnel.lookup(
        field(message, "name", str),
        field(message, "rrtype", str),
        timeout=Timeouts.from_mapping(given, tunnel.timeouts, option="timeout").dns,
        server=optional(message, "server", str),
        fresh=field(message, "fresh", bool),
        isolation=isolation(message),
    )
    channel.send("result", value=answer.to_dict())


async def clear_dns_cache(tunnel: AnyTunnel, channel: Channel, _message: Message) -> None:
    """One `result`, null."""
    tunnel.clear_dns_cache()
    channel.send("result", value=None)


async def cookies(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """One `result`: the cookies of an `export`, the number that an `import` took, null after `clear`."""
    action, jar = field(message, "action", str), tunnel.jar(isolation(message))
    value: Any = None
    if action == "export":
        value = jar.export()
    elif action == "import":
        value = await jar.load(field(message, "cookies", list, tuple))
    elif action == "clear":
        jar.clear()
    else:
        raise UsageError(f"cookies can be exported, imported and cleared, not {action!r:.40}", code="bad_message")
    channel.send("result", value=value)


# -- fetch ------------------------------------------------------------------------------------------


async def fetch(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """`response`, then a `chunk` for each pull, then `end`; between them `progress`, where it was asked for.

    Without a response: `timings`, then `error`.
    """
    given = field(message, "request", Mapping)
    known: list[Timings] = []
    upload, download = Progress(channel, "upload"), Progress(channel, "download")
    request = _request(tunnel, channel, given, optional(message, "data", bytes))
    if field(given, "progress", bool):
        request = replace(request, on_upload=upload, on_download=download)
    try:
        response = await tunnel.fetch(replace(request, on_timings=known.append), isolation=isolation(given))
    except SmolmixError:
        for timings in known:
            channel.send("timings", timings=milliseconds(timings))
        raise
    try:
        upload.flush()
        channel.send(
            "response",
            head={
                "status": response.status,
                "statusText": response.reason,
                "headers": [[name, value] for name, value in response.headers],
                "url": response.url.partition("#")[0],  # a Location may have brought a fragment
                "redirected": response.redirected,
                "httpVersion": response.http_version,
                "tls": response.tls.version if response.tls is not None else None,
                "timings": milliseconds(response.timings),
            },
        )
        await _send_chunks(channel, response.read_chunk)
        upload.flush()
        download.flush()
        channel.send("end", timings=milliseconds(response.timings), truncated=response.truncated)
    finally:
        response.abort()  # of a body that was read to its end this frees nothing


def _request(tunnel: AnyTunnel, channel: Channel, given: Message, data: bytes | None) -> HttpRequest:
    body: bytes | AsyncIterator[bytes] | None = data
    length = optional(given, "length", int)
    if field(given, "streaming", bool):
        body = Upload(channel) if length is None else BlobUpload(channel)
    method = field(given, "method", str)
    timeouts = optional(given, "timeouts", Mapping)
    return HttpRequest(
        url=field(given, "url", str),
        method=method,
        headers=[pair for pair in map(_pair, field(given, "headers", list, tuple)) if not forbidden(*pair, method)],
        body=body,
        content_length=length,
        redirect=cast(Literal["follow", "error", "manual"], field(given, "redirect", str)),
        max_redirects=optional(given, "maxRedirects", int),
        allow_insecure_redirects=field(given, "allowInsecureRedirects", bool) or None,
        cookies=cast(Literal["omit", "jar"], optional(given, "cookies", str) or HttpRequest.cookies),
        integrity=field(given, "integrity", str),
        timeouts=None if timeouts is None else Timeouts.from_mapping(timeouts, tunnel.timeouts),
    )


def _pair(item: Any) -> tuple[str, str]:
    if isinstance(item, (list, tuple)) and len(item) == 2 and all(isinstance(part, str) for part in item):
        return item[0], item[1]
    raise UsageError(f"a header must be a pair of texts, not {item!r:.60}", code="bad_message", phase="request")


async def _send_chunks(channel: Channel, read: Callable[[], Awaitable[bytes]]) -> None:
    """One chunk for each pull; the end is found without being asked, so that an empty body costs nothing."""
    while data := await read():
        await channel.pulled()
        channel.send("chunk", data=data)
        await asyncio.sleep(0)  # a page that pulls ahead, and a body that is there, leave the others their turn


# -- WebSocket --------------------------------------------------------------------------------------


async def websocket(tunnel: AnyTunnel, channel: Channel, message: Message) -> None:
    """`opened`, a `chunk` for each message, `closed`. Ahead of the page's pulls goes only what the window holds."""
    protocols = field(message, "protocols", list, tuple)
    headers = [_pair(item) for item in field(message, "headers", list, tuple)]
    given = {} if message.get("timeouts") is None else message["timeouts"]
    timeouts = WebSocketTimeouts.from_mapping(given, tunnel.websocket_timeouts)
    socket = await tunnel.connect_websocket(
        field(message, "url", str), protocols, headers, timeouts, isolation=isolation(message)
    )
    writer = asyncio.get_running_loop().create_task(_websocket_writes(channel, socket))
    try:
        channel.send("opened", detail={"protocol": socket.subprotocol, "extensions": socket.extensions})
        ahead: deque[int] = deque()
        while not isinstance(received := await socket.receive(), WebSocketClose):
            while len(ahead) >= AHEAD_MESSAGES or (ahead and sum(ahead) + len(received) > AHEAD_BYTES):
                await channel.pulled()
                ahead.popleft()
            ahead.append(len(received))
            channel.send("chunk", data=received)
            while ahead and socket.failing:  # a bad frame is next: what the page answers to these goes before
                await channel.pulled()
                ahead.popleft()
        error = received.error.to_dict() if received.error is not None else None
        channel.send("closed", code=received.code, reason=received.reason, clean=received.clean, error=error)
    except BaseException:
        socket.abort()
        raise
    finally:
        writer.cancel()


async def _websocket_writes(channel: Channel, socket: WebSocketConnection) -> None:
    try:
        while True:
            item = await channel.next_inbound()
            if isinstance(item, Write):
                await socket.send(item.data)
                channel.send("written", bytes=item.size)
            elif isinstance(item, Close):
                await socket.close(item.code, item.reason)
                return
    except SmolmixError as error:
        socket.abort(error)  # the reading side hears of it, after the messages that came before
    except Exception as error:
        socket.abort(SmolmixError(f"{type(error).__name__}: {error}"))
        raise  # the loop reports it with its traceback
