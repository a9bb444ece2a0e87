"""From a URL to an open WebSocket: checked, connected, agreed with the server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import cast

from ..dns import Resolver
from ..edge.deadline import Clock, Deadline
from ..edge.sockets import Net
from ..errors import HttpError, SmolmixError, WebSocketError
from ..http.connector import Connector, NetConnector
from ..http.headers import check_headers, with_credentials
from ..http.url import Url, parse_url
from .connection import WebSocketConnection
from .timeouts import WebSocketTimeouts
from .turns import Turns

MAX_MESSAGE = 16 << 20  # bytes

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


async def connect(
    net: Net | Clock,
    resolver: Resolver | None,
    url: str,
    protocols: Sequence[str] = (),
    headers: Iterable[tuple[str, str]] | Mapping[str, str] = (),
    timeouts: WebSocketTimeouts | None = None,
    *,
    connector: Connector | None = None,
    extra_roots: Sequence[str] = (),
    keepalive: float | None = None,
    compression: bool = True,
    max_size: int = MAX_MESSAGE,
    turns: Turns | None = None,
    plain: bool = False,
) -> WebSocketConnection:
    """Open `ws://` or `wss://` (also written http and https). Cancelling frees the flow.

    `protocols`: subprotocols, the preferred first. `headers`: of the handshake, added to its own; credentials in the
    URL become an Authorization header. `compression`: offer permessage-deflate. `max_size`: bytes of one received
    message, decompressed; a longer one ends the connection. `keepalive`: seconds between TCP probes. `connector`
    replaces the tunnel's own; then `net` need only be a `Clock`. `turns`, shared by the connections of a tunnel: those
    to one address and port are opened one after the other; waiting counts as `queue`, and in `total`. `plain`: with the
    fields that the official client sends, so without compression.
    Errors: `WebSocketError` codes `bad_url`, `bad_protocol`, `queue_full`, `bad_status` (`reason` is the status),
    `websocket_handshake`; `HttpError` codes `bad_header`, `forbidden_header`; those of DNS, TLS and TCP;
    `TimeoutExpired`.
    """
    limits = timeouts or WebSocketTimeouts()
    target = _target(url)
    _check_protocols(protocols)
    extra = with_credentials(check_headers(headers), target.authorization, None)
    if connector is None:
        connector = NetConnector(cast(Net, net), resolver, extra_roots=extra_roots, keepalive=keepalive)
    from .handshake import shake_hands

    async with AsyncExitStack() as until_open:
        await until_open.enter_async_context(Deadline(net, limits.total, "total"))
        if turns is not None:
            place = await _place(connector, target, limits)
            async with Deadline(net, limits.queue, "queue"):
                await until_open.enter_async_context(turns.turn(place))
        connected = await connector.connect(target, limits, ("http/1.1",))
        stream = connected.stream
        try:
            async with Deadline(net, limits.response, "response"):
                agreed = await shake_hands(
                    stream, target, protocols, extra, compression=compression, max_size=max_size, plain=plain
                )
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
        agreed.protocol,
        url=str(target),
        headers=agreed.headers,
        subprotocol=agreed.subprotocol,
        extensions=agreed.extensions,
        tls=connected.tls,
        timeouts=limits,
    )


async def _place(connector: Connector, target: Url, limits: WebSocketTimeouts) -> tuple[str, int]:
    """Names of one address are one host. The resolver keeps the answer for the connector."""
    host = target.host
    if isinstance(connector, NetConnector):
        host = min(str(address) for address in await connector.addresses(target.host, limits.dns))
    return host, target.port


def _target(url: str) -> Url:
    try:
        target = parse_url(url, ("ws", "wss", "http", "https"))
    except HttpError as error:
        raise WebSocketError(error.message, code="bad_url", phase="open") from None
    if target.fragment is not None:
        raise WebSocketError(f"{target}: a WebSocket URL has no fragment", code="bad_url", phase="open")
    return replace(target, scheme={"http": "ws", "https": "wss"}.get(target.scheme, target.scheme))


def _check_protocols(protocols: Sequence[str]) -> None:
    if isinstance(protocols, str):
        raise WebSocketError("protocols must be a list", code="bad_protocol", phase="open")
    for name in protocols:
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise WebSocketError(f"{name!r} is not a subprotocol name", code="bad_protocol", phase="open")
    if len(set(protocols)) != len(protocols):
        raise WebSocketError("a subprotocol is listed twice", code="bad_protocol", phase="open")
