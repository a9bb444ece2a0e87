"""The two clients of a soak as its conductor sees them: started, heard, and ended in time, whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from playwright.async_api import Browser, CDPSession, async_playwright

from browserkit.chromium import launch_arguments
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from localnet.origin import body_sha256

ROOT = Path(__file__).resolve().parent.parent
SITE = Path(__file__).resolve().parent / "soak_site"
MEMORY_EVERY = 5.0  # s

Hear = Callable[[dict[str, Any]], None]
"""Takes a client's message: `{"event": …}` or the record of an operation."""


class SoakClient(Protocol):
    name: str

    async def run(self, options: dict[str, Any], seconds: float, deadline: float, hear: Hear) -> None:
        """Work for so long. Raises when the client itself broke; cancelling ends it."""
        ...


class PythonClient:
    """`bench.soak_python` in a process of its own."""

    name = "cpython"

    async def run(self, options: dict[str, Any], seconds: float, deadline: float, hear: Hear) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.soak_python",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 20,
        )
        assert process.stdin is not None and process.stdout is not None
        try:
            start = {"options": options, "seconds": seconds, "deadline": deadline}
            process.stdin.write(json.dumps(start).encode() + b"\n")
            await process.stdin.drain()
            while line := await process.stdout.readline():
                hear(json.loads(line))
            if await process.wait() != 0:
                raise RuntimeError(f"the CPython client ended with code {process.returncode}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


class PageClient:
    """The page API of dist/ in headless Chromium. Its memory is that of the tab's process, worker included."""

    name = "chromium"

    async def run(self, options: dict[str, Any], seconds: float, deadline: float, hear: Hear) -> None:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=launch_arguments())
            try:
                with StaticServer({"/": SITE, "/smolmix/": DIST}) as site:
                    await self._run(browser, site.url, options, seconds, deadline, hear)
            finally:
                await browser.close()

    async def _run(
        self, browser: Browser, url: str, options: dict[str, Any], seconds: float, deadline: float, hear: Hear
    ) -> None:
        page = await (await browser.new_context()).new_page()
        await page.expose_function("say", hear)
        await page.expose_function("bodyHash", body_sha256)
        page.on("pageerror", lambda error: hear({"event": "page error", "message": str(error)}))
        page.on("console", lambda message: hear({"event": "console", "message": f"{message.type}: {message.text}"}))
        await page.goto(f"{url}/index.html")
        await page.wait_for_function("globalThis.soak !== undefined", timeout=30_000)
        process = await tab_process(await browser.new_browser_cdp_session())
        watch = asyncio.create_task(self._watch_memory(process, hear))
        try:
            await page.evaluate("(given) => soak(given)", {"options": options, "seconds": seconds, "limit": deadline})
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch_memory(self, process: int, hear: Hear) -> None:
        while True:
            hear({"event": "memory", "megabytes": resident(process)})
            await asyncio.sleep(MEMORY_EVERY)


async def tab_process(session: CDPSession) -> int:
    """Process id of the only tab."""
    answer = await session.send("SystemInfo.getProcessInfo")
    renderers = sorted(int(one["id"]) for one in answer["processInfo"] if one["type"] == "renderer")
    return max(renderers, key=resident)


def resident(process: int | str) -> float:
    """MB of a process that are in memory now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6
