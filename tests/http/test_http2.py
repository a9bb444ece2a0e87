"""HTTP/2 against h2's own server side, in memory and virtual time: exchanges, multiplexing, flow control, retries."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
from h2.settings import Settings

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import Cancelled, ConnectionReset, HttpError, SmolmixError, TimeoutExpired
from smolmix_web.http import HttpClient, HttpRequest, HttpResponse, Timeouts
from smolmix_web.http.exchange import AHEAD, PIECE, Pieces
from smolmix_web.http.http2 import CONNECTION_WINDOW, MAX_STREAMS
from smolmix_web.http.http2_frames import RST_STREAM
from smolmix_web.http.http2_stream import QUIET_SECONDS, STREAM_WINDOW, STREAM_WINDOW_MAX
from smolmix_web.http.replay import KEPT
from tests.http2_server import Http2Connector, Http2Server, Http2Session
from tests.http_server import Answer, HttpServer, Request
from tests.virtual_loop import run_virtual, virtual

HTTP2 = pytest.mark.feature("HTTP", "HTTP/2 by ALPN")
MULTIPLEXING = pytest.mark.feature("HTTP", "HTTP/2 multiplexing")
FLOW = pytest.mark.feature("HTTP", "HTTP/2 flow control")
GOAWAY = pytest.mark.feature("HTTP", "HTTP/2 GOAWAY and retry rules")
WINDOW_UPDATE = 0x8
ABORT = pytest.mark.feature("HTTP", "HTTP/2 abort of one stream")


def world(server: Http2Server, **options: Any) -> tuple[HttpClient, Http2Connector]:
    connector = Http2Connector(server.serve)
    return HttpClient(LoopClock(), connector=connector, **options), connector


async def get(client: HttpClient, url: str = "https://a.test/", **kwargs: Any) -> tuple[int, bytes]:
    response = await client.fetch(HttpRequest(url, **kwargs))
    return response.status, await response.read()


async def start(client: HttpClient, url: str = "https://a.test/", **kwargs: Any) -> HttpResponse:
    return await client.fetch(HttpRequest(url, **kwargs))


def hello(request: Request) -> Answer:
    return Answer(headers=[("X-Target", request.target)], body=b"hello")


async def settle(times: int = 50) -> None:
    """Let everything happen that needs no time."""
    for _ in range(times):
        await asyncio.sleep(0)


# -- exchanges -------------------------------------------------------------------------------------


@HTTP2
@pytest.mark.parametrize(
    ("location", "target"),
    [("/\xe4?\xff", "/%E4?%FF"), ("https:/to", "/to"), ("https:to", "/x/to"), ("/" + "a" * 20_000, "/" + "a" * 20_000)],
)
@virtual
async def test_a_location(location: str, target: str) -> None:
    server = Http2Server(lambda request: Answer(302 if request.target == "/x/" else 200, [("Location", location)]))
    client, _ = world(server)
    response = await client.fetch(HttpRequest("https://a.test/x/"))
    assert (response.status, response.redirected, response.url) == (200, True, f"https://a.test{target}")
    response.abort()
    client.close()


@HTTP2
@virtual
async def test_an_empty_location_leads_nowhere() -> None:
    server = Http2Server(lambda _: Answer(302, [("Location", "")], b"here"))
    client, _ = world(server)
    assert await get(client) == (302, b"here")
    client.close()


@HTTP2
@pytest.mark.parametrize("status", [200, 204, 302, 421])
def test_what_names_no_content_coding(status: int) -> None:
    """As over HTTP/1.1; the connection lives on."""

    async def main() -> None:
        bad = Answer(status, [("Content-Encoding", "gzip;q=1"), ("Location", "/to")])
        server = Http2Server(lambda request: bad if request.target == "/" else hello(request))
        client, connector = world(server)
        with pytest.raises(HttpError) as caught:
            await get(client)
        assert (caught.value.code, caught.value.phase) == ("bad_content_encoding", "response")
        assert await get(client, "https://a.test/next") == (200, b"hello")
        assert len(server.fields) == 2 and len(connector.near) == 1
        client.close()

    run_virtual(main())


@FLOW
@virtual
async def test_short_frames_that_nobody_reads_are_put_together() -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(AHEAD):
            yield b"xy"

    client, _ = world(Http2Server(lambda _: Answer(body=body())))
    response = await start(client)
    await asyncio.sleep(1)
    waiting = Pieces()
    for _ in range(AHEAD):
        waiting.put(b"xy")
    taken = []
    while waiting:
        taken.append(waiting.take())
    assert max(map(len, taken)) <= PIECE and len(taken) <= 3 and waiting.size == 0
    assert await response.read() == b"".join(taken) == b"xy" * AHEAD
    client.close()


@HTTP2
@virtual
async def test_get() -> None:
    server = Http2Server(hello)
    client, connector = world(server)
    for _ in range(2):
        response = await start(client, "https://A.test:8443/p?q=1#f", headers={"X-Mine": "yes"})
        assert (response.status, response.http_version, response.timings.protocol) == (200, "2", "h2")
        assert response.header("x-target") == "/p?q=1"
        assert response.tls is not None and response.tls.alpn == "h2"
        assert await response.read() == b"hello" and response.finished
    assert len(connector.near) == 1 and client.connection_count == 1
    assert response.timings.reused and client.statistics.reused == 1
    names = [name for name, _ in server.fields[0]]
    assert names == [
        ":method", ":authority", ":scheme", ":path", "user-agent", "accept", "accept-language", "accept-encoding",
        "x-mine",
    ]  # fmt: skip
    assert server.fields[0][1] == (":authority", "a.test:8443")


@HTTP2
@virtual
async def test_plain_http_and_other_servers_get_http_1_1() -> None:
    server = HttpServer(hello)
    connector = Http2Connector(server.serve)
    connector.alpn = "http/1.1"
    client = HttpClient(LoopClock(), connector=connector)
    for url in ("http://a.test/", "https://a.test/"):
        response = await start(client, url)
        assert (response.timings.protocol, await response.read()) == ("http/1.1", b"hello")
    offering = HttpClient(LoopClock(), connector=Http2Connector(server.serve), http2=False)
    assert await get(offering) == (200, b"hello")


@HTTP2
@virtual
async def test_a_server_that_chose_http_1_1_is_offered_the_same_again() -> None:
    """A shorter offer would tell it that this is not the first connection."""
    offers = []

    class Noting(Http2Connector):
        async def connect(self, url: Any, timeouts: Any, alpn: Any = ("http/1.1",)) -> Any:
            offers.append(tuple(alpn))
            return await super().connect(url, timeouts, alpn)

    connector = Noting(HttpServer(hello).serve)
    connector.alpn = "http/1.1"
    client = HttpClient(LoopClock(), connector=connector)
    await get(client)
    await asyncio.gather(*(get(client) for _ in range(3)))
    assert len(offers) > 1 and set(offers) == {("h2", "http/1.1")}


@HTTP2
@virtual
async def test_statuses_head_and_empty_bodies() -> None:
    server = Http2Server(lambda r: Answer(int(r.target[1:])))
    client, connector = world(server)
    for status in (200, 204, 304, 404, 599):
        assert await get(client, f"https://a.test/{status}") == (status, b"")
    server.handler = lambda _: Answer(headers=[("content-length", "500")])
    assert await get(client, method="HEAD") == (200, b"")
    assert len(connector.near) == 1


@HTTP2
@virtual
async def test_bodies_go_up() -> None:
    server = Http2Server(hello)
    client, connector = world(server)

    async def pieces() -> AsyncIterator[bytes]:
        for index in range(5):
            await asyncio.sleep(1)
            yield bytes([index]) * 50_000

    big = bytes(range(256)) * 4000
    steps: list[tuple[int, int | None]] = []
    for body in (b"", b"small", big, pieces()):
        assert await get(client, method="POST", body=body) == (200, b"hello")
    await get(client, method="PUT", body=big, on_upload=lambda *step: steps.append(step))
    joined = b"".join(bytes([i]) * 50_000 for i in range(5))
    assert [request.body for request in server.requests] == [b"", b"small", big, joined, big]
    lengths = [request.headers.get("content-length") for request in server.requests]
    assert lengths == ["0", "5", str(len(big)), None, str(len(big))]
    assert steps[-1] == (len(big), len(big))
    assert len(connector.near) == 1


@HTTP2
@virtual
async def test_a_failing_body_ends_the_stream_and_not_the_connection() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"begin"
        await asyncio.sleep(1)
        raise ValueError("the application's own")

    async def short() -> AsyncIterator[bytes]:
        yield b"begin"

    server = Http2Server(hello)
    client, _ = world(server)
    with pytest.raises(ValueError, match="own"):
        await get(client, method="POST", body=failing())
    with pytest.raises(HttpError) as caught:
        await get(client, method="POST", body=short(), content_length=6)
    assert caught.value.code == "bad_body"
    assert await get(client) == (200, b"hello")
    assert len(server.sessions) == 1 and len(server.sessions[0].resets) == 2


@HTTP2
@virtual
async def test_coded_bodies() -> None:
    text = b"text " * 50_000
    server = Http2Server(lambda _: Answer(headers=[("content-encoding", "gzip")], body=gzip.compress(text)))
    client, _ = world(server)
    assert await get(client) == (200, text)


@HTTP2
@virtual
async def test_an_answer_before_the_body_is_sent() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    server = Http2Server(lambda _: Answer(413, body=b"too big"), early=True, read_bodies=False)
    client, _ = world(server)
    for body in (bytes(5_000_000), endless()):
        assert await get(client, method="POST", body=body) == (413, b"too big")
    await settle()
    assert server.sessions[0].resets == [1, 3]
    assert client.connection_count == 1


@pytest.mark.feature("HTTP", "Informational responses and trailers")
@virtual
async def test_informational_responses_and_trailers_are_skipped() -> None:
    async def handler(request: Request) -> Answer:
        session = server.sessions[0]
        (stream_id,) = session.tasks
        for status in ("100", "103"):
            session.protocol.send_headers(stream_id, [(":status", status)])
        session.protocol.send_headers(stream_id, [(":status", "200")])
        session.protocol.send_data(stream_id, b"body")
        session.protocol.send_headers(stream_id, [("x-checksum", "1")], end_stream=True)
        await session.flush()
        raise SmolmixError("answered")

    server = Http2Server(handler)
    client, _ = world(server)
    response = await start(client)
    assert (response.status, await response.read()) == (200, b"body")
    assert response.header("x-checksum") is None


# -- multiplexing ----------------------------------------------------------------------------------


@MULTIPLEXING
@virtual
async def test_many_requests_share_the_first_connection() -> None:
    async def slow(request: Request) -> Answer:
        await asyncio.sleep(10)
        return Answer(body=request.target.encode())

    server = Http2Server(slow)
    client, connector = world(server)
    connector.delay = 3
    clock = LoopClock()
    before = clock.now()
    answers = await asyncio.gather(*(get(client, f"https://a.test/{index}") for index in range(60)))
    assert [body for _, body in answers] == [f"/{index}".encode() for index in range(60)]
    assert len(connector.near) == 1 and server.most == 60
    assert clock.now() - before == pytest.approx(13)


@MULTIPLEXING
@virtual
async def test_an_origin_of_http_1_1_gets_more_connections_once_known() -> None:
    async def slow(request: Request) -> Answer:
        await asyncio.sleep(10)
        return hello(request)

    connector = Http2Connector(HttpServer(slow).serve)
    connector.alpn = "http/1.1"
    connector.delay = 1
    client = HttpClient(LoopClock(), connector=connector)
    clock = LoopClock()
    before = clock.now()
    await asyncio.gather(*(get(client) for _ in range(6)))
    assert clock.now() - before == pytest.approx(12) and len(connector.near) == 6


@MULTIPLEXING
@virtual
async def test_the_servers_limit_of_streams_is_kept_and_the_rest_waits_in_turn() -> None:
    async def slow(request: Request) -> Answer:
        await asyncio.sleep(1)
        return Answer(body=request.target.encode())

    server = Http2Server(slow, max_streams=3)
    client, connector = world(server)
    await get(client)  # the limit is known after it
    order: list[int] = []

    async def one(index: int) -> None:
        await get(client, f"https://a.test/{index}")
        order.append(index)

    await asyncio.gather(*(one(index) for index in range(20)))
    assert server.most == 3 and len(connector.near) == 1
    assert order == list(range(20))


@MULTIPLEXING
@virtual
async def test_when_the_first_connection_fails_the_others_try_for_themselves() -> None:
    class Failing(Http2Connector):
        attempts = 0

        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            self.attempts += 1
            if self.attempts == 1:
                await asyncio.sleep(5)
                raise ConnectionReset("no", phase="connect")
            return await super().connect(*args, **kwargs)

    server = Http2Server(hello)
    connector = Failing(server.serve)
    connector.delay = 2
    client = HttpClient(LoopClock(), connector=connector)
    results = await asyncio.gather(*(get(client) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, ConnectionReset) for result in results) == 1
    assert results.count((200, b"hello")) == 9
    assert client.connection_count == 1  # those that came at the same time were given up
    await settle()
    assert connector.open_count == 1


@MULTIPLEXING
@virtual
async def test_giving_up_while_connecting_lets_the_next_one_connect() -> None:
    server = Http2Server(hello)
    client, connector = world(server)
    connector.delay = 5
    first = asyncio.create_task(get(client))
    second = asyncio.create_task(get(client))
    await asyncio.sleep(1)
    first.cancel()
    assert await second == (200, b"hello")
    assert client.connection_count == 1


# -- flow control ----------------------------------------------------------------------------------


@FLOW
@virtual
async def test_a_reader_that_stands_still_stops_its_own_stream_only() -> None:
    server = Http2Server(lambda r: Answer(body=bytes(3_000_000) if r.target == "/big" else b"x" * 700_000))
    client, _ = world(server)
    held = [await start(client, "https://a.test/big") for _ in range(6)]
    await asyncio.sleep(100)  # runs into no deadline
    assert [server.sessions[0].sent[1 + 2 * index] for index in range(6)] == [STREAM_WINDOW] * 6
    assert await get(client) == (200, b"x" * 700_000)
    assert len(await held[3].read()) == 3_000_000
    for response in held:
        response.abort()


@FLOW
@virtual
async def test_all_streams_together_keep_a_bounded_number_of_bytes() -> None:
    server = Http2Server(lambda r: Answer(body=bytes(1_000_000) if r.target == "/" else b"small"), max_streams=1000)
    client, _ = world(server, total=1)
    held = [await start(client) for _ in range(MAX_STREAMS - 1)]
    await asyncio.sleep(10)
    assert sum(server.sessions[0].sent.values()) == len(held) * STREAM_WINDOW < CONNECTION_WINDOW
    assert [await get(client, "https://a.test/small") for _ in range(20)] == [(200, b"small")] * 20
    held.append(await start(client))
    waits = asyncio.create_task(get(client, "https://a.test/small"))  # every place is taken by what nobody reads
    await asyncio.sleep(10)
    assert not waits.done()
    sizes = await asyncio.gather(*(response.read() for response in held))
    assert {len(body) for body in sizes} == {1_000_000}
    assert await waits == (200, b"small") and len(server.sessions) == 1


@FLOW
@virtual
async def test_windows_widen_for_a_reader_that_keeps_up() -> None:
    server = Http2Server(lambda r: Answer(body=bytes(20_000_000)))
    client, _ = world(server)
    response = await start(client)
    read = 0
    while read < 10_000_000:
        read += len(await response.read_chunk())
    await asyncio.sleep(10)
    ahead = server.sessions[0].sent[1] - read
    assert STREAM_WINDOW < ahead <= STREAM_WINDOW_MAX
    response.abort()


@FLOW
@virtual
async def test_uploads_keep_to_the_servers_windows() -> None:
    server = Http2Server(hello, window=10_000, read_bodies=False)
    client, _ = world(server, timeouts=Timeouts(request=5))
    with pytest.raises(TimeoutExpired) as caught:
        await get(client, method="POST", body=bytes(100_000))
    assert caught.value.phase == "request"
    await settle()
    assert len(server.sessions[0].requests[1].body) == 10_000
    assert server.sessions[0].resets == [1]
    server.read_bodies = True
    assert await get(client, method="PUT", body=bytes(100_000)) == (200, b"hello")


@FLOW
@virtual
async def test_an_upload_waits_for_the_byte_stream() -> None:
    """What a deaf server does not take stays with the application's iterator."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 10_000
            yield bytes(10_000)

    async def deaf(stream: Any) -> None:
        session = Http2Session(Http2Server(hello, window=1 << 30), stream)
        session.protocol.local_settings = Settings(client=False, initial_values=session.server.settings)
        session.protocol.initiate_connection()
        session.protocol.increment_flow_control_window(1 << 29)
        await session.flush()
        await asyncio.sleep(10_000)

    client = HttpClient(LoopClock(), connector=Http2Connector(deaf), timeouts=Timeouts(request=5))
    with pytest.raises(TimeoutExpired):
        await get(client, method="POST", body=endless())
    assert taken < 300_000


