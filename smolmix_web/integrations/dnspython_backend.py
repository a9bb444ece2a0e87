"""dnspython over a tunnel: `await resolver.resolve("example.com", "MX", backend=MixBackend(tunnel))`, on its own loop.

A backend of `dns.asyncquery` and `dns.asyncresolver`: UDP, TCP and, with the tunnel's TLS and roots, DNS over TLS. For
DNS over HTTPS dnspython makes its own connections, which this does not reach: the tunnel's `lookup` has it.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from typing import Any

import dns.exception
from dns._asyncbackend import Backend, DatagramSocket, StreamSocket

from ..dial import Connected
from ..edge.sockets import UdpSocket
from ..edge.tls import TlsOptions
from ..errors import SmolmixError, TimeoutExpired
from ..tunnel import Tunnel


class MixBackend(Backend):
    """Errors of the tunnel become `OSError`, its time limits `dns.exception.Timeout`, as dnspython expects them."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def name(self) -> str:
        return "asyncio"

    def datagram_connection_required(self) -> bool:
        return False

    async def sleep(self, interval: float) -> None:
        await asyncio.sleep(interval)

    async def wait_for(self, awaitable: Any, timeout: float | None) -> Any:
        return await _limited(awaitable, timeout)

    async def make_socket(
        self,
        af: int,
        socktype: int,
        proto: int = 0,
        source: Any = None,
        destination: Any = None,
        timeout: float | None = None,
        ssl_context: Any = None,
        server_hostname: str | None = None,
    ) -> Any:
        family = 6 if af == socket.AF_INET6 else 4
        if socktype == socket.SOCK_DGRAM:
            return _Datagrams(af, self._tunnel.bind_udp(family=family))
        tls = TlsOptions(server_name=server_hostname) if ssl_context is not None else False
        host, port = destination[:2]
        connected = await _limited(self._tunnel.connect_tcp(host, port, tls=tls, family=family), timeout)
        return _Stream(af, connected, (host, port))


async def _limited(awaitable: Any, timeout: float | None) -> Any:
    try:
        async with asyncio.timeout(timeout):
            return await awaitable
    except (TimeoutError, TimeoutExpired):
        expired: Any = dns.exception.Timeout
        raise expired(timeout=timeout) from None
    except SmolmixError as error:
        from ..asyncio_streams import as_os_error

        raise as_os_error(error) from error


class _Datagrams(DatagramSocket):
    def __init__(self, family: int, udp: UdpSocket) -> None:
        super().__init__(family, socket.SOCK_DGRAM)
        self._udp = udp

    async def sendto(self, what: bytes, destination: Any, timeout: float | None) -> int:
        async def send() -> int:
            self._udp.send_to(bytes(what), ip_address(destination[0]), destination[1])
            return len(what)

        sent: int = await _limited(send(), timeout)
        return sent

    async def recvfrom(self, size: int, timeout: float | None) -> tuple[bytes, tuple[str, int]]:
        data, source = await _limited(self._udp.receive(), timeout)
        return data[:size], (str(source.address), source.port)

    async def close(self) -> None:
        self._udp.close()


class _Stream(StreamSocket):
    def __init__(self, family: int, connected: Connected, peer: tuple[str, int]) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._stream = connected.stream
        self._peer = peer

    async def getpeername(self) -> tuple[str, int]:
        return self._peer

    async def sendall(self, what: bytes, timeout: float | None) -> None:
        await _limited(self._stream.write(bytes(what)), timeout)

    async def recv(self, size: int, timeout: float | None) -> bytes:
        data: bytes = await _limited(self._stream.read(size), timeout)
        return data

    async def close(self) -> None:
        await self._stream.close()
