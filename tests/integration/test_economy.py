"""Packets that a download costs in the local network, in real time: what the entry gateway pushed to its client."""

from __future__ import annotations

import asyncio

import pytest

from localnet import Network
from tests.integration.tunnels import open_tunnel

SIZE = 1_000_000


async def costs(network: Network) -> tuple[float, float]:
    """(packets up per packet down, bytes of body per packet down) of one download."""
    (gateway,) = network.gateways
    options = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "preferredGateway": gateway.identity_text}
    async with open_tunnel(network, tcpSegments="paired", **options) as tunnel:
        await (await tunnel.fetch("http://origin.test/bytes/1000")).read()
        await asyncio.sleep(1.0)  # what that left on the way
        before = dict(gateway.counters)
        body = await (await tunnel.fetch(f"http://origin.test/bytes/{SIZE}")).read()
        assert len(body) == SIZE
        # For each packet down the gateway sends the ack that it carried; the others it delivers are ours.
        down = gateway.counters["acks_sent"] - before["acks_sent"]
        up = gateway.counters["delivered"] - before["delivered"] - down
        return up / down, SIZE / down


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("localnet", [{"gateways": 1, "exits": 1}], indirect=True)
async def test_paired_segments_of_a_download_of_1_mb(localnet: Network) -> None:
    """The best of three: a busy machine repeats packets."""
    runs = [await costs(localnet) for _ in range(3)]
    assert min(up for up, _ in runs) <= 0.40
    assert max(body for _, body in runs) >= 1_400, runs
