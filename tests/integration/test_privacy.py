"""What others see of two users of the CPython client, by the recorders of the privacy bench: equal where users must be
alike, never twice where they must not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bench.privacy_facts import DRAWN, EXACT, NOTHING, recurring
from bench.privacy_records import Recorder, Recording
from localnet import Network
from smolmix_web.errors import DirectoryError
from tests.bench.privacy_shapes import OFFICIAL, SHAPE
from tests.integration.tunnels import get, open_tunnel

pytestmark = pytest.mark.timeout(90)

# Of a browser's log, of a second visit or tab, and of what is not done here.
NOT_HERE = {
    "page.asked",
    "directory.requests.later",
    "gateway.texts.later",
    "gateway.keys",
    "gateway.texts.loss",
    "gateway.texts.offline",
    "gateway.close.left",
    "gateway.close.crash",
    "gateway.packets.rotation",
    "gateway.tabs",
    "directory.requests.rotation",
    "exit.tabs",
    "http1.upload",
}


async def a_user(network: Network, **options: Any) -> Recording:
    recorder, loop = Recorder(), asyncio.get_running_loop()
    network.watch(recorder)
    began = loop.time()
    try:
        async with open_tunnel(network, **options) as tunnel:
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


@pytest.mark.feature("Sockets", "behind the exit as the official client, by choice")
@pytest.mark.parametrize("localnet", [{"gateways": 1, "exits": 1}], indirect=True)
async def test_the_fingerprint_of_the_official_client(localnet: Network) -> None:
    user = await a_user(localnet, fingerprint="official")
    assert {name: EXACT[name].read(user) for name in OFFICIAL} == OFFICIAL


async def test_nobody_is_told_when_nobody_watches(localnet: Network) -> None:
    recorder = Recorder()
    localnet.watch(recorder)
    localnet.watch(None)
    async with open_tunnel(localnet) as tunnel:
        await get(tunnel, "http://origin.test/text")
    assert recorder.seen == []


@pytest.mark.parametrize("localnet", [{"gateways": 1, "exits": 1, "mixes_per_layer": 3}], indirect=True)
async def test_a_directory_that_changes_its_mind_within_an_epoch_is_told(localnet: Network) -> None:
    async with open_tunnel(localnet) as tunnel:
        await tunnel.refresh_topology()
        assert tunnel.snapshot()["warnings"] == []
        kept: set[int] = set()
        for plan in localnet.plans:
            if plan.kind == "mix":
                localnet.entry(plan.name).listed = plan.layer not in kept
                kept.add(plan.layer)
        await tunnel.refresh_topology()
        await tunnel.refresh_topology()
        assert [warning["code"] for warning in tunnel.snapshot()["warnings"]] == ["topology_changed"]
        assert (await get(tunnel, "http://origin.test/text"))[0] == 200


@pytest.mark.parametrize("localnet", [{"gateways": 1, "exits": 1}], indirect=True)
async def test_a_directory_that_goes_back_is_not_followed(localnet: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    await localnet.advance_epochs(1)
    async with open_tunnel(localnet) as tunnel:
        assert tunnel._engine is not None
        known = tunnel._engine.mixnet.topology
        monkeypatch.setattr(localnet.clock, "_epoch", localnet.clock._epoch - 1)
        with pytest.raises(DirectoryError) as caught:
            await tunnel.refresh_topology()
        assert caught.value.code == "outdated" and tunnel._engine.mixnet.topology is known
