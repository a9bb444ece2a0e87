"""What a Python program imports in a Pyodide that somebody else has started: a notebook, an app.

The same API as `smolmix_web.cpython`, on Pyodide's own loop. See docs/pyodide.md. Imported under Pyodide only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

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
    await parts.prepare_crypto()
    parts.add_libraries()
    host = BrowserHost(await parts.host_parts(), chosen.directory_urls, verbose=verbose)
    if leak_guard:
        (await parts.guest()).shutForGood()
    tunnel = Tunnel(chosen, host, on_change=on_change)
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
    "UdpSocket",
    "WebSocketConnection",
    "WebSocketTimeouts",
    "open_tunnel",
    "shared_tunnel",
]
