"""One client in a fresh context of the browser, from the opening of its page to its second visit: one run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from playwright.async_api import Browser, BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from bench.renderer import cpu_seconds, memory_bytes, renderers
from browserkit.official import answer_directory
from localnet import Network

CLIENTS = ("official", "ours")
MODES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "switches off": {"disablePoissonTraffic": True, "disableCoverTraffic": True},
}
PATIENCE = 300.0  # s for one step; what takes longer has no figure

SMALL = "http://origin.test/text"
DOWNLOAD = 3_000_000
TOGETHER, TOGETHER_SIZE = 12, 20_000
UPLOAD = 1_000_000
SETTLE = 2.0  # s after a step, until what it left on the way has arrived
IDLE = 30.0  # s

Figures = dict[str, float | None]


@dataclass
class Bench:
    """What all runs share."""

    network: Network
    browser: Browser
    browser_pid: int
    site: str
    download: int = DOWNLOAD
    idle: float = IDLE
    log: Callable[[str], None] = print
    failures: list[str] = field(default_factory=list)

    def address(self, client: str, options: dict[str, Any]) -> str:
        given = {"directoryUrls": [self.network.directory_url]} if client == "ours" else {}
        text = json.dumps({"client": client, "options": {"forceTls": False, **given, **options}})
        return f"{self.site}/index.html#{quote(text)}"

    async def context(self) -> BrowserContext:
        context = await self.browser.new_context()
        await answer_directory(context, self.network.directory_url)
        return context


async def run(bench: Bench, client: str, mode: str) -> Figures:
    """All figures of one client in one mode. A step that fails or takes too long has none, and is logged."""
    figures: Figures = {}
    gateway = bench.network.gateways[0]
    address = bench.address(client, {**MODES[mode], "preferredGateway": gateway.identity_text})
    context = await bench.context()
    try:
        page = await _visit(context, address)

        async def step(name: str, work: Callable[[], Awaitable[float]]) -> None:
            try:
                async with asyncio.timeout(PATIENCE):
                    figures[name] = await work()
            except (TimeoutError, PlaywrightError) as error:
                figures[name] = None
                bench.failures.append(
                    f"{client}, {mode}: {name}: {str(error).splitlines()[0] if str(error) else 'late'}"
                )
                bench.log(bench.failures[-1])

        async def get(url: str, size: int | None = None) -> float:
            got = await page.evaluate("(url) => peer.get(url)", url)
            assert size is None or got["bytes"] == size, got
            return float(got["milliseconds"]) / 1000

        await step("ready", lambda: _ready(page))
        if figures["ready"] is None:
            return figures
        await step("first fetch", lambda: get(SMALL))
        await step("second fetch", lambda: get(SMALL))
        await asyncio.sleep(SETTLE)
        await step("together", lambda: _together(page))
        await asyncio.sleep(SETTLE)
        await step("upload", lambda: _upload(page))
        await asyncio.sleep(SETTLE)
        pids = renderers(bench.browser_pid)
        before, counted = cpu_seconds(pids), dict(gateway.counters)
        await step("download", lambda: get(f"http://origin.test/bytes/{bench.download}", bench.download))
        used, after = cpu_seconds(pids) - before, dict(gateway.counters)
        seconds = figures["download"]
        if seconds is not None:
            # For each packet down the gateway sends the ack that it carried; the others it delivers are the client's.
            down = after["acks_sent"] - counted["acks_sent"]
            up = after["delivered"] - counted["delivered"] - down
            figures["speed"] = bench.download / 1000 / seconds
            figures["cpu per MB"] = used / (bench.download / 1e6)
            figures["up per down"] = up / max(1, down)
            figures["body per packet"] = bench.download / max(1, down)
            figures["memory"] = memory_bytes(pids) / 1e6
        await asyncio.sleep(SETTLE)
        before = cpu_seconds(pids)
        await asyncio.sleep(bench.idle)
        figures["idle cpu"] = (cpu_seconds(pids) - before) / bench.idle
        await page.close()
        page = await _visit(context, address)
        await step("ready again", lambda: _ready(page))
        return figures
    finally:
        await context.close()


async def _visit(context: BrowserContext, address: str) -> Page:
    page = await context.new_page()
    await page.goto(address)
    await page.wait_for_function("globalThis.peer !== undefined", timeout=60_000)
    return page


async def _ready(page: Page) -> float:
    return float(await page.evaluate("() => peer.ready()")) / 1000


async def _together(page: Page) -> float:
    urls = [f"http://origin.test/bytes/{TOGETHER_SIZE}?seed={number}" for number in range(TOGETHER)]
    got = await page.evaluate("(urls) => peer.together(urls)", urls)
    assert got["bytes"] == TOGETHER * TOGETHER_SIZE, got
    return float(got["milliseconds"]) / 1000


async def _upload(page: Page) -> float:
    got = await page.evaluate("([url, size]) => peer.post(url, size)", ["http://origin.test/upload", UPLOAD])
    assert got["bytes"] == UPLOAD, got
    return float(got["milliseconds"]) / 1000
