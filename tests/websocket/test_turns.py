"""One opening handshake at a time for each host: order, failures, aborts, bounds, and what does not wait."""

from __future__ import annotations

import asyncio
import itertools
from ipaddress import ip_address
from typing import Any

import pytest

from smolmix_web.edge.deadline import LoopClock
from smolmix_web.edge.sockets import ByteStream, TcpStream
from smolmix_web.errors import TimeoutExpired, WebSocketError
from smolmix_web.websocket import Turns, WebSocketConnection, WebSocketTimeouts, connect
from smolmix_web.websocket.turns import MAX_WAITING
from tests.http_server import PipeConnector
from tests.virtual_loop import virtual
from tests.websocket.support import Server, connector_for
from tests.wire import Wire

pytestmark = pytest.mark.feature("WebSocket", "those to one host are opened one after the other")

ANSWER_TIME = 2.0


async def slow(server: Server) -> None:
    await asyncio.sleep(ANSWER_TIME)
    await server.accept()
    await server.frame()


class Opener:
    """Opens sockets with one set of turns, and notes when each was open or failed."""

    def __init__(self, connector: PipeConnector) -> None:
        self.connector = connector
        self.turns = Turns()
        self.at: dict[str, float] = {}  # s from here
        self._begin = LoopClock().now()

    def open(self, name: str, url: str = "ws://a.test/", **options: Any) -> asyncio.Task[WebSocketConnection]:
        return asyncio.create_task(self._open(name, url, options))

    async def _open(self, name: str, url: str, options: dict[str, Any]) -> WebSocketConnection:
        try:
            return await connect(LoopClock(), None, url, connector=self.connector, turns=self.turns, **options)
        finally:
            self.at[name] = LoopClock().now() - self._begin


@virtual
async def test_one_after_the_other_in_order() -> None:
    opener = Opener(connector_for(slow))
    tasks = [opener.open(str(number)) for number in range(4)]
    other = [opener.open("port", "ws://a.test:81/"), opener.open("host", "ws://b.test/")]
    await asyncio.sleep(0.1)
    assert sorted(opener.connector.origins) == ["ws://a.test", "ws://a.test:81", "ws://b.test"]
    sockets = await asyncio.gather(*tasks, *other)
    assert opener.at == pytest.approx({"0": 2, "1": 4, "2": 6, "3": 8, "port": 2, "host": 2}, abs=0.01)
    for socket in sockets:  # all stay open
        assert socket.closed is None
        socket.abort()


@virtual
async def test_a_failure_lets_the_next_one_begin_at_once() -> None:
    async def refuse(stream: ByteStream) -> None:
        await stream.read()
        await asyncio.sleep(1)
        await stream.write(b"HTTP/1.1 403 No\r\n\r\n")

    opener = Opener(PipeConnector(refuse))
    results = await asyncio.gather(*(opener.open(str(number)) for number in range(3)), return_exceptions=True)
    assert all(isinstance(result, WebSocketError) and result.code == "bad_status" for result in results)
    assert opener.at == pytest.approx({"0": 1, "1": 2, "2": 3}, abs=0.01)


@pytest.mark.parametrize("who", ["the one that is being opened", "one that waits", "all that wait"])
def test_an_abort_frees_its_place(who: str) -> None:
    @virtual
    async def run() -> None:
        opener = Opener(connector_for(slow))
        tasks = [opener.open(str(number)) for number in range(4)]
        await asyncio.sleep(1)
        gone = {"the one that is being opened": [0], "one that waits": [1], "all that wait": [1, 2, 3]}[who]
        for number in gone:
            tasks[number].cancel()
        await asyncio.wait(tasks)
        left = [number for number in range(4) if number not in gone]
        first = 3 if 0 in gone else 2
        assert [opener.at[str(number)] for number in left] == pytest.approx(
            [first + 2 * place for place in range(len(left))], abs=0.01
        )
        again = await opener.open("again")
        again.abort()
        for number in left:
            tasks[number].result().abort()

    run()


@virtual
async def test_served_and_cancelled_in_the_same_moment() -> None:
    turns = Turns()
    order: list[str] = []

    async def take(name: str) -> None:
        async with turns.turn("place"):
            order.append(name)

    for late in (False, True):
        async with turns.turn("place"):
            waiting = [asyncio.create_task(take(name)) for name in "ab"]
            await asyncio.sleep(0)
            if not late:
                waiting[0].cancel()
        if late:
            waiting[0].cancel()
        await asyncio.wait(waiting)
    assert order == ["b", "b"]
    await asyncio.wait_for(take("c"), 1)


@pytest.mark.parametrize(
    ("timeouts", "code", "seconds"),
    [(WebSocketTimeouts(queue=5), "queue_timeout", 5), (WebSocketTimeouts(total=7), "total_timeout", 7)],
)
def test_waiting_has_a_deadline(timeouts: WebSocketTimeouts, code: str, seconds: float) -> None:
    async def silent(stream: ByteStream) -> None:
        await asyncio.sleep(10_000)

    @virtual
    async def run() -> None:
        opener = Opener(PipeConnector(silent))
        first = opener.open("first", timeouts=WebSocketTimeouts(total=50))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutExpired) as caught:
            await opener.open("second", timeouts=timeouts)
        assert caught.value.code == code and opener.at["second"] == pytest.approx(seconds)
        assert len(opener.connector.near) == 1
        await asyncio.wait([first])

    run()


@virtual
async def test_no_more_wait_than_may() -> None:
    opener = Opener(connector_for(slow))
    tasks = [opener.open(str(number)) for number in range(MAX_WAITING + 2)]
    await asyncio.sleep(1)
    done = [task for task in tasks if task.done()]
    assert len(done) == 1
    error = done[0].exception()
    assert isinstance(error, WebSocketError) and (error.code, error.phase) == ("queue_full", "queue")
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    (await opener.open("again")).abort()


@virtual
async def test_names_of_one_address_are_one_host() -> None:
    """As RFC 6455 4.1 has it, whatever order the resolver gives the addresses in."""
    wire = Wire(0.2)
    at: list[float] = []

    async def serve(stream: TcpStream) -> None:
        at.append(wire.client.now())
        await slow(Server(stream))

    wire.listen(80, serve)

    class Answer:
        def __init__(self, address: str) -> None:
            self.address = ip_address(address)

    class Names:
        async def resolve(self, name: str, *, family: int | None = None) -> list[Answer]:
            addresses = ["192.0.2.1", "192.0.2.9"]
            return [Answer(address) for address in (addresses if name == "a.test" else addresses[:1])]

    turns = Turns()
    names: Any = Names()
    opening = [connect(wire.client, names, f"ws://{host}/", turns=turns) for host in ("a.test", "b.test", "192.0.2.1")]
    sockets = await asyncio.gather(*opening)
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert len(at) == 3 and min(gaps) > ANSWER_TIME
    for socket in sockets:
        socket.abort()


@virtual
async def test_without_turns_nobody_waits() -> None:
    connector, begin = connector_for(slow), LoopClock().now()
    opening = (connect(LoopClock(), None, "ws://a.test/", connector=connector) for _ in range(3))
    for socket in await asyncio.gather(*opening):
        socket.abort()
    assert LoopClock().now() - begin == pytest.approx(ANSWER_TIME, abs=0.01)
