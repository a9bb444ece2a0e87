"""Servers that are slow but never silent: each phase ends by its deadline, whatever keeps coming. In virtual time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, repeat

import pytest
import trustme

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.edge.tls import LAST_WORDS, TlsStream
from smolmix_web.errors import SmolmixError, TimeoutExpired, TlsError
from smolmix_web.http import HttpClient, HttpRequest, Timeouts
from tests.http.test_bad_http2_servers import ACK, DATA, HELLO, OK, PING, SETTINGS, WINDOW_UPDATE, frame, number
from tests.http.test_client import PipeConnector
from tests.http2_server import Http2Connector
from tests.pipe import BUFFER, Pipe
from tests.tls_server import TlsServer, server_context
from tests.virtual_loop import run_virtual, virtual

PAUSE = 10.0  # s between two bytes
TIMEOUTS = Timeouts()
HOURS = 6 * 3600.0


def each(data: bytes) -> Iterator[bytes]:
    return (data[place : place + 1] for place in range(len(data)))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 103 Early Hints\r\n\r\n"
H2_BODY = frame(DATA, 0, 1, b"x")
# What comes, a piece each ten seconds; the code at the end, and the most that it takes.
DRIBBLES: dict[str, tuple[list[Iterator[bytes]], str, float]] = {
    "a header": ([each(b"HTTP/1.1 200 OK\r\nA: "), repeat(b"a")], "response_timeout", 120),
    "empty lines": ([repeat(b"\r\n")], "", 120),  # either may end it
    "informational responses": ([repeat(CONTINUE)], "", 65 * PAUSE + 120),
    "a chunk's size": ([each(CHUNKED[-4:]), repeat(b"0")], "", 120),
    "a chunk's extension": ([iter([CHUNKED + b"1;"]), repeat(b"e")], "idle_timeout", 60),
    "zeros before a chunk's size": ([iter([CHUNKED]), repeat(b"0")], "idle_timeout", 60),
    "a trailer": ([iter([CHUNKED + b"0\r\nT: "]), repeat(b"t")], "idle_timeout", 60),
    "trailers": ([iter([CHUNKED + b"0\r\n"]), repeat(b"T: t\r\n")], "idle_timeout", 60),
    "HTTP/2 without a header": ([iter([HELLO]), repeat(frame(PING, 0, 0, bytes(8)))], "response_timeout", 120),
    "HTTP/2 settings": ([repeat(HELLO)], "response_timeout", 120),
    "HTTP/2 pings": ([iter([HELLO + OK]), repeat(frame(PING, 0, 0, bytes(8)))], "idle_timeout", 60),
    "HTTP/2 windows": ([iter([HELLO + OK]), repeat(frame(WINDOW_UPDATE, 0, 1, number(1)))], "idle_timeout", 60),
    "HTTP/2 empty frames": ([iter([HELLO + OK]), repeat(frame(DATA, 0, 1))], "idle_timeout", 60),
    "HTTP/2 settings in a body": ([iter([HELLO + OK]), repeat(frame(SETTINGS))], "idle_timeout", 60),
    "HTTP/2 acks": ([iter([HELLO + OK]), repeat(frame(PING, ACK, 0, bytes(8)))], "idle_timeout", 60),
}


def client_of(pieces: Iterator[bytes], *, http2: bool) -> HttpClient:
    async def serve(stream: ByteStream) -> None:
        with contextlib.suppress(SmolmixError):
            await stream.read()
            for piece in pieces:
                await stream.write(piece)
                await asyncio.sleep(PAUSE)

    connector = Http2Connector(serve) if http2 else PipeConnector(serve)
    return HttpClient(LoopClock(), connector=connector, timeouts=TIMEOUTS)


@pytest.mark.feature("HTTP", "A server that dribbles cannot hold a phase beyond its deadline")
@pytest.mark.parametrize("what", DRIBBLES)
def test_dribbles(what: str) -> None:
    parts, code, limit = DRIBBLES[what]

    async def run() -> None:
        client = client_of(chain(*parts), http2=what.startswith("HTTP/2"))
        clock = LoopClock()
        scheme = "https" if what.startswith("HTTP/2") else "http"
        began = clock.now()
        with pytest.raises(SmolmixError) as caught:
            async with asyncio.timeout(HOURS):
                response = await client.fetch(HttpRequest(f"{scheme}://origin.test/"))
                await response.read()
        assert clock.now() - began <= limit + PAUSE, caught.value
        if code:
            assert caught.value.code == code
        await asyncio.sleep(0)
        if not what.startswith("HTTP/2"):
            assert client.connection_count == 0
        client.close()

    run_virtual(run())


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_body_may_be_slow_and_total_bounds_it(http2: bool) -> None:
    """As in browsers: who sends a byte now and then is listened to, unless the caller said for how long."""

    async def run() -> None:
        start = HELLO + OK if http2 else CHUNKED
        piece = H2_BODY if http2 else b"1\r\nx\r\n"
        for total in (None, 1000.0):
            client = client_of(chain([start], repeat(piece, 500)), http2=http2)
            request = HttpRequest("https://origin.test/" if http2 else "http://origin.test/")
            request = replace(request, timeouts=replace(TIMEOUTS, total=total))
            response = await client.fetch(request)
            size = 0
            with pytest.raises(TimeoutExpired) as caught:
                async for part in response:
                    size += len(part)
            if total is None:
                assert size == 500 and caught.value.code == "idle_timeout", "then it was silent"
            else:
                assert 90 <= size <= 101 and caught.value.code == "total_timeout"
            client.close()

    run_virtual(run())


# -- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("what", ["its flight", "one long message", "empty records"])
def test_a_handshake(authority: trustme.CA, what: str) -> None:
    certificate = authority.issue_cert("origin.test")

    async def flight() -> bytes:
        near, far = Pipe.pair()
        client = asyncio.create_task(TlsStream.wrap(far, "origin.test", timeout=1))
        server = asyncio.create_task(TlsServer(near, server_context(certificate)).handshake())
        while not far.inbox:
            await asyncio.sleep(0)
        client.cancel()
        server.cancel()
        await asyncio.gather(client, server, return_exceptions=True)
        return bytes(far.inbox)

    async def run() -> None:
        pieces = {
            "its flight": each(await flight()),
            "one long message": chain([b"\x16\x03\x03\x01\x00"], repeat(b"\x02")),
            "empty records": repeat(b"\x16\x03\x03\x00\x00"),
        }[what]
        near, far = Pipe.pair()

        async def dribble() -> None:
            with contextlib.suppress(SmolmixError):
                for piece in pieces:
                    await far.write(piece)
                    await asyncio.sleep(1)

        task = asyncio.create_task(dribble())
        clock = LoopClock()
        began = clock.now()
        with pytest.raises((TimeoutExpired, TlsError)) as caught:
            await TlsStream.wrap(near, "origin.test", timeout=30, clock=clock)
        assert caught.value.phase == "tls" and clock.now() - began <= 30.1 and near.closed
        task.cancel()

    run_virtual(run())


@virtual
async def test_a_peer_that_takes_nothing_more(authority: trustme.CA) -> None:
    """No room for close_notify, and none for an alert: both end."""
    context = server_context(authority.issue_cert("origin.test"))
    root = authority.cert_pem.bytes().decode()
    for how in ("close", "damage"):
        near, far = Pipe.pair()
        server = TlsServer(far, context)
        shaking = asyncio.create_task(server.handshake())
        stream = await TlsStream.wrap(near, "origin.test", extra_roots=(root,))
        await shaking
        writing = asyncio.create_task(stream.write(bytes(2 * BUFFER)))
        await asyncio.sleep(1)
        assert not writing.done()
        clock = LoopClock()
        began = clock.now()
        if how == "close":
            with pytest.raises(TimeoutExpired) as caught:
                await stream.close()
            assert caught.value.code == "close_timeout"
        else:
            await far.write(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises(TlsError):
                await stream.read()
        assert clock.now() - began == pytest.approx(LAST_WORDS)
        assert near.closed
        with pytest.raises(SmolmixError):
            await writing
