"""Two IP stacks joined by a wire on the running loop: the smallest `Net` for tests of sockets and above."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

from smolmix_web.edge.sockets import TcpStream, UdpSocket
from smolmix_web.errors import SmolmixError
from smolmix_web.netstack import Endpoint, Stack, StackConfig, TcpConnection
from smolmix_web.rand import SeededRandom

CLIENT = IPv4Address("10.0.0.1")
SERVER = IPv4Address("192.0.2.1")
SERVER6 = IPv6Address("2001:db8::1")
MTU = 1420


class WireNet:
    """One end. Polls its stack when woken, when a packet came, and at the stack's own deadline."""

    def __init__(self, stack: Stack, delay: float) -> None:
        self.stack = stack
        self.delay = delay
        self.peer: WireNet
        self.deliver = True  # False: everything sent is lost
        self.sent = 0
        self.wakes = 0
        self._loop = asyncio.get_running_loop()
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def now(self) -> float:
        return self._loop.time()

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(delay, callback)

    def wake(self) -> None:
        self.wakes += 1
        if self._soon is None:
            self._soon = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._soon = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for packet in self.stack.poll(self.now()):
            self.sent += 1
            if self.deliver:
                self._loop.call_later(self.delay, self.peer._arrive, packet)
        deadline = self.stack.next_deadline()
        if deadline is not None:
            self._timer = self._loop.call_later(max(0.0, deadline - self.now()), self.wake)

    def _arrive(self, packet: bytes) -> None:
        self.stack.receive(packet, self.now())
        self.wake()

    def open_connections(self) -> int:
        """Connections of the stack that still carry or wait for something."""
        return sum(connection.state.name != "TIME_WAIT" for connection in self.stack.connections)


class Wire:
    """`client` and `server`, `delay` seconds apart each way. The server has all addresses."""

    def __init__(self, delay: float = 0.5, *, ipv6: bool = False, config: StackConfig | None = None) -> None:
        addresses: list[IPv4Address | IPv6Address] = [CLIENT]
        if ipv6:
            addresses.append(IPv6Address("2001:db8:1::1"))
        self.client = WireNet(Stack(addresses, MTU, SeededRandom("client"), config=config), delay)
        self.server = WireNet(Stack([SERVER, SERVER6], MTU, SeededRandom("server"), accept_any=True), delay)
        self.client.peer, self.server.peer = self.server, self.client
        self.tasks: set[asyncio.Task[None]] = set()

    def listen(self, port: int, serve: Callable[[TcpStream], Awaitable[None]]) -> None:
        """Run `serve` for each connection to `port`, whatever the address."""
        self.server.stack.tcp_listen(port, backlog=64, on_connection=lambda connection: self.serve(connection, serve))

    def serve(self, connection: TcpConnection, serve: Callable[[TcpStream], Awaitable[None]]) -> None:
        """Run `serve` for one connection of the server's stack."""

        async def run(stream: TcpStream) -> None:
            with contextlib.suppress(SmolmixError):  # the client may go away at any moment
                await serve(stream)

        task = asyncio.ensure_future(run(TcpStream(self.server, connection)))
        self.tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            context = {"message": "a server failed", "exception": task.exception()}
            task.get_loop().call_exception_handler(context)

    def udp(self, port: int, answer: Callable[[bytes, Endpoint], list[bytes]]) -> None:
        """Answer each datagram to `port`."""
        socket = UdpSocket.bind(self.server, port)

        async def serve() -> None:
            while True:
                data, source = await socket.receive()
                for out in answer(data, source):
                    socket.send_to(out, source.address, source.port)

        task = asyncio.create_task(serve())
        self.tasks.add(task)
        task.add_done_callback(self._finished)
