"""What a Python program imports in a Pyodide that somebody else has started: a notebook, an app.

The same API as `smolmix_web.cpython`, on Pyodide's own loop. See docs/pyodide.md. Imported under Pyodide only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import js
from pyodide.ffi import create_proxy

from ..dial import Connected, TlsInfo
from ..dns import DnsAnswer
from ..edge.peers import Listener, Message, Messages, PeerStream, Sent
from ..edge.sockets import TcpOptions, UdpSocket
from ..edge.tls import TlsOptions
from ..errors import SmolmixError
from ..host.browser import BrowserHost
from ..http import HttpRequest, HttpResponse, Timeouts
from ..tunnel import PingReply, Tunnel
from ..tunnel.options import TunnelOptions
from ..tunnel.pool import AnyTunnel, TunnelPool
from ..tunnel.pool_options import PoolOptions
from ..websocket import Close, WebSocketConnection, WebSocketTimeouts
from . import parts
from .blocking import BlockingResponse, BlockingTunnel
from .shared import SharedTunnel, shared_tunnel


@asynccontextmanager
async def open_tunnel(
    *,
    leak_guard: bool = False,
    verbose: bool = False,
    on_change: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> AsyncIterator[Tunnel]:
    """A tunnel that is up, closed at the end: `async with open_tunnel() as tunnel`.

    `options` are those of docs/javascript.md in Python's spelling (`force_tls=False`). `leak_guard` shuts every other
    way out of this page or worker, for everybody in it and for good. `verbose` tells the progress on the console,
    `on_change(snapshot)` hears of every change of state. Errors: `OptionError` before anything is sent; what kept the
    tunnel from coming up.
    """
    chosen = TunnelOptions.from_keywords(options)
    host = await _host(chosen, leak_guard, verbose)
    async with _up(Tunnel(chosen, host, on_change=on_change)) as tunnel:
        yield tunnel


@asynccontextmanager
async def open_pool(
    *,
    size: int = 2,
    rotate: Mapping[str, Any] | None = None,
    leak_guard: bool = False,
    verbose: bool = False,
    on_change: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> AsyncIterator[TunnelPool]:
    """Several tunnels with different exits behind the API of one: `async with open_pool(size=3) as pool`.

    `rotate`: when a tunnel is replaced: `every_ms`, `requests`, `statuses` (docs/isolation.md). The rest is as of
    `open_tunnel`."""
    given = PoolOptions.from_mapping({"size": size, "rotate": rotate})
    chosen = TunnelOptions.from_keywords(options)
    host = await _host(chosen, leak_guard, verbose)
    async with _up(TunnelPool(chosen, given, host, on_change=on_change)) as pool:
        yield pool


async def _host(options: TunnelOptions, leak_guard: bool, verbose: bool) -> BrowserHost:
    await parts.prepare_crypto()
    parts.add_libraries()
    host = BrowserHost(await parts.host_parts(), options.directory_urls, verbose=verbose)
    if leak_guard:
        (await parts.guest()).shutForGood()
    return host


T = TypeVar("T", bound=AnyTunnel)


@asynccontextmanager
async def _up(tunnel: T) -> AsyncIterator[T]:
    """Started, told whether the machine is online, and closed at the end."""
    online = create_proxy(lambda event: tunnel.network_changed(event.type == "online"))
    for event in ("online", "offline"):
        js.addEventListener(event, online)
    try:
        await tunnel.start()
        yield tunnel
    finally:
        for event in ("online", "offline"):
            js.removeEventListener(event, online)
        online.destroy()
        await tunnel.close()


__all__ = [
    "BlockingResponse",
    "BlockingTunnel",
    "Close",
    "Connected",
    "DnsAnswer",
    "HttpRequest",
    "HttpResponse",
    "Listener",
    "Message",
    "Messages",
    "PeerStream",
    "PingReply",
    "Sent",
    "SharedTunnel",
    "SmolmixError",
    "TcpOptions",
    "Timeouts",
    "TlsInfo",
    "TlsOptions",
    "Tunnel",
    "TunnelOptions",
    "TunnelPool",
    "UdpSocket",
    "WebSocketConnection",
    "WebSocketTimeouts",
    "open_pool",
    "open_tunnel",
    "shared_tunnel",
]
