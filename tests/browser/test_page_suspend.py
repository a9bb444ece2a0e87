"""The page rests, by its own word or as the browser freezes it: the gateway's connection closes, and comes back."""

from __future__ import annotations

import asyncio

import pytest

from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, Session, until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

WATCH = """window.states = [];
  (await api.getMixTunnel()).addEventListener("state", ({detail: {state}}) => {
    if (states.at(-1) !== state) states.push(state);
  });"""
FEATURE = pytest.mark.feature("Worker", "suspend, resume and the browser's freeze: no connection meanwhile")


async def states_become(page: ApiPage, expected: list[str], within: float) -> None:
    async with asyncio.timeout(within):
        while await page.run("return window.states") != expected:
            await asyncio.sleep(0.05)


@FEATURE
async def test_suspend_and_resume(session: Session, fresh: ApiPage) -> None:
    """With the usual traffic; a download goes on, a request begun meanwhile waits."""
    gateway = session.net.gateways[1]
    await fresh.set_up(preferredGateway=gateway.identity_text, disablePoissonTraffic=False, disableCoverTraffic=False)
    await fresh.run(WATCH)
    sessions = gateway.counters["sessions"]
    await fresh.run(
        """const response = await api.mixFetch("http://origin.test/bytes/150000");
           window.load = response.arrayBuffer().then(sha256);
           await (await api.getMixTunnel()).suspend();"""
    )
    await until(lambda: not gateway.active)
    heard = len(fresh.recorder.urls)
    assert (await fresh.run("return api.getTunnelState()"))["state"] == "suspended"
    await fresh.run(
        """window.waiting = api.mixFetch("http://origin.test/bytes/5000").then((r) => r.arrayBuffer()).then(sha256);"""
    )
    await asyncio.sleep(5.0)
    assert len(fresh.recorder.urls) == heard and gateway.counters["sessions"] == sessions
    await fresh.run("await (await api.getMixTunnel()).resume()")
    await states_become(fresh, ["suspended", "reconnecting", "ready"], 5.0)
    bodies = await fresh.run("return Promise.all([window.load, window.waiting])")
    assert bodies == [body_sha256(150_000), body_sha256(5_000)]
    assert gateway.counters["sessions"] == sessions + 1


@FEATURE
async def test_the_browser_freezes_the_page(session: Session, fresh: ApiPage) -> None:
    """Its events; a page under Playwright is never hidden, and Chromium freezes no other."""
    gateway = session.net.gateways[1]
    await fresh.set_up(preferredGateway=gateway.identity_text)
    await fresh.run(WATCH)
    await fresh.run("""document.dispatchEvent(new Event("freeze"));""")
    await until(lambda: not gateway.active)
    await fresh.run("""document.dispatchEvent(new Event("resume"));""")
    await states_become(fresh, ["suspended", "reconnecting", "ready"], 8.0)
    load = """return sha256(await (await api.mixFetch("http://origin.test/bytes/5000")).arrayBuffer())"""
    assert await fresh.run(load) == body_sha256(5_000)


@FEATURE
async def test_who_was_suspended_by_the_page_is_not_resumed_by_the_browser(session: Session, fresh: ApiPage) -> None:
    gateway = session.net.gateways[1]
    await fresh.set_up(preferredGateway=gateway.identity_text)
    await fresh.run(WATCH)
    await fresh.run(
        """await (await api.getMixTunnel()).suspend();
           document.dispatchEvent(new Event("freeze"));
           document.dispatchEvent(new Event("resume"));
           await sleep(1000);"""
    )
    assert await fresh.run("return window.states") == ["suspended"]
    await until(lambda: not gateway.active)
    await fresh.run("await api.disconnectMixTunnel()")
    assert (await fresh.run("return api.getTunnelState()"))["state"] == "shutdown"


@FEATURE
async def test_the_back_and_forward_cache(session: Session, fresh: ApiPage) -> None:
    """The events that a page gets when it is put there and taken out; a hidden page goes on."""
    gateway = session.net.gateways[1]
    await fresh.set_up(preferredGateway=gateway.identity_text)
    await fresh.run(WATCH)
    await fresh.run("""document.dispatchEvent(new Event("visibilitychange")); await sleep(500);""")
    assert await fresh.run("return window.states") == []
    await fresh.run("""window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));""")
    await states_become(fresh, ["suspended"], 5.0)
    await until(lambda: not gateway.active)
    await fresh.run("""window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));""")
    await states_become(fresh, ["suspended", "reconnecting", "ready"], 8.0)


@FEATURE
async def test_suspended_while_it_boots(session: Session, fresh: ApiPage) -> None:
    gateway = session.net.gateways[1]
    sessions = gateway.counters["sessions"]
    await fresh.run(
        """window.tunnel = new api.MixTunnel(args.options);
           window.up = tunnel.setup();
           window.up.catch(() => {});
           await sleep(0);
           await tunnel.suspend();""",
        options={**fresh.options, "preferredGateway": gateway.identity_text},
    )
    async with asyncio.timeout(20):
        while await fresh.run("return tunnel.state.state") != "suspended":
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    assert gateway.counters["sessions"] == sessions
    await fresh.run("await tunnel.resume(); await window.up;")
    assert gateway.counters["sessions"] == sessions + 1
