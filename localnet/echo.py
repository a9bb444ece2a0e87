"""Echo servers behind the exits: TCP, UDP, and WebSocket, plain and with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from websockets.asyncio.server import Server

from .counters import Counters
from .listening import BACKLOG, listen
from .websocket_server import start_server

IDLE = 300.0
MAX_CONNECTIONS = 1000


class EchoServers:
    """All of them on ephemeral loopback ports."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.tcp_port = self.udp_port = self.ws_port = self.wss_port = 0
        self._tcp: asyncio.Server | None = None
        self._udp: _UdpEcho | None = None
        self._websockets: list[Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str, tls: ssl.SSLContext) -> None:
        self._tcp = await asyncio.start_server(self._echo_tcp, sock=listen(host), backlog=BACKLOG)
        self.tcp_port = self._tcp.sockets[0].getsockname()[1]
        self._udp = _UdpEcho(host, self.counters)
        self.udp_port = self._udp.port
        for context in (None, tls):
            self._websockets.append(await start_server(host, context, self.counters))
        self.ws_port, self.wss_port = (next(iter(s.sockets)).getsockname()[1] for s in self._websockets)

    async def close(self) -> None:
        if self._tcp is not None:
            self._tcp.close()
        if self._udp is not None:
            self._udp.close()
        for server in self._websockets:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._websockets:
            await server.wait_closed()

    async def _echo_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Every byte back; the end of the stream answers the end of the stream."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self.counters.add("tcp")
        try:
            while data := await asyncio.wait_for(reader.read(65536), IDLE):
                writer.write(data)
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()


class _UdpEcho:
    """Every datagram back, empty ones too, which asyncio's own transport would swallow."""

    def __init__(self, host: str, counters: Counters) -> None:
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((host, 0))
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket, self._readable)

    def _readable(self) -> None:
        # What does not fit into the socket's buffer is lost, as datagrams are.
        with contextlib.suppress(OSError):
            while True:
                data, address = self._socket.recvfrom(65536)
                self._counters.add("udp")
                self._socket.sendto(data, address)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
