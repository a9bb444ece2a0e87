"""A phone in Chromium: a renderer with a quarter of a core, and one that was stopped while the exit forgot it.

Page and worker are slowed and stopped together, by the kernel: the browser's own throttling slows the page only.
"""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from bench.limits import limited
from tests.browser.own_browser import own_browser
from tests.browser.page_session import Session

SHARE = 0.25
DEFAULTS = {"disablePoissonTraffic": False, "disableCoverTraffic": False}
STOPPED = 6.0  # s
DEMO = """
const started = performance.now(), states = [];
const tunnel = new api.MixTunnel(args.options);
tunnel.addEventListener("state", ({ detail }) => states.push(detail.state));
await tunnel.setup();
const ready = performance.now() - started;
const response = await tunnel.fetch("https://origin.test/bytes/100000");
const { byteLength } = await response.arrayBuffer();
const socket = tunnel.webSocket("wss://ws.test/");
await socket.opened();
const echo = new Promise((resolve) => { socket.onmessage = ({ data }) => resolve(data); });
socket.send("still here");
const heard = await echo;
await socket.close();
const addresses = await tunnel.lookup("origin.test");
const all = performance.now() - started;
return { byteLength, heard, addresses, states, left: await idle(tunnel), seconds: { ready, all } };
"""

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest.mark.feature("Worker", "a quarter of a core and the default traffic: comes up, fetches, echoes, no false loss")
async def test_a_quarter_of_a_core(session: Session) -> None:
    async with own_browser(session) as (own, renderers):
        opened = await own.open()
        with limited(renderers(), SHARE):
            got = await opened.run(DEMO, options={**own.options, **DEFAULTS}, timeout=200)
    print({name: round(ms / 1000, 1) for name, ms in got["seconds"].items()}, got["states"])
    assert (got["byteLength"], got["heard"], got["left"]) == (100_000, "still here", 0)
    assert got["addresses"] and "reconnecting" not in got["states"] and "failed" not in got["states"]


@pytest.mark.feature("Worker", "a request begun when a stopped page goes on succeeds, though the exit has forgotten it")
async def test_a_renderer_that_was_stopped(session: Session) -> None:
    async with own_browser(session) as (own, renderers):
        opened = await own.open()
        await opened.set_up(**DEFAULTS)
        pids = renderers()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            asked = asyncio.create_task(
                opened.run(
                    'return (await (await api.mixFetch("http://origin.test/bytes/1000")).arrayBuffer()).byteLength;'
                )
            )
            await asyncio.sleep(STOPPED)
            for host in session.net.exits:
                host.service.forget_clients()
            assert not asked.done()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert await asked == 1000
