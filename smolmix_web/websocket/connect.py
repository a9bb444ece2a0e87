"""The opening handshake of a WebSocket (RFC 6455 4.1) over the tunnel."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from ..deadline import Clock, Deadline
from ..dns import Resolver
from ..errors import HttpError, SmolmixError, WebSocketError
from ..http.connector import Connector, NetConnector
from ..http.headers import USER_AGENT, check_headers
from ..http.timeouts import Timeouts
from ..http.url import Url, parse_url
from ..sockets import READ_SIZE, ByteStream, Net
from .connection import WebSocketConnection

MAX_MESSAGE = 16 << 20
CLOSE_TIMEOUT = 30.0

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


async def connect(
    net: Net | Clock,
    resolver: Resolver | None,
    url: str,
    protocols: Sequence[str] = (),
    headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    timeout: float | None = 120.0,
    *,
    connector: Connector | None = None,
    extra_roots: Sequence[str] = (),
    keepalive: float | None = None,
    compression: bool = True,
    max_size: int = MAX_MESSAGE,
    close_timeout: float = CLOSE_TIMEOUT,
) -> WebSocketConnection:
    """Open `ws://` or `wss://` (also written http and https). Cancelling frees the flow.

    `timeout` seconds for everything up to the open connection (phase `open`), `close_timeout` for the closing
    handshake. `max_size` in bytes for one message. `connector` replaces the tunnel's own; then `net` need only be a
    `Clock`. Errors: `WebSocketError` codes `bad_url`, `bad_protocol`, `bad_header`, `bad_status`, `handshake`; those
    of DNS, TLS and TCP.
    """
    target = _target(url)
    _check_protocols(protocols)
    extra = check_headers(headers)
    for name, _ in extra:
        if name.lower().startswith("sec-websocket-"):
            raise WebSocketError(f"header {name} is set by the client itself", code="bad_header", phase="open")
    if connector is None:
        connector = NetConnector(cast(Net, net), resolver, extra_roots=extra_roots, keepalive=keepalive)
    async with Deadline(net, timeout, "open"):
        connected = await connector.connect(target, Timeouts())
        stream = connected.stream
        try:
            protocol, response = await _handshake(stream, target, protocols, extra, compression, max_size)
        except SmolmixError as error:
            error.phase = error.phase or "open"
            stream.abort(error)
            raise
        except BaseException:
            stream.abort()
            raise
    return WebSocketConnection(
        net,
        stream,
        protocol,
        url=str(target),
        headers=[(name.lower(), value) for name, value in response.headers.raw_items()],
        tls=connected.tls,
        close_timeout=close_timeout,
    )


def _target(url: str) -> Url:
    try:
        target = parse_url(url, ("ws", "wss", "http", "https"))
    except HttpError as error:
        raise WebSocketError(error.message, code="bad_url", phase="open") from None
    scheme = {"http": "ws", "https": "wss"}.get(target.scheme, target.scheme)
    return Url(scheme, target.host, target.port, target.path, target.query)


def _check_protocols(protocols: Sequence[str]) -> None:
    if isinstance(protocols, str):
        raise WebSocketError("protocols must be a list", code="bad_protocol", phase="open")
    for name in protocols:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise WebSocketError(f"{name!r} is not a subprotocol name", code="bad_protocol", phase="open")
    if len(set(protocols)) != len(protocols):
        raise WebSocketError("a subprotocol is listed twice", code="bad_protocol", phase="open")


async def _handshake(
    stream: ByteStream,
    target: Url,
    protocols: Sequence[str],
    extra: list[tuple[str, str]],
    compression: bool,
    max_size: int,
) -> tuple[Any, Any]:
    # Imported at the first WebSocket: a page that only fetches does not pay for it.
    from websockets.client import ClientProtocol
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
    from websockets.uri import WebSocketURI

    uri = WebSocketURI(target.secure, target.host, target.port, target.path, target.query or "")
    factory = ClientPerMessageDeflateFactory(client_max_window_bits=12, compress_settings={"memLevel": 5})
    protocol: Any = ClientProtocol(
        uri,
        extensions=[factory] if compression else None,
        subprotocols=list(protocols) or None,  # type: ignore[arg-type]
        max_size=max_size,
        logger=_SILENT,
    )
    request = protocol.connect()
    names = {name.lower() for name, _ in extra}
    if "user-agent" not in names:
        request.headers["User-Agent"] = USER_AGENT
    for name, value in extra:
        request.headers[name] = value
    protocol.send_request(request)
    while True:
        for out in protocol.data_to_send():
            if out:
                await stream.write(out)
        data = await stream.read(READ_SIZE)
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        if protocol.handshake_exc is not None:
            raise _refused(protocol.handshake_exc)
        if protocol.state.name != "CONNECTING":
            response, *frames = protocol.events_received()
            protocol.events = frames  # the connection takes them
            return protocol, response
        if not data:
            raise WebSocketError("the server closed during the handshake", code="handshake", phase="open")


def _refused(error: Exception) -> WebSocketError:
    response = getattr(error, "response", None)
    if response is not None:
        return WebSocketError(
            f"the server answered {response.status_code} {response.reason_phrase}".rstrip(),
            code="bad_status",
            phase="open",
        )
    cause = f": {error.__cause__}" if error.__cause__ is not None else ""
    return WebSocketError(f"{error}{cause}", code="handshake", phase="open")


# The protocol's own logger would write to the console of the page.
_SILENT = logging.getLogger("smolmix_web.websocket")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
