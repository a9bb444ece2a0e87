"""The published client in a browser: its directory, whose address is compiled in, is a local one.

The browser is led there by name, and nothing is intercepted: where requests are, a browser has no HTTP cache.
The client finds everything else by itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from localnet.http_server import HttpServer

if TYPE_CHECKING:
    from localnet import Network

HOST = "validator.nymtech.net"  # compiled in, with https and the path that the local directory has too


@asynccontextmanager
async def directory_door(network: Network) -> AsyncIterator[list[str]]:
    """The network's directory once more, by TLS under the compiled-in name, while it lasts; Chromium's switches for it.
    Its contexts must accept any certificate (`ignore_https_errors`)."""
    server = HttpServer(network.directory.handle, tls=network.authority.context([HOST]), name="compiled-in directory")
    network.watch_directory(server)
    await server.start()
    try:
        yield [f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{server.port}"]
    finally:
        await server.close()
