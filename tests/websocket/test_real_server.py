"""Against the server that others run, on loopback: `websockets` with its own defaults, compression and keepalive."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.websocket import Close, WebSocketConnection, connect
from tests.loopback import LoopbackConnector

pytestmark = pytest.mark.feature("WebSocket", "with a server of the websockets library")

MEGABYTE = 1 << 20


@contextlib.asynccontextmanager
async def opened(
    handler: Any, client: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[WebSocketConnection]:
    async with serve(handler, "127.0.0.1", 0, **server) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        socket = await connect(LoopClock(), None, "ws://a.test/", connector=LoopbackConnector(port), **(client or {}))
        async with socket:
            yield socket


async def echo(connection: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_echo(compression: str | None) -> None:
    async with opened(echo, compression=compression, max_size=4 * MEGABYTE) as socket:
        assert socket.extensions.partition(";")[0] == ("permessage-deflate" if compression else "")
        for message in ("", "ä" * MEGABYTE, b"", bytes(range(256)) * 12_000, "end"):
            await asyncio.gather(socket.send(message), _expect(socket, message))
        assert await socket.close(4321, "bye") == Close(4321, "bye", True)


async def _expect(socket: WebSocketConnection, message: str | bytes) -> None:
    assert await socket.receive() == message


async def test_fragments_of_the_server() -> None:
    async def fragmenting(connection: ServerConnection) -> None:
        await connection.send(["Stück", "e ", "ü"])
        await connection.send([b"\0" * 70_000, b"", b"\1"])
        await connection.close(3999, "ok")

    async with opened(fragmenting) as socket:
        assert [message async for message in socket] == ["Stücke ü", b"\0" * 70_000 + b"\1"]
        assert socket.closed == Close(3999, "ok", True)


async def test_pings_of_the_server() -> None:
    """It closes with 1011 when they are not answered; meanwhile nobody receives here."""

    async def pinging(connection: ServerConnection) -> None:
        await asyncio.wait_for(await connection.ping(), 5)
        await connection.send("answered")
        await connection.wait_closed()

    async with opened(pinging, ping_interval=0.05, ping_timeout=5) as socket:
        await asyncio.sleep(0.3)
        assert socket.closed is None and await socket.receive() == "answered"


async def test_a_message_too_long_for_the_server() -> None:
    async with opened(echo, max_size=1000) as socket:
        await socket.send(bytes(1001))
        end = await socket.receive()
        assert isinstance(end, Close) and (end.code, end.clean) == (1009, True)


async def test_both_close_at_once() -> None:
    closed = asyncio.Event()

    async def closing(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(3001)
        closed.set()

    async with opened(closing) as socket:
        await socket.send("now")
        end = await socket.close(3002)
        assert end.clean and end.code in (3001, 3002)
        await asyncio.wait_for(closed.wait(), 5)
