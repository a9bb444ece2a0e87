"""Requests that are sent again, those that are not, and what is the same over both tries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream
from smolmix_web.errors import ConnectionReset, HttpError, SmolmixError, TimeoutExpired
from smolmix_web.http import HttpClient, HttpRequest
from smolmix_web.http.keepalive import BELIEVED, IdleEnds, announced
from smolmix_web.http.replay import KEPT, LATE_SECONDS
from tests.http2_server import Http2Connector, Http2Server
from tests.http_server import Answer, HttpServer, PipeConnector, Request, play
from tests.virtual_loop import run_virtual, virtual

AGAIN = pytest.mark.feature("HTTP", "a request on a kept connection that the server closed is sent again, any method")
MISDIRECTED = pytest.mark.feature("HTTP", "421 is repeated once on a fresh connection")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
METHODS = ["GET", "HEAD", "OPTIONS", "DELETE", "PUT", "POST", "PATCH", "purge"]


class Scripted:
    """A raw server: the connections answer their requests by their own list, the last list for all that follow.

    An item is bytes to send, a number of seconds to wait, "close" or "reset"; a list is several of them.
    """

    def __init__(self, *connections: list[Any], **options: Any) -> None:
        self.connections = connections
        self.requests: list[tuple[int, bytes]] = []
        self.connector = PipeConnector(self.serve)
        self.client = HttpClient(LoopClock(), connector=self.connector, **options)

    async def serve(self, stream: ByteStream) -> None:
        number = len(self.connector.far) - 1
        script = self.connections[min(number, len(self.connections) - 1)]
        try:
            for answer in script:
                data = await self.request(stream)
                if not data:
                    return
                self.requests.append((number, data))
                if await play(stream, answer if isinstance(answer, list) else [answer]):
                    return
            await asyncio.sleep(10_000)
        except SmolmixError:
            pass

    async def request(self, stream: ByteStream) -> bytes:
        """Head and body; the body ends after what is promised, or with the last chunk."""
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                chunked, length = b"chunked" in head.lower(), 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                if body.endswith(b"0\r\n\r\n") if chunked else len(body) >= length:
                    return data
            piece = await stream.read()
            if not piece:
                return b""
            data += piece

    async def warm(self, count: int = 1) -> None:
        """Connections that carried a request and lie idle."""
        for response in await asyncio.gather(*(self.client.fetch(HttpRequest("http://a.test/")) for _ in range(count))):
            await response.read()

    async def get(self, method: str = "GET", **more: Any) -> tuple[int, bytes]:
        response = await self.client.fetch(HttpRequest("http://a.test/", method=method, **more))
        return response.status, await response.read()

    @property
    def opened(self) -> int:
        return len(self.connector.near)


async def pieces(count: int, size: int, pause: float = 0.0) -> AsyncIterator[bytes]:
    for index in range(count):
        yield bytes([index]) * size
        await asyncio.sleep(pause)


def body_for(method: str) -> bytes | None:
    return b"order" if method in ("PUT", "POST", "PATCH", "purge") else None


# -- HTTP/1.1: lost -----------------------------------------------------------------------------------


@AGAIN
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", METHODS)
def test_any_method_is_sent_again_once(method: str, how: str) -> None:
    @virtual
    async def run() -> None:
        head_only = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        server = Scripted([OK, how], [head_only if method == "HEAD" else OK])
        await server.warm()
        assert await server.get(method, body=body_for(method)) == (200, b"" if method == "HEAD" else b"ok")
        (_, (first, one), (second, two)) = server.requests
        assert (first, second) == (0, 1) and one == two
        assert server.client.statistics.retried == 1 and server.opened == 2

    run()


@AGAIN
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_and_no_third_time(method: str, how: str) -> None:
    @virtual
    async def run() -> None:
        server = Scripted([OK, how], [how], [OK])
        await server.warm()
        with pytest.raises(SmolmixError):
            await server.get(method, body=body_for(method))
        assert server.opened == 2 and len(server.requests) == 3
        assert server.client.connection_count == 0

    run()


@AGAIN
@virtual
async def test_the_second_try_takes_none_of_the_other_kept_connections() -> None:
    """Six of them, and all are as stale as the first."""
    server = Scripted(*[[[0.1, OK], "close"]] * 6, [OK])
    await server.warm(6)
    assert server.opened == 6
    assert await server.get("POST", body=b"order") == (200, b"ok")
    assert server.opened == 7 and len(server.requests) == 8


@AGAIN
@pytest.mark.parametrize("sent", [b"H", b"HTTP/1.1 200", b"HTTP/1.1 103 Early\r\n\r\n", OK[:30]])
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_never_after_a_byte_of_the_answer(method: str, how: str, sent: bytes) -> None:
    @virtual
    async def run() -> None:
        server = Scripted([OK, [sent, how]], [OK])
        await server.warm()
        if how == "close" and sent.startswith(b"HTTP/1.1 200"):  # a header that the end of the connection ends
            assert await server.get(method, body=body_for(method)) == (200, b"")
        else:
            with pytest.raises(SmolmixError):
                await server.get(method, body=body_for(method))
        assert server.opened == 1 and server.client.statistics.retried == 0

    run()


@AGAIN
@pytest.mark.parametrize(("method", "again"), [("GET", True), ("PUT", True), ("POST", False), ("PATCH", False)])
def test_a_server_that_closes_late_has_had_the_request(method: str, again: bool) -> None:
    @virtual
    async def run() -> None:
        server = Scripted([OK, [LATE_SECONDS + 1, "close"]], [OK])
        await server.warm()
        if again:
            assert await server.get(method, body=body_for(method)) == (200, b"ok")
        else:
            with pytest.raises(HttpError) as caught:
                await server.get(method, body=body_for(method))
            assert caught.value.code == "empty_response"
        assert server.opened == 1 + again

    run()


@AGAIN
@virtual
async def test_a_server_that_is_silent_gets_nothing_twice() -> None:
    server = Scripted([OK, 10_000], [OK])
    await server.warm()
    with pytest.raises(TimeoutExpired) as caught:
        await server.get("GET")
    assert caught.value.phase == "response" and server.opened == 1


@AGAIN
@virtual
async def test_a_long_body_that_breaks_off_is_sent_again() -> None:
    async def serve(stream: ByteStream) -> None:
        if len(connector.far) > 1:
            return await server.serve(stream)
        await stream.read()
        await stream.write(OK)
        await stream.read(100_000)
        stream.abort()

    server = HttpServer(lambda request: Answer(body=b"%d" % len(request.body)))
    connector = PipeConnector(serve)
    client = HttpClient(LoopClock(), connector=connector)
    await (await client.fetch(HttpRequest("http://a.test/"))).read()
    response = await client.fetch(HttpRequest("http://a.test/", method="POST", body=bytes(1_000_000)))
    assert await response.read() == b"1000000" and client.statistics.retried == 1


# -- streamed bodies ---------------------------------------------------------------------------------


@AGAIN
@pytest.mark.parametrize("when", [0.0, 0.5, 2.0])
def test_a_short_stream_is_kept_and_goes_on_where_it_was(when: float) -> None:
    """The connection breaks at once, in the middle of the stream, and at its end; the application notices nothing."""

    @virtual
    async def run() -> None:
        cut = asyncio.Event()

        async def serve(stream: ByteStream) -> None:
            if len(connector.far) > 1:
                return await server.serve(stream)
            await stream.read()
            await stream.write(OK)
            await asyncio.sleep(1 + when)
            stream.abort()
            cut.set()

        async def source() -> AsyncIterator[bytes]:
            try:
                for index in range(10):
                    await asyncio.sleep(0.1)
                    yield bytes([index]) * 1000
            except BaseException as error:
                ended.append(error)
                raise

        ended: list[BaseException] = []
        server = HttpServer(lambda request: Answer(body=request.body))
        connector = PipeConnector(serve)
        client = HttpClient(LoopClock(), connector=connector)
        await (await client.fetch(HttpRequest("http://a.test/"))).read()
        await asyncio.sleep(1)
        response = await client.fetch(HttpRequest("http://a.test/", method="POST", body=source()))
        assert await response.read() == b"".join(bytes([index]) * 1000 for index in range(10))
        assert cut.is_set() and not ended

    run()


@AGAIN
@virtual
async def test_a_stream_that_grew_too_long_is_not_sent_again() -> None:
    server = Scripted([OK, "close"], [OK])
    await server.warm()
    with pytest.raises(HttpError) as caught:
        await server.get("POST", body=pieces(5, KEPT // 4))
    assert caught.value.code == "empty_response" and server.opened == 1


@AGAIN
@virtual
async def test_a_stream_takes_no_connection_that_was_idle_for_long() -> None:
    server = Scripted([OK, OK, OK], [OK])
    await server.warm()
    await asyncio.sleep(2)
    await server.get("POST", body=pieces(5, KEPT // 4))
    assert server.opened == 1
    await asyncio.sleep(20)
    await server.get("POST", body=pieces(1, 10), content_length=10)  # known to be short
    assert server.opened == 1
    await asyncio.sleep(20)
    await server.get("POST", body=pieces(5, KEPT // 4))
    assert server.opened == 2


@AGAIN
@virtual
async def test_a_stream_that_is_given_up_is_cancelled() -> None:
    ended: list[str] = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.sleep(1000)
        finally:
            ended.append("cancelled")

    server = Scripted([10_000])
    task = asyncio.create_task(server.get("POST", body=source()))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert ended and server.client.connection_count == 0


class Blob(AsyncIterator[bytes]):
    """Any length, and can be had again."""

    def __init__(self) -> None:
        self.left = [bytes(KEPT)] * 3

    async def __anext__(self) -> bytes:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()

    def rewind(self) -> Blob:
        return Blob()


@AGAIN
@virtual
async def test_a_body_that_can_be_had_again_is_rewound() -> None:
    server = Scripted([OK, "reset"], [OK])
    await server.warm()
    assert await server.get("POST", body=Blob(), content_length=3 * KEPT) == (200, b"ok")
    assert server.requests[1][1] == server.requests[2][1] and len(server.requests[2][1]) > 3 * KEPT


# -- over both tries ---------------------------------------------------------------------------------


@AGAIN
@virtual
async def test_progress_never_goes_back() -> None:
    seen: list[int] = []
    server = Scripted([OK, "reset"], [OK])
    await server.warm()
    await server.get("POST", body=bytes(200_000), on_upload=lambda count, _: seen.append(count))
    assert seen == sorted(set(seen)) and seen[-1] == 200_000


@AGAIN
@virtual
async def test_the_total_deadline_is_for_both_tries() -> None:
    server = Scripted([OK, [4, "close"]], [10_000])
    await server.warm()
    before = LoopClock().now()
    with pytest.raises(TimeoutExpired) as caught:
        await server.get("POST", body=b"x", timeout=7)
    assert caught.value.code == "total_timeout" and LoopClock().now() - before == pytest.approx(7)
    assert server.opened == 2 and server.client.connection_count == 0


@AGAIN
@virtual
async def test_giving_up_and_closing_during_the_second_try() -> None:
    for close in (False, True):
        server = Scripted([OK, "close"], [10_000])
        await server.warm()
        server.connector.delay = 5
        task = asyncio.create_task(server.get("POST", body=b"x"))
        await asyncio.sleep(1 if close else 6)
        server.client.close() if close else task.cancel()
        with pytest.raises((SmolmixError, asyncio.CancelledError)):
            await task
        await asyncio.sleep(10)
        assert server.client.connection_count == 0 and server.connector.open_count == 0


# -- 408 and 421 -------------------------------------------------------------------------------------

TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate"
WRONG = b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 5\r\n\r\nwrong"


@AGAIN
@virtual
async def test_408_that_crossed_the_request_on_a_kept_connection() -> None:
    for method in METHODS[3:]:
        server = Scripted([OK, [TIMED_OUT, "close"]], [OK])
        await server.warm()
        assert await server.get(method, body=body_for(method)) == (200, b"ok")
        assert server.opened == 2
    server = Scripted([[TIMED_OUT, "close"]], [OK])
    assert await server.get("POST", body=b"x") == (408, b"late")  # of a new connection it is an answer
    server = Scripted([OK, [TIMED_OUT, "close"]], [[TIMED_OUT, "close"]], [OK])
    await server.warm()
    assert await server.get("POST", body=b"x") == (408, b"late")
    server = Scripted([OK, [TIMED_OUT, "close"]], [OK])
    await server.warm()
    assert await server.get("POST", body=pieces(5, KEPT // 4)) == (408, b"late")


@MISDIRECTED
@pytest.mark.parametrize("method", METHODS[2:])
def test_421(method: str) -> None:
    @virtual
    async def run() -> None:
        server = Scripted([WRONG, OK], [OK])
        assert await server.get(method, body=body_for(method)) == (200, b"ok")
        assert [number for number, _ in server.requests] == [0, 1]
        assert server.requests[0][1] == server.requests[1][1] and server.client.statistics.retried == 1

    run()


@MISDIRECTED
@virtual
async def test_a_second_421_is_the_answer_and_so_is_one_to_a_body_that_is_gone() -> None:
    server = Scripted([WRONG], [WRONG], [OK])
    assert await server.get("POST", body=b"x") == (421, b"wrong")
    assert server.opened == 2
    server = Scripted([WRONG], [OK])
    assert await server.get("POST", body=pieces(5, KEPT // 4)) == (421, b"wrong")
    server = Scripted([WRONG], [OK])
    assert await server.get("POST", body=pieces(3, 1000)) == (200, b"ok")
    server = Scripted([OK, "reset"], [WRONG], [OK])  # each reason counts for itself
    await server.warm()
    assert await server.get("POST", body=b"x") == (200, b"ok")
    assert server.client.statistics.retried == 2


# -- HTTP/2 ------------------------------------------------------------------------------------------


class TwoWorld:
    """`act` is called for each request with its number from 1, its session and stream; None: an answer."""

    def __init__(self, act: Callable[[int, Any, int], Any], **options: Any) -> None:
        self.act = act
        self.server = Http2Server(self.handle)
        self.connector = Http2Connector(self.server.serve)
        self.client = HttpClient(LoopClock(), connector=self.connector, **options)

    async def handle(self, request: Request) -> Answer:
        session = self.server.sessions_of[-1]
        stream = next(number for number, found in session.requests.items() if found is request)
        answer = self.act(len(self.server.requests), session, stream)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer or Answer(body=b"" if request.method == "HEAD" else b"ok")

    async def get(self, method: str = "GET", **more: Any) -> tuple[int, bytes]:
        response = await self.client.fetch(HttpRequest("https://a.test/", method=method, **more))
        return response.status, await response.read()


def goaway(last: int, code: int = 0) -> bytes:
    return (8).to_bytes(3, "big") + b"\x07\x00" + bytes(4) + last.to_bytes(4, "big") + code.to_bytes(4, "big")


@AGAIN
@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", METHODS)
def test_a_used_http2_connection_that_was_closed(method: str, how: str) -> None:
    @virtual
    async def run() -> None:
        async def act(number: int, session: Any, stream: int) -> None:
            if number == 2:
                session.stream.abort() if how == "reset" else await session.stream.close()
                raise SmolmixError("closed")

        world = TwoWorld(act)
        await world.get()
        assert await world.get(method, body=body_for(method)) == (200, b"" if method == "HEAD" else b"ok")
        assert len(world.server.sessions) == 2 and world.client.statistics.retried == 1

    run()


@AGAIN
@pytest.mark.parametrize(("method", "again"), [("GET", True), ("POST", False)])
@pytest.mark.parametrize("what", ["goaway and the end", "goaway with an error", "RST_STREAM", "late"])
def test_a_server_that_may_have_acted(what: str, method: str, again: bool) -> None:
    """Only what may be done twice is sent again."""

    @virtual
    async def run() -> None:
        async def act(number: int, session: Any, stream: int) -> None:
            if number != 2:
                return
            if what.startswith("goaway"):
                await session.stream.write(goaway(stream, 2 if "error" in what else 0))
                await session.stream.close()
            elif what == "RST_STREAM":
                session.protocol.reset_stream(stream, 2)
                await session.flush()
            else:
                await asyncio.sleep(LATE_SECONDS + 1)
                session.stream.abort()
            raise SmolmixError("no answer")

        world = TwoWorld(act, idle_seconds=1000)
        await world.get()
        if again:
            assert await world.get(method) == (200, b"ok")
        else:
            with pytest.raises((HttpError, ConnectionReset)):
                await world.get(method, body=b"x")
            assert world.client.statistics.retried == 0

    run()


@MISDIRECTED
@virtual
async def test_421_over_http2_takes_another_connection_and_leaves_the_others_their_own() -> None:
    async def act(number: int, session: Any, stream: int) -> Answer | None:
        if number == 1:
            await asyncio.sleep(5)
        return Answer(421, body=b"wrong") if number in (2, 4, 5) else None

    world = TwoWorld(act)
    slow = asyncio.create_task(world.get())
    await asyncio.sleep(1)
    assert await world.get("POST", body=b"x") == (200, b"ok")
    assert await slow == (200, b"ok") and world.client.statistics.retried == 1
    assert len(world.server.sessions) == 2
    await asyncio.sleep(1)
    assert world.client.connection_count == 1 and world.server.sessions[0].goodbye  # when its last stream was over
    assert await world.get("POST", body=b"x") == (421, b"wrong")
    assert len(world.server.sessions) == 3


# -- what is learned ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        (["timeout=5"], 5),
        (["timeout=5, max=100"], 5),
        (["max=100,TIMEOUT = 7"], 7),
        (['timeout="9"'], 9),
        (["timeout=5.9"], 5),
        (["max=3", "timeout=4"], 4),
        (["timeout=8, timeout=3"], 3),
        (["timeout=0"], 0),
        (["timeout=-1"], None),
        (["timeout="], None),
        (["timeout=soon"], None),
        (["my-timeout=3"], None),
        (["timeout=" + "9" * 400], 999_999_999),
        (["300"], None),
        ([""], None),
    ],
)
def test_what_keep_alive_says(values: list[str], seconds: float | None) -> None:
    assert announced([("keep-alive", value) for value in values]) == seconds


def test_two_ends_at_one_age_are_a_habit() -> None:
    ends = IdleEnds()
    ends.seen(100, 5.0)
    assert ends.kept(100) is None
    ends.seen(100.1, 5.1)  # with the first: a server that stops
    assert ends.kept(101) is None
    ends.seen(110, 5.2)
    assert ends.kept(110) == 5.0
    ends.seen(120, 30.0)
    ends.seen(121, 0.1)
    assert ends.kept(120) == 5.0
    ends.seen(130, 31.0)
    assert ends.kept(130) == 30.0
    assert ends.kept(131 + BELIEVED) is None


@pytest.mark.parametrize(("said", "opened"), [(None, 1), ("timeout=0", 4), ("timeout=1", 4), ("timeout=60", 1)])
def test_a_connection_is_given_up_before_its_server_does(said: str | None, opened: int) -> None:
    async def run() -> None:
        headers = [("Keep-Alive", said)] if said else []
        connector = PipeConnector(HttpServer(lambda _: Answer(headers=headers, body=b"ok")).serve)
        client = HttpClient(LoopClock(), connector=connector)
        for _ in range(4):
            assert await (await client.fetch(HttpRequest("http://a.test/", method="POST", body=b"x"))).read() == b"ok"
            await asyncio.sleep(0.9)
        assert len(connector.near) == opened and connector.open_count <= 1

    run_virtual(run())


@virtual
async def test_what_is_remembered_is_bounded() -> None:
    client = HttpClient(LoopClock(), connector=PipeConnector(HttpServer(lambda _: Answer()).serve))
    for index in range(600):
        await (await client.fetch(HttpRequest(f"http://h{index}.test/"))).read()
    assert len(client._pool._known) <= 256
