"""TCP between nodes: one persistent connection to each neighbour that is sent to, and listeners for frames.

Frames are written in batches, one write per turn of the event loop. A neighbour that is away gets its frames when it is
back, as far as the queue's bound allows; what does not fit is dropped and counted, as a mix node must never wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.errors import MessageError
from smolmix_web.mixnet.node_frame import FrameDecoder, NodeFrame

from .counters import Counters

CONNECT_TIMEOUT = 5.0
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 2.0
WRITE_BUFFER = 256 * 1024


@dataclass(frozen=True)
class Neighbour:
    """A node that packets may be sent to."""

    name: str
    host: str
    port: int


class Outgoing(asyncio.Protocol):
    """The way to one neighbour; connects with the first frame and again after a loss."""

    def __init__(self, neighbour: Neighbour, counters: Counters, limit: int) -> None:
        self.neighbour = neighbour
        self._counters = counters
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._flush_due = False
        self._paused = False
        self._closed = False

    def send(self, frame: bytes) -> None:
        """Queue one frame; never blocks, drops when `limit` frames wait."""
        if self._closed:
            return
        if len(self._queue) >= self._limit:
            self._counters.add("overflow.queue")
            return
        self._queue.append(frame)
        if self._transport is None:
            if self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())
        elif not self._flush_due and not self._paused:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    async def _connect(self) -> None:
        backoff = FIRST_BACKOFF
        try:
            while not self._closed:
                try:
                    async with asyncio.timeout(CONNECT_TIMEOUT):
                        await self._loop.create_connection(lambda: self, self.neighbour.host, self.neighbour.port)
                    return
                except (OSError, TimeoutError):
                    self._counters.add("connect_failures")
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF)
        finally:
            self._connecting = None

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is None or self._paused:
            return
        while self._queue and not self._paused:
            # In portions, so that pause_writing can take effect between them.
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), 64))]
            self._transport.write(b"".join(batch))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._closed:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._transport = transport
        self._paused = False
        self._flush()

    def data_received(self, data: bytes) -> None:
        # There are no answers on this connection (sphinx 4.1).
        self._counters.add("bad.answer")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._paused = False
        if self._queue and not self._closed and self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def close(self) -> None:
        self._closed = True
        self._queue.clear()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()


class Incoming(asyncio.Protocol):
    """One accepted connection: frames to `received`, and the end of the connection for anything else."""

    def __init__(self, received: Callable[[NodeFrame], None], counters: Counters, open_ones: set[Incoming]) -> None:
        self._received = received
        self._counters = counters
        self._open = open_ones
        self._decoder = FrameDecoder()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._open.add(self)
        self._counters.add("connections")

    def connection_lost(self, error: Exception | None) -> None:
        self._open.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                self._received(frame)
        except MessageError as error:
            self._counters.add(f"bad.frame.{error.code}")
            if self.transport is not None:
                self.transport.abort()
