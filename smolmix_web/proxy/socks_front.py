"""SOCKS clients: from their first byte to a stream of the tunnel, or to a relay for datagrams."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..errors import SmolmixError
from .relay import Local, relay
from .replies import socks_reply
from .socks import Command, Handshake, Reply, Request, SocksError
from .udp_relay import UdpRelay

if TYPE_CHECKING:
    from .server import Proxy

HANDSHAKE = 30.0  # s from the first byte to the request


class SocksFront:
    """The user name is an isolation key of the tunnel. All clients share the tunnel, its gateway, its exit and its
    addresses."""

    def __init__(self, proxy: Proxy) -> None:
        self._tunnel = proxy.tunnel
        self._statistics = proxy.statistics
        self._credentials = proxy.options.credentials

    async def serve(self, local: Local) -> None:
        """One client. Raises what ended it before its time."""
        found = await self._handshake(local)
        if found is None:
            return
        request, rest = found
        self._statistics.requests += 1
        if request.command is Command.UDP_ASSOCIATE:
            await self._associate(local, request)
        else:
            await self._connect(local, request, rest)

    async def _handshake(self, local: Local) -> tuple[Request, bytes] | None:
        """None for one who leaves, or is not heard of, before the request."""
        handshake = Handshake(self._credentials.allow if self._credentials is not None else None)
        try:
            async with asyncio.timeout(HANDSHAKE):
                while data := await local.read():
                    request = handshake.receive(data)
                    if out := handshake.take():
                        await local.write(out)
                    if request is not None:
                        return request, handshake.rest
        except SocksError:
            if out := handshake.take():
                await local.write(out)
            local.close()
            raise
        except TimeoutError:
            pass
        local.close()
        return None

    async def _connect(self, local: Local, request: Request, rest: bytes) -> None:
        opening = self._tunnel.connect_tcp(request.host, request.port, isolation=request.isolation)
        try:
            connected, rest = await local.open(opening, rest, reading=True)
        except SmolmixError as error:
            await local.write(request.reply(socks_reply(error)))
            local.close()
            raise
        stream, bound = connected.stream, connected.local
        try:
            answer = request.reply(Reply.SUCCEEDED, bound.address, bound.port) if bound else None
            await local.write(answer or request.reply(Reply.SUCCEEDED))
        except BaseException:
            stream.abort()
            raise
        await relay(local, stream, rest, self._statistics.count)

    async def _associate(self, local: Local, request: Request) -> None:
        """Datagrams pass for as long as this connection is open (RFC 1928 7)."""
        try:
            relaying = await UdpRelay.open(self._tunnel, local, request, self._statistics)
        except SmolmixError as error:
            await local.write(request.reply(socks_reply(error)))
            local.close()
            raise
        try:
            host, port = relaying.place
            await local.write(request.reply(Reply.SUCCEEDED, ip_address(host), port))
            await relaying.run()
        finally:
            await relaying.close()
        local.close()
