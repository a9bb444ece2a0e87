"""The queue before the connections: first come first served, and no origin keeps another one out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import HttpError, TimeoutExpired
from smolmix_web.http import HttpClient, HttpRequest, Timeouts
from tests.http2_server import Http2Connector, Http2Server
from tests.http_server import Answer, HttpServer, PipeConnector, Request
from tests.virtual_loop import virtual

FAIR = pytest.mark.feature("HTTP", "Queueing with fairness")
SECONDS = 10.0


async def slow(request: Request) -> Answer:
    await asyncio.sleep(SECONDS)
    return Answer(body=request.target.encode())


class Race:
    """Requests and the order in which they ended."""

    def __init__(self, **options: Any) -> None:
        self.server = HttpServer(slow)
        self.connector = PipeConnector(self.server.serve)
        self.client = HttpClient(LoopClock(), connector=self.connector, **options)
        self.ended: list[str] = []

    def order(self, host: str) -> list[str]:
        """The paths in the order in which the host was asked for them."""
        return [request.target for request in self.server.requests if request.headers["host"] == host]

    def start(self, url: str, **request: Any) -> asyncio.Task[None]:
        async def one() -> None:
            response = await self.client.fetch(HttpRequest(url, **request))
            await response.read()
            self.ended.append(url)

        return asyncio.create_task(one())


@FAIR
@virtual
async def test_first_come_first_served() -> None:
    race = Race(per_origin=2)
    await asyncio.gather(*(race.start(f"http://a.test/{index}") for index in range(12)))
    assert race.order("a.test") == [f"/{index}" for index in range(12)]


@FAIR
@virtual
async def test_a_late_one_does_not_overtake_those_that_wait() -> None:
    race = Race(per_origin=1)
    tasks = [race.start("http://a.test/1"), race.start("http://a.test/2")]
    await asyncio.sleep(SECONDS)  # the first ends in this very moment
    tasks.append(race.start("http://a.test/3"))
    await asyncio.gather(*tasks)
    assert race.ended == [f"http://a.test/{index}" for index in (1, 2, 3)]


@FAIR
@virtual
async def test_an_origin_without_any_connection_comes_before_a_long_queue() -> None:
    race = Race(total=4)
    tasks = [race.start(f"http://busy.test/{index}") for index in range(40)]
    await asyncio.sleep(1)
    before = LoopClock().now()
    await race.start("http://small.test/")
    assert LoopClock().now() - before < 2 * SECONDS
    assert sum("busy" in url for url in race.ended) <= 8
    await asyncio.gather(*tasks)
    assert race.order("busy.test") == [f"/{index}" for index in range(40)]
    assert race.client.connection_count <= 4


@FAIR
@virtual
async def test_many_busy_origins_share_what_there_is() -> None:
    """Twelve origins want six connections each where four are allowed in all."""
    race = Race(total=4)
    tasks = [race.start(f"http://h{host}.test/{index}") for index in range(6) for host in range(12)]
    await asyncio.gather(*tasks)
    asked = [request.headers["host"] for request in race.server.requests]
    assert len(set(asked[:24])) == 12  # everybody had a turn in the first third
    for host in range(12):
        assert race.order(f"h{host}.test") == [f"/{index}" for index in range(6)]


@FAIR
@virtual
async def test_those_that_give_up_leave_the_queue() -> None:
    race = Race(per_origin=1)
    first = race.start("http://a.test/1")
    await asyncio.sleep(1)
    given_up = [race.start(f"http://a.test/{index}") for index in (2, 3)]
    last = race.start("http://a.test/4")
    late = race.start("http://a.test/5", timeouts=Timeouts(queue=5))
    await asyncio.sleep(1)
    for task in given_up:
        task.cancel()
    await asyncio.gather(first, last)
    assert race.ended == ["http://a.test/1", "http://a.test/4"]
    with pytest.raises(TimeoutExpired) as caught:
        await late
    assert caught.value.code == "queue_timeout"
    assert race.client.connection_count == 1


@FAIR
@virtual
async def test_served_and_given_up_in_the_same_moment() -> None:
    """What was granted to a request that is gone is there for the next one."""
    for http2 in (False, True):
        servers: list[Any] = [Http2Server(slow, max_streams=1), HttpServer(slow)]
        connector = Http2Connector(servers[0 if http2 else 1].serve)
        connector.alpn = "h2" if http2 else "http/1.1"
        client = HttpClient(LoopClock(), connector=connector, per_origin=1)
        tasks = [asyncio.create_task(client.fetch(HttpRequest("https://a.test/"))) for _ in range(3)]
        first = await tasks[0]
        asyncio.get_running_loop().call_soon(tasks[1].cancel)
        await first.read()
        tasks[1].cancel()
        third = await tasks[2]
        assert await third.read() == b"/"
        assert client.connection_count == 1 and tasks[1].cancelled()


@FAIR
@virtual
async def test_idle_http2_connections_give_way_too() -> None:
    server = Http2Server(lambda _: Answer(body=b"x"))
    connector = Http2Connector(server.serve)
    client = HttpClient(LoopClock(), connector=connector, total=3)
    for index in range(6):
        response = await client.fetch(HttpRequest(f"https://h{index}.test/"))
        await response.read()
    assert client.connection_count == 3
    await asyncio.sleep(0.1)
    assert connector.open_count == 3 and sum(session.goodbye for session in server.sessions) == 3


@pytest.mark.feature("HTTP", "Header injection and request smuggling are impossible")
@pytest.mark.parametrize("secure", [False, True])
def test_nothing_of_a_request_can_break_out_of_its_place(secure: bool) -> None:
    @virtual
    async def run() -> None:
        servers: list[Any] = [HttpServer(lambda _: Answer()), Http2Server(lambda _: Answer())]
        server = servers[secure]
        connector = Http2Connector(server.serve)
        client = HttpClient(LoopClock(), connector=connector)
        base = "https://a.test" if secure else "http://a.test"
        for bad in ("\r\n", "\n", "\r", "\0", "\r\n\r\nGET /evil HTTP/1.1\r\n"):
            for request in (
                HttpRequest(f"{base}/", method=f"GET{bad}X"),
                HttpRequest(f"{base}/", headers={"X-Test": f"a{bad}b"}),
                HttpRequest(f"{base}/", headers={f"X-{bad}Test": "a"}),
            ):
                with pytest.raises(HttpError) as caught:
                    await client.fetch(request)
                assert caught.value.code in ("bad_method", "bad_header")
        for name in ("Host", "Content-Length", "Transfer-Encoding", "Connection", "TE", "Upgrade", ":path"):
            with pytest.raises(HttpError) as caught:
                await client.fetch(HttpRequest(f"{base}/", method="POST", headers={name: "1"}, body=b"x"))
            assert caught.value.code in ("forbidden_header", "bad_header")
        assert not connector.near
        # In a URL they are taken away or encoded, as browsers do it.
        targets = {"/a\r\nb": "/ab", "/a b": "/a%20b", "/\0x": "/%00x", "/?q=\r\nX: y": "/?q=X:%20y", "/ä": "/%C3%A4"}
        for path, target in targets.items():
            response = await client.fetch(HttpRequest(base + path))
            await response.read()
            assert server.requests[-1].target == target
        assert len(server.requests) == len(targets)

    run()
