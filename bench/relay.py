"""A thin line: TCP to another port with a rate and a delay each way, and small buffers.

    async with Relay("127.0.0.1", port, rate=100_000, delay=0.03) as relay: ... relay.port ...

Bytes wait in this process and in the sockets beside it, `BUFFER` in each place and direction, as in a router that keeps
short queues; when they are full the sender's own buffers fill, and it learns of the line by nothing else. What is on
its way for `delay` is on the line, not in a buffer. All connections share the line.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

BUFFER = 16 * 1024  # bytes; the kernel doubles what a socket asks for, and counts its bookkeeping in it
CHUNK = 4096  # bytes: what may leave at once. At 25 kB/s it takes 0.16 s
SEGMENT = 1448  # bytes
BURST = 0.02  # s of the rate that a late timer may make good


class Direction:
    """One direction of the line, shared by its connections: when what is given to it has left, by a token bucket."""

    def __init__(self, rate: float, delay: float, now: Callable[[], float]) -> None:
        self.rate, self.delay = rate, delay
        self.passed = 0
        self._now = now
        self._free_at = 0.0

    def leaves_at(self, size: int) -> float:
        """Take the next turn on the line; when the last of `size` bytes has left."""
        self.passed += size
        self._free_at = max(self._free_at, self._now() - BURST) + (size / self.rate if self.rate else 0.0)
        return self._free_at


class Relay:
    """Listens on 127.0.0.1. `rate`: bytes per second each way, 0 without a limit; `delay`: seconds each way."""

    def __init__(self, host: str, port: int, *, rate: float = 0.0, delay: float = 0.0, buffer: int = BUFFER) -> None:
        if rate < 0 or delay < 0 or buffer < 1024:
            raise ValueError("rate and delay are not negative, a buffer has 1 KiB at least")
        self._host, self._target = host, port
        self._buffer = buffer
        self.up = Direction(rate, delay, time.monotonic)
        self.down = Direction(rate, delay, time.monotonic)
        self.connections = 0
        self._open: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Only what is set before `listen` limits the window that connections announce.
            _small(listener, self._buffer)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._accepting = asyncio.get_running_loop().create_task(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [self._accepting, *self._open]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            client, _ = await loop.sock_accept(self._listener)
            client.setblocking(False)
            task = loop.create_task(self._serve(client))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _serve(self, client: socket.socket) -> None:
        """One connection, until both ends have ended it or one has broken."""
        self.connections += 1
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with client, server:
            _small(server, self._buffer)
            server.setblocking(False)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await asyncio.get_running_loop().sock_connect(server, (self._host, self._target))
                async with asyncio.TaskGroup() as group:
                    for source, target, line in ((client, server, self.up), (server, client, self.down)):
                        stretch = _Stretch(source, target, line, self._buffer)
                        group.create_task(stretch.take())
                        group.create_task(stretch.give())
            except* OSError:
                pass  # an end broke: so does the other


class _Stretch:
    """One direction of one connection. Bytes arrive in order, and after them the end."""

    def __init__(self, source: socket.socket, target: socket.socket, line: Direction, buffer: int) -> None:
        self._source, self._target, self._line = source, target, line
        self._loop = asyncio.get_running_loop()
        self._on_the_way: deque[tuple[float, bytes]] = deque()  # with the time of arrival (monotonic s)
        self._size = 0
        # Full is what the line holds by its delay, and the buffer behind it.
        self._room = buffer + line.rate * line.delay if line.rate or not line.delay else float("inf")
        self._changed = asyncio.Event()

    async def take(self) -> None:
        """Read whenever the line is free, and there is room."""
        while True:
            data = await self._loop.sock_recv(self._source, CHUNK)
            read, leaves = time.monotonic(), self._line.leaves_at(len(data))
            await asyncio.sleep(max(0.0, leaves - time.monotonic()))
            self._on_the_way.append((max(leaves, read) + self._line.delay, data))
            self._size += len(data)
            self._changed.set()
            if not data:
                return
            while self._size > self._room:
                await self._change()

    async def give(self) -> None:
        """Send on what has arrived."""
        while True:
            while not self._on_the_way:
                await self._change()
            arrives, data = self._on_the_way[0]
            await asyncio.sleep(max(0.0, arrives - time.monotonic()))
            if not data:
                self._target.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(self._target, data)
            self._on_the_way.popleft()
            self._size -= len(data)
            self._changed.set()

    async def _change(self) -> None:
        """Until the other side has done something: only one of the two ever waits for it."""
        self._changed.clear()
        await self._changed.wait()


def _small(end: socket.socket, buffer: int) -> None:
    """Before `listen` or `connect`, which settle the window. The kernel doubles a buffer for its own bookkeeping.

    Segments of ordinary size: with the loopback's, of 64 KiB, a small window stalls.
    """
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        end.setsockopt(socket.SOL_SOCKET, option, buffer)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