# -- aborts ----------------------------------------------------------------------------------------


@ABORT
@virtual
async def test_an_aborted_stream_is_reset_and_the_connection_lives_on() -> None:
    server = Http2Server(lambda r: Answer(body=bytes(3_000_000)) if r.target == "/big" else hello(r))
    client, _ = world(server)
    response = await start(client, "https://a.test/big")
    assert await response.read_chunk()
    reading = asyncio.create_task(response.read())
    await settle(3)
    response.abort()
    with pytest.raises(Cancelled):
        await reading
    await settle()
    session = server.sessions[0]
    assert session.resets == [1] and response.finished
    assert await get(client) == (200, b"hello")
    assert len(server.sessions) == 1


@ABORT
@virtual
async def test_cancelling_a_request_resets_its_stream() -> None:
    async def never(request: Request) -> Answer:
        await asyncio.sleep(10_000)
        return Answer()

    server = Http2Server(never, window=1000, read_bodies=False)
    client, _ = world(server)
    for method, body in (("GET", None), ("POST", bytes(100_000))):
        task = asyncio.create_task(get(client, method=method, body=body))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await settle()
    assert server.sessions[0].resets == [1, 3]
    assert client.connection_count == 1


@ABORT
@virtual
async def test_what_an_aborted_stream_still_receives_counts_for_the_connection() -> None:
    """A server that sends on for a while: the connection's window is opened again, without a reset for each frame."""
    server = Http2Server(lambda r: Answer(body=bytes(300_000)))
    client, _ = world(server)
    response = await start(client)
    response.abort()
    await settle()
    session = server.sessions[0]
    frame = (16_384).to_bytes(3, "big") + b"\0\0" + (1).to_bytes(4, "big") + bytes(16_384)
    sent = 0
    while sent < 3 * CONNECTION_WINDOW:
        await session.stream.write(frame)
        sent += 16_384
    await settle()
    assert session.protocol.outbound_flow_control_window > 3 * CONNECTION_WINDOW  # what h2 knows nothing of was sent
    assert session.frames[RST_STREAM] == 1 and session.frames[WINDOW_UPDATE] < 20
    assert await get(client) == (200, bytes(300_000))
    assert len(server.sessions) == 1


