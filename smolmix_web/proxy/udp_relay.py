"""UDP ASSOCIATE (RFC 1928 7): datagrams of one client, in SOCKS's header, over a UDP socket of the tunnel.

Every queue is bounded, and what does not fit is dropped, as networks do: names wait to be resolved one after the other.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

from ..edge.sockets import Address
from ..errors import SmolmixError
from ..tunnel import Tunnel
from .relay import Local
from .socks import Datagram, Request, SocksError, decode_datagram, encode_datagram

if TYPE_CHECKING:
    from .server import ProxyStatistics

QUEUE = 256  # datagrams of the client that wait
MAX_NAMES = 64  # whose addresses are kept for the time of the association


class _Socket(asyncio.DatagramProtocol):
    """The client's side. Only whoever opened the association is heard, from one port (RFC 1928 7)."""

    def __init__(self, client: str, port: int) -> None:
        self._client = client
        self._port = port  # 0: that of the first datagram
        self.transport: asyncio.DatagramTransport | None = None
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # by its look alone, before Python 3.12

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if address[0] != self._client or self._port not in (0, address[1]) or self.queue.full():
            return
        self._port = address[1]
        self.queue.put_nowait(data)

    def send(self, data: bytes) -> None:
        if self._port and self.transport is not None and not self.transport.is_closing():
            self.transport.sendto(data, (self._client, self._port))


class UdpRelay:
    """Made by `open`; `run` ends with the client's connection, or raises what ended the tunnel's socket."""

    def __init__(self, tunnel: Tunnel, local: Local, socket: _Socket, request: Request, statistics: ProxyStatistics):
        self._tunnel = tunnel
        self._local = local
        self._client = socket
        self._isolation = request.isolation
        self._statistics = statistics
        self._outside = tunnel.bind_udp(isolation=request.isolation)
        self._names: OrderedDict[str, Address] = OrderedDict()

    @classmethod
    async def open(cls, tunnel: Tunnel, local: Local, request: Request, statistics: ProxyStatistics) -> UdpRelay:
        """Errors: `StateError`, `TunnelError`, `TimeoutExpired(tunnel)`, `NetworkError`."""
        await tunnel.usable(request.isolation)
        client = local.writer.get_extra_info("peername")[0]
        here = local.writer.get_extra_info("sockname")[0]
        # A port of 0, or an address that is not the client's own, says nothing (many send 0.0.0.0).
        port = request.port if request.host == client else 0
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(lambda: _Socket(client, port), local_addr=(here, 0))
        try:
            return cls(tunnel, local, protocol, request, statistics)
        except BaseException:
            transport.close()
            raise

    @property
    def place(self) -> tuple[str, int]:
        """Where the client is to send its datagrams."""
        assert self._client.transport is not None
        host, port = self._client.transport.get_extra_info("sockname")[:2]
        return host, port

    async def run(self) -> None:
        tasks = [asyncio.create_task(work) for work in (self._until_over(), self._outward(), self._inward())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        self._outside.close()
        if self._client.transport is not None:
            self._client.transport.close()

    async def _until_over(self) -> None:
        while await self._local.read():
            pass  # nothing is said here

    async def _outward(self) -> None:
        while True:
            packet = await self._client.queue.get()
            try:
                datagram = decode_datagram(packet)
                address = await self._address(datagram)
                self._outside.send_to(datagram.data, address, datagram.port)
            except SocksError:
                continue
            except SmolmixError:
                if self._outside.closed:
                    raise
                continue
            self._statistics.datagrams += 1
            self._statistics.count(len(datagram.data), 0)

    async def _address(self, datagram: Datagram) -> Address:
        try:
            return ip_address(datagram.host)
        except ValueError:
            pass
        known = self._names.get(datagram.host)
        if known is None:
            known = (await self._tunnel.resolve(datagram.host, isolation=self._isolation))[0]
            self._names[datagram.host] = known
            if len(self._names) > MAX_NAMES:
                self._names.popitem(last=False)
        return known

    async def _inward(self) -> None:
        while True:
            try:
                data, source = await self._outside.receive()
            except SmolmixError:
                if self._outside.closed:
                    raise
                continue  # an ICMP error: SOCKS has no word for it
            self._client.send(encode_datagram(source.address, source.port, data))
            self._statistics.datagrams += 1
            self._statistics.count(0, len(data))
