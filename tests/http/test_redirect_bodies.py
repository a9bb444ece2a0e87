"""A redirect is followed at once, whatever its own body does."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.http import HttpClient, HttpRequest
from smolmix_web.http.pool import DRAIN, DRAIN_SECONDS
from tests.http2_server import Http2Connector, Http2Server
from tests.http_server import Answer, HttpServer, PipeConnector, Request, play
from tests.virtual_loop import virtual

AT_ONCE = pytest.mark.feature("HTTP", "a redirect is followed at once, whatever its own body does")
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /end\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine"
DIGEST = "sha256-" + b64encode(hashlib.sha256(b"fine").digest()).decode()

BODIES: dict[str, list[Any]] = {
    "cut": [MOVED + b"Content-Length: 100\r\n\r\nsome", "close"],
    "cut by a reset": [MOVED + b"Content-Length: 100\r\n\r\nsome", "reset"],
    "cut before it begins": [MOVED + b"Content-Length: 100\r\n\r\n", "close"],
    "cut chunks": [MOVED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", "close"],
    "bad chunks": [MOVED + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nnonsense\r\n"],
    "chunks without end": [MOVED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 10_000],
    "silence": [MOVED + b"Content-Length: 100\r\n\r\n", 10_000],
    "slow": [MOVED + b"Content-Length: 4\r\n\r\nso", 30, b"me"],
    "until the end, which does not come": [MOVED + b"\r\nbody", 10_000],
    "until the end": [MOVED + b"\r\nbody", "close"],
    "bad gzip": [MOVED + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\njunk"],
    "too many codings": [MOVED + b"Content-Encoding: gzip, gzip, gzip, gzip\r\nContent-Length: 4\r\n\r\njunk"],
    "long": [MOVED + b"Content-Length: 10000000\r\n\r\n" + bytes(60_000), 10_000],
    "more than it says": [MOVED + b"Content-Length: 4\r\n\r\nbodymore", 10_000],
    "none, and the end": [MOVED + b"Content-Length: 0\r\nConnection: close\r\n\r\n", "close"],
}


class Mover:
    """Its first connection answers with the steps; others say that all is fine."""

    def __init__(self, steps: list[Any], **options: Any) -> None:
        self.steps = steps
        self.asked: list[bytes] = []
        self.connector = PipeConnector(self.serve)
        self.client = HttpClient(LoopClock(), connector=self.connector, **options)

    async def serve(self, stream: ByteStream) -> None:
        first = len(self.connector.far) == 1
        while data := await stream.read():
            self.asked.append(data.split(b"\r\n")[0])
            if not first or b"/end" in self.asked[-1]:
                await stream.write(FINE)
                continue
            if await play(stream, self.steps):
                return


@AT_ONCE
@pytest.mark.parametrize("more", [{}, {"integrity": DIGEST}, {"method": "POST", "body": b"x"}], ids=["", "sri", "post"])
@pytest.mark.parametrize("per_origin", [1, 6])
@pytest.mark.parametrize("what", BODIES)
def test_followed_at_once(what: str, per_origin: int, more: dict[str, Any]) -> None:
    @virtual
    async def run() -> None:
        mover = Mover(BODIES[what], per_origin=per_origin)
        began = LoopClock().now()
        response = await mover.client.fetch(HttpRequest("http://a.test/start", **more))
        assert (response.status, await response.read(), response.redirected) == (200, b"fine", True)
        assert LoopClock().now() == began
        assert [line.split()[1] for line in mover.asked] == [b"/start", b"/end"]
        await asyncio.sleep(2 * DRAIN_SECONDS)
        assert mover.client.connection_count <= 1
        mover.client.close()
        await asyncio.sleep(0.1)
        assert mover.connector.open_count == 0

    run()


@AT_ONCE
@pytest.mark.parametrize(
    ("steps", "opened", "kept"),
    [
        ([MOVED + b"Content-Length: 4\r\n\r\nhere"], 1, 1),  # costs nothing
        ([MOVED + b"Content-Length: 4\r\n\r\n", 2, b"late"], 2, 2),  # comes in time to be kept for later
        ([MOVED + b"Content-Length: 4\r\n\r\n", DRAIN_SECONDS + 1, b"late"], 2, 1),
        ([MOVED + b"Content-Length: %d\r\n\r\n" % (DRAIN + 1) + bytes(DRAIN + 1)], 2, 1),
    ],
)
def test_what_becomes_of_the_connection(steps: list[Any], opened: int, kept: int) -> None:
    @virtual
    async def run() -> None:
        mover = Mover(steps)
        response = await mover.client.fetch(HttpRequest("http://a.test/start"))
        assert await response.read() == b"fine"
        assert len(mover.connector.near) == opened
        await asyncio.sleep(DRAIN_SECONDS + 2)
        assert mover.client.connection_count == kept

    run()


@AT_ONCE
@virtual
async def test_the_body_of_a_manual_redirect_is_the_caller_s() -> None:
    mover = Mover(BODIES["cut"])
    response = await mover.client.fetch(HttpRequest("http://a.test/start", redirect="manual"))
    assert response.status == 302 and await response.read_chunk() == b"some"


@AT_ONCE
@virtual
async def test_many_hops_over_one_busy_connection() -> None:
    """One connection only, and each hop's body hangs: the next hop takes its place."""

    async def serve(stream: ByteStream) -> None:
        target = (await stream.read()).split()[1]
        count = int(target[1:])
        if not count:
            await stream.write(FINE)
        else:
            await stream.write(b"HTTP/1.1 307 \r\nLocation: /%d\r\nContent-Length: 9\r\n\r\nhang" % (count - 1))
        await asyncio.sleep(10_000)

    connector = PipeConnector(serve)
    client = HttpClient(LoopClock(), connector=connector, per_origin=1, total=1)
    began = LoopClock().now()
    response = await client.fetch(HttpRequest("http://a.test/5"))
    assert await response.read() == b"fine" and LoopClock().now() == began
    assert client.connection_count <= 1


