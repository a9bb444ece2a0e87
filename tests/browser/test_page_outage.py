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

DOWNLOAD = """globalThis.progress = {bytes: 0, states: []};
  const tunnel = await api.getMixTunnel();
  tunnel.addEventListener("state", ({detail}) => progress.states.push(detail.state));
  const response = await api.mixFetch(args.url);
  const reader = response.body.getReader();
  const parts = [];
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    progress.bytes += value.length;
  }
  const body = await new Blob(parts).arrayBuffer();
  const {registrations} = await tunnel.statistics();
  return [response.status, body.byteLength, await sha256(body), progress.states, registrations];
"""


async def received(page: ApiPage) -> int:
    return int(await page.page.evaluate("() => globalThis.progress?.bytes ?? 0"))


async def test_a_download_of_5_mb_continues_over_a_gateway_outage_of_20_s(session: Session, fresh: ApiPage) -> None:
    gateway = session.net.gateways[1]
    url = f"http://origin.test/bytes/{SIZE}?seed=outage"
    requests = len(session.net.world.origin.requests)
    await fresh.set_up(preferredGateway=gateway.identity_text)
    download = asyncio.create_task(fresh.run(DOWNLOAD, timeout=LIMIT, url=url))
    try:
        async with asyncio.timeout(LIMIT):
            while await received(fresh) < SIZE // 10:
                assert not download.done(), download
                await asyncio.sleep(0.1)
        gateway.faults.refuse_connections = True
        assert gateway.drop_clients() == 1
        await asyncio.sleep(2)
        before = await received(fresh)
        assert before < SIZE // 2, "nearly done before the outage: it would prove nothing"
        await asyncio.sleep(OUTAGE - 2)
        assert await received(fresh) == before, "bytes came through a gateway that is cut off"
        gateway.faults.refuse_connections = False
        async with asyncio.timeout(HEALED_WITHIN):
            while await received(fresh) == before:
                assert not download.done(), download
                await asyncio.sleep(0.1)
        status, size, sha256, states, registrations = await download
    finally:
        gateway.faults.refuse_connections = False
        download.cancel()
    assert (status, size, sha256) == (200, SIZE, body_sha256(SIZE, "outage"))
    assert states == ["reconnecting", "ready"]
    # One request, one registration: the connection itself lived on.
    assert registrations == 1
    assert len([one for one in session.net.world.origin.requests[requests:] if "seed=outage" in one.target]) == 1
