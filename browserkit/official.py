"""The published client in a browser: its directory, whose address is compiled in, is a local one.

The browser is led there by name, and nothing is intercepted: where requests are, a browser has no HTTP cache.
The client finds everything else by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from localnet import Network

HOST = "validator.nymtech.net"  # compiled in, with https and the path that the local directory has too
CHUNK = 65536


@asynccontextmanager
async def directory_door(network: Network) -> AsyncIterator[list[str]]:
    """TLS under the compiled-in name before the network's directory, while it lasts; Chromium's switches for it. Its
    contexts must accept any certificate (`ignore_https_errors`)."""
    directory = urlsplit(network.directory_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(directory.hostname, directory.port)
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))
        except OSError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=network.authority.context([HOST]))
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield [f"--host-resolver-rules=MAP {HOST}:443 127.0.0.1:{port}"]


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
