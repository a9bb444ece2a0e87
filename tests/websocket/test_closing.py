"""The end: by the server, by us, by nobody's wish; with deadlines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.frames import Close as CloseFrame

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import TimeoutExpired, WebSocketError
from smolmix_web.websocket import Close, WebSocketTimeouts
from tests.virtual_loop import virtual
from tests.websocket.support import Server, deaf, echo, open_count, open_socket


@virtual
async def test_messages_before_the_close_are_received_first() -> None:
    async def script(server: Server) -> None:
        await server.accept()
        server.protocol.send_text(b"last words")
        server.protocol.send_close(4000, "bye")
        await server.flush()
        await server.frame()

    socket = await open_socket(script)
    await asyncio.sleep(1)
    assert await socket.receive() == "last words"
    assert await socket.receive() == Close(4000, "bye", True)
    assert await socket.close() == Close(4000, "bye", True)
    await asyncio.sleep(1)
    assert open_count(socket) == 0


@pytest.mark.feature("WebSocket", "close codes and reasons")
@virtual
async def test_the_server_closes_without_a_code() -> None:
    async def script(server: Server) -> None:
        await server.accept()
        server.protocol.send_close()
        await server.flush()
        await server.frame()

    socket = await open_socket(script)
    assert await socket.receive() == Close(1005, "", True)


@pytest.mark.feature("WebSocket", "close codes and reasons")
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ((), CloseFrame(1005, "")),
        ((None, "why"), CloseFrame(1000, "why")),
        ((1000,), CloseFrame(1000, "")),
        ((3000, "ä" * 61), CloseFrame(3000, "ä" * 61)),
        ((4999, "half \ud800"), CloseFrame(4999, "half ?")),
    ],
)
def test_what_close_sends(given: tuple[Any, ...], sent: CloseFrame) -> None:
    """Messages go first; no code is no code; the answer is the end."""
    seen: list[CloseFrame | None] = []

    async def script(server: Server) -> None:
        await server.accept()
        frames = [await server.frame() for _ in range(2)]
        assert frames[0] is not None and frames[0].data == b"first"
        seen.append(server.protocol.close_rcvd)

    @virtual
    async def run() -> None:
        socket = await open_socket(script)
        sending = asyncio.create_task(socket.send("first"))
        await asyncio.sleep(0)
        end = await socket.close(*given)
        await sending
        assert end == Close(int(sent.code), sent.reason, True) and seen == [sent]
        assert await socket.close(1000) == end  # again: the same

    run()


@virtual
async def test_bad_close_arguments() -> None:
    socket = await open_socket(echo)
    for code, reason in ((999, ""), (1001, ""), (1005, ""), (1006, ""), (2999, ""), (5000, ""), (1000, "x" * 124)):
        with pytest.raises(WebSocketError) as caught:
            await socket.close(code, reason)
        assert caught.value.code == ("bad_close_reason" if reason else "bad_close_code")
    assert (await socket.close(1000)).code == 1000


@pytest.mark.feature("WebSocket", "send after close")
@virtual
async def test_sending_while_closing() -> None:
    """What was sent before `close` leaves; what comes after is refused at once."""
    received: list[bytes] = []

    async def slow(server: Server) -> None:
        await server.accept()
        while (frame := await server.frame()) is not None:
            received.append(bytes(frame.data))
            await asyncio.sleep(0.1)

    socket = await open_socket(slow)
    first = [asyncio.create_task(socket.send(bytes(100_000))) for _ in range(3)]
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(socket.close(3000))
    await asyncio.sleep(0.01)
    with pytest.raises(WebSocketError) as caught:
        await socket.send("too late")
    assert caught.value.code == "connection_closed"
    assert (await closing).clean
    await asyncio.gather(*first)
    await asyncio.sleep(10)
    assert len(b"".join(received)) == 300_002 and b"too late" not in received


@virtual
async def test_closing_during_a_flood() -> None:
    async def script(server: Server) -> None:
        await server.accept()
        for _ in range(200):
            server.protocol.send_binary(bytes(50_000))
            await server.flush()
        while await server.frame() is not None:
            pass

    socket = await open_socket(script)
    await asyncio.sleep(10)
    assert (await socket.close()).clean


@pytest.mark.feature("WebSocket", "an end without a close frame is 1006")
@pytest.mark.parametrize(("how", "code"), [("eof", "connection_closed"), ("reset", "connection_reset")])
def test_an_end_without_close_frame(how: str, code: str) -> None:
    async def script(server: Server) -> None:
        await server.accept()
        if how == "eof":
            await server.stream.close()
        else:
            server.stream.abort()

    @virtual
    async def run() -> None:
        socket = await open_socket(script)
        end = await socket.receive()
        assert isinstance(end, Close)
        assert (end.code, end.clean) == (1006, False)
        assert socket.error is end.error and end.error is not None and end.error.code == code
        assert await socket.close() == end
        await asyncio.sleep(1)
        assert open_count(socket) == 0

    run()


# -- deadlines ---------------------------------------------------------------------------------------------


@pytest.mark.feature("WebSocket", "the closing handshake has a deadline")
@pytest.mark.parametrize("busy", [False, True])
def test_close_deadline(busy: bool) -> None:
    """Also when the close frame cannot leave, because the server does not take the message before it."""

    @virtual
    async def run() -> None:
        socket = await open_socket(deaf, timeouts=WebSocketTimeouts(close=5))
        before = LoopClock().now()
        sending = asyncio.create_task(socket.send(bytes(1_000_000 if busy else 1)))
        await asyncio.sleep(0)
        end = await socket.close()
        assert (end.code, end.clean) == (1006, False)
        assert LoopClock().now() - before == pytest.approx(5)
        assert isinstance(end.error, TimeoutExpired) and (end.error.code, end.error.phase) == ("close_timeout", "close")
        assert open_count(socket) == 0
        await asyncio.gather(sending, return_exceptions=True)

    run()


@pytest.mark.feature("WebSocket", "the closing handshake has a deadline")
@virtual
async def test_a_server_that_answers_the_close_and_stays() -> None:
    """The end is known at once; the connection itself gets the time limit, however busy the server keeps it."""

    async def lingering(server: Server) -> None:
        await server.accept()
        await server.stream.write(b"\x88\x02\x03\xe8")
        while True:
            await server.stream.write(b"\x89\x00")
            await asyncio.sleep(1)

    socket = await open_socket(lingering, timeouts=WebSocketTimeouts(close=5))
    before = LoopClock().now()
    assert await socket.receive() == Close(1000, "", True)
    assert LoopClock().now() - before < 1 and open_count(socket) == 1
    await asyncio.sleep(6)
    assert open_count(socket) == 0
    assert socket.error is None and await socket.receive() == Close(1000, "", True)


@pytest.mark.feature("WebSocket", "a silent server is pinged and given up: timeouts.idle")
@pytest.mark.parametrize("alive", [True, False])
def test_silence(alive: bool) -> None:
    """A live server answers the ping and may be quiet for ever; a dead one is given up."""
    pings = 0

    async def quiet(server: Server) -> None:
        nonlocal pings
        await server.accept()
        while await server.frame() is not None:
            pings += 1

    @virtual
    async def run() -> None:
        socket = await open_socket(quiet if alive else deaf, timeouts=WebSocketTimeouts(idle=20))
        before = LoopClock().now()
        receiving = asyncio.create_task(socket.receive())
        if alive:
            await asyncio.sleep(1000)
            assert not receiving.done() and pings == 99
            await socket.close()
            return
        end = await receiving
        assert isinstance(end, Close) and (end.code, end.error and end.error.code) == (1006, "idle_timeout")
        assert LoopClock().now() - before == pytest.approx(20)
        assert open_count(socket) == 0

    run()


@virtual
async def test_silence_does_not_count_while_nobody_takes_messages() -> None:
    async def flood(server: Server) -> None:
        await server.accept()
        for _ in range(100):
            server.protocol.send_binary(bytes(50_000))
            await server.flush()
        while await server.frame() is not None:
            pass

    socket = await open_socket(flood, timeouts=WebSocketTimeouts(idle=20))
    await asyncio.sleep(1000)
    for _ in range(100):
        assert await socket.receive() == bytes(50_000)
    assert (await socket.close()).clean
