"""The page API in a real Chromium on a real local network: one network, one site, one browser for a whole session.

A test gives the body of an async JavaScript function; `api` is the page's module, `args` the test's arguments. What it
returns comes back as JSON, what it throws as `PageFailure`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Error, Page

from browserkit.server import StaticServer
from demo.recorder import Allowed, Recorder
from localnet import Network

SCRIPT_TIMEOUT = 60.0  # s

# Thrown values cross as a description: structured clone would lose the fields of errors.
WRAPPER = """async (args) => {
  const api = await import("/smolmix/index.js");
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const sha256 = async (bytes) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const describe = (error) => error instanceof Error || error instanceof DOMException
    ? { ...error, name: error.name, message: error.message, code: error.code ?? null }
    : { name: typeof error, message: String(error) };
  const caught = async (work) => { try { await work(); } catch (error) { return describe(error); } return null; };
  const idle = async (tunnel, limit = 5000) => {  // no operation is left in the worker
    for (const end = performance.now() + limit; ; await sleep(50)) {
      const { operations } = await tunnel.statistics();
      if (operations === 0 || performance.now() > end) return operations;
    }
  };
  try { return { value: await (async () => { %s })() }; } catch (error) { return { error: describe(error) }; }
}"""

# What Firefox tells of its own accord, as name and message: of a body whose reader has got the error, and of a worker
# that was ended in the middle of its work.
FIREFOX_NOTES = re.compile(r"Failed to read data from the ReadableStream: .*|uncaught exception: undefined")


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """What the page says and what a gateway notices come by different ways."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


@dataclass
class PageFailure(Exception):
    """What the page's code threw."""

    name: str
    message: str
    code: str | int | None = None
    phase: str | None = None
    option: str | None = None
    kind: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.code} [{self.phase}]: {self.message}"


@dataclass
class ApiPage:
    """A blank page of the site."""

    page: Page
    options: dict[str, Any]
    recorder: Recorder
    console: list[str] = field(default_factory=list)

    def listen(self) -> None:
        """From here on the console is noted."""
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", self._note_error)

    def _note_error(self, error: Error) -> None:
        if not FIREFOX_NOTES.fullmatch(f"{error.name}: {error.message}"):
            self.console.append(f"uncaught: {error}")

    async def run(self, body: str, *, timeout: float = SCRIPT_TIMEOUT, **args: Any) -> Any:
        """The value that `body` returns."""
        async with asyncio.timeout(timeout):
            outcome = await self.page.evaluate(WRAPPER % body, args)
        if "error" in outcome:
            known = {name: value for name, value in outcome["error"].items() if name in PageFailure.__annotations__}
            raise PageFailure(**known)
        return outcome.get("value")

    async def set_up(self, **options: Any) -> None:
        """`setupMixTunnel` with the options of this network and these; None takes an option away."""
        given = {name: value for name, value in {**self.options, **options}.items() if value is not None}
        await self.run("await api.setupMixTunnel(args.options)", options=given)


@dataclass
class Session:
    net: Network
    site: StaticServer
    browser: Browser
    options: dict[str, Any]
    engine: str = "chromium"

    @property
    def allowed(self) -> Allowed:
        gateways = [*self.net.gateways, *(host.gateway for host in self.net.exits)]
        return Allowed(self.site.url, (self.net.directory_url,), tuple(gateway.url for gateway in gateways))

    async def open(self, context: BrowserContext | None = None) -> ApiPage:
        """A new page, in a context of its own unless one is given; close it with `page.context.close()`."""
        context = context or await self.browser.new_context()
        recorder = Recorder(self.allowed)
        recorder.attach(context)
        page = await context.new_page()
        opened = ApiPage(page, self.options, recorder)
        opened.listen()
        await page.goto(f"{self.site.url}/index.html")
        return opened


async def needs_byte_streams(page: ApiPage, engine: str) -> None:
    """Skips where WebKit has none (docs/engines.md); the other engines must have them."""
    if engine == "webkit" and not await page.run("return typeof ReadableByteStreamController !== 'undefined'"):
        pytest.skip("WebKitGTK has no byte streams")


def write_blank_page(folder: Path) -> None:
    (folder / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">\n', encoding="utf-8"
    )
