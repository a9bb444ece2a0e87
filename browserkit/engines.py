"""Launch any of the three engines, each as quiet as it can be; their pages have the same calls.

Chromium and Firefox are Playwright's (Firefox as it is installed, by WebDriver BiDi), WebKit is `webkit.py`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

from buildtools.chromium import ensure_chromium
from buildtools.common import TaskError
from buildtools.engines import find_firefox, missing

from .chromium import launch_arguments
from .firefox_relay import write_starter
from .webkit import launch_webkit

if TYPE_CHECKING:
    from playwright.async_api import Browser

# Playwright's name for a Firefox that it drives by WebDriver BiDi; the path says which one.
FIREFOX_BY_BIDI = "moz-firefox"
FIREFOX_PREFERENCES: dict[str, str | float | bool] = {
    # Without this Firefox would ask no proxy for this machine's own addresses.
    "network.proxy.allow_hijacking_localhost": True,
    # Else each WebSocket that fails makes the next one to that server wait, at last for a minute.
    "network.websocket.delay-failed-reconnects": False,
}


@contextlib.contextmanager
def firefox_options(
    proxy: int | None = None, preferences: Mapping[str, str | float | bool] | None = None
) -> Iterator[dict[str, Any]]:
    """What `playwright.firefox.launch` is given; holds until it has launched."""
    firefox = find_firefox()
    if firefox is None:
        raise TaskError(missing("firefox") or "")
    with tempfile.TemporaryDirectory(prefix="smolmix-firefox-") as folder:
        options: dict[str, Any] = {
            "channel": FIREFOX_BY_BIDI,
            "executable_path": write_starter(Path(folder), firefox),
            "firefox_user_prefs": {**FIREFOX_PREFERENCES, **(preferences or {})},
        }
        if proxy is not None:
            options["proxy"] = {"server": f"http://127.0.0.1:{proxy}"}
        yield options


@contextlib.asynccontextmanager
async def launch(
    engine: str,
    *,
    arguments: Sequence[str] = (),
    proxy: int | None = None,
    preferences: Mapping[str, str | float | bool] | None = None,
) -> AsyncIterator[Browser]:
    """A browser that ends with the block. `arguments` are Chromium's, `preferences` Firefox's, `proxy` is for Firefox
    and WebKit.
    """
    if engine == "webkit":
        async with launch_webkit(proxy=proxy) as webkit:
            yield webkit  # type: ignore[misc]  # it has the calls that its users make, and refuses the others
        return
    async with async_playwright() as playwright:
        if engine == "firefox":
            with firefox_options(proxy, preferences) as options:
                browser = await playwright.firefox.launch(**options)
        else:
            browser = await playwright.chromium.launch(
                executable_path=ensure_chromium(), args=launch_arguments(arguments)
            )
        try:
            yield browser
        finally:
            await browser.close()
