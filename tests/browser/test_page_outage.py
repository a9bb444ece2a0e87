"""A running download in Chromium outlives the loss of its gateway: no byte is lost, and nobody has to ask again."""

from __future__ import annotations

import asyncio

import pytest

from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, Session

SIZE = 5_000_000
OUTAGE = 20.0  # s
HEALED_WITHIN = 15.0  # s after the gateway is back
LIMIT = 150.0  # s for everything

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(LIMIT + 30)]

# Nothing is asked of the page meanwhile: its driver has its hands full with the frames of the WebSocket.
DOWNLOAD = """const tunnel = await api.getMixTunnel();
  const states = [];
  tunnel.addEventListener("state", ({detail}) => states.push([detail.state, detail.step]));
  const response = await api.mixFetch(args.url);
  const body = await response.arrayBuffer();
  const {registrations} = await tunnel.statistics();
  return [response.status, body.byteLength, await sha256(body), states, registrations];
"""


async def test_a_download_of_5_mb_continues_over_a_gateway_outage_of_20_s(session: Session, fresh: ApiPage) -> None:
    gateway, requests = session.net.gateways[1], session.net.world.origin.requests
    url = f"http://origin.test/bytes/{SIZE}?seed=outage"
    asked = len(requests)
    await fresh.set_up(preferredGateway=gateway.identity_text)
    before = gateway.counters["delivered"]
    download = asyncio.create_task(fresh.run(DOWNLOAD, timeout=LIMIT, url=url))

    async def delivered(packets: int, within: float) -> None:
        """Wait until the gateway has pushed so many since the start; none carries more than 1,600 bytes."""
        async with asyncio.timeout(within):
            while gateway.counters["delivered"] - before < packets:
                assert not download.done(), download
                await asyncio.sleep(0.02)

    try:
        await delivered(1_000, 60)  # less than a third
        gateway.faults.refuse_connections = True
        assert gateway.drop_clients() == 1
        cut_at = gateway.counters["delivered"] - before
        await asyncio.sleep(OUTAGE)
        assert gateway.counters["delivered"] - before == cut_at and cut_at < 1_500
        gateway.faults.refuse_connections = False
        await delivered(cut_at + 100, HEALED_WITHIN)
        status, size, sha256, states, registrations = await download
    finally:
        gateway.faults.refuse_connections = False
        download.cancel()
    assert (status, size, sha256) == (200, SIZE, body_sha256(SIZE, "outage"))
    assert states == [["reconnecting", "gateway"], ["reconnecting", "exit"], ["ready", None]]
    # One request, one registration: the connection itself lived on.
    assert registrations == 1
    assert len([one for one in requests[asked:] if "seed=outage" in one.target]) == 1
    assert gateway.counters["refused.connection"] > 0
