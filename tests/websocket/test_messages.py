"""Messages in both directions: kinds, sizes, order, fragments, what stands between them, and who holds back whom."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from smolmix_web.errors import SmolmixError, StateError, WebSocketError
from smolmix_web.websocket import Close
from smolmix_web.websocket.protocol import FRAGMENT, MAX_PONGS, Protocol
from tests.beside.raw_server import take_frames
from tests.virtual_loop import virtual
from tests.websocket.support import Server, deaf, echo, everything, open_count, open_socket, raw_frames


@pytest.mark.feature("WebSocket", "text and binary messages")
@virtual
async def test_text_and_binary_echo() -> None:
    socket = await open_socket(echo)
    assert (socket.url, socket.subprotocol, socket.extensions, socket.tls) == ("ws://a.test/path?q", "", "", None)
    big = bytes(range(256)) * 1000
    for message in ("hello", "", "\u00e4\u20ac\U0001f600", b"", b"\0\xff", big, "x" * 70_000):
        await socket.send(message)
        assert await socket.receive() == message
    for view in (bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
        await socket.send(view)
        assert await socket.receive() == b"abc"
    await socket.send("half a pair: \ud83d")
    assert await socket.receive() == "half a pair: ?"
    assert socket.buffered_amount == 0
    assert await socket.close(3001, "done") == Close(3001, "done", True)
    assert await socket.receive() == Close(3001, "done", True)
    with pytest.raises(WebSocketError) as caught:
        await socket.send("late")
    assert caught.value.code == "connection_closed"
    await asyncio.sleep(1)
    assert open_count(socket) == 0


@pytest.mark.feature("Python", "WebSocket as an async iterable and context manager")
@virtual
async def test_iteration_and_context() -> None:
    async def three(server: Server) -> None:
        await server.accept()
        for text in ("one", "two", "three"):
            server.protocol.send_text(text.encode())
        server.protocol.send_close(1000)
        await server.flush()
        await server.frame()

    async with await open_socket(three) as socket:
        assert [message async for message in socket] == ["one", "two", "three"]
    assert socket.closed == Close(1000, "", True)

    async with await open_socket(raw_frames(b"\x81\x03one\x83\x00")) as broken:
        seen = []
        with pytest.raises(WebSocketError) as caught:
            async for message in broken:
                seen.append(message)
        assert seen == ["one"] and caught.value.code == "websocket_protocol"

    with pytest.raises(ZeroDivisionError):
        async with await open_socket(deaf) as left:
            raise ZeroDivisionError
    assert open_count(left) == 0  # at once, without a closing handshake


# -- fragments ---------------------------------------------------------------------------------------------


@st.composite
def cut_messages(draw: st.DrawFn) -> tuple[list[str | bytes], bytes]:
    """Messages, and a stream of frames that carries them: cut anywhere, with control frames between."""
    messages: list[str | bytes] = draw(st.lists(st.one_of(st.text(max_size=40), st.binary(max_size=200)), max_size=5))
    stream = b""
    for message in messages:
        data = message.encode() if isinstance(message, str) else message
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        for index, piece in enumerate(pieces):
            first = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
            opcode = first if index == 0 else Opcode.CONT
            stream += Frame(opcode, piece, fin=index == len(pieces) - 1).serialize(mask=False)
            if draw(st.booleans()):
                control = draw(st.sampled_from([Opcode.PING, Opcode.PONG]))
                stream += Frame(control, draw(st.binary(max_size=20))).serialize(mask=False)
    return messages, stream


@pytest.mark.feature("WebSocket", "fragmented messages, control frames between the fragments")
@given(cut_messages(), st.integers(1, 50))
def test_any_fragmentation_gives_the_same_messages(case: tuple[list[str | bytes], bytes], step: int) -> None:
    messages, stream = case

    @virtual
    async def run() -> None:
        for pace in (0, step):
            socket = await open_socket(raw_frames(stream + b"\x88\x02\x03\xe8", pace))
            assert await everything(socket) == (messages, Close(1000, "", True))

    run()


@pytest.mark.parametrize("size", [0, 1, FRAGMENT - 1, FRAGMENT, FRAGMENT + 1, 3 * FRAGMENT])
@pytest.mark.parametrize("text", [True, False])
def test_how_a_message_is_cut(size: int, text: bool) -> None:
    data = bytes(range(128)) * (size // 128) + b"x" * (size % 128)
    frames = list(Protocol(1, None).fragments(data, text))
    count = max(1, -(-size // FRAGMENT))
    first = Opcode.TEXT if text else Opcode.BINARY
    assert [frame.opcode for frame, _ in frames] == [first, *[Opcode.CONT] * (count - 1)]
    assert [frame.fin for frame, _ in frames] == [False] * (count - 1) + [True]
    assert [length for _, length in frames] == [len(frame.data) for frame, _ in frames]
    assert b"".join(bytes(frame.data) for frame, _ in frames) == data


def test_a_flood_of_pings_costs_no_memory() -> None:
    """While nothing can be sent; the newest are answered (RFC 6455 5.5.3)."""
    protocol = Protocol(1, None)
    count = MAX_PONGS * 4
    for number in range(count):
        protocol.feed(Frame(Opcode.PING, b"%04d" % number).serialize(mask=False))
        assert protocol.next() is None
    frames = list(take_frames(bytearray(protocol.take_outgoing())))
    assert frames == [(10, b"%04d" % number) for number in range(count - MAX_PONGS, count)]


@pytest.mark.feature("WebSocket", "fragmented messages, control frames between the fragments")
@virtual
async def test_pings_within_and_after_a_message_are_answered() -> None:
    pongs: list[bytes] = []

    async def script(server: Server) -> None:
        await server.accept()
        server.protocol.send_pong(b"nobody asked")
        server.protocol.send_text("h\u00e4".encode()[:2], fin=False)  # a character cut in two
        server.protocol.send_ping(b"are you there")
        server.protocol.send_continuation("h\u00e4".encode()[2:], fin=False)
        server.protocol.send_ping(b"")
        server.protocol.send_continuation(b"", fin=True)
        await server.flush()
        for _ in range(2):
            frame = await server.frame()
            assert frame is not None and frame.opcode is Opcode.PONG
            pongs.append(bytes(frame.data))
        await server.frame()

    socket = await open_socket(script)
    assert await socket.receive() == "h\u00e4"
    assert (await socket.close()).clean
    assert pongs == [b"are you there", b""]


@pytest.mark.feature("WebSocket", "pings are answered while nobody takes messages")
@virtual
async def test_pings_are_answered_while_nobody_receives() -> None:
    answered = asyncio.Event()

    async def script(server: Server) -> None:
        await server.accept()
        server.protocol.send_ping(b"x")
        await server.flush()
        frame = await server.frame()
        assert frame is not None and frame.opcode is Opcode.PONG
        answered.set()
        await server.frame()

    socket = await open_socket(script)
    await asyncio.wait_for(answered.wait(), 5)
    await socket.close()


@pytest.mark.feature("WebSocket", "messages of several MB")
@virtual
async def test_a_long_message_leaves_in_fragments() -> None:
    """A ping that comes meanwhile is answered in the middle, and a second sender waits for its turn."""
    opcodes: list[tuple[Opcode, bool]] = []

    async def script(server: Server) -> None:
        await server.accept()
        while (frame := await server.frame()) is not None:
            if not opcodes:
                server.protocol.send_ping(b"now")
                await server.flush()
            opcodes.append((frame.opcode, frame.fin))
            await asyncio.sleep(0.01)

    socket = await open_socket(script)
    long = asyncio.create_task(socket.send(bytes(10 * FRAGMENT)))
    await asyncio.sleep(0)
    short = asyncio.create_task(socket.send("after it"))
    await asyncio.sleep(0.001)
    assert 0 < socket.buffered_amount <= 10 * FRAGMENT + 8
    amounts = []
    while not short.done():
        amounts.append(socket.buffered_amount)
        await asyncio.sleep(0.005)
    await long
    assert amounts == sorted(amounts, reverse=True) and len(set(amounts)) > 5 and socket.buffered_amount == 0
    assert (await socket.close()).clean
    await asyncio.sleep(1)
    data = [found for found in opcodes if found[0] is not Opcode.PONG]
    assert data == [
        (Opcode.BINARY, False),
        *[(Opcode.CONT, False)] * 8,
        (Opcode.CONT, True),
        (Opcode.TEXT, True),
        (Opcode.CLOSE, True),
    ]
    assert 0 < opcodes.index((Opcode.PONG, True)) < 10


@pytest.mark.feature("WebSocket", "messages of several MB")
@pytest.mark.parametrize("text", [False, True])
def test_messages_up_to_the_limit_and_beyond(text: bool) -> None:
    """16 MiB of one message pass, also with a ping before the last byte; one byte more is 1009."""
    limit = 16 << 20
    opcode = Opcode.TEXT if text else Opcode.BINARY
    told: list[int] = []

    async def script(server: Server) -> None:
        await server.accept()
        whole = Frame(opcode, b"a" * limit).serialize(mask=False)
        parts = [
            Frame(opcode, b"a" * (limit - 1), fin=False),
            Frame(Opcode.PING, bytes(125)),
            Frame(Opcode.CONT, b"a"),
            Frame(opcode, b"a" * (limit - 1), fin=False),
            Frame(Opcode.CONT, b"aa"),
        ]
        await server.stream.write(whole + b"".join(frame.serialize(mask=False) for frame in parts))
        while await server.frame() is not None:
            pass
        assert server.protocol.close_rcvd is not None
        told.append(server.protocol.close_rcvd.code)
        await server.stream.close()

    @virtual
    async def run() -> None:
        socket = await open_socket(script)
        messages, end = await everything(socket)
        assert [len(message) for message in messages] == [limit, limit]
        assert isinstance(messages[0], str) is text
        assert (end.code, end.error and end.error.code) == (1006, "message_too_big")
        await asyncio.sleep(31)
        assert told == [1009] and open_count(socket) == 0

    run()


# -- order and backpressure --------------------------------------------------------------------------------


@pytest.mark.feature("WebSocket", "backpressure: messages that nobody takes hold the server back")
@virtual
async def test_a_flood_waits_in_the_network() -> None:
    async def script(server: Server) -> None:
        await server.accept()
        for _ in range(200):
            server.protocol.send_binary(bytes(50_000))
            await server.flush()
        await server.frame()

    socket = await open_socket(script)
    await asyncio.sleep(100)
    assert socket.connector.far[0].written < 2_500_000  # type: ignore[attr-defined]
    for _ in range(200):
        assert await socket.receive() == bytes(50_000)
    await socket.close()


@pytest.mark.feature("WebSocket", "backpressure: a server that does not read holds the sender back")
@virtual
async def test_a_server_that_does_not_read_holds_the_sender_back() -> None:
    socket = await open_socket(deaf)
    sending = asyncio.create_task(socket.send(bytes(1_000_000)))
    await asyncio.sleep(100)
    assert not sending.done()
    assert socket.buffered_amount >= 1_000_000 - 2 * FRAGMENT
    assert socket.connector.near[0].written < 100_000  # type: ignore[attr-defined]
    socket.abort()
    with pytest.raises(WebSocketError) as caught:
        await sending
    assert caught.value.code == "connection_closed" and socket.buffered_amount == 0


@virtual
async def test_many_senders() -> None:
    async def collecting(server: Server) -> None:
        await server.accept()
        while (frame := await server.frame()) is not None:
            await asyncio.sleep(0.01)
            if frame.opcode is Opcode.BINARY:
                server.protocol.send_text(str(len(frame.data)).encode())
                await server.flush()

    socket = await open_socket(collecting)
    sending = [asyncio.create_task(socket.send(bytes(index * 1000))) for index in range(30)]
    assert [await socket.receive() for _ in range(30)] == [str(index * 1000) for index in range(30)]
    await asyncio.gather(*sending)
    await socket.close()


@virtual
async def test_a_message_given_up_in_the_middle_ends_the_connection() -> None:
    """Half of it is on its way, so nothing else could follow."""
    socket = await open_socket(deaf)
    sending = asyncio.create_task(socket.send(bytes(1_000_000)))
    waiting = asyncio.create_task(socket.send("next"))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.sleep(1)
    assert open_count(socket) == 1  # nothing of the second has left
    sending.cancel()
    await asyncio.sleep(1)
    assert open_count(socket) == 0 and socket.closed is not None and socket.closed.code == 1006
    assert socket.buffered_amount == 0


@virtual
async def test_one_receiver_at_a_time_and_a_cancelled_one() -> None:
    socket = await open_socket(echo)
    receiving = asyncio.create_task(socket.receive())
    await asyncio.sleep(1)
    with pytest.raises(StateError):
        await socket.receive()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await socket.send("still there")
    assert await socket.receive() == "still there"
    receiving = asyncio.create_task(socket.receive())
    await asyncio.sleep(1)
    end = await socket.close()
    assert await receiving == end


@pytest.mark.feature("WebSocket", "many sockets fail at once")
@virtual
async def test_many_sockets_that_fail_at_once_leave_no_error_behind() -> None:
    """Receivers, senders and closers of all of them hear of it; the strict loop fails on an error nobody collected."""
    sockets = [await open_socket(deaf) for _ in range(20)]
    tasks = []
    for socket in sockets:
        tasks += [socket.receive(), socket.send(bytes(1_000_000)), socket.send("behind it")]
    running = [asyncio.ensure_future(task) for task in tasks]
    await asyncio.sleep(1)
    closing = [asyncio.ensure_future(socket.close()) for socket in sockets[:10]]
    await asyncio.sleep(1)
    gone = SmolmixError("the exit is gone", code="exit_dead")
    for socket in sockets:
        socket.abort(gone)
    outcomes = await asyncio.gather(*running, *closing, return_exceptions=True)
    ends = [outcome for outcome in outcomes if isinstance(outcome, Close)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, WebSocketError)]
    assert (len(ends), len(failures)) == (30, 40)
    assert all((end.code, end.error) == (1006, gone) for end in ends)
    assert {failure.code for failure in failures} == {"connection_closed"}
