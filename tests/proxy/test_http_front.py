"""The HTTP front, against a server that says what it got: CONNECT, whole URLs, bodies, kept connections, mistakes."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from localnet.http_server import HttpServer
from localnet.origin import Origin, body_bytes
from smolmix_web.errors import ConnectionRefused
from smolmix_web.http import Timeouts
from smolmix_web.proxy.server import Credentials, Proxy
from tests.proxy.stand_in import ANYWHERE, Tunnel, proxy_to
from tests.proxy.test_relay import server

pytestmark = pytest.mark.cpython


@asynccontextmanager
async def origin_behind(**options: Any) -> AsyncIterator[tuple[Proxy, Tunnel, Origin]]:
    tunnel, origin = Tunnel(), Origin()
    listener = HttpServer(origin.handle, name="origin")
    await listener.start("127.0.0.1")
    tunnel.ports.update({("origin.test", port): listener.port for port in (80, 8080)})
    try:
        async with proxy_to(tunnel, http=ANYWHERE, **options) as proxy:
            yield proxy, tunnel, origin
    finally:
        await listener.close()


async def say(proxy: Proxy, data: bytes, *, end: bool = True) -> bytes:
    """Everything that comes back until the end of the connection."""
    reader, writer = await asyncio.open_connection(*proxy.places["http"])
    writer.write(data)
    if end:
        writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_connect_and_bytes_sent_at_once() -> None:
    async with origin_behind() as (proxy, tunnel, _):
        answer = await say(
            proxy,
            b"CONNECT origin.test:8080 HTTP/1.1\r\nHost: origin.test:8080\r\n\r\nGET /text HTTP/1.0\r\nHost: x\r\n\r\n",
        )
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head == b"HTTP/1.1 200 Connection established"
        assert rest.endswith(b"\r\n\r\nHello from the origin.\n")
        assert tunnel.asked == [("origin.test", 8080, None)]


async def test_a_request_goes_on_as_it_came_but_for_what_is_between_neighbours() -> None:
    async with origin_behind() as (proxy, tunnel, origin):
        answer = await say(
            proxy,
            b"POST http://origin.test/echo?a=b HTTP/1.1\r\nHost: wrong.test\r\nX-One: 1\r\nX-Own: 2\r\n"
            b"Connection: close, X-Own\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
            b"Proxy-Authorization: Basic YTpi\r\nUpgrade: h2c\r\nUser-Agent: me\r\nContent-Length: 4\r\n\r\nbody",
        )
        assert answer.startswith(b"HTTP/1.1 200 ")
        (request,) = origin.requests
        assert (request.method, request.target, request.body) == ("POST", "/echo?a=b", b"body")
        assert dict(request.headers) == {
            "Host": "origin.test",
            "X-One": "1",
            "User-Agent": "me",
            "Content-Length": "4",
        }
        assert tunnel.asked == [("origin.test", 80, "http\0a")], "the user name keeps it apart"


async def test_a_kept_connection_carries_several_requests_to_one_server() -> None:
    request = b"GET http://origin.test/bytes/%d HTTP/1.1\r\nHost: origin.test\r\n\r\n"
    async with origin_behind() as (proxy, tunnel, origin):
        reader, writer = await asyncio.open_connection(*proxy.places["http"])
        for size in (10, 100_000, 0):
            writer.write(request % size)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200 OK" in head and b"content-length: %d" % size in head.lower()
            assert await reader.readexactly(size) == body_bytes(size)
        assert len(tunnel.asked) == 1 and len(origin.requests) == 3
        writer.close()
        assert proxy.statistics.requests == 3


async def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    tunnel = Tunnel()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async with server(once) as port, proxy_to(tunnel, http=ANYWHERE) as proxy:
        tunnel.ports["once.test", 80] = port
        reader, writer = await asyncio.open_connection(*proxy.places["http"])
        for _ in range(3):
            writer.write(b"GET http://once.test/ HTTP/1.1\r\nHost: once.test\r\n\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        assert len(tunnel.asked) == 3


@pytest.mark.parametrize("path", ["/stream/200000", "/unsized/200000", "/bytes/200000"])
async def test_bodies_of_every_framing(path: str) -> None:
    async with origin_behind() as (proxy, _, _):
        answer = await say(proxy, f"GET http://origin.test{path} HTTP/1.0\r\n\r\n".encode())
        assert answer.partition(b"\r\n\r\n")[2] == body_bytes(200_000)


async def test_a_chunked_upload_with_expect() -> None:
    async with origin_behind() as (proxy, _, origin):
        reader, writer = await asyncio.open_connection(*proxy.places["http"])
        writer.write(
            b"POST http://origin.test/upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        await asyncio.sleep(0.05)
        writer.write(b"5\r\nhello\r\n0\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        assert b"200 OK" in answer and origin.requests[0].body == b"hello"


async def test_a_body_cut_by_the_server_is_no_whole_one() -> None:
    async with origin_behind() as (proxy, _, _):
        reader, writer = await asyncio.open_connection(*proxy.places["http"])
        writer.write(b"GET http://origin.test/truncated/1000 HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 1000" in head.lower()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1000)
        writer.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"GET https://origin.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://origin.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT origin.test HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a@origin.test:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"\x05\x01\x00 \r\n\r\n", 400),
        (b"GET http://origin.test/ HTTP/1.1\r\n" + b"X: " + b"x" * 70_000, 431),
        (b"GET http://refused.test/ HTTP/1.1\r\nHost: a\r\n\r\n", 502),
        (b"CONNECT refused.test:443 HTTP/1.1\r\nHost: a\r\n\r\n", 502),
    ],
)
async def test_mistakes_and_failures_have_a_status(request_: bytes, status: int) -> None:
    async with origin_behind() as (proxy, tunnel, origin):
        tunnel.errors["refused.test"] = ConnectionRefused("nobody listens")
        answer = await say(proxy, request_)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
        if status == 502:
            assert b"proxy-status: smolmix-web; error=connection_refused" in answer.lower()
            assert b"connect_refused: nobody listens" in answer
        assert origin.requests == []


async def test_credentials() -> None:
    async with origin_behind(credentials=Credentials("alice", "säcret")) as (proxy, tunnel, _):
        request = b"GET http://origin.test/text HTTP/1.0\r\n%s\r\n"
        for wrong in (b"", b"Proxy-Authorization: Basic !!\r\n", b"Proxy-Authorization: Basic YTpi\r\n"):
            answer = await say(proxy, request % wrong)
            assert answer.startswith(b"HTTP/1.1 407 ") and b"proxy-authenticate: basic" in answer.lower()
        assert tunnel.asked == []
        token = base64.b64encode("alice:säcret".encode())
        assert b"Hello" in await say(proxy, request % (b"Proxy-Authorization: Basic " + token + b"\r\n"))


async def test_whoever_leaves_frees_what_was_under_way() -> None:
    async with origin_behind() as (proxy, tunnel, _):
        for request in (
            b"CONNECT silent.test:80 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://origin.test/slow?chunks=1000 HTTP/1.1\r\nHost: a\r\n\r\n",
        ):
            _, writer = await asyncio.open_connection(*proxy.places["http"])
            writer.write(request)
            count = len(tunnel.asked)
            while len(tunnel.asked) == count:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            writer.transport.abort()
            async with asyncio.timeout(5):
                while proxy.statistics.open:
                    await asyncio.sleep(0.01)


async def test_a_server_that_does_not_answer_is_given_up_but_not_during_an_upload() -> None:
    tunnel = Tunnel()
    tunnel.timeouts = Timeouts(response=0.4)

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST"):
            await reader.readexactly(4)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()

    async with server(listens) as port, proxy_to(tunnel, http=ANYWHERE) as proxy:
        tunnel.ports["slow.test", 80] = port
        answer = await say(proxy, b"GET http://slow.test/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 504 ") and b"error=http_response_timeout" in answer
        reader, writer = await asyncio.open_connection(*proxy.places["http"])
        writer.write(b"POST http://slow.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            await asyncio.sleep(0.2)
            writer.write(b"x")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 ")
        writer.close()
