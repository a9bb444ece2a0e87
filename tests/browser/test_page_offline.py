"""Chromium goes offline and online: the page tells its worker, and the tunnel acts on it at once."""

from __future__ import annotations

import asyncio

import pytest

from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, Session

# Of the three drivers only its own takes the network away.
pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

WATCH = """window.states = [];
  (await api.getMixTunnel()).addEventListener("state", ({detail: {state}}) => {
    if (states.at(-1) !== state) states.push(state);
  });
  window.pending = null;"""
NOTICED_WITHIN = 8.0  # s; by itself the tunnel doubts an idle connection after 25 s
AWAY = 12.0  # s
BACK_WITHIN = 8.0  # s; an attempt begun shortly before would go on for 15 s


async def states_become(page: ApiPage, expected: list[str], within: float) -> None:
    async with asyncio.timeout(within):
        while await page.run("return window.states") != expected:
            await asyncio.sleep(0.1)


@pytest.mark.feature("Worker", "the browser's offline and online events: reconnecting at once, what is open lives on")
async def test_offline_and_online(session: Session, fresh: ApiPage) -> None:
    gateway, context = session.net.gateways[1], fresh.page.context
    await fresh.set_up(preferredGateway=gateway.identity_text)
    await fresh.run(WATCH)
    sessions = gateway.counters["sessions"]
    try:
        await context.set_offline(True)
        await states_become(fresh, ["reconnecting"], NOTICED_WITHIN)
        await fresh.run(
            """window.pending = (async () =>
              sha256(await (await api.mixFetch("http://origin.test/bytes/50000")).arrayBuffer()))();"""
        )
        await asyncio.sleep(AWAY)
    finally:
        await context.set_offline(False)
    await states_become(fresh, ["reconnecting", "ready"], BACK_WITHIN)
    assert await fresh.run("return window.pending") == body_sha256(50_000)
    assert gateway.counters["sessions"] == sessions + 1
