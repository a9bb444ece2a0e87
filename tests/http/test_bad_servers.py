"""Servers that answer with something else than HTTP/1.1: a typed error at once, and a connection never used again.

Tables of what is refused and how soon, and of what is taken but not trusted with another response; properties for
everything in between. What browsers read is in tests/beside.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import SmolmixError
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse
from smolmix_web.http.decoding import decoders
from tests.http_server import PipeConnector
from tests.virtual_loop import run_virtual

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
FINE = OK + b"Content-Length: 4\r\n\r\nfine"
PROMPT = 1.0  # s of virtual time; nothing waits for anything


class BadServer:
    """Its first connection answers with `pieces` and then ends (or says no more); all others work."""

    def __init__(self, *pieces: bytes, close: bool = True, pause: float = 0.0) -> None:
        self.pieces, self.close, self.pause = pieces, close, pause
        self.connector = PipeConnector(self.serve)
        self.client = HttpClient(LoopClock(), connector=self.connector)

    async def serve(self, stream: ByteStream) -> None:
        try:
            if len(self.connector.far) > 1:
                while await stream.read():
                    await stream.write(FINE)
                return
            await stream.read()
            for piece in self.pieces:
                if self.pause:
                    await asyncio.sleep(self.pause)
                await stream.write(piece)
            if self.close:
                await stream.close()
        except SmolmixError:
            pass  # the client has given up

    async def get(self, **more: Any) -> tuple[HttpResponse, bytes]:
        response = await self.client.fetch(HttpRequest("http://a.test/", **more))
        return response, await response.read()

    async def fails(self, within: float = PROMPT, **more: Any) -> SmolmixError:
        """The error of the first request, after which nothing is open and the next one works."""
        clock = LoopClock()
        before = clock.now()
        with pytest.raises(SmolmixError) as caught:
            await self.get(**more)
        assert clock.now() - before <= within
        assert caught.value.phase is not None
        assert self.client.connection_count == 0 and self.connector.open_count == 0
        assert (await self.get())[1] == b"fine"
        assert len(self.connector.near) == 2
        return caught.value


def fails(*pieces: bytes, close: bool = True, **more: Any) -> str:
    async def run() -> str:
        return (await BadServer(*pieces, close=close).fails(**more)).code

    return run_virtual(run())


def header(line: bytes) -> bytes:
    return OK + line + b"\r\n" + TWO


# The server says no more and does not close: nobody waits for an end that is of no use.
MALFORMED = {
    # status lines
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "no protocol at all": b"hello",
    "HTTP/0.9": b"<html>here you are</html>",
    "NULs": b"\0" * 200_000,
    "empty lines": b"\r\n" * 50_000,
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "HTTP/2 settings": b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    "empty lines before": b"\r\n\r\n\r\n" + OK + TWO,
    "two locations": header(b"Location: /a\r\nLocation: /b"),
    "two digits": b"HTTP/1.1 99 OK\r\n" + TWO,
    "four digits": b"HTTP/1.1 2000 OK\r\n" + TWO,
    "a letter in the status": b"HTTP/1.1 2o0 OK\r\n" + TWO,
    "status 000": b"HTTP/1.1 000 OK\r\n" + TWO,
    "a NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + TWO,
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    # header fields and lengths
    "a NUL in the name": header(b"B\0d: x"),
    "a NUL in the value": header(b"B: x\0y"),
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a list of two lengths": OK + b"Content-Length: 2, 3\r\n\r\nok",
    # chunk sizes and endings
    "letters as size": CHUNKED + b"zz\r\nok\r\n" + LAST,
    "a negative size": CHUNKED + b"-2\r\nok\r\n" + LAST,
    "a signed size": CHUNKED + b"+2\r\nok\r\n" + LAST,
    "a prefixed size": CHUNKED + b"0x2\r\nok\r\n" + LAST,
    "a space before the size": CHUNKED + b" 2\r\nok\r\n" + LAST,
    "an empty size": CHUNKED + b"\r\nok\r\n" + LAST,
    "CR after the size": CHUNKED + b"2\rok\r\n" + LAST,
    "a tab after the size": CHUNKED + b"2\t;x\r\nok\r\n" + LAST,
    "a NUL after the size": CHUNKED + b"2\0\r\nok\r\n" + LAST,
    "a huge size": CHUNKED + b"f" * 30 + b"\r\nok",
    "no end": CHUNKED + b"2\r\nok" + LAST,
    "another end": CHUNKED + b"2\r\nokXX" + LAST,
    "CR as end": CHUNKED + b"2\r\nok\r" + LAST,
    "more than the size": CHUNKED + b"2\r\nokay\r\n" + LAST,
    # what comes before the response
    "1xx without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
    "two lengths of an informational response": b"HTTP/1.1 103 E\r\nContent-Length: 2, 3\r\n\r\n",
}


@pytest.mark.feature("HTTP", "malformed status lines, headers, lengths and chunks: a typed error at once")
@pytest.mark.parametrize("what", MALFORMED)
def test_malformed(what: str) -> None:
    assert fails(MALFORMED[what], close=False) == "http_protocol"


@pytest.mark.parametrize("what", [what for what, data in MALFORMED.items() if len(data) < 400])
def test_malformed_byte_by_byte(what: str) -> None:
    data = MALFORMED[what]
    assert fails(*(data[i : i + 1] for i in range(len(data))), close=False) == "http_protocol"


BEYOND = {
    "a long status line": b"HTTP/1.1 200 " + b"x" * 300_000,
    "a long header": OK + b"X: " + b"y" * 300_000,
    "a long name": OK + b"x" * 300_000,
    "many headers": OK + b"X: y\r\n" * 60_000,
    "many short headers": OK + b"X: y\r\n" * 1001 + b"\r\n",
    "a long size": CHUNKED + b"2;" + b"x" * 300_000,
    "many trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * 60_000,
    "a long header of an informational response": b"HTTP/1.1 103 E\r\nX: " + b"y" * 300_000,
}


@pytest.mark.feature("HTTP", "limits on the header of a response")
@pytest.mark.parametrize("what", BEYOND)
def test_beyond_the_limits(what: str) -> None:
    assert fails(BEYOND[what], close=False) == "response_too_large"


TRUNCATED = {
    "in the version": b"HTT",
    "in the status line": b"HTTP/1.1 20",
    "after the headers": OK + b"Content-Length: 2\r\n",
    "in a redirect": b"HTTP/1.1 302 Found\r\nLocation: /a",
    "in a second head": b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 2",
    "after an informational response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "in a body": OK + b"Content-Length: 10\r\n\r\nhalf",
    "before a body": OK + b"Content-Length: 10\r\n\r\n",
    "in a size": CHUNKED + b"2",
    "in a chunk": CHUNKED + b"5\r\nok",
    "after a chunk": CHUNKED + b"2\r\nok\r\n",
    "before the last line": CHUNKED + b"2\r\nok\r\n0\r\n",
    "in a trailer": CHUNKED + b"2\r\nok\r\n0\r\nX: y",
}


@pytest.mark.feature("HTTP", "truncated responses: a typed error at once")
@pytest.mark.parametrize("what", TRUNCATED)
def test_truncated(what: str) -> None:
    assert fails(TRUNCATED[what]) == "truncated_body"


def test_no_answer() -> None:
    assert fails(b"") == "empty_response"


@pytest.mark.parametrize("what", TRUNCATED)
def test_a_server_that_stops_runs_into_a_deadline(what: str) -> None:
    code = fails(TRUNCATED[what], close=False, within=120.0)
    in_head = b"\r\n\r\n" not in TRUNCATED[what][26:] or what == "in a second head"
    assert code == ("response_timeout" if in_head else "idle_timeout")


@pytest.mark.feature("HTTP", "a header that drips runs into the deadline of the response")
def test_a_header_that_drips() -> None:
    async def run() -> None:
        drops = [OK, *(b"X: y\r\n" for _ in range(60))]
        assert (await BadServer(*drops, pause=5.0).fails(within=120.0)).code == "response_timeout"
        # An informational response says that the server is at work.
        waits = [b"HTTP/1.1 102 Processing\r\n\r\n"] * 5 + [OK + TWO]
        assert (await BadServer(*waits, pause=100.0).get())[1] == b"ok"

    run_virtual(run())


# Taken all the same; where there is doubt about what follows, the connection ends with the response.
TAKEN = {
    "a later version": (b"HTTP/1.7 200 OK\r\n" + TWO, 200, b"ok", True),
    "another version": (b"HTTP/2.0 200 OK\r\n" + TWO, 200, b"ok", False),
    "no version": (b"HTTP 200 OK\r\n" + TWO, 200, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + TWO, 200, b"ok", False),
    "HTTP/1.0 that stays": (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n" + TWO, 200, b"ok", True),
    "HTTP/1.1 that closes": (header(b"Connection: x, Close"), 200, b"ok", False),
    "an empty line before": (b"\r\n" + OK + TWO, 200, b"ok", False),
    "an unknown status": (b"HTTP/1.1 799 Odd\r\n" + TWO, 799, b"ok", True),
    "no reason": (b"HTTP/1.1 200 \r\n" + TWO, 200, b"ok", True),
    "no reason and no space": (b"HTTP/1.1 200\r\n" + TWO, 200, b"ok", True),
    "LF as end of line": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", True),
    "a bare CR": (header(b"B: x\rC: y"), 200, b"ok", False),
    "a folded value": (header(b"B: x\r\n y"), 200, b"ok", True),
    "a folded length": (OK + b"Content-Length:\r\n 2\r\n\r\nok", 200, b"ok", False),
    "a line that is skipped": (header(b"Bad header"), 200, b"ok", True),
    "a skipped line that may be a length": (header(b"Content-Length 5"), 200, b"ok", False),
    "a skipped name that may be a coding": (header(b"x/Transfer-Encoding: chunked"), 200, b"ok", False),
    "a space before the colon": (header(b"B : x"), 200, b"ok", True),
    "a space before the colon of a length": (OK + b"Content-Length : 2\r\n\r\nok", 200, b"ok", False),
    "the same length twice": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "the same length in a list": (OK + b"Content-Length: 2, 2\r\n\r\nok", 200, b"ok", True),
    "identity and a length": (header(b"Transfer-Encoding: identity"), 200, b"ok", False),
    "extensions of chunks": (CHUNKED + b'2;a="b;c"\r\nok\r\n' + LAST, 200, b"ok", True),
    "spaces around extensions": (CHUNKED + b"2 ; a=b\r\nok\r\n0 ;x\r\n\r\n", 200, b"ok", True),
    "CR in an extension": (CHUNKED + b"2;a\rb\r\nok\r\n" + LAST, 200, b"ok", False),
    "zeros before a size": (CHUNKED + b"0002\r\nok\r\n" + LAST, 200, b"ok", True),
    "LF after a size": (CHUNKED + b"2\nok\r\n" + LAST, 200, b"ok", False),
    "LF after an extension": (CHUNKED + b"2;a\nok\r\n" + LAST, 200, b"ok", False),
    "LF after a chunk": (CHUNKED + b"2\r\nok\n" + LAST, 200, b"ok", False),
    "LF as the last line": (CHUNKED + b"2\r\nok\r\n0\r\n\n", 200, b"ok", False),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n", 200, b"ok", True),
    "chunked twice": (
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + LAST, 200, b"ok", False,
    ),
    "another coding before chunked": (
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n" + LAST, 200, b"ok", False,
    ),
    "a coding and a length": (
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + LAST,
        200, b"ok", False,
    ),
    "a coding and a length in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False,
    ),
    "101 that nobody asked for": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + OK + TWO, 200, b"ok", False),
    "garbage after the end": (OK + TWO + b"garbage", 200, b"ok", False),
    "a second response": (OK + TWO + OK + TWO, 200, b"ok", False),
    "a body of 204": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 204, b"", False),
    "a length of 204": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", 204, b"", False),
    "a coding of 205": (b"HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n", 205, b"", False),
    "a length of 304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 304, b"", True),
    "a body of 304": (b"HTTP/1.1 304 Not Modified\r\n\r\nok", 304, b"", False),
}  # fmt: skip


@pytest.mark.feature("HTTP", "a connection is used again only where the next response cannot be mistaken")
@pytest.mark.parametrize("what", TAKEN)
def test_taken_all_the_same(what: str) -> None:
    data, status, body, reused = TAKEN[what]

    async def run() -> None:
        server = BadServer(data, close=False)
        response, got = await server.get()
        assert (response.status, got) == (status, body)
        await asyncio.sleep(0)
        assert server.client.connection_count == server.connector.open_count == int(reused)

    run_virtual(run())


def coded(coding: str, body: bytes, length: int | None = None) -> bytes:
    head = f"Content-Encoding: {coding}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return OK + head.encode() + body


PACKED = gzip.compress(b"text " * 1000)
CODED = {
    "no gzip": ("gzip", b"this is no gzip"),
    "a wrong method": ("gzip", PACKED[:2] + b"\x07" + PACKED[3:]),
    "a broken block": ("gzip", PACKED[:10] + b"\xff" * 20),
    "a broken second member": ("gzip", PACKED + PACKED[:10] + b"\xff" * 20),
    "no deflate": ("deflate", b"\xff\xff this is no deflate"),
    "a deflate with a wrong checksum": ("deflate", zlib.compress(b"text" * 100)[:-4] + b"\0\0\0\0"),
    "gzip said to be deflate": ("deflate", PACKED),
    "deflate said to be gzip": ("gzip", zlib.compress(b"text")),
    "one coding less than said": ("gzip, gzip", PACKED),
    "too many codings": (", ".join(["gzip"] * 9), PACKED),
    "no zstd": ("zstd", b"this is no zstd at all"),
    "no brotli": ("br", b"\xff\xff\xff this is no brotli"),
}


@pytest.mark.feature("HTTP", "damaged content codings: a typed error, and nothing is left open")
@pytest.mark.parametrize("what", CODED)
def test_damaged_codings(what: str) -> None:
    coding, body = CODED[what]
    if coding in ("zstd", "br") and decoders([coding]) is None:
        pytest.skip("no such coding in this runtime")
    assert fails(coded(coding, body), close=False) == "bad_content_encoding"


def test_a_coded_body_that_ends_early_is_first_of_all_truncated() -> None:
    assert fails(coded("gzip", PACKED[:-1], len(PACKED))) == "truncated_body"


# -- properties --------------------------------------------------------------------------------------

VALID = [
    FINE,
    OK + b"Transfer-Encoding: chunked\r\nX: y\r\n\r\n2\r\nfi\r\n2;x\r\nne\r\n0\r\nT: u\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + FINE,
    b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nfine",
    coded("gzip", gzip.compress(b"fi") + gzip.compress(b"ne")),
    coded("deflate", zlib.compress(b"fine")),
    coded("deflate, gzip", gzip.compress(zlib.compress(b"fine"))),
]


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    data = draw(st.sampled_from(VALID))
    cuts = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@pytest.mark.feature("HTTP", "a response is the same however it is cut into pieces")
@given(cut())
def test_any_cutting_of_a_response_gives_the_same(pieces: list[bytes]) -> None:
    async def run() -> None:
        server = BadServer(*pieces, pause=0.01)
        response, body = await server.get()
        assert (response.status, body, response.finished) == (200, b"fine", True)

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
        await asyncio.sleep(0)
        assert server.client.connection_count == 0 and server.connector.open_count == 0
    assert clock.now() - before <= 600
    server.client.close()
    await asyncio.sleep(0)
    assert server.connector.open_count == 0


HEADS = [b"", b"HTTP/1.1 ", OK, OK + b"Content-Length: ", OK + b"Transfer-Encoding: ", CHUNKED, CHUNKED + b"5\r\nhello",
         OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08", OK + b"Content-Encoding: deflate\r\n\r\n",
         b"HTTP/1.1 302 Found\r\nLocation: ", b"HTTP/1.1 100 Go\r\n\r\n", OK + b"Set-Cookie: "]  # fmt: skip
noise = st.binary(max_size=60) | st.text(alphabet="0123456789abcdef;,:/ \t\r\nHTPchunked", max_size=60).map(str.encode)


@pytest.mark.feature("HTTP", "whatever bytes a server sends, the outcome is a response or a typed error")
@given(st.sampled_from(HEADS), noise, st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\r\n" + TWO, LAST]), st.booleans())
@example(b"HTTP/1.1 302 Found\r\nLocation: ", b"//\xff\xfe:99999\x00", b"\r\n" + TWO, False)
def test_any_bytes_end_with_a_type(head: bytes, middle: bytes, end: bytes, close: bool) -> None:
    async def run() -> None:
        await ends_with_a_type(BadServer(head + middle + end, close=close))

    run_virtual(run())


@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), min_size=1, max_size=4))
def test_any_damage_to_a_response_ends_with_a_type(data: bytes, edits: list[tuple[int, bytes]]) -> None:
    for place, insert in edits:
        place %= len(data)
        data = data[:place] + insert + data[place + 1 :]

    async def run() -> None:
        await ends_with_a_type(BadServer(data))

    run_virtual(run())
