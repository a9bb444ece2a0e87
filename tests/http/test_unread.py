"""Responses that nobody reads: short ones free their connection, long ones keep nobody else waiting."""

from __future__ import annotations

import asyncio
import gc
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import Cancelled, ConnectionReset, HttpError, SmolmixError, TimeoutExpired
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse, Timeouts
from smolmix_web.http import body as body_module
from smolmix_web.http.body import STALL_SECONDS
from smolmix_web.http.exchange import AHEAD, PIECE
from tests.http2_server import Http2Connector, Http2Server
from tests.http_server import Answer, HttpServer, PipeConnector, Request
from tests.virtual_loop import run_virtual, virtual
from tests.wire import Wire

UNREAD = pytest.mark.feature("HTTP", "a response that nobody reads keeps no other request waiting")
BOTH = pytest.mark.parametrize("http2", [False, True], ids=["1.1", "2"])
LONG = 1_000_000


def sized(request: Request) -> Answer:
    """`/n`: a body of n bytes; `/gzip/n`: packed."""
    kind, _, size = request.target[1:].rpartition("/")
    body = bytes(int(size))
    return Answer(headers=[("Content-Encoding", "gzip")], body=gzip.compress(body)) if kind else Answer(body=body)


class World:
    def __init__(self, http2: bool, handler: Any = sized, *, max_streams: int = 100, **options: Any) -> None:
        self.server: Any = Http2Server(handler, max_streams=max_streams) if http2 else HttpServer(handler)
        self.connector = Http2Connector(self.server.serve)
        self.connector.alpn = "h2" if http2 else "http/1.1"
        self.client = HttpClient(LoopClock(), connector=self.connector, **options)

    async def start(self, path: str, **more: Any) -> HttpResponse:
        return await self.client.fetch(HttpRequest(f"https://a.test{path}", **more))

    async def get(self, path: str) -> int:
        response = await self.start(path)
        return len(await response.read())

    @property
    def held(self) -> int:
        return self.client._store.held

    @property
    def written(self) -> int:
        return sum(pipe.written for pipe in self.connector.far)


@UNREAD
@BOTH
@pytest.mark.parametrize("size", [0, 1, 5_000, AHEAD])
def test_short_bodies_free_their_connection(http2: bool, size: int) -> None:
    @virtual
    async def run() -> None:
        world = World(http2)
        began = LoopClock().now()
        responses = [await world.start(f"/{size}") for _ in range(30)]
        assert len(world.connector.near) == 1 and LoopClock().now() == began
        await asyncio.sleep(0.1)
        assert world.held == 30 * size
        for response in responses:
            assert not size or not response.finished
            assert len(await response.read()) == size and response.finished
        assert world.held == 0

    run()


@UNREAD
@BOTH
def test_a_thousand_over_one_origin(http2: bool) -> None:
    """All at once, over real TCP for HTTP/1.1; each is read in the end."""

    @virtual
    async def run() -> None:
        world = World(http2)
        responses = await asyncio.gather(*(world.start("/8000") for _ in range(1000)))
        assert len(world.connector.near) == (1 if http2 else 6)
        assert world.held == 8_000_000 and world.client.connection_count <= 6
        assert [len(await response.read()) for response in responses] == [8000] * 1000

    run()


@UNREAD
@virtual
async def test_a_thousand_over_tcp() -> None:
    """One second of round trip, six connections, 4 KiB each: no slower than reading them."""
    wire = Wire()
    server = HttpServer(sized)
    wire.listen(80, server.serve)
    client = HttpClient(wire.client, None)
    began = wire.client.now()
    responses = await asyncio.gather(*(client.fetch(HttpRequest("http://192.0.2.80/4096")) for _ in range(1000)))
    seconds = wire.client.now() - began
    assert seconds < 1000 / 6 + 10 and server.connections == 6
    assert client._store.held <= 1000 * 4096
    await asyncio.sleep(1)
    assert client._store.held == 1000 * 4096
    assert {len(await response.read()) for response in responses} == {4096}


