"""A passive observer on the wire in front of a gateway: a process of its own that notes when each WebSocket frame of
the clients arrives, and how large it is.

    python wire_tap.py PORT     prints the port it listens on; forwards to 127.0.0.1:PORT; for each line on stdin
                                prints the frames since the last one, as JSON [[seconds, opcode, size], …]

It runs beside the network and not inside it, so that a busy node does not blur what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

MAX_FRAMES = 100_000
BINARY = 2


class SeenFrame(NamedTuple):
    time: float  # s, monotonic
    opcode: int
    size: int  # payload bytes


class _FrameMeter:
    """Finds the frames in the bytes of one client, after the end of its upgrade request."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._upgraded = False

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """(opcode, payload size) of each frame that is complete now."""
        buffer, found = self._buffer, []
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return []
            del buffer[: end + 4]
            self._upgraded = True
        while len(buffer) >= 2:
            size, start = buffer[1] & 0x7F, 2
            if size >= 126:
                start = 4 if size == 126 else 10
                if len(buffer) < start:
                    break
                size = int.from_bytes(buffer[2:start], "big")
            whole = start + (4 if buffer[1] & 0x80 else 0) + size
            if len(buffer) < whole:
                break
            found.append((buffer[0] & 0x0F, size))
            del buffer[:whole]
        return found


class _Forward(asyncio.Protocol):
    """One direction's reader; `peer` is the other side's transport."""

    def __init__(self, meter: _FrameMeter | None, frames: list[SeenFrame]) -> None:
        self._meter = meter
        self._frames = frames
        self._waiting: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self.peer: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if self._meter is not None and len(self._frames) < MAX_FRAMES:
            self._frames += [SeenFrame(now, opcode, size) for opcode, size in self._meter.feed(data)]
        if self.peer is None:
            self._waiting.append(data)
        else:
            self.peer.write(data)

    def joined(self, peer: asyncio.Transport) -> None:
        self.peer = peer
        for data in self._waiting:
            peer.write(data)
        self._waiting.clear()

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None:
            self.peer.close()


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    frames: list[SeenFrame] = []
    tasks: set[asyncio.Task[None]] = set()

    async def join(client: _Forward) -> None:
        assert client.transport is not None
        try:
            transport, server = await loop.create_connection(lambda: _Forward(None, frames), "127.0.0.1", port)
        except OSError:
            client.transport.close()
            return
        server.joined(client.transport)
        client.joined(transport)

    class Client(_Forward):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            task = loop.create_task(join(self))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await loop.create_server(lambda: Client(_FrameMeter(), frames), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(frames), flush=True)
        frames.clear()


class WireTap:
    """`async with WireTap(port) as tap`: the process; `tap.port` is where clients connect."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def __aenter__(self) -> WireTap:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__)),
            str(self._target),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 26,
        )
        self.port = int(await self._line())
        return self

    async def __aexit__(self, *_: Any) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _line(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None
        async with asyncio.timeout(10):
            return await self._process.stdout.readline()

    async def take(self) -> list[SeenFrame]:
        """The clients' frames since the last call."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return [SeenFrame(*frame) for frame in json.loads(await self._line())]


if __name__ == "__main__":
    with contextlib.suppress(OSError):
        os.nice(-10)  # to note the time without delay, where that is allowed
    asyncio.run(serve(int(sys.argv[1])))
