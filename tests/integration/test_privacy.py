"""What others see of two users of the CPython client, by the recorders of the privacy bench: equal where users must be
alike, never twice where they must not."""

from __future__ import annotations

import asyncio

import pytest

from bench.privacy_facts import DRAWN, EXACT, NOTHING, recurring
from bench.privacy_records import Recorder, Recording
from localnet import Network
from tests.integration.tunnels import get, open_tunnel

pytestmark = pytest.mark.timeout(90)

SHAPE = {
    "exit.ip": "64 DF 0",
    "exit.ip.id": "drawn",
    "tcp.syn.options": "mss,sackOK,ts,nop,wscale",
    "tcp.syn.window": "65535",
    "tcp.ports": "drawn",
    "tcp.isn": "drawn",
    "tcp.timestamps": "an offset of its own for each connection",
    "tls.alpn": "h2,http/1.1",
    "tls.order": "drawn for each connection",
    "dns.kinds": "A, AAAA",
    "dns.case": "drawn",
    "dns.ports": "drawn",
    "dns.repeated": "once",
    "gateway.frames": "2452",
    "gateway.texts.during": "none",
    "gateway.close": "1000",
}
# Of a browser's log, of a second visit, and of what is not done here.
NOT_HERE = {"page.asked", "directory.requests.later", "gateway.texts.later", "http1.upload"}


async def a_user(network: Network) -> Recording:
    recorder, loop = Recorder(), asyncio.get_running_loop()
    network.watch(recorder)
    began = loop.time()
    try:
        async with open_tunnel(network) as tunnel:
            ready = loop.time()
            # The second server speaks HTTP/1.1 alone, and ends its connection: the next one is a new one.
            unsized = "https://origin.test/unsized/100"
            for url in ("http://origin.test/text", unsized, unsized, "https://h2.test/text"):
                assert (await get(tunnel, url))[0] == 200
            async with await tunnel.connect_websocket("ws://ws.test/") as socket:
                await socket.send("text")
            ended = loop.time()
        # The gateway reads what came last.
        async with asyncio.timeout(10):
            while not any(seen.what == "end" for seen in recorder.seen):
                await asyncio.sleep(0)
    finally:
        network.watch(None)
    return Recording(recorder.seen, {"ready": (began, ready), "end": (ended, loop.time())})


@pytest.mark.parametrize("localnet", [{"gateways": 1, "exits": 1}], indirect=True)
async def test_two_users_are_alike_and_share_nothing(localnet: Network) -> None:
    users = [await a_user(localnet) for _ in range(2)]
    for name, fact in EXACT.items():
        if name not in NOT_HERE:
            first, second = (fact.read(user) for user in users)
            assert first == second, name
            assert first == SHAPE.get(name, first), name
            assert first != NOTHING, name
    for name, drawn in DRAWN.items():
        assert recurring(drawn.read(user) for user in users) == "never twice", name


async def test_nobody_is_told_when_nobody_watches(localnet: Network) -> None:
    recorder = Recorder()
    localnet.watch(recorder)
    localnet.watch(None)
    async with open_tunnel(localnet) as tunnel:
        await get(tunnel, "http://origin.test/text")
    assert recorder.seen == []
