"""WebSockets over TCP from one IP stack to another, in virtual time: a peer that dies, windows that close, aborts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from smolmix_web.edge.sockets import TcpStream
from smolmix_web.errors import SmolmixError, TimeoutExpired
from smolmix_web.websocket import Close, WebSocketConnection, WebSocketTimeouts, connect
from tests.virtual_loop import virtual
from tests.websocket.support import Server, echo
from tests.wire import Wire

ROUND_TRIP = 0.4


def world(script: Callable[[Server], Awaitable[None]]) -> Wire:
    wire = Wire(ROUND_TRIP / 2)

    async def serve(stream: TcpStream) -> None:
        await script(Server(stream))

    wire.listen(80, serve)
    return wire


async def opened(wire: Wire, **options: object) -> WebSocketConnection:
    return await connect(wire.client, None, "ws://192.0.2.1/", **options)  # type: ignore[arg-type]


@virtual
async def test_round_trips() -> None:
    """TCP, handshake and first message: one round trip each; the close costs one more."""
    wire = world(echo)
    now = wire.client.now
    begin = now()
    socket = await opened(wire)
    assert now() - begin == pytest.approx(2 * ROUND_TRIP, abs=0.01)
    await socket.send("text")
    assert await socket.receive() == "text"
    assert now() - begin == pytest.approx(3 * ROUND_TRIP, abs=0.01)
    assert (await socket.close(1000)).clean
    assert now() - begin == pytest.approx(4 * ROUND_TRIP, abs=0.05)
    await asyncio.sleep(ROUND_TRIP)
    assert wire.client.open_connections() == 0


@pytest.mark.feature("WebSocket", "a server that vanished is noticed: TCP keep-alive")
@virtual
async def test_a_server_that_vanished() -> None:
    """Without a word of the page: after six probes that nobody answers."""
    wire = world(echo)
    socket = await opened(wire, keepalive=10.0)
    wire.server.deliver = False
    before = wire.client.now()
    end = await socket.receive()
    assert isinstance(end, Close) and (end.code, end.clean) == (1006, False)
    assert isinstance(end.error, TimeoutExpired) and end.error.code == "keepalive_timeout"
    assert wire.client.now() - before < 90
    assert wire.client.open_connections() == 0


@pytest.mark.feature("WebSocket", "backpressure: messages that nobody takes hold the server back")
@virtual
async def test_nobody_takes_messages() -> None:
    """The window closes: what the server can send ends with the buffers; then everything arrives."""
    sent = 0

    async def flood(server: Server) -> None:
        nonlocal sent
        await server.accept()
        for _ in range(1000):
            server.protocol.send_binary(bytes(20_000))
            await server.flush()
            sent += 20_000
        await server.frame()

    wire = world(flood)
    socket = await opened(wire)
    await asyncio.sleep(120)
    held = sent
    await asyncio.sleep(120)
    assert sent == held < 12_000_000
    for _ in range(1000):
        assert await socket.receive() == bytes(20_000)
    assert (await socket.close()).clean


@pytest.mark.feature("WebSocket", "backpressure: a server that does not read holds the sender back")
@virtual
async def test_the_server_takes_nothing() -> None:
    async def deaf(server: Server) -> None:
        await server.accept()
        await asyncio.sleep(10_000)

    wire = world(deaf)
    socket = await opened(wire)
    sending = asyncio.create_task(socket.send(bytes(8_000_000)))
    await asyncio.sleep(100)
    held = socket.buffered_amount
    await asyncio.sleep(100)
    assert not sending.done() and socket.buffered_amount == held > 4_000_000
    socket.abort()
    with pytest.raises(SmolmixError):
        await sending


@pytest.mark.feature("WebSocket", "abort by a signal, connecting or open")
@pytest.mark.parametrize("phase", ["connect", "handshake", "open"])
def test_an_abort_frees_the_flow_at_once(phase: str) -> None:
    """No packet but the RST leaves afterwards."""

    async def slow(server: Server) -> None:
        await asyncio.sleep(5)
        await server.accept()
        while True:
            server.protocol.send_binary(bytes(10_000))
            await server.flush()

    @virtual
    async def run() -> None:
        wire = world(slow)
        connecting = asyncio.create_task(opened(wire))
        await asyncio.sleep({"connect": 0.1, "handshake": 2, "open": 20}[phase])
        if phase == "open":
            socket = connecting.result()
            asyncio.create_task(socket.send(bytes(1_000_000))).add_done_callback(lambda task: task.exception())
            await asyncio.sleep(0.1)
            socket.abort()
        else:
            connecting.cancel()
        await asyncio.sleep(0.01)
        assert wire.client.open_connections() == 0
        await asyncio.sleep(ROUND_TRIP)
        sent = wire.client.sent
        await asyncio.sleep(100)
        assert wire.client.sent == sent
        assert wire.server.open_connections() == 0

    run()


@virtual
async def test_the_default_time_limits_end_every_wait() -> None:
    """A server that accepts the connection and is silent for ever: opening, and closing."""

    async def silent(server: Server) -> None:
        await asyncio.sleep(10_000)

    wire = world(silent)
    with pytest.raises(TimeoutExpired):
        await opened(wire)

    async def dead(server: Server) -> None:
        await server.accept()
        await asyncio.sleep(10_000)

    wire = world(dead)
    socket = await opened(wire)
    before = wire.client.now()
    end = await socket.close()
    assert end.code == 1006 and wire.client.now() - before <= (WebSocketTimeouts().close or 0) + 1
