"""permessage-deflate: every agreement a server can propose, bombs, damaged data, final blocks."""

from __future__ import annotations

import asyncio
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

from smolmix_web.websocket import Close
from smolmix_web.websocket.frames import Inflater
from tests.virtual_loop import virtual
from tests.websocket.support import Server, echo, everything, open_socket, raw_frames

pytestmark = pytest.mark.feature("WebSocket", "permessage-deflate")

TEXT = "the same again and again " * 4000
DEFLATE = {"extensions": [ServerPerMessageDeflateFactory()]}


@pytest.mark.parametrize(
    ("agreed", "header"),
    [
        ({}, "permessage-deflate"),
        ({"server_no_context_takeover": True}, "permessage-deflate; server_no_context_takeover"),
        ({"client_no_context_takeover": True}, "permessage-deflate; client_no_context_takeover"),
        ({"server_max_window_bits": 9}, "permessage-deflate; server_max_window_bits=9"),
        ({"client_max_window_bits": 9}, "permessage-deflate; client_max_window_bits=9"),
        ({"client_max_window_bits": 8}, "permessage-deflate; client_max_window_bits=8"),
        ({"client_max_window_bits": 15}, "permessage-deflate; client_max_window_bits=15"),
        (
            {
                "server_no_context_takeover": True,
                "client_no_context_takeover": True,
                "server_max_window_bits": 10,
                "client_max_window_bits": 11,
            },
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10; client_max_window_bits=11",
        ),
    ],
)
def test_what_was_agreed_is_kept(agreed: dict[str, Any], header: str) -> None:
    """Both ends hold to it: the server's side of the library would fail on a window or context beyond it."""

    @virtual
    async def run() -> None:
        offer = ServerPerMessageDeflateFactory(**agreed)
        socket = await open_socket(echo, {"extensions": [offer]})
        assert socket.extensions == header
        before = socket.connector.near[0].written  # type: ignore[attr-defined]
        noise = random.Random("noise").randbytes(300)
        for message in (TEXT, TEXT, b"", "", bytes(range(256)) * 300, noise * 100, TEXT):
            await socket.send(message)
            assert await socket.receive() == message
        assert socket.connector.near[0].written - before < 140_000  # type: ignore[attr-defined]
        assert (await socket.close()).clean

    run()


@virtual
async def test_without_compression() -> None:
    socket = await open_socket(echo, DEFLATE, compression=False)
    assert socket.extensions == ""
    socket = await open_socket(echo)
    assert socket.extensions == ""
    await socket.close()


def compressed(data: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    encoder = zlib.compressobj(wbits=-15)
    return encoder.compress(data) + encoder.flush(mode)


def frame(opcode: Opcode, data: bytes, fin: bool, rsv1: bool) -> bytes:
    head = bytearray(Frame(opcode, data, fin).serialize(mask=False))
    head[0] |= 0x40 if rsv1 else 0
    return bytes(head)


@pytest.mark.parametrize("fragments", [1, 3])
def test_a_decompression_bomb_ends_at_the_limit(fragments: int) -> None:
    """100 MB of zeros in 100 KB: no more than the limit is ever decompressed, and the server is told 1009."""
    bomb = compressed(bytes(100_000_000))[:-4]
    told: list[Any] = []

    async def script(server: Server) -> None:
        await server.accept()
        size = -(-len(bomb) // fragments)
        for index in range(fragments):
            piece = bomb[index * size : (index + 1) * size]
            opcode = Opcode.CONT if index else Opcode.BINARY
            await server.stream.write(frame(opcode, piece, index == fragments - 1, not index))
        while await server.frame() is not None:
            pass
        told.append(server.protocol.close_rcvd)
        await server.stream.close()

    @virtual
    async def run() -> None:
        socket = await open_socket(script, DEFLATE, max_size=1_000_000)
        messages, end = await everything(socket)
        assert messages == [] and end.error is not None and end.error.code == "message_too_big"
        await asyncio.sleep(31)
        assert told[0].code == 1009

    run()


@virtual
async def test_the_limit_counts_what_comes_out() -> None:
    data = bytes(10_000)
    stream = frame(Opcode.BINARY, compressed(data)[:-4], True, True)
    more = frame(Opcode.BINARY, compressed(data + b"x")[:-4], True, True)
    socket = await open_socket(raw_frames(stream + more), DEFLATE, max_size=10_000)
    messages, end = await everything(socket)
    assert messages == [data] and end.error is not None and end.error.code == "message_too_big"


BAD = {
    "no deflate data": frame(Opcode.BINARY, b"\xff\xff\xff\xff", True, True),
    "a distance too far back": bytes.fromhex("c1 05 f2 00 11 00 00"),
    "compressed in the middle": frame(Opcode.TEXT, b"", False, False) + frame(Opcode.CONT, b"", True, True),
    "a compressed continuation": frame(Opcode.TEXT, b"", False, True) + frame(Opcode.CONT, b"", True, True),
    "a compressed ping": frame(Opcode.PING, b"", True, True),
    "a compressed close": frame(Opcode.CLOSE, b"\x03\xe8", True, True),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_compression(name: str) -> None:
    @virtual
    async def run() -> None:
        socket = await open_socket(raw_frames(BAD[name]), DEFLATE)
        messages, end = await everything(socket)
        assert messages == [] and end.error is not None and end.error.code == "websocket_protocol"

    run()


@virtual
async def test_compressed_text_that_is_not_utf8() -> None:
    stream = frame(Opcode.TEXT, compressed(b"a\xff")[:-4], True, True)
    _, end = await everything(await open_socket(raw_frames(stream), DEFLATE))
    assert end.error is not None and end.error.code == "bad_text"


@virtual
async def test_published_examples() -> None:
    """RFC 7692 7.2.3: one block, fragments, shared window, no compression, a final block, two blocks."""
    hello = [
        "c1 07 f2 48 cd c9 c9 07 00",
        "41 03 f2 48 cd 80 04 c9 c9 07 00",
        "c1 05 f2 00 11 00 00",
        "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00",
        "c1 08 f3 48 cd c9 c9 07 00 00",
        "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00",
    ]
    stream = b"".join(bytes.fromhex(example) for example in hello) + b"\x88\x02\x03\xe8"
    for step in (0, 1):
        socket = await open_socket(raw_frames(stream, step), DEFLATE)
        assert await everything(socket) == (["Hello"] * 6, Close(1000, "", True))


@virtual
async def test_final_blocks_without_end() -> None:
    """A decompressor for each two bytes: still linear time."""
    stream = frame(Opcode.BINARY, b"\x03\x00" * 100_000 + b"\0", True, True) + b"\x88\x02\x03\xe8"
    socket = await open_socket(raw_frames(stream), DEFLATE)
    assert await everything(socket) == ([b""], Close(1000, "", True))


@given(st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=8))
def test_final_blocks_anywhere(messages: list[tuple[bytes, bool]]) -> None:
    """A compressor that ends its stream and starts anew, as often as it likes."""
    encoder = zlib.compressobj(wbits=-15)
    inflater = Inflater()
    for data, final in messages:
        out = encoder.compress(data) + encoder.flush(zlib.Z_FINISH if final else zlib.Z_SYNC_FLUSH)
        if final:
            encoder = zlib.compressobj(wbits=-15)
            out += b"\0"
        else:
            out = out[:-4]
        assert inflater.decompress(out + b"\0\0\xff\xff", 1000) == data