# -- the server ends things ------------------------------------------------------------------------


class Goodbye:
    """Says GOAWAY at the `at`-th request of the first connection, having acted on those up to stream `last`."""

    def __init__(self, at: int, last: int, code: int = 0) -> None:
        self.server = Http2Server(self.handle)
        self.at, self.last, self.code = at, last, code

    async def handle(self, request: Request) -> Answer:
        session = self.server.sessions_of[-1]
        first = session is self.server.sessions[0]
        mine = next(i for i, r in session.requests.items() if r is request)
        if first and len(session.requests) == self.at and mine == max(session.requests):
            frame = (8).to_bytes(3, "big") + b"\x07\x00" + bytes(4)
            await session.stream.write(frame + self.last.to_bytes(4, "big") + self.code.to_bytes(4, "big"))
        if first and mine > self.last:
            await asyncio.sleep(10_000)
        await asyncio.sleep(5)
        return Answer(body=request.target.encode())


@GOAWAY
@virtual
async def test_goaway_lets_streams_finish_and_repeats_the_others() -> None:
    goodbye = Goodbye(at=4, last=3)
    client, connector = world(goodbye.server)
    urls = [f"https://a.test/{index}" for index in range(4)]
    methods = ["GET", "POST", "POST", "GET"]
    results = await asyncio.gather(
        *(get(client, url, method=m, body=b"x" if m == "POST" else None) for url, m in zip(urls, methods, strict=True))
    )
    assert results == [(200, f"/{index}".encode()) for index in range(4)]
    assert len(connector.near) == 2 and client.statistics.retried == 2
    assert len(goodbye.server.sessions[0].requests) == 4 and len(goodbye.server.sessions[1].requests) == 2
    await asyncio.sleep(1)
    assert client.connection_count == 1 and connector.open_count == 1  # the old one is closed
    assert await get(client) == (200, b"/")
    assert len(connector.near) == 2


