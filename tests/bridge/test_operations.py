"""What one id does: bodies, uploads, WebSocket; flow control, aborts and failures at each phase."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from smolmix_web.bridge.channel import MAX_WAITING, MAX_WAITING_BYTES
from smolmix_web.bridge.progress import milliseconds
from smolmix_web.errors import HttpError, WebSocketError
from smolmix_web.http import HttpRequest, Timeouts
from smolmix_web.http.exchange import Rewindable
from smolmix_web.http.timings import Timings
from smolmix_web.tunnel.pool_options import PoolOptions
from smolmix_web.websocket import Close, WebSocketTimeouts
from tests.bridge.stand_in import Body, Page, Socket, Stream, request, settle, tcp_request
from tests.virtual_loop import run_virtual

# -- names ----------------------------------------------------------------------------------------------


async def test_records_of_a_name() -> None:
    page = Page()
    tunnel = await page.set_up()
    page.say("lookup", name="n.test", rrtype="A", timeout=1500, server="tls://192.0.2.1", fresh=True, isolation="alice")
    page.say("lookup", 2, name="n.test", rrtype="MX", timeout=None, server=None, fresh=False)
    page.say("clear-dns-cache", 3)
    await settle()
    value = {
        "name": "n.test", "type": "A", "canonicalName": "n.test", "ttl": 60, "server": "s", "fromCache": False,
        "authenticated": True, "records": [{"type": "A", "name": "n.test", "ttl": 60, "address": "192.0.2.1"}],
    }  # fmt: skip
    first, _, cleared = page.take()
    assert first == {"type": "result", "id": 1, "value": value} and cleared["value"] is None
    assert tunnel.lookups == [
        ("n.test", "A", {"timeout": 1.5, "server": "tls://192.0.2.1", "fresh": True, "isolation": "alice"}),
        ("n.test", "MX", {"timeout": tunnel.timeouts.dns, "server": None, "fresh": False, "isolation": None}),
        "cleared",
    ]


@pytest.mark.feature("Isolation", "A page's keys reach the worker: fetches, names, cookies; bad ones are refused")
async def test_isolation_keys_are_passed_on() -> None:
    page = Page()
    tunnel = await page.set_up()
    page.say("fetch", 1, request=request(isolation="alice"), data=None)
    page.say("fetch", 2, request=request(), data=None)
    page.say("resolve", 3, name="n.test", family=None, isolation="bob")
    cookie = {"name": "a", "value": "1", "domain": "o.test"}
    page.say("cookies", 4, action="import", cookies=[cookie], isolation="alice")
    await settle()
    assert tunnel.isolations == ["alice", None, "bob"]
    assert {key: len(jar) for key, jar in tunnel.jars.items()} == {"alice": 1}
    page.say("fetch", 5, request=request(isolation=7), data=None)
    await settle()
    assert page.error(5) == ("bad_message", None)


@pytest.mark.feature(
    "Isolation", "A page's pool reaches the worker; bad options of it are refused; one tunnel has no pool"
)
async def test_a_pool_is_set_up() -> None:
    page = Page()
    page.say("setup", 1, options={}, pool={"size": 3.0, "rotate": {"everyMs": 60_000, "statuses": [403]}})
    await settle()
    assert page.kinds() == ["result"] and page.pool == PoolOptions(3, 60_000, None, frozenset({403}))
    page.say("rotate", 2, isolation="alice")
    await settle()
    assert page.error(2) == ("no_pool", None), "what stands in here is one tunnel"
    for pool in ({"size": 0}, {"sizes": 3}):
        other = Page()
        other.say("setup", 1, options={}, pool=pool)
        await settle()
        assert other.error() == ("bad_option", "setup") and other.tunnel is None
    single = Page()
    single.say("setup", 1, options={}, pool=None)
    await settle()
    assert single.kinds() == ["result"] and single.pool is None


# -- fetch ----------------------------------------------------------------------------------------------


@pytest.mark.feature("Fetch", "backpressure: a chunk for each pull, one read ahead")
async def test_a_response_is_given_chunk_by_chunk_as_it_is_pulled() -> None:
    body = Body([b"one", b"two", b"three"])
    page = Page(fetch=body)
    tunnel = await page.set_up()
    page.say("fetch", request=request(method="POST"), data=b"up")
    await settle()
    head = {"status": 200, "statusText": "OK", "headers": [["a", "1"], ["a", "2"]], "url": "https://o.test/final"}
    head |= {"redirected": True, "httpVersion": "1.1", "tls": "TLSv1.3", "timings": milliseconds(body.timings)}
    assert page.take() == [{"type": "response", "id": 1, "head": head}]
    assert body.read == 1, "one piece is read ahead, no more"
    sent = tunnel.requests[0]
    assert (sent.method, sent.headers, sent.body, sent.redirect) == ("POST", [("a", "b")], b"up", "follow")
    for number, piece in enumerate((b"one", b"two", b"three")):
        page.say("pull")
        await settle()
        expected: list[dict[str, Any]] = [{"type": "chunk", "id": 1, "data": piece}]
        end = {"type": "end", "id": 1, "timings": milliseconds(body.timings), "truncated": False}
        assert page.take() == expected + ([end] if number == 2 else [])
    assert page.open == 0


async def test_pulls_may_come_early() -> None:
    page = Page(fetch=Body([b"1", b"2"]))
    await page.set_up()
    page.say("fetch", request=request())
    for _ in range(5):
        page.say("pull")
    await settle()
    assert page.kinds() == ["response", "chunk", "chunk", "end"]


async def test_an_empty_body_ends_without_a_pull() -> None:
    page = Page(fetch=Body([]))
    await page.set_up()
    page.say("fetch", request=request())
    await settle()
    assert page.kinds() == ["response", "end"] and page.open == 0


@pytest.mark.parametrize("pulled", [False, True])
async def test_a_body_that_breaks(pulled: bool) -> None:
    body = Body([b"1", HttpError("cut off", code="truncated", phase="body")])
    page = Page(fetch=body)
    await page.set_up()
    page.say("fetch", request=request())
    await settle()
    if not pulled:
        assert page.kinds() == ["response"]
        page.say("pull")
        await settle()
    else:
        page.say("pull")
        await settle()
    assert page.kinds() == ["response", "chunk", "error"] and page.error() == ("truncated", "body")
    assert body.aborted and page.open == 0


@pytest.mark.feature("Fetch", "an abort frees the flow and tells nothing more")
async def test_abort_before_the_head_and_in_the_body() -> None:
    body = Body([b"1", asyncio.Event()])
    page = Page(fetch=asyncio.Event())
    tunnel = await page.set_up()
    page.say("fetch", request=request())
    await settle()
    page.say("abort")
    await settle()
    assert tunnel.cancelled == ["fetch"] and page.take() == []
    for pulls in (0, 1):
        body = Body([b"1", asyncio.Event()])
        page.meets["fetch"] = body
        page.say("fetch", request=request())
        await settle()
        for _ in range(pulls):
            page.say("pull")
        await settle()
        page.take()
        page.say("abort")
        await settle()
        assert body.aborted and page.take() == [] and page.open == 0


@pytest.mark.feature("Worker", "backpressure upward: a write is acknowledged when the tunnel has taken it")
async def test_uploads_are_acknowledged_as_they_are_taken() -> None:
    taken: list[bytes] = []
    go_on = asyncio.Event()

    async def consume(sent: HttpRequest) -> Body:
        assert sent.body is not None and hasattr(sent.body, "__anext__")
        async for piece in sent.body:  # type: ignore[union-attr]
            taken.append(piece)
            if len(taken) == 1:
                await go_on.wait()
        return Body([])

    page = Page(fetch=consume)
    await page.set_up()
    page.say("fetch", request=request(streaming=True))
    page.say("write", data=b"12345")
    page.say("write", data=b"678")
    await settle()
    assert taken == [b"12345"] and page.take() == [], "a slow connection holds the page back"
    go_on.set()
    await settle()
    assert page.take() == [{"type": "written", "id": 1, "bytes": 5}, {"type": "written", "id": 1, "bytes": 3}]
    page.say("finish")
    await settle()
    assert page.kinds() == ["response", "end"]


@pytest.mark.feature("Fetch", "options of a request reach the HTTP client; what is not given is the tunnel's")
async def test_options_of_a_request() -> None:
    page = Page()
    tunnel = await page.set_up()
    page.say("fetch", 1, request=request())
    given = {"maxRedirects": 0.0, "allowInsecureRedirects": True, "cookies": "jar", "integrity": "sha256-A"}
    page.say("fetch", 2, request=request(**given, timeouts={"total": 1500, "tls": math.inf}), data=None)
    page.say("fetch", 3, request=request(method="POST", streaming=True, length=9))
    await settle()
    plain, full, streamed = tunnel.requests
    assert replace(plain, on_timings=None) == HttpRequest(url="https://o.test/", headers=[("a", "b")])
    assert (full.max_redirects, full.allow_insecure_redirects, full.cookies) == (0, True, "jar")
    assert full.integrity == "sha256-A" and full.timeouts == Timeouts(dns=7.0, total=1.5, tls=None)
    assert streamed.content_length == 9 and hasattr(streamed.body, "__anext__")


@pytest.mark.feature("Fetch", "forbidden request headers by one rule, in a page and in Python")
async def test_headers_that_a_page_may_not_set_are_left_out() -> None:
    page = Page()
    tunnel = await page.set_up()
    given = {
        "THIS-is-A-test": "1",
        "DNT": "1",
        "Host": "b",
        "Cookie": "c",
        "sec-x": "1",
        "X-HTTP-Method": "trace",
        "Origin": "o",
    }
    page.say("fetch", request=request(headers=[[name, value] for name, value in given.items()]))
    await settle()
    assert tunnel.requests[0].headers == [("THIS-is-A-test", "1"), ("Cookie", "c"), ("Origin", "o")]


@pytest.mark.parametrize("timeouts", [{"nonsense": 1}, {"dns": "1"}, {"dns": 0}])
async def test_time_outs_that_make_no_sense(timeouts: dict[str, Any]) -> None:
    page = Page()
    await page.set_up()
    page.say("fetch", request=request(timeouts=timeouts))
    await settle()
    assert page.error()[0] == "bad_option" and page.open == 0


@pytest.mark.feature("Fetch", "progress is told at most every 50 ms, and always at the end")
def test_progress_is_told_in_time() -> None:
    async def talk() -> None:
        upload, download = [(1000 * n, None) for n in range(1, 101)], [(10 * n, 2000) for n in range(1, 201)]

        async def meet(sent: HttpRequest) -> Body:
            assert sent.on_upload is not None and sent.on_download is not None
            for loaded, total in upload:
                sent.on_upload(loaded, total)
                await asyncio.sleep(0.01)
            for loaded, total in download:
                sent.on_download(loaded, total)
                await asyncio.sleep(0.01)
            return Body([])

        page = Page(fetch=meet)
        await page.set_up()
        page.say("fetch", request=request(progress=True))
        await asyncio.sleep(10)
        told = [message for message in page.take() if message["type"] == "progress"]
        for phase, steps in (("upload", upload), ("download", download)):
            mine = [(message["loaded"], message["total"]) for message in told if message["phase"] == phase]
            assert mine[-1] == steps[-1] and mine[0] == steps[0], "the first and the last"
            assert len(steps) / 6 <= len(mine) <= len(steps) / 5 + 2, len(mine)
        page.meets["fetch"] = Body([])
        page.say("fetch", request=request())
        await settle()
        assert page.tunnel is not None and page.tunnel.requests[-1].on_upload is None, "nobody asked"

    run_virtual(talk())


@pytest.mark.feature("Fetch", "timings cross in milliseconds, those of the end with the end")
async def test_timings_in_milliseconds() -> None:
    body = Body([b"x"])
    body.timings = Timings(0.0, queue=0.25, dns=1.0, ttfb=2.5, protocol="h2", remote_address="192.0.2.1", exit="E")
    page = Page(fetch=body)
    await page.set_up()
    page.say("fetch", request=request())
    await settle()
    (head,) = page.take()
    expected = {"redirect": 0, "queue": 250, "dns": 1000, "connect": None, "tls": None, "requestSent": None}
    expected |= {
        "ttfb": 2500,
        "end": None,
        "protocol": "h2",
        "remoteAddress": "192.0.2.1",
        "reused": False,
        "exit": "E",
    }
    assert head["head"]["timings"] == expected
    body.timings.end = 3.0
    body.truncated = True
    page.say("pull")
    await settle()
    assert page.take()[-1] == {"type": "end", "id": 1, "timings": {**expected, "end": 3000}, "truncated": True}


@pytest.mark.feature("Fetch", "a fetch that failed tells how far it came")
async def test_timings_of_a_failure() -> None:
    async def fail(sent: HttpRequest) -> Body:
        assert sent.on_timings is not None
        timings = Timings(0.0)
        sent.on_timings(timings)
        timings.dns, timings.connect = 0.5, 0.25
        raise HttpError("late", code="response_timeout", phase="response")

    page = Page(fetch=fail)
    await page.set_up()
    page.say("fetch", request=request())
    await settle()
    told, error = page.take()
    assert (told["type"], told["timings"]["dns"], told["timings"]["connect"]) == ("timings", 500, 250)
    assert told["timings"]["ttfb"] is told["timings"]["protocol"] is None and error["type"] == "error"


@pytest.mark.feature("Worker", "fairness: a body that is there and pulled ahead does not keep the others waiting")
async def test_bodies_take_turns() -> None:
    bodies = {name: Body([name.encode()] * 300) for name in ("first", "second")}

    async def meet(sent: HttpRequest) -> Body:
        return bodies[sent.url]

    page = Page(fetch=meet)
    await page.set_up()
    for number, name in enumerate(bodies, 1):
        page.say("fetch", number, request=request(url=name))
        for _ in range(300):
            page.say("pull", number)
    while page.open:
        await settle()
    chunks = [message["id"] for message in page.posted if message["type"] == "chunk"]
    assert sorted(chunks) == [1] * 300 + [2] * 300
    assert max(abs(2 * sum(chunks[:n]) - 3 * n) for n in range(1, 601)) <= 4, "neither is ever far ahead"


@pytest.mark.feature("Fetch", "a redirect has the body of a Blob or a large buffer again; that of a stream is refused")
async def test_a_body_from_the_beginning_once_more() -> None:
    """What the page had written before it heard of it is void, also when a redirect follows on a redirect."""
    taken: list[list[bytes]] = []

    async def follow(sent: HttpRequest) -> Body:
        body = sent.body
        for turn in range(3):
            if turn:
                assert isinstance(body, Rewindable)
                body = body.rewind()
            taken.append([])
            async for piece in body:  # type: ignore[union-attr]
                taken[-1].append(piece)
                if turn == 1:
                    break  # the second redirect comes early
        return Body([])

    page = Page(fetch=follow)
    await page.set_up()
    page.say("fetch", request=request(method="PUT", streaming=True, length=4))
    for data in (b"ab", b"cd"):
        page.say("write", data=data)
    page.say("finish")
    await settle()
    assert page.take()[-1] == {"type": "rewind", "id": 1, "turn": 1}
    page.say("write", data=b"old")
    page.say("rewound", turn=1)
    page.say("write", data=b"ab")
    page.say("write", data=b"cd")
    await settle()
    assert page.take() == [{"type": "rewind", "id": 1, "turn": 2}]
    page.say("rewound", turn=2)
    page.say("write", data=b"ab")
    page.say("write", data=b"cd")
    page.say("finish")
    await settle()
    assert taken == [[b"ab", b"cd"], [b"ab"], [b"ab", b"cd"]] and page.kinds() == ["written"] * 2 + ["response", "end"]
    page.say("fetch", request=request(method="PUT", streaming=True))
    await settle()
    assert page.tunnel is not None and not isinstance(page.tunnel.requests[-1].body, Rewindable), "a stream"


@pytest.mark.feature("Worker", "bounded queues: a page that does not wait ends its own channel, no other")
async def test_a_page_that_does_not_wait_overflows_its_own_channel() -> None:
    page = Page(tcp=Stream())
    page.meets["tcp"].room.clear()
    await page.set_up()
    page.say("tcp", 1, request=tcp_request())
    page.say("resolve", 2, name="n", family=None)
    await settle()
    for _ in range(MAX_WAITING + 2):
        page.say("write", data=b"x")
    await settle()
    assert page.error(1) == ("write_overflow", "write") and page.kinds(2) == ["result"]
    assert "abort" in page.meets["tcp"].calls


async def test_one_item_may_be_larger_than_the_bound() -> None:
    page = Page(tcp=Stream())
    page.meets["tcp"].room.clear()
    await page.set_up()
    page.say("tcp", request=tcp_request())
    await settle()
    page.say("write", data=bytes(MAX_WAITING_BYTES + 1))
    await settle()  # taken by the writer, which waits for room
    page.say("write", data=bytes(MAX_WAITING_BYTES + 1))
    await settle()
    assert page.kinds() == ["opened"]
    page.say("write", data=b"x")
    await settle()
    assert page.error() == ("write_overflow", "write")


# -- WebSocket ------------------------------------------------------------------------------------------


@pytest.mark.feature("WebSocket", "own headers in the handshake")
async def test_what_a_websocket_is_asked_for() -> None:
    page = Page()
    tunnel = await page.set_up()
    timeouts = {"close": 5, "tls": 2.5}
    page.say(
        "websocket", url="wss://o/", protocols=["chat"], headers=[["a", "1"]], timeouts=timeouts, isolation="alice"
    )
    await settle()
    limits = WebSocketTimeouts(dns=7.0, tls=0.0025, close=0.005)
    asked = {"url": "wss://o/", "protocols": ["chat"], "headers": [("a", "1")], "timeouts": limits}
    assert tunnel.asked == [{**asked, "isolation": "alice"}]
    page.say("websocket", id=2, url="wss://o/", protocols=[], headers=[], timeouts={"body": 5})
    await settle()
    assert page.take()[-1]["error"]["option"] == "timeouts.body"


async def test_websocket_messages_in_order_and_a_clean_close() -> None:
    socket = Socket()
    page = Page(websocket=socket)
    await page.set_up()
    page.say("websocket", url="wss://o/", protocols=["chat"], headers=[], timeouts=None)
    await settle()
    detail = {"protocol": "chat", "extensions": "permessage-deflate"}
    assert page.take() == [{"type": "opened", "id": 1, "detail": detail}]
    socket.incoming.put_nowait("text")
    socket.incoming.put_nowait(b"\x00")
    await settle()
    assert [message["data"] for message in page.take()] == ["text", b"\x00"]
    page.say("write", data="ü")
    page.say("write", data="\ud800")
    page.say("write", data=b"\x01\x02")
    page.say("close", code=4000.0, reason="bye")
    await settle()
    assert socket.sent == ["ü", "\ud800", b"\x01\x02"] and socket.calls == ["close 4000 bye"]
    written = [2, 1, 2]
    assert page.take() == [
        *({"type": "written", "id": 1, "bytes": size} for size in written),
        {"type": "closed", "id": 1, "code": 4000, "reason": "bye", "clean": True, "error": None},
    ]
    assert page.open == 0


async def test_a_websocket_closed_without_a_code() -> None:
    socket = Socket()
    page = Page(websocket=socket)
    await page.set_up()
    page.say("websocket", url="wss://o/", protocols=[], headers=[], timeouts=None)
    page.say("close", code=None, reason="")
    await settle()
    assert socket.calls == ["close None "] and page.take()[-1]["code"] == 1005


@pytest.mark.feature("WebSocket", "backpressure: messages that nobody takes hold the server back")
@pytest.mark.parametrize(("size", "ahead"), [(1, 64), (100_000, 10), (600_000, 1), (5_000_000, 1)])
async def test_a_page_that_takes_no_messages(size: int, ahead: int) -> None:
    """64 messages or 1 MiB of them are on their way to it, at least one; each pull makes room; then comes the end."""
    socket = Socket()
    page = Page(websocket=socket)
    await page.set_up()
    page.say("websocket", url="wss://o/", protocols=[], headers=[], timeouts=None)
    for _ in range(100):
        socket.incoming.put_nowait(bytes(size))
    socket.incoming.put_nowait(Close(1001, "", True))
    await settle()
    assert page.kinds() == ["opened"] + ["chunk"] * ahead
    page.say("pull")
    await settle()
    assert page.kinds() == ["opened"] + ["chunk"] * (ahead + 1)
    for _ in range(100 - ahead - 1):
        page.say("pull")
    await settle()
    assert page.kinds() == ["opened"] + ["chunk"] * 100 + ["closed"]


@pytest.mark.feature("WebSocket", "messages before a bad frame are delivered and answered")
async def test_a_page_answers_before_a_websocket_fails() -> None:
    """What breaks it is asked for only when the page has taken, and so answered, the messages before it."""
    socket = Socket()
    socket.failing = True
    page = Page(websocket=socket)
    await page.set_up()
    page.say("websocket", url="wss://o/", protocols=[], headers=[], timeouts=None)
    socket.incoming.put_nowait("last")
    socket.incoming.put_nowait(Close(1006, "why", False, WebSocketError("why", code="websocket_protocol")))
    await settle()
    assert page.kinds() == ["opened", "chunk"]
    page.say("write", data="answer")
    page.say("pull")
    await settle()
    assert socket.sent == ["answer"] and page.kinds() == ["opened", "chunk", "written", "closed"]


async def test_a_websocket_that_cannot_send() -> None:
    socket = Socket()
    socket.fail = WebSocketError("the connection broke", code="connection_closed", phase="send")
    page = Page(websocket=socket)
    await page.set_up()
    page.say("websocket", url="wss://o/", protocols=[], headers=[], timeouts=None)
    page.say("write", data="x")
    await settle()
    closed = page.take()[-1]
    assert (closed["type"], closed["code"], closed["reason"], closed["clean"], closed["error"]["code"]) == (
        "closed",
        1006,
        "the connection broke",
        False,
        "connection_closed",
    )


@pytest.mark.parametrize("opened", [False, True])
async def test_abort_of_a_websocket(opened: bool) -> None:
    socket = Socket()
    page = Page(websocket=socket if opened else asyncio.Event())
    tunnel = await page.set_up()
    page.say("websocket", url="wss://o/", protocols=[], headers=[], timeouts=None)
    await settle()
    page.take()
    page.say("abort")
    await settle()
    assert page.take() == [] and page.open == 0
    assert (socket.calls == ["abort"]) if opened else (tunnel.cancelled == ["websocket"])


# -- cookies ----------------------------------------------------------------------------------------------


async def test_cookies_go_out_and_in_and_are_forgotten() -> None:
    page = Page()
    await page.set_up()
    cookie = {"name": "n", "value": "v", "domain": "a.test", "expires": None}
    page.say("cookies", 1, action="import", cookies=[cookie])
    await settle()
    page.say("cookies", 2, action="export")
    await settle()
    imported, exported = page.take()
    assert imported == {"type": "result", "id": 1, "value": 1}
    (found,) = exported["value"]
    assert {**found, **cookie} == found and found["path"] == "/" and found["hostOnly"] is True
    page.say("cookies", 3, action="clear")
    page.say("cookies", 4, action="export")
    await settle()
    assert [message["value"] for message in page.take()] == [None, []]


async def test_cookies_that_are_refused() -> None:
    page = Page()
    await page.set_up()
    for number, (fields, code) in enumerate(
        [
            ({"action": "eat"}, "bad_message"),
            ({}, "bad_message"),
            ({"action": "import"}, "bad_message"),
            ({"action": "import", "cookies": [{"name": "n"}]}, "bad_cookie"),
        ]
    ):
        page.say("cookies", number, **fields)
        await settle()
        (error,) = page.take()
        assert (error["type"], error["error"]["code"]) == ("error", code)
    assert page.open == 0
