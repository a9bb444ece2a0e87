"""In place of a tunnel: servers of this machine under test names, with every request and its isolation written down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

from smolmix_web.dial import Connected
from smolmix_web.errors import SmolmixError
from smolmix_web.http import Timeouts
from smolmix_web.netstack import Endpoint
from smolmix_web.proxy.server import Place, Proxy, ProxyOptions
from tests.loopback import SocketStream

ANYWHERE = Place("127.0.0.1", 0)


class Tunnel:
    """`ports`: (host, port) to a port of 127.0.0.1; `errors`: host to what connecting to it raises."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, int], int] = {}
        self.errors: dict[str, SmolmixError] = {}
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[tuple[str, int, str | None]] = []
        self.streams: list[SocketStream] = []
        self.timeouts = Timeouts()
        self.state, self.step, self.error = "ready", None, None
        self.hanging = asyncio.Event()

    async def connect_tcp(self, host: str, port: int, *, isolation: str | None = None) -> Connected:
        self.asked.append((host, port, isolation))
        if host == "silent.test":
            await self.hanging.wait()
        if host in self.errors:
            raise self.errors[host]
        stream = SocketStream(*await asyncio.open_connection("127.0.0.1", self.ports[(host, port)]))
        self.streams.append(stream)
        return Connected(stream, local=Endpoint(ip_address("10.0.0.1"), 4711), remote=None)

    async def lookup(self, name: str, type: str = "A") -> Any:
        found = self.answers[(name.lower(), type)]
        if isinstance(found, Exception):
            raise found
        return found


@asynccontextmanager
async def proxy_to(tunnel: Any, **options: Any) -> AsyncIterator[Proxy]:
    proxy = Proxy(tunnel, ProxyOptions(**options))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close(0.0)


async def socks(proxy: Proxy, host: str, port: int, user: str = "") -> tuple[int, Any, Any]:
    """The reply code, and the connection."""
    reader, writer = await asyncio.open_connection(*proxy.places["socks"])
    if user:
        name = user.encode()
        writer.write(b"\x05\x01\x02\x01" + bytes((len(name),)) + name + b"\x01x")
        assert await reader.readexactly(4) == b"\x05\x02\x01\x00"
    else:
        writer.write(b"\x05\x01\x00")
        assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00\x03" + bytes((len(host),)) + host.encode() + port.to_bytes(2, "big"))
    reply = await reader.readexactly(10)
    return reply[1], reader, writer
