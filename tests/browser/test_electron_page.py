"""The page of the Electron example with the tunnel in it, in Chromium: its handler's files and policy, its preload.

Electron's program is not to be had from npm, so its scheme is stood in for by http on this machine (an origin that is
as secure and as much its own), and what a preload script gets by a global.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.page_session import Session, until
from tests.node.electron_projects import EXAMPLES, SERVE, with_stand_in

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

# What `require("electron")` gives a preload script, and what the page finds of it afterwards.
SHELL = """(() => {
  const heard = {};
  window.tell = (channel, value) => heard[channel]?.({}, value);
  const electron = {
    contextBridge: { exposeInMainWorld: (name, api) => { window[name] = Object.freeze(api); } },
    ipcRenderer: { on: (channel, listener) => { heard[channel] = listener; } },
  };
  ((require) => { PRELOAD })((name) => { if (name === "electron") return electron; throw new Error(name); });
})();"""


@pytest_asyncio.fixture(loop_scope="session")
async def site(tmp_path: Path) -> AsyncIterator[str]:
    """The example's files by its own handler."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    process = await asyncio.create_subprocess_exec(
        node,
        str(SERVE),
        cwd=with_stand_in(tmp_path / "project"),
        env={**os.environ, "MORE_CONNECT": "http://127.0.0.1:* ws://127.0.0.1:*"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 30))
        yield f"http://localhost:{port}/"
    finally:
        process.kill()
        await process.wait()


@pytest.mark.feature(
    "Worker", "in a window of Electron: its scheme's files, policy and preload script; texts and pictures"
)
async def test_the_page_of_a_window(session: Session, site: str) -> None:
    gateway = session.net.gateways[1]
    options = {**session.options, "preferredGateway": gateway.identity_text}
    context = await session.browser.new_context()
    try:
        preload = (EXAMPLES / "in-page" / "preload.cjs").read_text(encoding="utf-8")
        await context.add_init_script(SHELL.replace("PRELOAD", preload))
        await context.add_init_script(f"window.smolmixOptions = {json.dumps(options)};")
        page = await context.new_page()
        asked: list[str] = []
        console: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: console.append(message.text))
        await page.goto(f"{site}index.html")
        assert await page.evaluate("[typeof require, typeof process, isSecureContext, Object.keys(shell)]") == [
            "undefined",
            "undefined",
            True,
            ["onRest"],
        ]

        async def ask(url: str, told: str) -> None:
            await page.fill("#url", url)
            await page.click("button")
            try:
                await page.wait_for_function(
                    "(told) => document.querySelector('#told').textContent === told", arg=told, timeout=40_000
                )
            except Exception as error:
                raise AssertionError([await page.text_content("#told"), *console]) from error

        await ask("https://origin.test/text", "200: 23 characters")
        await ask("https://origin.test/picture/160x125?seed=window", "200: 160 × 125")
        assert await page.evaluate("document.querySelector('#picture').naturalWidth") == 160
        served = [r for r in session.net.world.origin.requests if r.path == "/picture/160x125" and "window" in r.target]
        assert len(served) == 2  # one by `mixFetch`, one by the window itself
        await page.evaluate("tell('rest', true)")
        await until(lambda: not gateway.active)
        assert await page.text_content("#state") == "suspended"
        await page.evaluate("tell('rest', false)")
        await ask("https://origin.test/json", "200: 32 characters")
        own = (site, "blob:", "data:", session.net.directory_url, "https://origin.test/picture/")
        assert [url for url in asked if not url.startswith(own)] == []
    finally:
        await context.close()
