"""Servers that answer with something else than HTTP/1.1: a typed error at once, and a connection never used again.

Two tables, what is refused and what is taken all the same, and properties for everything in between.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smolmix_web.deadline import LoopClock
from smolmix_web.errors import SmolmixError
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse
from smolmix_web.http.decoding import decoders
from smolmix_web.sockets import ByteStream
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
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + TWO,
    "HTTP/3": b"HTTP/3 200 OK\r\n" + TWO,
    "HTTP/1": b"HTTP/1 200 OK\r\n" + TWO,
    "HTTP/1.x": b"HTTP/1.x 200 OK\r\n" + TWO,
    "small letters": b"http/1.1 200 OK\r\n" + TWO,
    "a space before": b" " + OK + TWO,
    "an empty line before": b"\r\n" + OK + TWO,
    "a tab": b"HTTP/1.1\t200 OK\r\n" + TWO,
    "two spaces": b"HTTP/1.1  200 OK\r\n" + TWO,
    "two digits": b"HTTP/1.1 99 OK\r\n" + TWO,
    "four digits": b"HTTP/1.1 2000 OK\r\n" + TWO,
    "a letter in the status": b"HTTP/1.1 2o0 OK\r\n" + TWO,
    "a negative status": b"HTTP/1.1 -20 OK\r\n" + TWO,
    "status 000": b"HTTP/1.1 000 OK\r\n" + TWO,
    "no status": b"HTTP/1.1 OK\r\n" + TWO,
    "a NUL in the reason": b"HTTP/1.1 200 O\0K\r\n" + TWO,
    "CR in the reason": b"HTTP/1.1 200 O\rK\r\n" + TWO,
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    # header fields
    "no colon": header(b"Bad header"),
    "a space before the colon": header(b"Bad : x"),
    "no name": header(b": x"),
    "a space in the name": header(b"B d: x"),
    "a NUL in the name": header(b"B\0d: x"),
    "a byte beyond ASCII in the name": header(b"\xe9: x"),
    "a NUL in the value": header(b"B: x\0y"),
    "CR in the value": header(b"B: x\ry"),
    "a folded first line": header(b" B: x"),
    # lengths
    "a negative length": OK + b"Content-Length: -1\r\n\r\n",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nok",
    "a hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\nok",
    "an empty length": OK + b"Content-Length: \r\n\r\nok",
    "a broken length": OK + b"Content-Length: 2.0\r\n\r\nok",
    "two words of length": OK + b"Content-Length: 2 2\r\n\r\nok",
    "a length with underscore": OK + b"Content-Length: 1_0\r\n\r\nok",
    "a length in other digits": OK + "Content-Length: \u0662\r\n\r\nok".encode(),
    "a huge length": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nok",
    "a length of many digits": OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nok",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a list of two lengths": OK + b"Content-Length: 2, 3\r\n\r\nok",
    # transfer codings
    "an unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST,
    "chunked after gzip": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "gzip alone": OK + b"Transfer-Encoding: gzip\r\n\r\nok",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nok",
    "chunked within chunked": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + LAST,
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + LAST,
    "an empty coding": OK + b"Transfer-Encoding: \r\n\r\nok",
    # chunk sizes and endings
    "letters as size": CHUNKED + b"zz\r\nok\r\n" + LAST,
    "a negative size": CHUNKED + b"-2\r\nok\r\n" + LAST,
    "a signed size": CHUNKED + b"+2\r\nok\r\n" + LAST,
    "a prefixed size": CHUNKED + b"0x2\r\nok\r\n" + LAST,
    "a space before the size": CHUNKED + b" 2\r\nok\r\n" + LAST,
    "an empty size": CHUNKED + b"\r\nok\r\n" + LAST,
    "a NUL after the size": CHUNKED + b"2\0\r\nok\r\n" + LAST,
    "a huge size": CHUNKED + b"f" * 30 + b"\r\nok",
    "a size that ends in LF": CHUNKED + b"2\nok\r\n" + LAST,
    "no end": CHUNKED + b"2\r\nok" + LAST,
    "another end": CHUNKED + b"2\r\nokXX" + LAST,
    "LF as end": CHUNKED + b"2\r\nok\n" + LAST,
    "CR as end": CHUNKED + b"2\r\nok\r" + LAST,
    "more than the size": CHUNKED + b"2\r\nokay\r\n" + LAST,
    "a trailer without colon": CHUNKED + b"0\r\nbad trailer\r\n\r\n",
    # what comes before the response
    "switched protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "1xx without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100,
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
    "many short headers": OK + b"X: y\r\n" * 257 + b"\r\n",
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
    "in a header": OK + b"Content-Le",
    "after the headers": OK + b"Content-Length: 2\r\n",
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
    assert code == ("idle_timeout" if b"\r\n\r\n" in TRUNCATED[what][26:] else "response_timeout")


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
    "an unknown status": (b"HTTP/1.1 799 Odd\r\n" + TWO, 799, b"ok", True),
    "no reason": (b"HTTP/1.1 200 \r\n" + TWO, 200, b"ok", True),
    "no reason and no space": (b"HTTP/1.1 200\r\n" + TWO, 200, b"ok", True),
    "LF as end of line": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", True),
    "a folded value": (header(b"B: x\r\n y"), 200, b"ok", True),
    "the same length twice": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "the same length in a list": (OK + b"Content-Length: 2, 2\r\n\r\nok", 200, b"ok", True),
    "extensions of chunks": (CHUNKED + b'2;a="b;c"\r\nok\r\n' + LAST, 200, b"ok", True),
    "zeros before a size": (CHUNKED + b"0002\r\nok\r\n" + LAST, 200, b"ok", True),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n", 200, b"ok", True),
    "a coding and a length": (
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + LAST,
        200, b"ok", False,
    ),
    "a coding in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + LAST, 200, b"ok", False,
    ),
    "garbage after the end": (OK + TWO + b"garbage", 200, b"ok", False),
    "a second response": (OK + TWO + OK + TWO, 200, b"ok", False),
    "a body of 204": (b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 204, b"", False),
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
    "a wrong checksum": ("gzip", PACKED[:-8] + b"\0" * 8),
    "a wrong size": ("gzip", PACKED[:-4] + b"\0" * 4),
    "a gzip that ends early": ("gzip", PACKED[:-1]),
    "a gzip of a header alone": ("gzip", PACKED[:10]),
    "a wrong method": ("gzip", PACKED[:2] + b"\x07" + PACKED[3:]),
    "a broken block": ("gzip", PACKED[:10] + b"\xff" * 20),
    "a broken second member": ("gzip", PACKED + b"\x1f\x8b\x08junk and more of it"),
    "a second member that ends early": ("gzip", PACKED + PACKED[:-3]),
    "no deflate": ("deflate", b"\xff\xff this is no deflate"),
    "a deflate that ends early": ("deflate", zlib.compress(b"text" * 100)[:-1]),
    "a deflate with a wrong checksum": ("deflate", zlib.compress(b"text" * 100)[:-4] + b"\0\0\0\0"),
    "gzip said to be deflate": ("deflate", PACKED),
    "deflate said to be gzip": ("gzip", zlib.compress(b"text")),
    "one coding less than said": ("gzip, gzip", PACKED),
    "too many codings": ("gzip, gzip, gzip, gzip", PACKED),
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
