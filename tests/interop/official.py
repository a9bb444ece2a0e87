"""The published client, unmodified, in Chromium, against the local network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page, async_playwright

from browserkit.chromium import launch_arguments
from browserkit.official import directory_door
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from localnet import Network

ROOT = Path(__file__).resolve().parents[2]


async def loaded(page: Page) -> None:
    await page.wait_for_function("globalThis.official !== undefined", timeout=60_000)


@asynccontextmanager
async def official_page(network: Network) -> AsyncIterator[Page]:
    """A fresh browser context (the client keeps its registration in IndexedDB) with the client loaded."""
    packages = ROOT / "node_modules" / "@nymproject"
    with StaticServer({"/": Path(__file__).parent / "site", "/packages/": packages}) as server:
        async with directory_door(network) as switches, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=ensure_chromium(), args=launch_arguments(switches), headless=True
            )
            try:
                context = await browser.new_context(ignore_https_errors=True)
                page = await context.new_page()
                await page.goto(server.url)
                await loaded(page)
                yield page
            finally:
                await browser.close()
