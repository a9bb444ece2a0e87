"""Servers that speak HTTP/2 badly: a typed error at once, no stream left waiting, and the connection never used again.

Frames are made by hand; what is refused, what ends one stream only, what floods, and properties for the rest.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hpack import Encoder
from hypothesis import example, given
from hypothesis import strategies as st

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import SmolmixError
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse, Timeouts
from smolmix_web.http.http2 import WRITE_AHEAD, Http2Connection
from smolmix_web.http.http2_stream import STREAM_WINDOW
from tests.http2_server import Http2Connector, Http2Server
from tests.http_server import Answer
from tests.virtual_loop import run_virtual

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
PROMPT = 1.0  # s of virtual time
TIMEOUTS = Timeouts(response=120, idle=60)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def head(*fields: tuple[str, str], flags: int = END_HEADERS, stream: int = 1) -> bytes:
    return frame(HEADERS, flags, stream, Encoder().encode([(":status", "200"), *fields], huffman=False))


def block(*fields: tuple[str, str]) -> bytes:
    """Response fields as they are given, with nothing added."""
    return frame(HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode(fields, huffman=False))


HELLO = frame(SETTINGS)
OK = head()
BODY = frame(DATA, END_STREAM, 1, b"body")


class BadServer:
    """Its first connection answers the first request with `pieces`, then ends or reads on; all others work."""

    def __init__(self, *pieces: bytes, close: bool = False, hello: bytes = HELLO, deaf: bool = False) -> None:
        self.pieces, self.close, self.hello, self.deaf = pieces, close, hello, deaf
        self.good = Http2Server(lambda _: Answer(body=b"fine"))
        self.connector = Http2Connector(self.serve)
        self.client = HttpClient(LoopClock(), connector=self.connector, timeouts=TIMEOUTS)

    async def serve(self, stream: ByteStream) -> None:
        if len(self.connector.far) > 1:
            await self.good.serve(stream)
            return
        try:
            await stream.read()
            await stream.write(self.hello)
            for piece in self.pieces:
                await stream.write(piece)
                await asyncio.sleep(0)
            if self.close:
                await stream.close()
            while not self.deaf and await stream.read():
                pass
        except SmolmixError:
            pass  # the client has given up

    async def get(self, **more: Any) -> tuple[HttpResponse, bytes]:
        response = await self.client.fetch(HttpRequest("https://a.test/", **more))
        return response, await response.read()

    async def fails(self, within: float = PROMPT, connections: int = 2) -> SmolmixError:
        """The error of the first request; the next one works, on a connection of its own unless told otherwise."""
        clock = LoopClock()
        before = clock.now()
        with pytest.raises(SmolmixError) as caught:
            await self.get()
        assert clock.now() - before <= within
        assert caught.value.phase is not None
        if connections == 2:
            assert self.client.connection_count == 0
            assert (await self.get())[1] == b"fine"
        assert len(self.connector.near) == connections
        self.client.close()
        await asyncio.sleep(5)
        assert self.connector.open_count == 0
        return caught.value


def fails(*pieces: bytes, connections: int = 2, within: float = PROMPT, **options: Any) -> SmolmixError:
    async def run() -> SmolmixError:
        return await BadServer(*pieces, **options).fails(within, connections)

    return run_virtual(run())


MALFORMED = {
    # frames
    "a frame that is too long": OK + (20_000).to_bytes(3, "big") + bytes([DATA, 0]) + number(1),
    "a frame of 16 MB": OK + b"\xff\xff\xff" + bytes([DATA, 0]) + number(1),
    "data of the connection": OK + frame(DATA, 0, 0, b"x"),
    "headers of the connection": head(stream=0),
    "data of a stream that was never opened": OK + frame(DATA, 0, 99, b"x"),
    "headers of a stream that was never opened": head(stream=99),
    "headers of a stream of its own": head(stream=2),
    "data before headers": frame(DATA, 0, 1, b"x"),
    "padding longer than the frame": OK + frame(DATA, PADDED, 1, b"\x09x"),
    "padding of headers longer than the frame": frame(HEADERS, END_HEADERS | PADDED, 1, b"\x40\x88"),
    "an empty padded frame": OK + frame(DATA, PADDED, 1),
    "settings of a stream": frame(SETTINGS, 0, 1),
    "settings of a wrong length": frame(SETTINGS, 0, 0, b"12345"),
    "an acknowledgement with settings": frame(SETTINGS, ACK, 0, bytes(6)),
    "a window of more than 31 bits": frame(SETTINGS, 0, 0, number(4, 2) + number(1 << 31)),
    "a frame size below the least": frame(SETTINGS, 0, 0, number(5, 2) + number(100)),
    "a frame size above the most": frame(SETTINGS, 0, 0, number(5, 2) + number(1 << 24)),
    "push neither on nor off": frame(SETTINGS, 0, 0, number(2, 2) + number(2)),
    "a promise": frame(PUSH_PROMISE, END_HEADERS, 1, number(2) + b"\x88"),
    "a ping of a wrong length": frame(PING, 0, 0, b"1234567"),
    "a ping of a stream": frame(PING, 0, 1, bytes(8)),
    "a reset of a wrong length": frame(RST_STREAM, 0, 1, b"123"),
    "a reset of the connection": frame(RST_STREAM, 0, 0, bytes(4)),
    "a short goodbye": frame(GOAWAY, 0, 0, b"1234"),
    "a goodbye of a stream": frame(GOAWAY, 0, 1, bytes(8)),
    "a window update of nothing": frame(WINDOW_UPDATE, 0, 0, bytes(4)),
    "a window update of a wrong length": frame(WINDOW_UPDATE, 0, 0, b"123"),
    "a window that overflows": frame(WINDOW_UPDATE, 0, 0, number(0x7FFFFFFF)),
    "a priority of a wrong length": frame(PRIORITY, 0, 1, b"1234"),
    "a continuation of nothing": frame(CONTINUATION, END_HEADERS, 1, b"\x88"),
    "something between headers and continuation": frame(HEADERS, 0, 1, b"\x88") + frame(PING, 0, 0, bytes(8)),
    "a continuation of another stream": frame(HEADERS, 0, 1, b"\x88") + frame(CONTINUATION, END_HEADERS, 3, b""),
    # header blocks
    "an index that is not there": frame(HEADERS, END_HEADERS, 1, b"\x88\xff\xff\xff\x7f"),
    "an endless number": frame(HEADERS, END_HEADERS, 1, b"\x88\x7f" + b"\xff" * 20),
    "a cut field": frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x05ab"),
    "bad huffman": frame(HEADERS, END_HEADERS, 1, b"\x88\x40\x81\xff\x81\xff"),
    "a table size beyond the agreed one": frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\xff\x7f\x88"),
    "no status": block(("x", "y")),
    "two states": block((":status", "200"), (":status", "404")),
    "a status after a field": block(("x", "y"), (":status", "200")),
    "a field of requests": block((":status", "200"), (":path", "/")),
    "an unknown pseudo-field": block((":status", "200"), (":x", "y")),
    "a big letter in a name": block((":status", "200"), ("Bad", "x")),
    "a space around a value": block((":status", "200"), ("x", " y ")),
    "a field of HTTP/1.1": block((":status", "200"), ("transfer-encoding", "chunked")),
    "a connection field": block((":status", "200"), ("connection", "close")),
    # bodies
    "more than the length": head(("content-length", "2")) + BODY,
    "less than the length": head(("content-length", "9")) + BODY,
    "a length that is no number": head(("content-length", "x")) + BODY,
    "headers in the middle": OK + frame(DATA, 0, 1, b"x") + head(("x", "y")),
    "a status in the trailers": OK + frame(DATA, 0, 1, b"x") + head(flags=END_HEADERS | END_STREAM),
}


@pytest.mark.feature("HTTP", "HTTP/2: malformed frames, header blocks and bodies: a typed error at once")
@pytest.mark.parametrize("what", MALFORMED)
def test_malformed(what: str) -> None:
    error = fails(MALFORMED[what])
    assert error.code == "http_protocol", error


@pytest.mark.parametrize(
    "hello",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"SSH-2.0-OpenSSH\r\n",
        bytes(100),
        frame(SETTINGS, ACK),
        frame(PING, 0, 0, bytes(8)),
        OK,
    ],
)
def test_no_http2_at_all(hello: bytes) -> None:
    assert fails(hello=hello).code == "http_protocol"


@pytest.mark.feature("HTTP", "HTTP/2: more data than the window allows ends the connection")
def test_more_than_the_window() -> None:
    async def run() -> None:
        server = BadServer(OK, frame(DATA, 0, 1, bytes(16_000)) * (STREAM_WINDOW // 16_000 + 1))
        response = await server.client.fetch(HttpRequest("https://a.test/"))
        await asyncio.sleep(1)  # and nobody reads
        assert server.client.connection_count == 0
        with pytest.raises(SmolmixError) as caught:
            await response.read()
        assert caught.value.code == "http_protocol"

    run_virtual(run())


# Allowed, or without harm: the response counts.
TAKEN = {
    "frames of unknown types": frame(0x77, 0xFF, 1, b"x") + frame(0xFE, 0, 0, b"y"),
    "settings that nobody knows": frame(SETTINGS, 0, 0, number(0x7777, 2) + number(5)),
    "a priority": frame(PRIORITY, 0, 1, bytes(5)),
    "a ping": frame(PING, 0, 0, bytes(8)),
    "a window update": frame(WINDOW_UPDATE, 0, 1, number(100)),
    "a reset of a stream that was never opened": frame(RST_STREAM, 0, 99, bytes(4)),
    "an informational response": frame(HEADERS, END_HEADERS, 1, Encoder().encode([(":status", "103")])),
}


@pytest.mark.parametrize("what", TAKEN)
def test_taken_all_the_same(what: str) -> None:
    async def run() -> None:
        server = BadServer(TAKEN[what] + OK + frame(DATA, 0, 1) + BODY)
        response, body = await server.get()
        assert (response.status, body, server.client.connection_count) == (200, b"body", 1)

    run_virtual(run())


@pytest.mark.feature("HTTP", "Statuses up to 999 are read")
@pytest.mark.parametrize("status", ["200", "599", "600", "999"])
def test_odd_statuses(status: str) -> None:
    async def run() -> None:
        server = BadServer(block((":status", status)))
        response, body = await server.get()
        assert (response.status, response.reason, body) == (int(status), "", b"")

    run_virtual(run())


# One stream is hurt, the connection lives on.
STREAMS = {
    "a status of four digits": (block((":status", "2000")), "http_protocol"),
    "a status of two digits": (block((":status", "20")), "http_protocol"),
    "a status below 100": (block((":status", "099")), "http_protocol"),
    "an empty status": (block((":status", "")), "http_protocol"),
    "a status with a sign": (block((":status", "+20")), "http_protocol"),
    "a status with a space": (block((":status", "20 ")), "http_protocol"),
    "a status with a reason": (block((":status", "200 OK")), "http_protocol"),
    "a status of letters": (block((":status", "abc")), "http_protocol"),
    "informational responses without end": (
        b"".join(frame(HEADERS, END_HEADERS, 1, Encoder().encode([(":status", "103")])) for _ in range(100)),
        "http_protocol",
    ),
    "many fields": (block((":status", "200"), *(("x", "y") for _ in range(1001))), "response_too_large"),
    "a reset": (frame(RST_STREAM, 0, 1, number(2)), "connection_reset"),
    "a reset in the body": (OK + frame(DATA, 0, 1, b"x") + frame(RST_STREAM, 0, 1, number(0x1234)), "connection_reset"),
}


@pytest.mark.parametrize("what", STREAMS)
def test_one_stream_is_hurt(what: str) -> None:
    data, code = STREAMS[what]
    assert fails(data, connections=1).code == code


def long_block(size: int) -> bytes:
    return Encoder().encode([(":status", "200"), ("x", "y" * size)], huffman=False)


def in_frames(data: bytes, *, end: bool = True) -> bytes:
    """A header block as HEADERS and CONTINUATION."""
    pieces = [data[i : i + 16_000] for i in range(0, len(data), 16_000)]
    frames = []
    for index, piece in enumerate(pieces):
        last = END_HEADERS if end and index == len(pieces) - 1 else 0
        frames.append(frame(HEADERS if index == 0 else CONTINUATION, last, 1, piece))
    return b"".join(frames)


BEYOND = {
    "a long field": in_frames(long_block(100_000)),
    "a bomb of references": frame(
        HEADERS, END_HEADERS, 1, b"\x88\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 10_000
    ),
    "many continuations": in_frames(long_block(2_000_000), end=False),
    "empty continuations": frame(HEADERS, 0, 1, b"\x88") + frame(CONTINUATION, 0, 1) * 10_000,
}


@pytest.mark.feature("HTTP", "HTTP/2: limits on header lists, and on the frames they come in")
@pytest.mark.parametrize("what", BEYOND)
def test_beyond_the_limits(what: str) -> None:
    assert fails(BEYOND[what]).code in ("response_too_large", "http_protocol")


TRUNCATED = {
    "without an answer": (b"", "empty_response"),
    "in a frame": (OK[:7], "empty_response"),
    "in a header block": (frame(HEADERS, 0, 1, b"\x88"), "empty_response"),
    "before the body": (OK, "truncated_body"),
    "in the body": (OK + frame(DATA, 0, 1, b"half"), "truncated_body"),
    "in a frame of the body": (OK + frame(DATA, 0, 1, b"half")[:-1], "truncated_body"),
}


@pytest.mark.feature("HTTP", "HTTP/2: truncated responses: a typed error at once")
@pytest.mark.parametrize("what", TRUNCATED)
def test_truncated(what: str) -> None:
    data, code = TRUNCATED[what]
    assert fails(data, close=True).code == code


@pytest.mark.parametrize("what", TRUNCATED)
def test_a_server_that_stops_runs_into_a_deadline(what: str) -> None:
    data, code = TRUNCATED[what]
    expected = "idle_timeout" if code == "truncated_body" else "response_timeout"
    assert fails(data, within=120, connections=1).code == expected


# What a client answers, or keeps, for each of these frames; the server never reads.
FLOODS = {
    "pings": frame(PING, 0, 0, bytes(8)),
    "settings": frame(SETTINGS, 0, 0, number(3, 2) + number(100)),
    "empty data": frame(DATA, 0, 1),
    "padding": frame(DATA, PADDED, 1, b"\xff" + bytes(255)),
    "window updates": frame(WINDOW_UPDATE, 0, 0, number(1)),
    "priorities": frame(PRIORITY, 0, 1, bytes(5)),
    "unknown frames": frame(0x77, 0xFF, 1, bytes(100)),
    "resets of a stream that has ended": frame(RST_STREAM, 0, 1, bytes(4)),
}


@pytest.mark.feature("HTTP", "HTTP/2: floods of frames are bounded and run into a deadline")
@pytest.mark.parametrize("what", FLOODS)
def test_floods(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred frames a second for as long as anybody listens."""
    most = 0
    receive = Http2Connection._receive

    def watched(self: Http2Connection, data: bytes) -> None:
        nonlocal most
        receive(self, data)
        most = max(most, self.waiting + len(self._h2._data_to_send))

    monkeypatch.setattr(Http2Connection, "_receive", watched)

    async def run() -> None:
        class Flood(BadServer):
            async def serve(self, stream: ByteStream) -> None:
                try:
                    await stream.read()
                    await stream.write(HELLO + OK + frame(DATA, 0, 1, b"x"))
                    while True:
                        await stream.write(FLOODS[what] * 100)
                        await asyncio.sleep(1)
                except SmolmixError:
                    pass

        server = Flood()
        clock = LoopClock()
        before = clock.now()
        with pytest.raises(SmolmixError) as caught:
            await server.get()
        assert caught.value.code in ("idle_timeout", "connection_reset", "http_protocol")
        assert clock.now() - before <= 60
        server.client.close()
        await asyncio.sleep(10)
        assert server.connector.open_count == 0

    run_virtual(run())
    assert most < WRITE_AHEAD + 200_000


