"""The WebSocket client against the server's side of `websockets`, over byte streams in memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

from smolmix_web.deadline import LoopClock
from smolmix_web.errors import HttpError, SmolmixError, TimeoutExpired, WebSocketError
from smolmix_web.http.headers import USER_AGENT
from smolmix_web.sockets import ByteStream
from smolmix_web.websocket import Close, WebSocketConnection, connect
from tests.http_server import PipeConnector
from tests.virtual_loop import virtual


class Server:
    """One accepted connection: handshake, then a script in terms of frames."""

    def __init__(self, stream: ByteStream, **options: Any) -> None:
        self.stream = stream
        self.protocol = ServerProtocol(**options)
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
                return None
            self.protocol.receive_data(data)
            self._frames += self.protocol.events_received()
            await self.flush()
        return self._frames.pop(0)


async def echo(server: Server) -> None:
    await server.accept()
    while (frame := await server.frame()) is not None:
        if frame.opcode is Opcode.TEXT:
            server.protocol.send_text(frame.data)
        elif frame.opcode is Opcode.BINARY:
            server.protocol.send_binary(frame.data)
        await server.flush()


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


@virtual
async def test_text_and_binary_echo() -> None:
    socket = await open_socket(echo)
    assert (socket.url, socket.subprotocol, socket.extensions, socket.tls) == ("ws://a.test/path?q", "", (), None)
    big = bytes(range(256)) * 1000
    for message in ("hello", "", "\u00e4\u20ac\U0001f600", b"", b"\0\xff", big, "x" * 70_000):
        await socket.send(message)
        assert await socket.receive() == message
    assert socket.buffered_amount == 0
    assert await socket.close(3001, "done") == Close(3001, "done", True)
    assert await socket.receive() == Close(3001, "done", True)
    with pytest.raises(WebSocketError) as caught:
        await socket.send("late")
    assert caught.value.code == "closed"
    await asyncio.sleep(1)
    assert socket.connector.open_count == 0  # type: ignore[attr-defined]


@virtual
async def test_handshake_headers() -> None:
    seen: list[Any] = []

    async def script(server: Server) -> None:
        await server.accept()
        seen.append(server.request)
        await server.frame()

    socket = await open_socket(
        script,
        {"subprotocols": ["two"]},
        protocols=["one", "two"],
        headers={"Origin": "https://page.test", "X-Own": "1"},
    )
    assert socket.subprotocol == "two"
    headers = seen[0].headers
    assert (seen[0].path, headers["Host"], headers["Origin"], headers["X-Own"]) == (
        "/path?q",
        "a.test",
        "https://page.test",
        "1",
    )
    assert headers["User-Agent"] == USER_AGENT
    assert headers["Sec-WebSocket-Version"] == "13"
    assert len(headers.get_all("User-Agent")) == 1
    socket.abort()
    await asyncio.sleep(0)


@virtual
async def test_compression() -> None:
    socket = await open_socket(echo, {"extensions": [ServerPerMessageDeflateFactory()]})
    assert socket.extensions == ("permessage-deflate",)
    text = "the same again and again " * 4000
    before = socket.connector.near[0].written  # type: ignore[attr-defined]
    await socket.send(text)
    assert await socket.receive() == text
    assert socket.connector.near[0].written - before < 5000  # type: ignore[attr-defined]
    await socket.close()
    socket = await open_socket(echo, {"extensions": [ServerPerMessageDeflateFactory()]}, compression=False)
    assert socket.extensions == ()
    await socket.close()


@virtual
async def test_fragments_and_pings_in_between() -> None:
    pongs: list[bytes] = []

    async def script(server: Server) -> None:
        await server.accept()
        server.protocol.send_text("h\u00e4".encode()[:2], fin=False)  # a character cut in two
        server.protocol.send_ping(b"are you there")
        server.protocol.send_continuation("h\u00e4".encode()[2:], fin=False)
        server.protocol.send_continuation(b"", fin=True)
        await server.flush()
        frame = await server.frame()
        assert frame is not None
        pongs.append(bytes(frame.data))
        await server.frame()

    socket = await open_socket(script)
    assert await socket.receive() == "h\u00e4"
    await socket.close()
    assert pongs == [b"are you there"]


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
    assert socket.connector.open_count == 0  # type: ignore[attr-defined]


@virtual
async def test_close_without_code() -> None:
    async def script(server: Server) -> None:
        await server.accept()
        server.protocol.send_close()
        await server.flush()
        await server.frame()

    socket = await open_socket(script)
    assert await socket.receive() == Close(1005, "", True)


@pytest.mark.parametrize("how", ["eof", "reset"])
def test_an_end_without_close_frame(how: str) -> None:
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
        assert socket.error is not None
        assert await socket.close() == end
        await asyncio.sleep(1)
        assert socket.connector.open_count == 0  # type: ignore[attr-defined]

    run()


def raw_frames(data: bytes) -> Script:
    async def script(server: Server) -> None:
        await server.accept()
        await server.stream.write(data)
        while await server.stream.read():
            pass

    return script


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02\xff\xff", "invalid_data"),  # text that is not UTF-8
        (b"\x83\x00", "protocol"),  # reserved opcode
        (b"\xc1\x00", "protocol"),  # reserved bit
        (b"\x81\x81\0\0\0\0x", "protocol"),  # masked by the server
        (b"\x80\x00", "protocol"),  # continuation of nothing
        (b"\x01\x00\x01\x00", "protocol"),  # a new message inside a message
        (b"\x09\x00", "protocol"),  # fragmented ping
        (b"\x89\x7e\x00\x80" + bytes(128), "protocol"),  # ping too long
        (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), "message_too_big"),
        (b"\x02\x7e\xff\xff" + bytes(65535) + b"\x80\x7e\xff\xff" + bytes(65535), "message_too_big"),
        (b"\x88\x01x", "protocol"),  # half a close code
        (b"\x88\x02\x03\xed", "protocol"),  # close code 1005
    ],
)
def test_bad_frames(data: bytes, code: str) -> None:
    @virtual
    async def run() -> None:
        socket = await open_socket(raw_frames(data), max_size=100_000, close_timeout=5)
        end = await socket.receive()
        assert isinstance(end, Close) and end.code == 1006 and not end.clean
        assert socket.error is not None and socket.error.code == code
        assert end.reason
        await asyncio.sleep(6)
        assert socket.connector.open_count == 0  # type: ignore[attr-defined]

    run()


@virtual
async def test_every_cut_of_a_stream_of_frames() -> None:
    """Byte by byte the same messages; cut anywhere an abnormal end."""
    data = b"\x81\x05hello\x02\x01a\x80\x01b\x89\x00\x88\x02\x03\xe8"

    async def slow(server: Server) -> None:
        await server.accept()
        for byte in data:
            await server.stream.write(bytes([byte]))
            await asyncio.sleep(0.1)
        await server.stream.close()

    socket = await open_socket(slow)
    assert [await socket.receive() for _ in range(3)] == ["hello", b"ab", Close(1000, "", True)]
    for size in range(len(data)):

        async def cut(server: Server, size: int = size) -> None:
            await server.accept()
            await server.stream.write(data[:size])
            await server.stream.close()

        socket = await open_socket(cut)
        got = []
        while not isinstance(message := await socket.receive(), Close):
            got.append(message)
        assert got == ["hello", b"ab"][: (size >= 7) + (size >= 13)]
        assert (message.code, message.clean) == (1006, False)


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


@virtual
async def test_close_deadline() -> None:
    async def deaf(server: Server) -> None:
        await server.accept()
        await asyncio.sleep(10_000)

    socket = await open_socket(deaf, close_timeout=5)
    before = LoopClock().now()
    end = await socket.close()
    assert (end.code, end.clean) == (1006, False)
    assert LoopClock().now() - before == pytest.approx(5)
    assert isinstance(socket.error, TimeoutExpired) and socket.error.phase == "close"
    assert socket.connector.open_count == 0  # type: ignore[attr-defined]


@virtual
async def test_bad_close_arguments() -> None:
    socket = await open_socket(echo)
    for code, reason in ((999, ""), (1001, ""), (5000, ""), (1000, "x" * 124)):
        with pytest.raises(WebSocketError):
            await socket.close(code, reason)
    assert (await socket.close()).code == 1000


@virtual
async def test_receive_while_closing_and_cancelled_receive() -> None:
    socket = await open_socket(echo)
    receiving = asyncio.create_task(socket.receive())
    await asyncio.sleep(1)
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await socket.send("still there")
    assert await socket.receive() == "still there"
    receiving = asyncio.create_task(socket.receive())
    await asyncio.sleep(1)
    end = await socket.close()
    assert await receiving == end


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


# -- the handshake ---------------------------------------------------------------------------------


def accept_value(request: bytes) -> str:
    key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split()[1]
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("", "handshake"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "bad_status"),
        ("HTTP/1.1 302 Found\r\nLocation: ws://b/\r\nContent-Length: 0\r\n\r\n", "bad_status"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "bad_status"),
        ("SSH-2.0\r\n\r\n", "handshake"),
        ("HTTP/1.1 101 X\r\n\r\n", "handshake"),
        (
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bad\r\n\r\n",
            "handshake",
        ),
        ("{good}Sec-WebSocket-Protocol: unasked\r\n\r\n", "handshake"),
        ("{good}Sec-WebSocket-Extensions: unknown\r\n\r\n", "handshake"),
        ("{good}X: " + "y" * 100_000 + "\r\n\r\n", "handshake"),
    ],
)
def test_refused_handshakes(answer: str, code: str) -> None:
    async def serve(stream: ByteStream) -> None:
        accept = accept_value(await stream.read())
        good = f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        await stream.write(answer.replace("{good}", good).encode())
        await stream.close()

    @virtual
    async def run() -> None:
        connector = PipeConnector(serve)
        with pytest.raises(WebSocketError) as caught:
            await connect(LoopClock(), None, "ws://a.test/", connector=connector)
        assert (caught.value.code, caught.value.phase) == (code, "open")
        assert connector.open_count == 0

    run()


@virtual
async def test_open_deadline_and_cancel() -> None:
    async def silent(stream: ByteStream) -> None:
        await asyncio.sleep(10_000)

    connector = PipeConnector(silent)
    with pytest.raises(TimeoutExpired) as caught:
        await connect(LoopClock(), None, "ws://a.test/", connector=connector, timeout=9)
    assert caught.value.phase == "open"
    task = asyncio.create_task(connect(LoopClock(), None, "ws://a.test/", connector=connector))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(connector.near) == 2 and connector.open_count == 0


@pytest.mark.parametrize(
    ("url", "options", "code"),
    [
        ("ftp://a.test/", {}, "bad_url"),
        ("ws://", {}, "bad_url"),
        ("ws://a.test/", {"protocols": ["a b"]}, "bad_protocol"),
        ("ws://a.test/", {"protocols": ["a", "a"]}, "bad_protocol"),
        ("ws://a.test/", {"protocols": "chat"}, "bad_protocol"),
        ("ws://a.test/", {"headers": {"Sec-WebSocket-Key": "x"}}, "bad_header"),
        ("ws://a.test/", {"headers": {"Host": "x"}}, "forbidden_header"),
    ],
)
def test_refused_before_anything_is_opened(url: str, options: dict[str, Any], code: str) -> None:
    @virtual
    async def run() -> None:
        connector = connector_for(echo)
        with pytest.raises(SmolmixError) as caught:
            await connect(LoopClock(), None, url, connector=connector, **options)
        assert isinstance(caught.value, (WebSocketError, HttpError))
        assert caught.value.code == code
        assert not connector.near

    run()


@virtual
async def test_schemes_and_ipv6_host() -> None:
    seen: list[str] = []

    async def script(server: Server) -> None:
        await server.accept()
        seen.append(server.request.headers["Host"])
        await server.frame()

    for url, opened in (("http://[2001:db8::1]:8080/", "ws://[2001:db8::1]:8080"), ("https://a.test", "wss://a.test")):
        connector = connector_for(script)
        socket = await connect(LoopClock(), None, url, connector=connector)
        assert connector.origins == [opened]
        await socket.close()
    assert seen == ["[2001:db8::1]:8080", "a.test"]
