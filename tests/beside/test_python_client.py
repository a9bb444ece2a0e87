"""Every case of the tables with the Python client, in virtual time and in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.errors import SmolmixError
from smolmix_web.http import HttpClient, HttpRequest
from smolmix_web.websocket import Close, connect
from tests.beside.case import Closed, Fails, FetchCase, Read, WebSocketCase
from tests.beside.raw_server import RawServer
from tests.beside.tables import all_cases, expected, fetch_cases, mismatch, websocket_cases
from tests.http_server import PipeConnector
from tests.virtual_loop import run_virtual

# What of `fetch`'s init has a meaning below the page; cases with more are the page's alone.
_KNOWN = {"method", "headers", "body", "redirect", "integrity"}
_ABNORMAL = 1006


def _id(case: FetchCase | WebSocketCase) -> str:
    return f"{case.kind}: {case.name}"


async def fetch(case: FetchCase) -> tuple[Read | Fails, RawServer]:
    server = RawServer(case, "http://a.test")
    client = HttpClient(LoopClock(), connector=PipeConnector(server.serve))
    try:
        response = await client.fetch(HttpRequest(f"http://a.test{case.target}", **case.init))
    except SmolmixError as error:
        assert error.phase is not None, error
        return Fails(error.code), server
    body, broken = b"", False
    try:
        async for chunk in response:
            body += chunk
    except SmolmixError as error:
        assert error.phase is not None, error
        broken = True
    finally:
        client.close()
    target = response.url.removeprefix("http://a.test").partition("#")[0]
    return Read(body, response.status, response.reason, response.headers, target, broken), server


@pytest.mark.parametrize("case", [case for case in fetch_cases() if case.init.keys() <= _KNOWN], ids=_id)
def test_fetch(case: FetchCase) -> None:
    got, server = run_virtual(fetch(case))
    assert mismatch(expected(case, native=False), got, codes=True, partial=True) == []
    assert case.requests in (None, len(server.requests))


async def talk(case: WebSocketCase) -> tuple[Closed, RawServer]:
    server = RawServer(case, "http://a.test")
    try:
        socket = await connect(LoopClock(), None, "ws://a.test/", case.protocols, connector=PipeConnector(server.serve))
    except SmolmixError:
        return Closed(code=_ABNORMAL, clean=False, opened=False), server
    for message in case.sends:
        await socket.send(message)
    messages: list[str | bytes] = []
    if case.closes == 0:
        await socket.close()
    while not isinstance(received := await socket.receive(), Close):
        messages.append(received)
        if len(messages) == case.closes:
            await socket.close()
    reason = received.reason if received.clean else ""  # of a broken one it is our own words
    return Closed(messages, received.code, reason, received.clean), server


@pytest.mark.parametrize("case", websocket_cases(), ids=_id)
def test_websocket(case: WebSocketCase) -> None:
    got, server = run_virtual(talk(case))
    want = replace(expected(case, native=False), error=False)  # `error` events are the page's
    assert mismatch(want, got, codes=True, partial=True) == []
    if case.heard is not None:
        assert server.heard == list(case.heard)


def test_every_difference_has_its_reason() -> None:
    for case in all_cases():
        assert bool(case.why) == (case.ours is not None), _id(case)