# -- properties --------------------------------------------------------------------------------------

VALID = HELLO + head(("x", "y")) + frame(DATA, 0, 1, b"fi") + frame(DATA, PADDED, 1, b"\x03ne\0\0\0") + frame(
    HEADERS, END_HEADERS | END_STREAM, 1, Encoder().encode([("t", "u")])
)  # fmt: skip


@pytest.mark.feature("HTTP", "HTTP/2: a response is the same however it is cut into pieces")
@given(st.sets(st.integers(1, len(VALID) - 1), max_size=20))
def test_any_cutting_of_a_response_gives_the_same(cuts: set[int]) -> None:
    ends = sorted(cuts)
    pieces = [VALID[a:b] for a, b in zip([0, *ends], [*ends, len(VALID)], strict=True)]

    async def run() -> None:
        server = BadServer(*pieces, hello=b"")
        response, body = await server.get()
        assert (response.status, body, response.header("x"), response.header("t")) == (200, b"fine", "y", None)

    run_virtual(run())


async def ends_with_a_type(server: BadServer) -> None:
    """Whatever comes, there is a response or a typed error, in bounded time, and nothing is left over."""
    clock = LoopClock()
    before = clock.now()
    try:
        response, body = await server.get()
        assert 200 <= response.status <= 999 and isinstance(body, bytes) and response.finished
    except SmolmixError as error:
        assert error.code != "internal" and error.phase is not None
    assert clock.now() - before <= 600
    server.client.close()
    await asyncio.sleep(10)
    assert server.connector.open_count == 0 and server.client.connection_count == 0