@AT_ONCE
@pytest.mark.parametrize("body", ["none", "short", "hanging", "long"])
def test_over_http2(body: str) -> None:
    @virtual
    async def run() -> None:
        async def hanging() -> AsyncIterator[bytes]:
            yield b"some"
            await asyncio.sleep(10_000)

        bodies: dict[str, Any] = {"none": b"", "short": b"moved", "hanging": hanging(), "long": bytes(1_000_000)}

        def handler(request: Request) -> Answer:
            if request.target == "/end":
                return Answer(body=b"fine")
            return Answer(302, [("Location", "/end")], body=bodies[body])

        server = Http2Server(handler)
        client = HttpClient(LoopClock(), connector=Http2Connector(server.serve))
        began = LoopClock().now()
        response = await client.fetch(HttpRequest("https://a.test/"))
        assert await response.read() == b"fine" and LoopClock().now() == began
        await asyncio.sleep(2 * DRAIN_SECONDS)
        assert len(server.sessions) == 1
        assert server.sessions[0].resets == ([] if body in ("none", "short") else [1])

    run()


@AT_ONCE
@virtual
async def test_giving_up_while_the_old_body_is_read_away() -> None:
    mover = Mover([MOVED + b"Content-Length: 100\r\n\r\n", 10_000])
    mover.connector.delay = 1
    task = asyncio.create_task(mover.client.fetch(HttpRequest("http://a.test/start")))
    await asyncio.sleep(1.5)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(DRAIN_SECONDS + 1)
    assert mover.client.connection_count == 0 and mover.connector.open_count == 0


@AT_ONCE
@virtual
async def test_bodies_that_cannot_be_are_left_to_themselves_too() -> None:
    """204 and HEAD: the answer does not wait for what the server says after it."""
    server = HttpServer(lambda _: Answer(headers=[("Content-Length", "5000")]))
    client = HttpClient(LoopClock(), connector=PipeConnector(server.serve))
    for _ in range(3):
        response = await client.fetch(HttpRequest("http://a.test/", method="HEAD"))
        assert response.bodiless and response.finished and response.timings.end is not None
    assert server.connections == 1

    class Never(AsyncIterator[bytes]):
        async def __anext__(self) -> bytes:
            await asyncio.sleep(10_000)
            return b""

    two = Http2Server(lambda _: Answer(204, body=Never()))  # END_STREAM does not come with the header
    client = HttpClient(LoopClock(), connector=Http2Connector(two.serve))
    began = LoopClock().now()
    for _ in range(3):
        response = await client.fetch(HttpRequest("https://a.test/"))
        assert response.status == 204 and await response.read() == b""
    assert LoopClock().now() == began and len(two.sessions) == 1
