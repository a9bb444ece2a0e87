"""The WebSocket server behind the exits: echoes, and every behaviour of servers that clients must cope with.

/                    messages come back as they are; `close <code> <reason>` makes the server close, `close` too
/headers             the headers of the request as JSON, then echo
/big/<n>             one binary message of n zeros, then echo
/fragments/<text>    the text, one frame for each character, then echo
/flood/<n>           binary messages of n bytes without end
/deaf                never takes a message
/frozen              never reads a byte
/raw/<hex>           these bytes in place of frames, then the end of the connection
/raw-open/<hex>      these bytes in place of frames; the connection stays
/drop                ends without a close frame at the first message
/status/<code>       refuses the handshake with that status
/protocol/<name>     answers with this subprotocol, asked for or not
/deflate/<parameter> agrees on permessage-deflate with one parameter of RFC 7692, `name` or `name=value`; then echo
"""

from __future__ import annotations

import contextlib
import json
import ssl
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Close
from websockets.http11 import Request, Response
from websockets.protocol import State

from .counters import Counters
from .listening import BACKLOG, listen

MAX_MESSAGE = 16 << 20
OPEN_TIMEOUT = 120.0  # s: clients behind a mixnet may need this long for their handshake when their gateway is away


async def start_server(host: str, tls: ssl.SSLContext | None, counters: Counters) -> Server:
    """Listening on an ephemeral port of `host`."""

    async def handle(connection: ServerConnection) -> None:
        counters.add("websocket")
        with contextlib.suppress(ConnectionClosed):
            await _serve(connection)

    return await serve(
        handle,
        sock=listen(host),
        backlog=BACKLOG,
        ssl=tls,
        max_size=MAX_MESSAGE,
        ping_interval=None,
        open_timeout=OPEN_TIMEOUT,
        select_subprotocol=_select,
        process_request=_process_request,
        process_response=_process_response,
    )


def _route(connection: ServerConnection) -> tuple[str, str]:
    assert connection.request is not None
    first, _, rest = connection.request.path.partition("?")[0].lstrip("/").partition("/")
    return first, rest


async def _serve(connection: ServerConnection) -> None:
    route, rest = _route(connection)
    if route in ("raw", "raw-open"):
        # As after a close frame of its own: the protocol answers none.
        connection.protocol.close_sent, connection.protocol.state = Close(1000, ""), State.CLOSING
        connection.transport.write(bytes.fromhex(rest))
        if route == "raw":
            connection.transport.close()
        await connection.wait_closed()
    elif route == "deaf":
        await connection.wait_closed()
    elif route == "frozen":
        connection.transport.pause_reading()
        await connection.wait_closed()
    elif route == "drop":
        await connection.recv()
        connection.transport.close()
    elif route == "flood":
        while True:
            await connection.send(bytes(int(rest)))
    elif route == "headers":
        assert connection.request is not None
        await connection.send(json.dumps(list(connection.request.headers.raw_items())))
    elif route == "big":
        await connection.send(bytes(int(rest)))
    elif route == "fragments":
        await connection.send(list(rest))
    await _echo(connection)


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        if isinstance(message, str) and message.startswith("close"):
            _, _, given = message.partition(" ")
            code, _, reason = given.partition(" ")
            if code.isdecimal():
                await connection.close(int(code), reason)
            else:  # without a code, which the method does not do
                connection.protocol.send_close()
                connection.transport.write(b"".join(connection.protocol.data_to_send()))
                await connection.wait_closed()
            return
        await connection.send(message)


def _select(connection: ServerConnection, offered: Any) -> Any:
    """The first subprotocol offered, if any."""
    return offered[0] if offered else None


def _process_request(connection: ServerConnection, request: Request) -> Response | None:
    first, _, rest = request.path.lstrip("/").partition("/")
    if first == "status":
        status = HTTPStatus(int(rest))
        headers = Headers({"Location": "/", "WWW-Authenticate": "Basic", "Content-Length": "2"})
        return Response(status, status.phrase, headers, b"no")
    if first == "deflate":
        name, _, value = rest.partition("=")
        parameter: dict[str, Any] = {name: int(value) if value else True}
        connection.protocol.available_extensions = [ServerPerMessageDeflateFactory(**parameter)]
    return None


def _process_response(connection: ServerConnection, request: Request, response: Response) -> None:
    route, rest = _route(connection)
    if route == "protocol":
        response.headers.pop("Sec-WebSocket-Protocol", None)
        response.headers["Sec-WebSocket-Protocol"] = rest
