"""The client over byte streams in memory: exchanges, pool, redirects, bodies, deadlines, aborts."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import Cancelled, ConnectionReset, HttpError, SmolmixError, TimeoutExpired
from smolmix_web.http import HttpClient, HttpRequest, Timeouts
from smolmix_web.http.headers import DEFAULTS
from tests.http_server import Answer, Handler, HttpServer, PipeConnector, Request
from tests.virtual_loop import virtual


def client_for(server: HttpServer, **options: Any) -> tuple[HttpClient, PipeConnector]:
    connector = PipeConnector(server.serve)
    return HttpClient(LoopClock(), connector=connector, **options), connector


def raw_client(serve: Callable[[ByteStream], Awaitable[None]], **options: Any) -> tuple[HttpClient, PipeConnector]:
    connector = PipeConnector(serve)
    return HttpClient(LoopClock(), connector=connector, **options), connector


def canned(data: bytes, *, close: bool = True) -> Callable[[ByteStream], Awaitable[None]]:
    """A server that answers anything with these bytes."""

    async def serve(stream: ByteStream) -> None:
        await stream.read()
        await stream.write(data)
        if close:
            await stream.close()

    return serve


async def get(client: HttpClient, url: str = "http://a.test/", **kwargs: Any) -> tuple[int, bytes]:
    response = await client.fetch(HttpRequest(url, **kwargs))
    return response.status, await response.read()


def hello(request: Request) -> Answer:
    return Answer(headers=[("X-Target", request.target)], body=b"hello")


# -- exchanges -------------------------------------------------------------------------------------


@virtual
async def test_get() -> None:
    server = HttpServer(hello)
    client, _ = client_for(server)
    response = await client.fetch(HttpRequest("http://A.test:8080/p?q=1#f", headers={"X-Mine": "yes"}))
    assert (response.status, response.reason, response.http_version) == (200, "", "1.1")
    assert response.url == "http://a.test:8080/p?q=1#f"
    assert not response.redirected and response.tls is None
    assert response.header("x-target") == "/p?q=1"
    assert response.header("absent") is None
    assert not response.finished
    assert await response.read() == b"hello"
    assert response.finished
    assert await response.read() == b""
    (request,) = server.requests
    assert request.headers["host"] == "a.test:8080"
    assert request.headers["x-mine"] == "yes"
    assert request.headers["accept"] == dict(DEFAULTS)["Accept"]
    assert "gzip" in request.headers["accept-encoding"]
    assert request.headers["connection"] == "keep-alive"


@virtual
async def test_statuses_are_responses() -> None:
    for status in (204, 304, 400, 404, 500, 599):
        client, _ = client_for(HttpServer(lambda _, status=status: Answer(status, [("Content-Length", "0")])))
        response = await client.fetch(HttpRequest("http://a.test/"))
        assert response.status == status
        assert response.bodiless and response.finished
        assert await response.read() == b""


@virtual
async def test_head_has_no_body_whatever_the_header_says() -> None:
    server = HttpServer(lambda _: Answer(headers=[("Content-Length", "5000"), ("Content-Encoding", "gzip")]))
    client, connector = client_for(server)
    for _ in range(2):
        assert await get(client, method="head") == (200, b"")
    assert server.requests[0].method == "HEAD"
    assert len(connector.near) == 1


@virtual
async def test_methods() -> None:
    server = HttpServer(hello)
    client, _ = client_for(server)
    for method in ("post", "Put", "DELETE", "options", "patch"):
        await get(client, method=method)
    assert [r.method for r in server.requests] == ["POST", "PUT", "DELETE", "OPTIONS", "patch"]
    assert server.requests[0].headers["content-length"] == "0"
    assert "content-length" not in server.requests[2].headers
    for method in ("CONNECT", "trace", "a b", ""):
        with pytest.raises(HttpError) as caught:
            await client.fetch(HttpRequest("http://a.test/", method=method))
        assert caught.value.code == "bad_method"


@virtual
async def test_bad_requests_are_refused_before_anything_is_opened() -> None:
    client, connector = client_for(HttpServer(hello))
    for request in (
        HttpRequest("nonsense"),
        HttpRequest("http://a.test/", headers={"Host": "b"}),
        HttpRequest("http://a.test/", body=b"x"),
        HttpRequest("http://a.test/", method="POST", body=5),  # type: ignore[arg-type]
        HttpRequest("http://a.test/", redirect="maybe"),  # type: ignore[arg-type]
    ):
        with pytest.raises(HttpError):
            await client.fetch(request)
    assert not connector.near and client.connection_count == 0


@virtual
async def test_bodies_go_up() -> None:
    server = HttpServer(hello)
    client, _ = client_for(server)

    async def pieces() -> AsyncIterator[bytes]:
        for index in range(5):
            await asyncio.sleep(1)
            yield bytes([index]) * 50_000

    big = bytes(range(256)) * 1500
    await get(client, method="POST", body=b"")
    await get(client, method="POST", body=b"small")
    await get(client, method="POST", body="t\u00e9xt")
    await get(client, method="POST", body=big)
    await get(client, method="POST", body=pieces())
    bodies = [request.body for request in server.requests]
    assert bodies[:4] == [b"", b"small", "t\u00e9xt".encode(), big]
    assert bodies[4] == b"".join(bytes([i]) * 50_000 for i in range(5))
    assert server.requests[4].headers["transfer-encoding"] == "chunked"
    assert server.requests[3].headers["content-length"] == str(len(big))
    assert server.connections == 1


@virtual
async def test_a_failing_or_wrong_body_iterator_fails_the_fetch() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"begin"
        raise ValueError("the application's own")

    async def wrong() -> AsyncIterator[Any]:
        yield "text"

    client, connector = client_for(HttpServer(hello))
    with pytest.raises(ValueError, match="own"):
        await get(client, method="POST", body=failing())
    with pytest.raises(HttpError) as caught:
        await get(client, method="POST", body=wrong())
    assert caught.value.code == "bad_body"
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_an_answer_before_the_body_is_sent() -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.read(100)
        await stream.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(10_000)

    client, connector = raw_client(refuse)
    for body in (bytes(5_000_000), endless()):
        assert await get(client, method="POST", body=body) == (413, b"big")
        await asyncio.sleep(0)
        assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_informational_responses_are_skipped() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    data += b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    client, _ = raw_client(canned(data))
    assert await get(client) == (200, b"ok")
    client, _ = raw_client(canned(b"HTTP/1.1 100 Continue\r\n\r\n" * 65))
    with pytest.raises(HttpError) as caught:
        await get(client)
    assert caught.value.code == "http_protocol"


@virtual
async def test_repeated_headers_are_kept_in_order() -> None:
    client, _ = client_for(
        HttpServer(lambda _: Answer(headers=[("Set-Cookie", "a"), ("X", "\xe4"), ("set-cookie", "b")]))
    )
    response = await client.fetch(HttpRequest("http://a.test/"))
    assert [v for n, v in response.headers if n == "set-cookie"] == ["a", "b"]
    assert response.header("x") == "\xe4"
    await response.read()


# -- bodies ----------------------------------------------------------------------------------------


@virtual
async def test_chunked_and_until_close() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n"
    )
    client, connector = raw_client(canned(chunked, close=False))
    assert await get(client) == (200, b"hello!")
    assert client.connection_count == 1
    client, connector = raw_client(canned(b"HTTP/1.0 200 OK\r\n\r\nto the end"))
    assert await get(client) == (200, b"to the end")
    await asyncio.sleep(0)
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_byte_by_byte() -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

    async def slow(stream: ByteStream) -> None:
        await stream.read()
        for byte in data:
            await stream.write(bytes([byte]))
            await asyncio.sleep(1)

    client, _ = raw_client(slow)
    assert await get(client) == (200, b"hello")


@virtual
async def test_encoded_bodies_are_decoded_unless_told_otherwise() -> None:
    text = b"text " * 50_000
    packed = gzip.compress(text)
    server = HttpServer(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=packed))
    client, _ = client_for(server)
    assert await get(client) == (200, text)
    assert await get(client, decode=False) == (200, packed)
    assert await get(client, headers={"Range": "bytes=0-"}) == (200, text)
    assert server.requests[2].headers["accept-encoding"] == "identity"
    assert server.connections == 1


@virtual
async def test_unknown_coding_is_handed_over() -> None:
    client, _ = client_for(HttpServer(lambda _: Answer(headers=[("Content-Encoding", "x-own")], body=b"\x0b\x02")))
    assert await get(client) == (200, b"\x0b\x02")


@virtual
async def test_damaged_coding_fails_and_frees() -> None:
    client, connector = client_for(HttpServer(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=b"junk!")))
    with pytest.raises(HttpError) as caught:
        await get(client)
    assert caught.value.code == "bad_content_encoding"
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_the_body_is_fetched_no_faster_than_it_is_read() -> None:
    server = HttpServer(lambda _: Answer(body=bytes(3_000_000)))
    client, connector = client_for(server)
    response = await client.fetch(HttpRequest("http://a.test/"))
    first = await response.read_chunk()
    assert first
    await asyncio.sleep(500)  # a reader that takes its time runs into no deadline
    assert connector.far[0].written < 400_000
    assert len(first) + len(await response.read()) == 3_000_000


@virtual
async def test_read_limit() -> None:
    client, _connector = client_for(HttpServer(lambda _: Answer(body=bytes(100_000))))
    response = await client.fetch(HttpRequest("http://a.test/"))
    with pytest.raises(HttpError) as caught:
        await response.read(50_000)
    assert caught.value.code == "body_too_large"
    assert client.connection_count == 0


# -- the pool --------------------------------------------------------------------------------------


@virtual
async def test_connections_are_reused_per_origin() -> None:
    client, connector = client_for(HttpServer(hello))
    for url in ("http://a.test/1", "http://a.test/2", "http://b.test/", "http://a.test:81/", "http://a.test/3"):
        await get(client, url)
    assert connector.origins == ["http://a.test", "http://b.test", "http://a.test:81"]
    assert client.statistics.reused == 2


@virtual
async def test_at_most_six_at_a_time_and_the_rest_waits_in_turn() -> None:
    running = most = 0

    async def slow(request: Request) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(10)
        running -= 1
        return Answer(body=request.target.encode())

    client, connector = client_for(HttpServer(slow))
    answers = await asyncio.gather(*(get(client, f"http://a.test/{index}") for index in range(20)))
    assert [body for _, body in answers] == [f"/{index}".encode() for index in range(20)]
    assert most == 6 and len(connector.near) == 6
    assert client.connection_count == 6


@virtual
async def test_idle_connections_give_way_to_other_origins_and_expire() -> None:
    client, connector = client_for(HttpServer(hello), total=3, idle_seconds=30)
    for index in range(5):
        await get(client, f"http://h{index}.test/")
    assert client.connection_count == 3
    await asyncio.sleep(0)
    assert connector.open_count == 3
    await asyncio.sleep(31)
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_a_connection_closed_while_idle_is_dropped_at_once() -> None:
    client, connector = client_for(HttpServer(hello))
    await get(client)
    await connector.far[0].close()
    await asyncio.sleep(0)
    assert client.connection_count == 0 and connector.open_count == 0
    assert await get(client) == (200, b"hello")


@virtual
async def test_unasked_bytes_on_an_idle_connection_end_it() -> None:
    client, connector = client_for(HttpServer(hello))
    await get(client)
    await connector.far[0].write(b"HTTP/1.1 408 Timeout\r\n\r\n")
    await asyncio.sleep(0)
    assert client.connection_count == 0
    assert await get(client) == (200, b"hello")


def stale_after_first(how: str) -> tuple[Handler, list[Request]]:
    """A server that dies, without a word, at the second request of its first connection."""
    seen: list[Request] = []

    async def handler(request: Request) -> Answer:
        seen.append(request)
        if len(seen) == 2:
            raise ConnectionReset(how)
        return hello(request)

    return handler, seen


async def stale_client(how: str) -> tuple[HttpClient, PipeConnector, list[Request]]:
    handler, seen = stale_after_first(how)
    server = HttpServer(handler)

    async def serve(stream: ByteStream) -> None:
        await server.serve(stream)  # swallows the error
        if how == "reset":
            stream.abort()
        else:
            await stream.close()

    client, connector = raw_client(serve)
    await get(client)
    return client, connector, seen


@pytest.mark.parametrize("how", ["reset", "eof"])
def test_a_stale_connection_is_tried_again_once(how: str) -> None:
    @virtual
    async def run() -> None:
        client, connector, seen = await stale_client(how)
        assert await get(client) == (200, b"hello")
        assert len(seen) == 3 and len(connector.near) == 2
        assert client.statistics.retried == 1

    run()


@virtual
async def test_a_fresh_connection_that_fails_is_not_tried_again() -> None:
    client, connector = raw_client(canned(b""))
    with pytest.raises(HttpError):
        await get(client)
    assert len(connector.near) == 1


@virtual
async def test_closing_the_client_ends_everything() -> None:
    async def never(_: Request) -> Answer:
        await asyncio.sleep(1000)
        return Answer()

    client, connector = client_for(HttpServer(lambda r: never(r) if r.target == "/slow" else hello(r)))
    await get(client)
    pending = asyncio.create_task(get(client, "http://b.test/slow"))
    await asyncio.sleep(1)
    client.close()
    with pytest.raises(SmolmixError):
        await pending
    with pytest.raises(SmolmixError):
        await get(client)
    await asyncio.sleep(0)
    assert client.connection_count == 0 and connector.open_count == 0


# -- redirects -------------------------------------------------------------------------------------


def hops(request: Request) -> Answer:
    count = int(request.target.rpartition("/")[2])
    if not count:
        return Answer(body=request.method.encode() + b" " + request.body)
    return Answer(307, [("Location", f"/{count - 1}")], body=b"moved")


@virtual
async def test_redirects_are_followed_on_one_connection() -> None:
    client, connector = client_for(HttpServer(hops))
    response = await client.fetch(HttpRequest("http://a.test/5", method="POST", body=b"data"))
    assert (response.url, response.redirected) == ("http://a.test/0", True)
    assert await response.read() == b"POST data"
    assert len(connector.near) == 1
    assert client.statistics.redirects == 5


class Again(AsyncIterator[bytes]):
    """A body that can be had again."""

    def __init__(self) -> None:
        self.pieces = [b"da", b"ta"]

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)

    def rewind(self) -> Again:
        return Again()


@pytest.mark.feature("Fetch", "redirects: a streamed body that can be had again is sent again, with its length")
@virtual
async def test_a_body_is_rewound_for_each_hop() -> None:
    server = HttpServer(hops)
    client, _ = client_for(server)
    request = HttpRequest("http://a.test/2", method="PUT", body=Again(), content_length=4)
    assert await (await client.fetch(request)).read() == b"PUT data"
    assert [sent.headers["content-length"] for sent in server.requests] == ["4"] * 3


@virtual
async def test_a_redirect_that_does_not_wait_for_the_body() -> None:
    """The upload of the first hop has ended before the second asks for its first piece."""
    asked: list[str] = []

    class Slow(Again):
        def __init__(self, hop: str = "first") -> None:
            super().__init__()
            self.hop = hop

        async def __anext__(self) -> bytes:
            asked.append(self.hop)
            try:
                await asyncio.sleep(1)
            finally:
                asked.append(f"{self.hop} goes on")
            return await super().__anext__()

        def rewind(self) -> Slow:
            return Slow("second")

    final = HttpServer(lambda request: Answer(body=request.body))
    connections: list[ByteStream] = []

    async def serve(stream: ByteStream) -> None:
        connections.append(stream)
        if len(connections) > 1:
            await final.serve(stream)
            return
        await stream.read()
        await stream.write(b"HTTP/1.1 308 \r\nLocation: /end\r\nContent-Length: 0\r\n\r\n")

    client, _ = raw_client(serve)
    request = HttpRequest("http://a.test/", method="PUT", body=Slow(), content_length=4)
    assert await (await client.fetch(request)).read() == b"data"
    assert asked[:2] == ["first", "first goes on"] and set(asked[2:]) == {"second", "second goes on"}


@virtual
async def test_too_many_redirects() -> None:
    client, connector = client_for(HttpServer(hops), max_redirects=5)
    with pytest.raises(HttpError) as caught:
        await get(client, "http://a.test/6")
    assert (caught.value.code, caught.value.phase) == ("too_many_redirects", "redirect")
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_redirect_modes() -> None:
    client, connector = client_for(HttpServer(hops))
    assert await get(client, "http://a.test/1", redirect="manual") == (307, b"moved")
    with pytest.raises(HttpError) as caught:
        await get(client, "http://a.test/1", redirect="error")
    assert caught.value.code == "redirect_refused"
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_to_another_origin_without_credentials() -> None:
    server = HttpServer(
        lambda r: hello(r) if r.headers["host"] == "b.test" else Answer(301, [("Location", "http://b.test/")])
    )
    client, _ = client_for(server)
    assert await get(client, headers={"Authorization": "x", "Cookie": "y"}) == (200, b"hello")
    assert "authorization" in server.requests[0].headers
    assert not {"authorization", "cookie"} & server.requests[1].headers.keys()


@virtual
async def test_insecure_redirect() -> None:
    server = HttpServer(lambda _: Answer(301, [("Location", "http://a.test/")]))
    client, _ = client_for(server)
    with pytest.raises(HttpError) as caught:
        await get(client, "https://a.test/")
    assert caught.value.code == "insecure_redirect"
    assert client.connection_count == 0


# -- deadlines and aborts --------------------------------------------------------------------------


async def silent(stream: ByteStream) -> None:
    await stream.read()
    await asyncio.sleep(10_000)


async def stalls(stream: ByteStream) -> None:
    await stream.read()
    await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
    await asyncio.sleep(10_000)


async def deaf(stream: ByteStream) -> None:
    await asyncio.sleep(10_000)


TIMEOUTS = Timeouts(queue=9, request=5, response=7, idle=11, total=100)


@pytest.mark.feature("HTTP", "Deadlines of each phase")
@pytest.mark.parametrize(
    ("serve", "phase", "seconds", "body"),
    [(silent, "response", 7, None), (stalls, "idle", 11, None), (deaf, "request", 5, bytes(1_000_000))],
)
def test_deadlines_by_phase(serve: Any, phase: str, seconds: float, body: bytes | None) -> None:
    @virtual
    async def run() -> None:
        client, connector = raw_client(serve, timeouts=TIMEOUTS)
        clock = LoopClock()
        before = clock.now()
        with pytest.raises(TimeoutExpired) as caught:
            await get(client, method="POST" if body else "GET", body=body)
        assert (caught.value.phase, caught.value.code) == (phase, f"{phase}_timeout")
        assert clock.now() - before == pytest.approx(seconds)
        assert client.connection_count == 0 and connector.open_count == 0

    run()


@virtual
async def test_deadline_of_the_queue() -> None:
    client, _ = raw_client(silent, timeouts=Timeouts(queue=9), per_origin=1)
    first = asyncio.create_task(get(client))
    await asyncio.sleep(1)
    with pytest.raises(TimeoutExpired) as caught:
        await get(client)
    assert (caught.value.phase, caught.value.code) == ("queue", "queue_timeout")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert client.connection_count == 0


@pytest.mark.parametrize("serve", [silent, stalls, deaf])
def test_the_total_deadline_covers_everything(serve: Any) -> None:
    @virtual
    async def run() -> None:
        client, connector = raw_client(serve)
        clock = LoopClock()
        before = clock.now()
        with pytest.raises(TimeoutExpired) as caught:
            await get(client, timeout=3)
        assert (caught.value.phase, caught.value.code) == ("total", "total_timeout")
        assert clock.now() - before == pytest.approx(3)
        assert client.connection_count == 0 and connector.open_count == 0

    run()


@pytest.mark.parametrize("serve", [silent, deaf])
@pytest.mark.parametrize("delay", [0.0, 5.0])
def test_cancelling_frees_the_flow(serve: Any, delay: float) -> None:
    @virtual
    async def run() -> None:
        client, connector = raw_client(serve)
        connector.delay = delay
        task = asyncio.create_task(get(client, method="POST", body=bytes(1_000_000)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert client.connection_count == 0 and connector.open_count == 0

    run()


@virtual
async def test_abort_in_the_middle_of_a_body() -> None:
    client, connector = raw_client(stalls)
    response = await client.fetch(HttpRequest("http://a.test/"))
    assert await response.read_chunk() == b"some"
    reading = asyncio.create_task(response.read_chunk())
    await asyncio.sleep(1)
    response.abort()
    with pytest.raises(Cancelled):
        await reading
    with pytest.raises(Cancelled):
        await response.read()
    assert response.finished
    assert client.connection_count == 0 and connector.open_count == 0
    assert connector.far[0].reset


@virtual
async def test_cancelling_a_reader_frees_the_flow() -> None:
    client, connector = raw_client(stalls)
    response = await client.fetch(HttpRequest("http://a.test/"))
    task = asyncio.create_task(response.read())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.connection_count == 0 and connector.open_count == 0


@virtual
async def test_reset_in_the_middle_of_a_body() -> None:
    async def resets(stream: ByteStream) -> None:
        await stream.read()
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        await asyncio.sleep(1)
        stream.abort()

    client, _ = raw_client(resets)
    response = await client.fetch(HttpRequest("http://a.test/"))
    with pytest.raises(ConnectionReset) as caught:
        await response.read()
    assert caught.value.phase == "body"
    assert client.connection_count == 0
