"""What a Python program imports: `open_tunnel`, and the types that go in and out. See docs/python.md."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from .dial import Connected, TlsInfo
from .dns import DnsAnswer
from .edge.peers import Listener, Message, Messages, PeerStream, Sent
from .edge.sockets import TcpOptions, UdpSocket
from .edge.tls import TlsOptions
from .errors import SmolmixError
from .host.cpython import CPythonHost
from .http import HttpRequest, HttpResponse, Timeouts
from .tunnel import PingReply, Tunnel
from .tunnel.options import TunnelOptions
from .tunnel.pool import TunnelPool
from .tunnel.pool_options import PoolOptions
from .websocket import Close, WebSocketConnection, WebSocketTimeouts


@asynccontextmanager
async def open_tunnel(
    *,
    ca_file: str | None = None,
    verbose: bool = False,
    on_change: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> AsyncIterator[Tunnel]:
    """A tunnel that is up, closed at the end: `async with open_tunnel() as tunnel`.

    `options` are those of docs/javascript.md in Python's spelling (`force_tls=False`). `ca_file` holds extra PEM roots
    for the directory and the gateway, `verbose` tells the progress on stderr, `on_change(snapshot)` hears of every
    change of state. Errors: `OptionError` before anything is sent; what kept the tunnel from coming up.
    """
    host = CPythonHost(verbose=verbose, ca_file=ca_file)
    tunnel = Tunnel(TunnelOptions.from_keywords(options), host, on_change=on_change)
    await tunnel.start()
    try:
        yield tunnel
    finally:
        await tunnel.close()


@asynccontextmanager
async def open_pool(
    *,
    size: int = 2,
    rotate: Mapping[str, Any] | None = None,
    ca_file: str | None = None,
    verbose: bool = False,
    on_change: Callable[[dict[str, Any]], None] | None = None,
    **options: Any,
) -> AsyncIterator[TunnelPool]:
    """Several tunnels with different exits behind the API of one: `async with open_pool(size=3) as pool`.

    `rotate`: when a tunnel is replaced: `every_ms`, `requests`, `statuses` (docs/isolation.md). The rest is as of
    `open_tunnel`."""
    given = PoolOptions.from_mapping({"size": size, "rotate": rotate})
    host = CPythonHost(verbose=verbose, ca_file=ca_file)
    pool = TunnelPool(TunnelOptions.from_keywords(options), given, host, on_change=on_change)
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


__all__ = [
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
]