@GOAWAY
@virtual
async def test_a_streamed_body_is_sent_twice_only_where_all_of_it_was_kept() -> None:
    async def stream(size: int) -> AsyncIterator[bytes]:
        for _ in range(4):
            yield bytes(size)

    client, connector = world(Goodbye(at=1, last=0).server)
    assert await get(client, method="POST", body=stream(KEPT // 4)) == (200, b"/")
    assert len(connector.near) == 2
    client, connector = world(Goodbye(at=1, last=0).server)
    with pytest.raises(ConnectionReset) as caught:
        await get(client, method="POST", body=stream(KEPT // 4 + 1))
    assert caught.value.reason == "no_error"
    assert len(connector.near) == 1


@GOAWAY
@virtual
async def test_refused_streams_are_repeated_and_not_for_ever() -> None:
    refusals = 0

    async def handler(request: Request) -> Answer:
        session = server.sessions_of[-1]
        if len(server.requests) <= refusals:
            session.protocol.reset_stream(max(session.requests), 0x7)
            await session.flush()
            raise SmolmixError("refused")
        return hello(request)

    server = Http2Server(handler)
    client, _ = world(server)
    refusals = 1
    assert await get(client, method="POST", body=b"order") == (200, b"hello")
    refusals = 1000
    with pytest.raises(ConnectionReset) as caught:
        await get(client)
    assert caught.value.reason == "refused_stream"
    assert len(server.requests) == 2 + 3


@GOAWAY
@virtual
async def test_streams_beyond_a_limit_that_was_not_known_are_sent_again() -> None:
    async def handler(request: Request) -> Answer:
        session = server.sessions_of[-1]
        mine = next(i for i, r in session.requests.items() if r is request)
        if mine > 5 and len(server.requests) <= 10:
            session.protocol.reset_stream(mine, 0x7)
            await session.flush()
            raise SmolmixError("refused")
        await asyncio.sleep(1)
        return hello(request)

    server = Http2Server(handler, max_streams=10)
    client, _ = world(server)
    results = await asyncio.gather(*(get(client) for _ in range(10)))
    assert results == [(200, b"hello")] * 10


@GOAWAY
@virtual
async def test_a_server_that_wants_http_1_1_gets_it() -> None:
    async def refuse(request: Request) -> Answer:
        session = two.sessions_of[-1]
        session.protocol.reset_stream(max(session.requests), 0xD)
        await session.flush()
        raise SmolmixError("refused")

    two, one = Http2Server(refuse), HttpServer(hello)

    class Both(Http2Connector):
        async def connect(self, url: Any, timeouts: Any, alpn: Any = ("http/1.1",)) -> Any:
            self._serve = two.serve if "h2" in alpn else one.serve
            return await super().connect(url, timeouts, alpn)

    connector = Both(two.serve)
    client = HttpClient(LoopClock(), connector=connector)
    for _ in range(2):
        response = await start(client, method="POST", body=b"order")
        assert (response.timings.protocol, await response.read()) == ("http/1.1", b"hello")
    assert len(two.requests) == 1 and len(one.requests) == 2


@GOAWAY
@pytest.mark.parametrize("how", ["reset", "eof"])
def test_a_connection_that_was_closed_meanwhile_is_replaced(how: str) -> None:
    @virtual
    async def run() -> None:
        async def handler(request: Request) -> Answer:
            if len(server.requests) == 2:
                stream = server.sessions[0].stream
                if how == "reset":
                    stream.abort()
                else:
                    await stream.close()
                raise SmolmixError("closed")
            return hello(request)

        server = Http2Server(handler)
        client, connector = world(server)
        await get(client)
        assert await get(client) == (200, b"hello")
        assert len(connector.near) == 2 and client.statistics.retried == 1
        server.requests.clear()
        await get(client)

    run()


@GOAWAY
@virtual
async def test_a_post_is_not_repeated_when_the_connection_broke() -> None:
    async def handler(request: Request) -> Answer:
        server.sessions[0].stream.abort()
        raise SmolmixError("closed")

    server = Http2Server(handler)
    client, connector = world(server)
    for method, body in (("POST", b"x"), ("GET", None)):  # nor a GET on a connection that was new
        connector.near.clear()
        server.sessions.clear()
        with pytest.raises(ConnectionReset):
            await get(client, method=method, body=body)
        assert len(connector.near) == 1
        assert client.connection_count == 0


@GOAWAY
@virtual
async def test_the_end_inside_a_body() -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b"some"
        await asyncio.sleep(1)
        await server.sessions[0].stream.close()
        await asyncio.sleep(1000)

    server = Http2Server(lambda _: Answer(body=drip()))
    client, _ = world(server)
    response = await start(client)
    assert await response.read_chunk() == b"some"
    with pytest.raises(HttpError) as caught:
        await response.read()
    assert (caught.value.code, caught.value.phase) == ("truncated_body", "body")
    assert client.connection_count == 0


# -- health and idleness ---------------------------------------------------------------------------


@pytest.mark.feature("HTTP", "HTTP/2 connections are checked before use after silence")
@virtual
async def test_a_post_after_silence_is_sent_when_a_ping_came_back() -> None:
    server = Http2Server(hello)
    client, connector = world(server, idle_seconds=1000)
    await get(client)
    await asyncio.sleep(100)
    assert await get(client, method="POST", body=b"x") == (200, b"hello")
    assert server.sessions[0].pings == 1 and len(connector.near) == 1
    assert await get(client, method="POST", body=b"x") == (200, b"hello")
    assert server.sessions[0].pings == 1


@pytest.mark.feature("HTTP", "HTTP/2 connections are checked before use after silence")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_died_silently_is_replaced(method: str) -> None:
    @virtual
    async def run() -> None:
        server = Http2Server(hello)
        client, connector = world(server, idle_seconds=1000)
        await get(client)
        connector.tasks[0].cancel()  # nobody reads, nobody answers
        await asyncio.sleep(QUIET_SECONDS + 1)
        before = LoopClock().now()
        assert await get(client, method=method, body=b"x" if method == "POST" else None) == (200, b"hello")
        assert LoopClock().now() - before == pytest.approx(20)
        assert len(connector.near) == 2

    run()


@pytest.mark.feature("HTTP", "Idle connections end")
@virtual
async def test_idle_connections_end_with_a_goodbye() -> None:
    server = Http2Server(hello)
    client, connector = world(server, idle_seconds=30)
    await get(client)
    await asyncio.sleep(29)
    await get(client)
    await asyncio.sleep(29)
    assert client.connection_count == 1
    await asyncio.sleep(2)
    assert client.connection_count == 0 and connector.open_count == 0
    assert server.sessions[0].goodbye


@pytest.mark.feature("HTTP", "Idle connections end")
@virtual
async def test_closing_the_client_ends_everything() -> None:
    async def never(request: Request) -> Answer:
        await asyncio.sleep(10_000)
        return Answer()

    server = Http2Server(lambda r: never(r) if r.target == "/slow" else hello(r))
    client, connector = world(server)
    await get(client, "https://b.test/")
    pending = asyncio.create_task(get(client, "https://a.test/slow"))
    await asyncio.sleep(1)
    client.close()
    with pytest.raises(SmolmixError):
        await pending
    with pytest.raises(SmolmixError):
        await get(client)
    await settle()
    assert client.connection_count == 0 and connector.open_count == 0


# -- deadlines -------------------------------------------------------------------------------------


@pytest.mark.feature("HTTP", "Deadlines of each phase")
@pytest.mark.parametrize(("phase", "seconds"), [("response", 7), ("idle", 11), ("total", 3), ("queue", 9)])
def test_deadlines_by_phase(phase: str, seconds: float) -> None:
    @virtual
    async def run() -> None:
        async def drip() -> AsyncIterator[bytes]:
            yield b"some"
            await asyncio.sleep(10_000)

        async def handler(request: Request) -> Answer:
            if phase in ("idle", "total"):
                return Answer(body=drip())
            await asyncio.sleep(10_000)
            return Answer()

        server = Http2Server(handler, max_streams=1)
        total = 3 if phase == "total" else None
        client, _ = world(server, timeouts=Timeouts(queue=9, response=7, idle=11, total=total))
        tasks = [asyncio.create_task(get(client))]
        await asyncio.sleep(0.5)
        if phase == "queue":
            tasks.append(asyncio.create_task(get(client, timeouts=Timeouts(queue=4))))
        before = LoopClock().now()
        with pytest.raises(TimeoutExpired) as caught:
            await tasks[-1]
        assert (caught.value.phase, caught.value.code) == (phase, f"{phase}_timeout")
        spent = LoopClock().now() - before
        assert spent == pytest.approx(4 if phase == "queue" else seconds - 0.5)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert client.connection_count == 1  # the connection itself is sound

    run()
