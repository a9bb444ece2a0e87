"""The consumers of the npm package: the tarball, a local network, a browser, and the table at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Frame, Page, async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from buildtools.npm import ensure_package
from localnet import Network, NetworkConfig

URL = "https://h2.test/bytes/20000?seed=1"
# Without `wait_for_function`, which a Content-Security-Policy stops.
CONSUME = """async ([options, url]) => {
  for (const end = performance.now() + 60_000; !globalThis.consume && performance.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const began = performance.now();
  return globalThis.consume(options, url).catch(({ name, code, reason, message }) =>
    [name, code, reason, message, Math.round(performance.now() - began)]);
}"""
EXPECTED = [200, "2", 20000]  # over HTTP/2, whose libraries come on demand


@pytest.fixture(scope="session")
def tarball() -> Path:
    return ensure_package()


@dataclass(frozen=True)
class World:
    """`options` are those of a tunnel through the local network."""

    browser: Browser
    options: dict[str, Any]

    async def consume(self, page: Page | Frame, **options: Any) -> list[Any]:
        """Call the app in the page: set-up, a request, disconnect. Its error comes back as a list of texts."""
        answer: list[Any] = await page.evaluate(CONSUME, [{**self.options, **options}, URL])
        return answer

    async def open(self, url: str) -> Page:
        page = await (await self.browser.new_context()).new_page()
        page.on("console", lambda message: print(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: print(f"uncaught: {error}"))
        page.on("requestfailed", lambda request: print(f"failed: {request.url} {request.failure}"))
        page.on("response", lambda answer: print(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
        await page.goto(url)
        return page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with Network(NetworkConfig(seed="consumers")) as net, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=launch_arguments())
        options = {
            "directoryUrls": [net.directory_url],
            "forceTls": False,
            "caCertificates": net.ca_pem,
            "disablePoissonTraffic": True,
            "disableCoverTraffic": True,
        }
        yield World(browser, options)
        await browser.close()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Consumer by consumer: works or not, and what it takes."""
    rows = []
    for outcome, word in (("passed", "works"), ("failed", "FAILS"), ("skipped", "skipped"), ("error", "FAILS")):
        for report in terminalreporter.stats.get(outcome, []):
            named = dict(getattr(report, "user_properties", ()))  # reports of collecting have none
            if "consumer" in named:
                rows.append((named["consumer"], word, named.get("needs", "")))
    if not rows:
        return
    width = max(len(name) for name, _, _ in rows)
    terminalreporter.write_line("")
    terminalreporter.write_line(f"{'consumer':<{width}}  result   needs")
    for name, word, needs in sorted(rows):
        terminalreporter.write_line(f"{name:<{width}}  {word:<7}  {needs}".rstrip())
