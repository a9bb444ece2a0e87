"""The server's side of a WebSocket for tests, by `websockets`: scripts in terms of frames, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.websocket import Close, WebSocketConnection, connect
from tests.http_server import PipeConnector


class Server:
    """One accepted connection: handshake, then a script in terms of frames."""

    def __init__(self, stream: ByteStream, **options: Any) -> None:
        self.stream = stream
        self.protocol = ServerProtocol(**{"max_size": None, **options})
        self.request: Any = None
        self._frames: list[Frame] = []

    async def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                await self.stream.write(data)
            else:
                await self.stream.close()

    async def accept(self) -> None:
        while self.request is None:
            self.protocol.receive_data(await self.stream.read())
            for event in self.protocol.events_received():
                self.request = event
        self.protocol.send_response(self.protocol.accept(self.request))
        await self.flush()

    async def frame(self) -> Frame | None:
        while not self._frames:
            data = await self.stream.read()
            if not data:
                self.protocol.receive_eof()
                return None
            self.protocol.receive_data(data)
            self._frames += self.protocol.events_received()
            await self.flush()
        return self._frames.pop(0)


async def echo(server: Server) -> None:
    """Frame by frame, as they come."""
    await server.accept()
    while (frame := await server.frame()) is not None:
        if frame.opcode is Opcode.TEXT:
            server.protocol.send_text(frame.data, frame.fin)
        elif frame.opcode is Opcode.BINARY:
            server.protocol.send_binary(frame.data, frame.fin)
        elif frame.opcode is Opcode.CONT:
            server.protocol.send_continuation(frame.data, frame.fin)
        await server.flush()


async def deaf(server: Server) -> None:
    """Accepts, and never reads again."""
    await server.accept()
    await asyncio.sleep(10_000)


def raw_frames(data: bytes, step: int = 0) -> Script:
    """Accepts, sends these bytes (`step` at a time), then reads to the end."""

    async def script(server: Server) -> None:
        await server.accept()
        for start in range(0, len(data), step or len(data) or 1):
            await server.stream.write(data[start : start + (step or len(data))])
            if step:
                await asyncio.sleep(0.01)
        while await server.frame() is not None:
            pass

    return script


Script = Callable[[Server], Awaitable[None]]


def connector_for(script: Script, **options: Any) -> PipeConnector:
    async def serve(stream: ByteStream) -> None:
        await script(Server(stream, **options))

    return PipeConnector(serve)


async def open_socket(script: Script, server: dict[str, Any] | None = None, **options: Any) -> WebSocketConnection:
    connector = connector_for(script, **(server or {}))
    socket = await connect(LoopClock(), None, "ws://a.test/path?q", connector=connector, **options)
    socket.connector = connector  # type: ignore[attr-defined]
    return socket


def open_count(socket: WebSocketConnection) -> int:
    """Client ends that are not closed."""
    return socket.connector.open_count  # type: ignore[attr-defined,no-any-return]


async def everything(socket: WebSocketConnection) -> tuple[list[str | bytes], Close]:
    """All messages, and the end."""
    messages: list[str | bytes] = []
    while not isinstance(message := await socket.receive(), Close):
        messages.append(message)
    return messages, message
