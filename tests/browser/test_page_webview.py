"""The web part of apps (examples/webview) on a phone's screen, served as the shells do it, with their ways to pause."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, Route, async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST, ROOT
from localnet.origin import body_bytes
from tests.browser.page_session import Session, until

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

FEATURE = pytest.mark.feature("Worker", "in the WebView of an app: file: and intercepted addresses, pause and resume")
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "is_mobile": True, "has_touch": True
}  # fmt: skip
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY = "https: wss:"  # and the local network's
PLUGIN = "window.Capacitor = { Plugins: { App: { addListener: (name, hear) => { window['on' + name] = hear; } } } };"
REST = "(on) => window.appRests(on)"

# Where the page is, what the shell puts into it, and how it says that the app rests.
SHELLS = {
    "capacitor": ("https://localhost/", PLUGIN, "(on) => window.onappStateChange({ isActive: !on })"),
    "cordova": ("https://localhost/", "", "(on) => document.dispatchEvent(new Event(on ? 'pause' : 'resume'))"),
    "react-native": ("file:", "", REST),
    "android": ("https://appassets.androidplatform.net/assets/www/", "", REST),
}


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "www"
    shutil.copytree(ROOT / "examples" / "webview" / "www", folder)
    shutil.copyfile(DIST / "single" / "smolmix.classic.js", folder / "smolmix.classic.js")
    page = folder / "index.html"
    text = page.read_text(encoding="utf-8")
    assert text.count(POLICY) == 1
    page.write_text(text.replace(POLICY, f"{POLICY} http://127.0.0.1:* ws://127.0.0.1:*"), encoding="utf-8")
    return folder


async def serve(context: BrowserContext, address: str, www: Path) -> str:
    """The shell answers inside the browser; where the page is then."""
    if address == "file:":
        return (www / "index.html").as_uri()

    async def answer(route: Route) -> None:
        path = www / route.request.url.removeprefix(address)
        await route.fulfill(path=path, content_type=TYPES[path.suffix])

    await context.route(f"{address}**", answer)
    return f"{address}index.html"


def said(size: int) -> str:
    """Of a body that is no text, in JavaScript's characters: units of UTF-16."""
    text = body_bytes(size).decode("utf-8", "replace")
    return f"200: {len(text.encode('utf-16-le')) // 2} characters"


async def shown(page: Page, selector: str, text: str, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while text not in (found := await page.evaluate("(s) => document.querySelector(s).textContent", selector)):
            assert ":" not in found or found[0].isdigit(), found  # an error is the last word
            await asyncio.sleep(0.1)


@FEATURE
@pytest.mark.parametrize("shell", SHELLS)
async def test_a_shell(session: Session, www: Path, shell: str) -> None:
    address, script, rests = SHELLS[shell]
    gateway = session.net.gateways[1]
    options = {**session.options, "preferredGateway": gateway.identity_text}
    async with async_playwright() as playwright:
        # A phone's app asks nobody for leave to reach this machine; Chromium's page from elsewhere would.
        arguments = launch_arguments(["--disable-features=LocalNetworkAccessChecks"])
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=arguments)
        context = await browser.new_context(**PHONE)
        await context.add_init_script(f"{script} window.smolmixOptions = {json.dumps(options)};")
        page = await context.new_page()
        asked: list[str] = []
        context.on("request", lambda request: asked.append(request.url))
        own = await serve(context, address, www)
        await page.goto(own)
        assert await page.evaluate("innerWidth") == 390
        await page.fill("#url", "https://origin.test/bytes/3000")
        await page.tap("button")
        await shown(page, "#told", said(3000))
        await shown(page, "#state", "ready")
        assert len(gateway.active) == 1
        await page.evaluate(rests, True)
        await shown(page, "#state", "suspended", 5.0)
        await until(lambda: not gateway.active)
        await page.fill("#url", "https://origin.test/bytes/1234")
        await page.tap("button")  # waits
        await asyncio.sleep(1.0)
        await page.evaluate(rests, False)
        await shown(page, "#told", said(1234))
        allowed = (own.removesuffix("index.html"), "blob:", "data:", session.net.directory_url)
        assert [url for url in asked if not url.startswith(allowed)] == []
        await browser.close()
