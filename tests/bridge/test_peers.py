"""Two pages' halves of the bridge on real tunnels in virtual time: messages, listening, streams, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from smolmix_web.bridge.bridge import Bridge
from smolmix_web.tunnel import Tunnel
from smolmix_web.tunnel.options import TunnelOptions
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, simulate, tunnel_to
from tests.simnet.world import pattern

OPTIONS = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "exit": "none"}
WITHIN = 60.0  # s of the simulation
ENDINGS = ("chunk", "eof", "error")  # of a pull


class Side:
    """A page that has set its tunnel up; ids are chosen by the test."""

    def __init__(self, network: SimNetwork, name: str) -> None:
        self.host = SimHost(network, name)
        self.network = network
        self.posted: list[dict[str, Any]] = []
        self.snapshots: list[dict[str, Any]] = []
        self.bridge = Bridge(self._post, self._make)

    def _make(
        self, _options: TunnelOptions, on_change: Callable[[dict[str, Any]], None], pool: object = None
    ) -> Tunnel:
        return tunnel_to(self.network, self.host, on_change=on_change, **OPTIONS)

    def _post(self, message: dict[str, Any]) -> None:
        if message["type"] == "state":
            self.snapshots.append(message["snapshot"])
        else:
            self.posted.append(message)

    def say(self, kind: str, id: int, **fields: Any) -> None:
        self.bridge.receive({"type": kind, "id": id, **fields})

    async def heard(self, kind: str, id: int) -> dict[str, Any]:
        """The next message of this type and id, which is taken."""
        until = self.network.queue.now + WITHIN
        while self.network.queue.now < until:
            for message in self.posted:
                if message["type"] == kind and message["id"] == id:
                    self.posted.remove(message)
                    return message
            failed = [message for message in self.posted if message["type"] == "error" and message["id"] == id]
            assert not failed, failed
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind} for {id}: {self.posted}")

    async def error(self, id: int) -> dict[str, Any]:
        error: dict[str, Any] = (await self.heard("error", id))["error"]
        return error

    @property
    def address(self) -> str:
        return str(self.snapshots[-1]["address"])

    @property
    def open(self) -> int:
        return len(self.bridge._channels) + len(self.bridge._tasks)

    async def start(self) -> None:
        self.say("setup", 1000, options={})
        await self.heard("result", 1000)

    async def stop(self) -> None:
        self.say("disconnect", 1001)
        await self.heard("result", 1001)
        assert self.open == 0


def between_pages(test: Callable[[Side, Side], Awaitable[None]]) -> None:
    network = SimNetwork("pages", gateways=4, exits=0)
    a, b = Side(network, "a"), Side(network, "b")

    async def main() -> None:
        await asyncio.gather(a.start(), b.start())
        await test(a, b)
        await asyncio.gather(a.stop(), b.stop())
        await asyncio.sleep(0.5)
        for side in (a, b):
            assert left_over(network, side.host) == {}

    simulate(network, main())


async def connect(a: Side, b: Side) -> None:
    """A stream: id 1 at `a`, which dials, and 2 at `b`."""
    b.say("listen", 1)
    assert (await b.heard("opened", 1))["detail"] == {"localAddress": b.address}
    b.say("accept", 2)
    a.say("stream", 1, address=b.address, surbs=10)
    assert (await a.heard("opened", 1))["detail"] == {"remoteAddress": b.address, "localAddress": a.address}
    assert (await b.heard("opened", 2))["detail"] == {"remoteAddress": None, "localAddress": b.address}


async def read_all(side: Side, id: int) -> bytes:
    got = b""
    while True:
        side.say("pull", id)
        while not (
            mine := [one for one in side.posted if one["id"] == id and one["type"] in ("chunk", "eof", "error")]
        ):
            await asyncio.sleep(0.01)
        side.posted.remove(mine[0])
        if mine[0]["type"] == "eof":
            return got
        got += mine[0]["data"]


@pytest.mark.feature("Streams", "page: messages, replies, delivery")
def test_messages_and_a_reply() -> None:
    async def test(a: Side, b: Side) -> None:
        b.say("messages", 1)
        await b.heard("opened", 1)
        a.say("message", 1, address=b.address, data=b"hello", surbs=13, timeout=None)
        a.say("message", 2, address=b.address, data=b"no answer wanted", surbs=0, timeout=60_000)
        for id in (1, 2):
            await a.heard("opened", id)
            assert (await a.heard("result", id))["value"] is None
        assert [one["type"] for one in b.posted] == [], "nothing is sent that was not asked for"
        found = {}
        for _ in range(2):
            b.say("pull", 1)
            one = await b.heard("chunk", 1)
            found[one["data"]] = one
        tag = found[b"hello"]["senderTag"]
        assert len(tag) == 32 and found[b"hello"]["source"] is None
        assert found[b"no answer wanted"]["senderTag"] is None
        b.say("reply", 2, senderTag=tag, data=b"hello yourself", timeout=None)
        await b.heard("result", 2)
        a.say("messages", 3)  # what answers came before, after the first message, was kept
        b.say("reply", 3, senderTag=tag, data=b"once more", timeout=None)
        for expected in (b"hello yourself", b"once more"):
            a.say("pull", 3)
            answer = await a.heard("chunk", 3)
            assert (answer["data"], answer["source"], answer["senderTag"]) == (expected, b.address, None)

    between_pages(test)


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("message", {"address": "nonsense", "surbs": 1}, "bad_recipient"),
        ("message", {"address": None, "surbs": 1}, "bad_message"),
        ("message", {"surbs": 101}, "bad_surbs"),
        ("message", {"surbs": 1, "data": bytes(2**20 + 1)}, "message_too_long"),
        ("message", {"surbs": 1, "data": "text"}, "bad_message"),
        ("reply", {"senderTag": "no tag"}, "bad_message"),
        ("reply", {"senderTag": "00" * 15}, "bad_message"),
        ("reply", {"senderTag": "00" * 16}, "unknown_sender_tag"),
        ("stream", {"surbs": 0}, "bad_surbs"),
        ("accept", {}, "not_listening"),
    ],
)
def test_what_cannot_be_done_is_told(kind: str, fields: dict[str, Any], code: str) -> None:
    async def test(a: Side, b: Side) -> None:
        a.say(kind, 1, **{"address": b.address, "data": b"x", "timeout": None, **fields})
        assert (await a.error(1))["code"] == code
        assert a.open == 0

    between_pages(test)


@pytest.mark.feature("Streams", "page: a stream with half close, closed when all has arrived")
def test_a_stream_both_ways() -> None:
    there, back = pattern(200_000, "there"), pattern(150_000, "back")

    async def test(a: Side, b: Side) -> None:
        await connect(a, b)

        async def send(side: Side, id: int, data: bytes) -> None:
            for at in range(0, len(data), 65_536):
                side.say("write", id, data=data[at : at + 65_536])
                await side.heard("written", id)
            side.say("finish", id)

        sending = asyncio.gather(send(a, 1, there), send(b, 2, back))
        assert await asyncio.gather(read_all(a, 1), read_all(b, 2)) == [back, there]
        await sending
        for side, id in ((a, 1), (b, 2)):
            assert (await side.heard("peer", id))["reliable"] is True
            await side.heard("end", id)
        assert a.open == 0 and b.open == 2, "the listener goes on"

    between_pages(test)


@pytest.mark.feature("Streams", "page: backpressure from the reader to the writer")
def test_who_does_not_read_holds_the_writer_back() -> None:
    async def test(a: Side, b: Side) -> None:
        await connect(a, b)
        written = 0
        until = a.network.queue.now + 30
        a.say("write", 1, data=bytes(65_536))
        while a.network.queue.now < until:
            if any(one["type"] == "written" for one in a.posted):
                await a.heard("written", 1)
                written += 65_536
                a.say("write", 1, data=bytes(65_536))
            await asyncio.sleep(0.05)
        # What the reader's buffer takes, and ours.
        assert 1 << 20 <= written <= (1 << 20) + (1 << 18)
        assert not any(one["type"] == "chunk" for one in b.posted)
        b.say("discard", 2)
        await a.heard("written", 1)
        a.say("abort", 1)

    between_pages(test)


@pytest.mark.feature("Streams", "page: abort tells the peer a code and a text")
def test_an_abort_with_a_code_and_one_without() -> None:
    async def test(a: Side, b: Side) -> None:
        await connect(a, b)
        a.say("abort", 1, code=4711, text="enough of this")
        b.say("pull", 2)
        error = await b.error(2)
        assert (error["code"], error["resetCode"]) == ("stream_reset", 4711) and "enough of this" in error["reason"]
        b.say("accept", 3)
        a.say("stream", 2, address=b.address, surbs=10)
        await b.heard("opened", 3)
        await a.heard("opened", 2)
        b.say("abort", 3)
        a.say("pull", 2)
        assert (await a.error(2))["resetCode"] == 256
        assert a.open == 0

    between_pages(test)


@pytest.mark.feature("Streams", "page: a listener that is closed refuses")
def test_listeners() -> None:
    async def test(a: Side, b: Side) -> None:
        b.say("listen", 1)
        await b.heard("opened", 1)
        b.say("listen", 2)
        assert (await b.error(2))["code"] == "listener_taken"
        b.say("accept", 3)
        await asyncio.sleep(1)
        b.say("abort", 1)
        assert (await b.error(3))["phase"] == "accept"
        a.say("stream", 1, address=b.address, surbs=10)
        a.say("pull", 1)
        assert (await a.error(1))["code"] == "peer_refused"
        assert a.open == b.open == 0
        b.say("listen", 4)
        await b.heard("opened", 4)

    between_pages(test)
