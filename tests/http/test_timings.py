"""Timings, progress and the table of timeouts."""

from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import HttpError, OptionError, TimeoutExpired
from smolmix_web.http import HttpClient, HttpRequest, Timeouts
from smolmix_web.http.timings import Timings
from smolmix_web.tunnel.options import TunnelOptions
from tests.http_server import Answer, HttpServer, PipeConnector, Request
from tests.virtual_loop import virtual


async def slow(request: Request) -> Answer:
    await asyncio.sleep(2)

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(1)
            yield bytes(10)

    if request.target == "/moved":
        return Answer(302, [("Location", "/")])
    return Answer(headers=[("Content-Length", "30")], body=drip())


@virtual
@pytest.mark.feature("HTTP", "Timings of each phase")
async def test_timings_follow_the_phases() -> None:
    connector = PipeConnector(HttpServer(slow).serve)
    client = HttpClient(LoopClock(), connector=connector, per_origin=1)
    connector.delay = 4
    first = await client.fetch(HttpRequest("http://a.test/"))
    assert first.timings.end is None
    waiting = asyncio.create_task(client.fetch(HttpRequest("http://a.test/")))
    await first.read()
    second = await waiting
    await second.read()
    assert (first.timings.queue, first.timings.request_sent, first.timings.ttfb) == pytest.approx((0, 4, 6))
    assert first.timings.end == pytest.approx(9)
    assert (second.timings.queue, second.timings.request_sent) == pytest.approx((3, 3))
    assert second.timings.ttfb == pytest.approx(5)
    assert not first.timings.reused and second.timings.reused
    assert first.timings.protocol == "http/1.1"


@virtual
@pytest.mark.feature("HTTP", "Timings of each phase")
async def test_timings_of_a_redirect_are_those_of_the_last_hop() -> None:
    client = HttpClient(LoopClock(), connector=PipeConnector(HttpServer(slow).serve))
    response = await client.fetch(HttpRequest("http://a.test/moved"))
    assert (response.timings.redirect, response.timings.ttfb) == pytest.approx((2, 4))
    assert response.timings.reused
    assert response.timings.to_dict()["end"] is None
    await response.read()
    assert response.timings.to_dict()["end"] == pytest.approx(7)


@virtual
@pytest.mark.feature("HTTP", "Timings of a request that fails")
async def test_timings_are_there_from_the_start() -> None:
    connector = PipeConnector(HttpServer(slow).serve)
    connector.delay = 4
    client = HttpClient(LoopClock(), connector=connector)
    seen: list[Timings] = []
    with pytest.raises(TimeoutExpired):
        limits = Timeouts(response=1.0)
        await client.fetch(HttpRequest("http://a.test/", timeouts=limits, on_timings=seen.append))
    (timings,) = seen
    assert timings.request_sent == pytest.approx(4) and timings.ttfb is None


@virtual
@pytest.mark.feature("HTTP", "Progress of upload and download")
async def test_progress_counts_transferred_bytes() -> None:
    packed = gzip.compress(bytes(500_000))
    server = HttpServer(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=packed))
    client = HttpClient(LoopClock(), connector=PipeConnector(server.serve))
    up: list[tuple[int, int | None]] = []
    down: list[tuple[int, int | None]] = []

    async def stream() -> AsyncIterator[bytes]:
        yield bytes(70_000)
        yield bytes(30_000)

    for body, length in ((bytes(100_000), None), (stream(), 100_000), (stream(), None), (b"short", None)):
        up.clear()
        down.clear()
        response = await client.fetch(
            HttpRequest(
                "http://a.test/",
                "POST",
                body=body,
                content_length=length,
                on_upload=lambda *step: up.append(step),
                on_download=lambda *step: down.append(step),
            )
        )
        assert len(await response.read()) == 500_000
        size = 5 if body == b"short" else 100_000
        total = size if length or isinstance(body, bytes) else None
        assert up[-1] == (size, total)
        assert [count for count, _ in up] == sorted({count for count, _ in up})
        assert down[-1] == (len(packed), len(packed))
    assert [r.headers.get("content-length") for r in server.requests] == ["100000", "100000", None, "5"]


