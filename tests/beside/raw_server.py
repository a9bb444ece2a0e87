"""The server of a case: it reads requests and sends the bytes of the scripts, in memory or on a real socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from smolmix_web.errors import SmolmixError
from tests.http_server import Speaker, play

from .case import CLOSE, FetchCase, Script, WebSocketCase

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_HEAD_END = b"\r\n\r\n"
_CLOSE_OPCODE = 8


class Stream(Speaker, Protocol):
    """What a case needs of a connection; `tests.pipe.Pipe` is one."""

    async def read(self, limit: int = 65536) -> bytes: ...


class SocketStream:
    """A connection of asyncio with a true reset."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, limit: int = 65536) -> bytes:
        return await self._reader.read(limit)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def abort(self) -> None:
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


@dataclass
class RawServer:
    """Serves one case. `requests`: heads as they came; `heard`: the frames of the client's first WebSocket."""

    case: FetchCase | WebSocketCase
    origin: str
    requests: list[bytes] = field(default_factory=list)
    heard: list[tuple[int, bytes]] = field(default_factory=list)

    async def serve(self, stream: Stream) -> None:
        """One connection, to its end."""
        with contextlib.suppress(SmolmixError, OSError, EOFError):
            if isinstance(self.case, FetchCase):
                await self._answer_requests(self.case, stream)
            else:
                await self._talk(self.case, stream)

    async def _answer_requests(self, case: FetchCase, stream: Stream) -> None:
        pending = bytearray()
        while True:
            head = await _read_request(stream, pending)
            script = case.scripts[min(len(self.requests), len(case.scripts) - 1)]
            self.requests.append(head)
            if not await self._play(script, stream):
                return

    async def _play(self, script: Script, stream: Stream) -> bool:
        """Run the steps; whether the connection is still open after them."""
        origin = self.origin.encode()
        ended = await play(
            stream, (step.replace(b"{origin}", origin) if isinstance(step, bytes) else step for step in script)
        )
        if ended == CLOSE:
            while await stream.read():
                pass
        return ended is None

    async def _talk(self, case: WebSocketCase, stream: Stream) -> None:
        pending = bytearray()
        head = await _read_request(stream, pending)
        self.requests.append(head)
        found = re.search(rb"(?i)\r\nsec-websocket-key:[ \t]*([^\s]+)", head)
        key = found.group(1) if found else b""
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        await stream.write(case.handshake.replace(b"{accept}", accept))
        if not await self._play(case.script, stream):
            return
        said = bytearray(b"".join(step for step in case.script if isinstance(step, bytes)))
        closed = any(opcode == _CLOSE_OPCODE for opcode, _ in take_frames(said))
        while True:
            for opcode, payload in take_frames(pending):
                self.heard.append((opcode, payload))
                if opcode == _CLOSE_OPCODE:
                    if not closed:
                        await stream.write(bytes((0x80 | _CLOSE_OPCODE, len(payload))) + payload)
                    await stream.close()
                    return
            data = await stream.read()
            if not data:
                return
            pending += data


async def _read_request(stream: Stream, pending: bytearray) -> bytes:
    """The head of the next request; its body is read and dropped. EOFError: the client has gone."""

    async def until(found: bytes, start: int = 0) -> int:
        while (at := pending.find(found, start)) < 0:
            await more()
        return at + len(found)

    async def more() -> None:
        data = await stream.read()
        if not data:
            raise EOFError
        pending.extend(data)

    end = await until(_HEAD_END)
    head = bytes(pending[:end])
    length = re.search(rb"(?i)\r\ncontent-length:[ \t]*(\d+)", head)
    if length:
        end += int(length.group(1))
        while len(pending) < end:
            await more()
    elif re.search(rb"(?i)\r\ntransfer-encoding:[ \t]*chunked", head):
        end = await until(b"0" + _HEAD_END, end)
    del pending[:end]
    return head


def take_frames(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take whole frames off the front: (opcode, unmasked payload), RFC 6455 5.2."""
    while len(data) >= 2:
        opcode, length, at = data[0] & 15, data[1] & 127, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            at += size
            if len(data) < at:
                return
            length = int.from_bytes(data[2:at], "big")
        masked = data[1] >> 7
        end = at + 4 * masked + length
        if len(data) < end:
            return
        payload = bytes(data[end - length : end])
        if masked:
            mask = data[at : at + 4]
            payload = bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))
        del data[:end]
        yield opcode, payload


@asynccontextmanager
async def listening(case: FetchCase | WebSocketCase, origin: str | None = None) -> AsyncIterator[tuple[RawServer, int]]:
    """The server of a case on a loopback port; `origin` is what the client calls it where that is something else."""
    server = RawServer(case, origin or "")
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await server.serve(SocketStream(reader, writer))
        except asyncio.CancelledError:
            pass  # the case is over
        finally:
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    server.origin = origin or f"http://127.0.0.1:{port}"
    try:
        yield server, port
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
