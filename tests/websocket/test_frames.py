"""Every kind of frame: whole, byte by byte, with bytes behind it, cut short; and each bad one with its close code."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode

from smolmix_web.websocket import Close, WebSocketTimeouts
from tests.virtual_loop import virtual
from tests.websocket.support import Script, Server, everything, open_count, open_socket

CLOSE_1000 = b"\x88\x02\x03\xe8"


def recorded(data: bytes, step: int, told: list[CloseFrame | None], pongs: list[bytes]) -> Script:
    """Sends these bytes; notes the pongs and the close frame of the client."""

    async def script(server: Server) -> None:
        await server.accept()
        for start in range(0, len(data), step or len(data)):
            await server.stream.write(data[start : start + (step or len(data))])
            await asyncio.sleep(0.01)
        while (frame := await server.frame()) is not None:
            if frame.opcode is Opcode.PONG:
                pongs.append(bytes(frame.data))
        told.append(server.protocol.close_rcvd)
        await server.stream.close()

    return script


def data_frame(opcode: int, size: int) -> bytes:
    return Frame(Opcode(opcode), b"a" * size).serialize(mask=False)


GOOD: dict[str, tuple[bytes, list[str | bytes], list[bytes]]] = {
    "empty text": (b"\x81\x00", [""], []),
    "text": (b"\x81\x05hello", ["hello"], []),
    "text beyond ASCII": (b"\x81\x04\xf0\x9f\x98\x80", ["\U0001f600"], []),
    "text that is binary elsewhere": (b"\x81\x03\x00\x01\x7f", ["\0\1\x7f"], []),
    "empty binary": (b"\x82\x00", [b""], []),
    "binary": (b"\x82\x02\x00\xff", [b"\0\xff"], []),
    "125 bytes": (data_frame(2, 125), [b"a" * 125], []),
    "126 bytes": (data_frame(2, 126), [b"a" * 126], []),
    "127 bytes": (data_frame(1, 127), ["a" * 127], []),
    "65535 bytes": (data_frame(2, 65535), [b"a" * 65535], []),
    "65536 bytes": (data_frame(1, 65536), ["a" * 65536], []),
    "text in two": (b"\x01\x02he\x80\x03llo", ["hello"], []),
    "text cut in a character": (b"\x01\x02a\xc3\x80\x01\xa4", ["a\u00e4"], []),
    "binary in three, one empty": (b"\x02\x01a\x00\x00\x80\x01b", [b"ab"], []),
    "an empty message in two": (b"\x01\x00\x80\x00", [""], []),
    "ping": (b"\x89\x00", [], [b""]),
    "ping with data": (b"\x89\x04ping", [], [b"ping"]),
    "the longest ping": (b"\x89\x7d" + bytes(125), [], [bytes(125)]),
    "pong": (b"\x8a\x03abc", [], []),
    "ping within a message": (b"\x01\x01a\x89\x01!\x80\x01b", ["ab"], [b"!"]),
}


@pytest.mark.feature("WebSocket", "every kind of frame, in any pieces")
@pytest.mark.parametrize("name", GOOD)
def test_good_frames(name: str) -> None:
    """Whole with a close behind it; byte by byte; twice in a row; with half a frame behind it."""
    data, messages, pongs = GOOD[name]
    steps = (0, 1) if len(data) < 1000 else (0, 7001)

    @virtual
    async def run() -> None:
        for step in steps:
            for stream, times in ((data, 1), (data * 2, 2)):
                answered: list[bytes] = []
                told: list[CloseFrame | None] = []
                socket = await open_socket(recorded(stream + CLOSE_1000, step, told, answered), compression=False)
                assert await everything(socket) == (messages * times, Close(1000, "", True))
                await asyncio.sleep(31)
                assert answered == pongs * times and told == [CloseFrame(1000, "")]
        trailing = await open_socket(recorded(data + b"\x81\x05ab", 0, [], []))
        for message in messages:
            assert await trailing.receive() == message
        waiting = asyncio.create_task(trailing.receive())
        await asyncio.sleep(10)
        assert not waiting.done()
        trailing.abort()
        assert isinstance(await waiting, Close)

    run()


@pytest.mark.feature("WebSocket", "every kind of frame, in any pieces")
@virtual
async def test_a_stream_cut_anywhere_ends_abnormally() -> None:
    data = b"\x81\x05hello\x02\x01a\x80\x01b\x89\x00" + CLOSE_1000
    for size in range(len(data)):

        async def cut(server: Server, size: int = size) -> None:
            await server.accept()
            await server.stream.write(data[:size])
            await server.stream.close()

        messages, end = await everything(await open_socket(cut))
        assert messages == ["hello", b"ab"][: (size >= 7) + (size >= 13)]
        assert (end.code, end.clean, end.error and end.error.code) == (1006, False, "connection_closed")


LIMIT = 100_000

BAD: dict[str, tuple[bytes, str, int]] = {
    "text that is not UTF-8": (b"\x81\x02\xff\xff", "bad_text", 1007),
    "a surrogate": (b"\x81\x03\xed\xa0\x80", "bad_text", 1007),
    "an overlong encoding": (b"\x81\x02\xc0\xaf", "bad_text", 1007),
    "beyond Unicode": (b"\x81\x04\xf4\x90\x80\x80", "bad_text", 1007),
    "half a character at the end": (b"\x81\x02a\xc3", "bad_text", 1007),
    "half a character at the end of the fragments": (b"\x01\x01a\x80\x01\xc3", "bad_text", 1007),
    "not UTF-8 in a first fragment": (b"\x01\x02\xff\xff", "bad_text", 1007),
    "not UTF-8 across fragments": (b"\x01\x02a\xc3\x00\x01b", "bad_text", 1007),
    "opcode 3": (b"\x83\x00", "websocket_protocol", 1002),
    "opcode 7": (b"\x87\x00", "websocket_protocol", 1002),
    "opcode 11": (b"\x8b\x00", "websocket_protocol", 1002),
    "opcode 15": (b"\x8f\x00", "websocket_protocol", 1002),
    "first reserved bit without compression": (b"\xc1\x00", "websocket_protocol", 1002),
    "second reserved bit": (b"\xa1\x00", "websocket_protocol", 1002),
    "third reserved bit": (b"\x91\x00", "websocket_protocol", 1002),
    "reserved bit of a ping": (b"\xc9\x00", "websocket_protocol", 1002),
    "masked by the server": (b"\x81\x81\0\0\0\0x", "websocket_protocol", 1002),
    "a masked ping": (b"\x89\x80\0\0\0\0", "websocket_protocol", 1002),
    "continuation of nothing": (b"\x80\x00", "websocket_protocol", 1002),
    "continuation after the end": (b"\x81\x00\x80\x00", "websocket_protocol", 1002),
    "a new message inside a message": (b"\x01\x00\x01\x00", "websocket_protocol", 1002),
    "a fragmented ping": (b"\x09\x00", "websocket_protocol", 1002),
    "a fragmented close": (b"\x08\x02\x03\xe8", "websocket_protocol", 1002),
    "a ping too long": (b"\x89\x7e\x00\x80" + bytes(128), "websocket_protocol", 1002),
    "a close too long": (b"\x88\x7e\x00\x80\x03\xe8" + bytes(126), "websocket_protocol", 1002),
    "a length longer than needed": (b"\x82\x7f" + struct.pack("!Q", 3) + b"abc", "websocket_protocol", 1002),
    "reserved bits of what is not UTF-8": (b"\xc1\x02\xff\xff", "websocket_protocol", 1002),
    "half a close code": (b"\x88\x01x", "websocket_protocol", 1002),
    "a close reason that is not UTF-8": (b"\x88\x04\x03\xe8\xff\xff", "bad_text", 1007),
    "a frame beyond the limit": (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), "message_too_big", 1009),
    "a length beyond 63 bits": (b"\x82\x7f" + b"\xff" * 8, "websocket_protocol", 1002),
    "fragments beyond the limit": (
        b"\x02\x7e\xff\xff" + bytes(65535) + b"\x80\x7e\xff\xff" + bytes(65535),
        "message_too_big",
        1009,
    ),
    "a byte beyond the limit": (data_frame(2, LIMIT + 1), "message_too_big", 1009),
    **{
        f"close code {code}": (b"\x88\x02" + struct.pack("!H", code), "websocket_protocol", 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
}


@pytest.mark.feature("WebSocket", "malformed frames end the connection: 1002, 1007, 1009")
@pytest.mark.parametrize("name", BAD)
def test_bad_frames(name: str) -> None:
    """The server is told with the code; the caller hears 1006 and why; nothing behind it counts."""
    data, code, told_code = BAD[name]

    @virtual
    async def run() -> None:
        for step in (0, 1) if len(data) < 1000 else (0,):
            told: list[CloseFrame | None] = []
            script = recorded(b"\x81\x06before" + data + b"\x81\x05after", step, told, [])
            socket = await open_socket(script, max_size=LIMIT)
            messages, end = await everything(socket)
            assert messages[0] == "before" and "after" not in messages
            assert (end.code, end.clean, end.error and end.error.code) == (1006, False, code)
            assert end.reason
            await asyncio.sleep(31)
            assert [frame and frame.code for frame in told] == [told_code]
            assert open_count(socket) == 0

    run()


HEADS: dict[str, tuple[bytes, int]] = {
    "an opcode": (b"\x83\x7d", 1002),
    "a reserved bit": (b"\xa1\x7d", 1002),
    "a mask": (b"\x81\xfd", 1002),
    "a ping in fragments": (b"\x09\x7d", 1002),
    "a ping too long": (b"\x89\x7e", 1002),
    "a continuation of nothing": (b"\x80\x7d", 1002),
    "a length beyond the limit": (b"\x82\x7f" + struct.pack("!Q", LIMIT + 1), 1009),
    "the first bytes of a text": (b"\x81\x7da\xff", 1007),
}


@pytest.mark.feature("WebSocket", "malformed frames end the connection: 1002, 1007, 1009")
@pytest.mark.parametrize("name", HEADS)
def test_a_bad_frame_whose_rest_never_comes(name: str) -> None:
    """It is judged as soon as it shows."""
    data, told_code = HEADS[name]

    @virtual
    async def run() -> None:
        told: list[CloseFrame | None] = []
        socket = await open_socket(recorded(data, 0, told, []), max_size=LIMIT)
        receiving = asyncio.create_task(socket.receive())
        await asyncio.sleep(1)
        end = receiving.result()
        assert isinstance(end, Close) and (end.code, end.clean) == (1006, False)
        await asyncio.sleep(31)
        assert [frame and frame.code for frame in told] == [told_code]

    run()


@pytest.mark.feature("WebSocket", "messages before a bad frame are delivered and answered")
@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("slow", [0.0, 1.0])
def test_messages_before_a_bad_frame_are_answered(step: int, slow: float) -> None:
    """Also when they come in one piece with it, and the answers take their time; then the server hears why."""
    heard: list[tuple[int, bytes]] = []

    async def script(server: Server) -> None:
        await server.accept()
        data = b"\x81\x03one\x89\x01?\x82\x03two\x83\x00\x81\x05three"
        for start in range(0, len(data), step or len(data)):
            await server.stream.write(data[start : start + (step or len(data))])
        while (frame := await server.frame()) is not None:
            heard.append((int(frame.opcode), bytes(frame.data)))
        await server.stream.close()

    @virtual
    async def run() -> None:
        socket = await open_socket(script)
        while not isinstance(message := await socket.receive(), Close):
            await asyncio.sleep(slow)
            await socket.send(message)
        assert (message.code, message.clean, message.error and message.error.code) == (
            1006,
            False,
            "websocket_protocol",
        )
        await asyncio.sleep(31)
        assert sorted(heard[:3]) == [(1, b"one"), (2, b"two"), (10, b"?")]
        assert [(opcode, data[:2]) for opcode, data in heard[3:]] == [(8, b"\x03\xea")]

    run()


@pytest.mark.feature("WebSocket", "messages before a bad frame are delivered and answered")
@pytest.mark.parametrize("how", ["nobody receives", "closed", "aborted"])
def test_a_bad_frame_does_not_wait_for_ever(how: str) -> None:
    told: list[CloseFrame | None] = []

    @virtual
    async def run() -> None:
        socket = await open_socket(recorded(b"\x81\x03one\x83\x00", 0, told, []), timeouts=WebSocketTimeouts(close=3))
        await asyncio.sleep(1)
        assert socket.failing and socket.closed is None
        if how == "closed":
            await socket.close(1000)
        elif how == "aborted":
            socket.abort()
        await asyncio.sleep(10)
        assert socket.closed is not None and socket.closed.code == 1006 and open_count(socket) == 0
        if how == "nobody receives":
            assert [frame and frame.code for frame in told] == [1002]
            assert await socket.receive() == "one"

    run()


@pytest.mark.feature("WebSocket", "malformed frames end the connection: 1002, 1007, 1009")
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_of_a_server_end_with_a_typed_reason(data: bytes, compression: bool) -> None:
    """Nothing hangs, and no defect shows: `internal` would be one."""

    async def script(server: Server) -> None:
        await server.accept()
        await server.stream.write(data)
        await server.stream.close()

    @virtual
    async def run() -> None:
        offer = {"extensions": [ServerPerMessageDeflateFactory()]} if compression else {}
        _, end = await everything(await open_socket(script, offer, max_size=1000))
        known = {"connection_closed", "websocket_protocol", "bad_text", "message_too_big"}
        assert end.clean or (end.error is not None and end.error.code in known)

    run()


@pytest.mark.feature("WebSocket", "close codes and reasons")
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 4999])
def test_any_close_code_of_the_server(code: int) -> None:
    @virtual
    async def run() -> None:
        reason = "ä" * 61 + "."
        stream = Frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode()).serialize(mask=False)
        told: list[CloseFrame | None] = []
        socket = await open_socket(recorded(stream, 0, told, []))
        assert await everything(socket) == ([], Close(code, reason, True))
        await asyncio.sleep(31)
        assert told == [CloseFrame(code, reason)]

    run()