frames = st.builds(
    frame,
    st.integers(0, 11),
    st.integers(0, 255) | st.sampled_from([0, END_STREAM, END_HEADERS, END_HEADERS | END_STREAM]),
    st.sampled_from([0, 1, 1, 1, 2, 3, 0x7FFFFFFF, 0x80000001]),
    st.binary(max_size=40) | st.sampled_from([b"\x88", b"\x88\x40\x01a\x01b", bytes(8), bytes(4), number(1)]),
)


@pytest.mark.feature("HTTP", "HTTP/2: whatever frames a server sends, the outcome is a response or a typed error")
@given(st.lists(frames | st.just(OK) | st.just(BODY), max_size=8), st.booleans())
@example([OK, BODY, HELLO], False)  # changes while the connection is being closed
def test_any_frames_end_with_a_type(sent: list[bytes], close: bool) -> None:
    async def run() -> None:
        await ends_with_a_type(BadServer(*sent, close=close))

    run_virtual(run())


@given(st.binary(max_size=80), st.booleans(), st.booleans())
def test_any_bytes_end_with_a_type(data: bytes, greeted: bool, close: bool) -> None:
    async def run() -> None:
        await ends_with_a_type(BadServer(data, close=close, hello=HELLO if greeted else b""))

    run_virtual(run())


@given(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), min_size=1, max_size=4))
def test_any_damage_to_a_response_ends_with_a_type(edits: list[tuple[int, bytes]]) -> None:
    data = VALID
    for place, insert in edits:
        place %= len(data)
        data = data[:place] + insert + data[place + 1 :]

    async def run() -> None:
        await ends_with_a_type(BadServer(data, hello=b"", close=True))

    run_virtual(run())