@virtual
@pytest.mark.feature("HTTP", "Content-Length of a streamed body")
async def test_a_streamed_body_has_the_length_it_promised() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield bytes(100)

    client = HttpClient(LoopClock(), connector=PipeConnector(HttpServer(lambda _: Answer()).serve))
    for length in (99, 101, -1):
        with pytest.raises(HttpError) as caught:
            await client.fetch(HttpRequest("http://a.test/", "POST", body=stream(), content_length=length))
        assert caught.value.code == "bad_body"
    with pytest.raises(HttpError):
        await client.fetch(HttpRequest("http://a.test/", "POST", body=b"four", content_length=5))
    with pytest.raises(HttpError):
        await client.fetch(HttpRequest("http://a.test/", "POST", content_length=5))
    assert client.connection_count == 0


@virtual
@pytest.mark.feature("HTTP", "Decompression-bomb limit")
async def test_a_body_that_unpacks_too_far_is_ended() -> None:
    bomb = gzip.compress(bytes(3_000_000))
    coded = HttpServer(lambda _: Answer(headers=[("Content-Encoding", "gzip")], body=bomb))
    plain = HttpServer(lambda _: Answer(body=bytes(3_000_000)))
    for server, code in ((coded, "body_too_large"), (plain, None)):
        client = HttpClient(LoopClock(), connector=PipeConnector(server.serve), max_decoded=1_000_000)
        response = await client.fetch(HttpRequest("http://a.test/"))
        if code is None:
            assert len(await response.read()) == 3_000_000
            continue
        with pytest.raises(HttpError) as caught:
            await response.read()
        assert caught.value.code == code
        assert client.connection_count == 0
        response = await client.fetch(HttpRequest("http://a.test/", max_decoded=4_000_000))
        assert len(await response.read()) == 3_000_000


@virtual
@pytest.mark.feature("HTTP", "Redirect limit")
async def test_a_request_may_have_its_own_redirect_rules() -> None:
    server = HttpServer(lambda _: Answer(302, [("Location", "http://a.test/")]))
    client = HttpClient(LoopClock(), connector=PipeConnector(server.serve))
    for limit in (0, 3, None):
        server.requests.clear()
        with pytest.raises(HttpError) as caught:
            await client.fetch(HttpRequest("http://a.test/", max_redirects=limit))
        assert caught.value.code == "too_many_redirects"
        assert len(server.requests) == (20 if limit is None else limit) + 1
    for allowed, code in ((None, "insecure_redirect"), (True, "too_many_redirects")):
        with pytest.raises(HttpError) as caught:
            await client.fetch(HttpRequest("https://a.test/", allow_insecure_redirects=allowed))
        assert caught.value.code == code


@virtual
async def test_what_is_not_there_is_refused() -> None:
    connector = PipeConnector(HttpServer(lambda _: Answer()).serve)
    client = HttpClient(LoopClock(), connector=connector)
    extras: list[dict[str, Any]] = [{"cookies": "jar"}, {"cookies": "maybe"}]
    for extra in extras:
        with pytest.raises(HttpError) as caught:
            await client.fetch(HttpRequest("http://a.test/", **extra))
        assert caught.value.code == "bad_request"
    assert not connector.near


def test_timeouts_in_milliseconds() -> None:
    base = Timeouts(dns=3, idle=4)
    assert Timeouts.from_mapping({"dns": 1500, "connect": 20.5, "tls": None}, base) == Timeouts(
        dns=1.5, connect=0.0205, idle=4
    )
    assert Timeouts.from_mapping({"response": math.inf}).response is None
    assert TunnelOptions.from_mapping({"timeouts": {"total": 9000}}).timeouts == Timeouts(total=9)
    for bad, name in (
        ({"dsn": 1}, "timeouts.dsn"),
        ({"dns": "1"}, "timeouts.dns"),
        ({"dns": True}, "timeouts.dns"),
        ({"dns": 0}, "timeouts.dns"),
        ({"dns": -5}, "timeouts.dns"),
        ({"dns": math.nan}, "timeouts.dns"),
        ({"dns": 1e12}, "timeouts.dns"),
        (5, "timeouts"),
        ([], "timeouts"),
    ):
        with pytest.raises(OptionError) as caught:
            TunnelOptions.from_mapping({"timeouts": bad})
        assert caught.value.option == name