@UNREAD
@BOTH
@pytest.mark.parametrize("count", [6, 20, 90])
def test_long_bodies_keep_nobody_waiting(http2: bool, count: int) -> None:
    @virtual
    async def run() -> None:
        world = World(http2)
        began = LoopClock().now()
        held = await asyncio.gather(*(world.start(f"/{LONG}") for _ in range(count)))
        assert await world.get("/100") == 100
        spent = LoopClock().now() - began
        assert spent <= STALL_SECONDS * (count // 6 + 1)
        assert await world.get("/200000") == 200_000
        await asyncio.sleep(300)  # no deadline runs while there is no room
        assert world.held <= count * (AHEAD + PIECE)
        assert world.written < count * 400_000 + 300_000
        for response in held[:6]:
            assert len(await response.read()) == LONG
        for response in held[6:]:
            response.abort()
        assert world.held == 0
        await asyncio.sleep(100)
        assert world.client.connection_count == 0

    run()


@UNREAD
@virtual
async def test_a_hundred_long_ones_of_one_origin_leave_room_for_others() -> None:
    world = World(False)
    held = [asyncio.create_task(world.start(f"/{LONG}")) for _ in range(97)]
    await asyncio.sleep(60)
    for host in range(50):
        response = await world.client.fetch(HttpRequest(f"https://h{host}.test/10"))
        assert len(await response.read()) == 10
    assert world.client.connection_count <= 2 * 96
    for task in held:
        (await task).abort()
    assert world.held == 0


@UNREAD
@virtual
async def test_more_than_a_server_has_streams_for() -> None:
    world = World(True, max_streams=10)
    held = [await world.start(f"/{LONG}") for _ in range(10)]
    assert await world.get("/100") == 100
    assert len(world.server.sessions) == 2
    for response in held:
        assert len(await response.read()) == LONG
    await asyncio.sleep(1)
    assert world.client.connection_count == 1  # the first one is not needed any more


@UNREAD
@BOTH
def test_all_together_are_bounded(http2: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "AHEAD_TOTAL", 500_000)

    @virtual
    async def run() -> None:
        world = World(http2)
        responses = await asyncio.gather(*(world.start("/50000") for _ in range(60)))
        await asyncio.sleep(10)
        assert world.held <= 500_000 + 6 * PIECE if not http2 else world.held <= 1_000_000
        assert await world.get("/300000") == 300_000
        assert [len(await response.read()) for response in responses] == [50_000] * 60
        assert world.held == 0

    run()


@UNREAD
@BOTH
def test_what_is_dropped_unread_is_freed(http2: bool) -> None:
    @virtual
    async def run() -> None:
        world = World(http2)
        for _ in range(50):
            await world.start("/60000")
            await world.start(f"/{LONG}")
        gc.collect()
        await asyncio.sleep(0.1)
        assert world.held == 0
        await asyncio.sleep(100)
        assert world.client.connection_count == 0 and world.connector.open_count == 0

    run()


@UNREAD
@BOTH
def test_coded_bodies_are_kept_as_they_came(http2: bool) -> None:
    @virtual
    async def run() -> None:
        world = World(http2)
        response = await world.start("/gzip/20000000")
        await asyncio.sleep(0.1)
        assert 19_000 < world.held < 21_000
        assert await world.get("/1") == 1 and len(world.connector.near) == 1
        assert len(await response.read()) == 20_000_000

    run()


@UNREAD
@pytest.mark.parametrize("how", ["reset", "close", "bad chunk", "silence"])
def test_an_error_is_told_after_what_came_before_it(how: str) -> None:
    @virtual
    async def run() -> None:
        async def serve(stream: ByteStream) -> None:
            await stream.read()
            await stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await asyncio.sleep(1)
            if how == "reset":
                stream.abort()
            elif how == "close":
                await stream.close()
            elif how == "bad chunk":
                await stream.write(b"nonsense\r\n")
            await asyncio.sleep(10_000)

        connector = PipeConnector(serve)
        client = HttpClient(LoopClock(), connector=connector, timeouts=Timeouts(idle=20))
        response = await client.fetch(HttpRequest("http://a.test/"))
        await asyncio.sleep(500)
        assert client.connection_count == 0 and connector.open_count == 0  # nobody had to read for that
        assert await response.read_chunk() == b"first"
        with pytest.raises(SmolmixError) as caught:
            await response.read_chunk()
        kinds = {"reset": ConnectionReset, "close": HttpError, "bad chunk": HttpError, "silence": TimeoutExpired}
        assert isinstance(caught.value, kinds[how]) and caught.value.phase in ("body", "idle")
        with pytest.raises(type(caught.value)):
            await response.read()

    run()


@UNREAD
@BOTH
def test_the_reader_s_own_pauses_are_not_the_server_s(http2: bool) -> None:
    @virtual
    async def run() -> None:
        world = World(http2, timeouts=Timeouts(idle=5, response=5, request=5))
        response = await world.start(f"/{LONG}")
        got = 0
        while chunk := await response.read_chunk():
            got += len(chunk)
            await asyncio.sleep(30)
        assert got == LONG

    run()


@UNREAD
@BOTH
def test_the_total_deadline_ends_with_the_arrival(http2: bool) -> None:
    @virtual
    async def run() -> None:
        world = World(http2)
        short, long = await world.start("/1000", timeout=10), await world.start(f"/{LONG}", timeout=10)
        await asyncio.sleep(11)
        assert len(await short.read()) == 1000  # it had arrived
        with pytest.raises(TimeoutExpired) as caught:
            await long.read()
        assert caught.value.code == "total_timeout"
        assert short.timings.end is not None and short.timings.end < 1

    run()


@UNREAD
@BOTH
@pytest.mark.parametrize("size", [1000, LONG])
def test_abort_drops_what_is_here(http2: bool, size: int) -> None:
    @virtual
    async def run() -> None:
        world = World(http2)
        response = await world.start(f"/{size}")
        await asyncio.sleep(5)
        response.abort()
        assert world.held == 0 and response.finished
        with pytest.raises(Cancelled):
            await response.read()
        assert await world.get("/5") == 5
        await asyncio.sleep(1)
        assert world.client.connection_count == 1

    run()


@UNREAD
@virtual
async def test_a_stalled_body_that_is_read_again_counts_again() -> None:
    world = World(False, per_origin=1)
    response = await world.start(f"/{LONG}")
    assert await world.get("/1") == 1  # meanwhile on a second connection
    reader = asyncio.create_task(response.read())
    assert len(await reader) == LONG
    assert await world.get("/2") == 2
    assert len(world.connector.near) == 2


@UNREAD
@virtual
async def test_bodies_without_end_do_not_need_a_reader_to_be_idle() -> None:
    """Server-sent events that nobody reads yet: small pieces, all in order when the reader comes."""

    async def events() -> AsyncIterator[bytes]:
        for index in range(100):
            yield b"data: %d\n\n" % index
            await asyncio.sleep(1)

    for http2 in (False, True):
        chunked = [] if http2 else [("Transfer-Encoding", "chunked")]
        world = World(http2, lambda _, headers=chunked: Answer(body=events(), headers=headers))
        response = await world.start("/1")
        await asyncio.sleep(500)
        assert await response.read() == b"".join(b"data: %d\n\n" % index for index in range(100))


@UNREAD
@virtual
async def test_closing_the_client_is_told_to_who_reads_later() -> None:
    world = World(False)
    short, long = await world.start("/10"), await world.start(f"/{LONG}")
    await asyncio.sleep(5)
    world.client.close(error := SmolmixError("the tunnel is gone", code="exit_dead"))
    assert len(await short.read()) == 10
    with pytest.raises(SmolmixError) as caught:
        await long.read()
    assert caught.value is error


@UNREAD
def test_whatever_the_size() -> None:
    """A body is the same whether it waited or not."""

    async def run() -> None:
        world = World(False)
        for size in (1, AHEAD - 1, AHEAD, AHEAD + 1, 2 * AHEAD, 2 * AHEAD + 1, 5 * AHEAD):
            for wait in (0, 3):
                response = await world.start(f"/{size}")
                await asyncio.sleep(wait)
                assert len(await response.read()) == size

    run_virtual(run())
