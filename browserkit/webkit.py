"""WebKitGTK under its own driver, with the few of Playwright's calls that tests of the page API and the demo need.

Playwright drives only a WebKit of its own making; Debian's has a driver of classic WebDriver. Each context is a browser
process, with nothing stored; its pages are windows. What the driver cannot do (intercept, emulate, look into workers)
raises `NotInWebKit`, with its name.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver.webkitgtk.options import Options
from selenium.webdriver.webkitgtk.service import Service
from selenium.webdriver.webkitgtk.webdriver import WebDriver

from buildtools.engines import WebKit, find_webkit, missing

PATIENCE_MS = 200  # for one look at whether a function has ended
START = """
const [number, source, argument] = arguments;
const running = (globalThis.webdriverCalls ??= new Map());
const value = (0, eval)(`(${source})`);
const work = (async () => typeof value === "function" ? value(argument) : value)();
running.set(number, work.then((value) => ({ value: value ?? null }),
  (error) => ({ error: String(error?.stack ? `${error}\\n${error.stack}` : error) })));
"""
LOOK = """
const [number, patience, done] = arguments;
const work = globalThis.webdriverCalls?.get(number);
if (!work) done({ error: "the page is another one" });
else Promise.race([work, new Promise((resolve) => setTimeout(resolve, patience))]).then((outcome) => {
  if (outcome) globalThis.webdriverCalls.delete(number);
  done(outcome ? JSON.stringify(outcome) : null);
});
"""


class WebKitError(Exception):
    """The page's code threw, or the driver failed."""


class NotInWebKit(Exception):
    """WebKitGTK's driver has no such thing."""


class _Partial:
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise NotInWebKit(f"WebKitGTK's driver has no {name}")


class Page(_Partial):
    """One window."""

    def __init__(self, context: Context, handle: str) -> None:
        self.context = context
        self._handle = handle
        self._count = 0

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """The driver tells of no events: a recorder that needs them looks at a proxy."""

    async def goto(self, url: str, **options: Any) -> None:
        await self.context._ask(self._handle, lambda driver: driver.get(url))

    async def reload(self, **options: Any) -> None:
        await self.context._ask(self._handle, lambda driver: driver.refresh())

    async def close(self) -> None:
        await self.context._ask(self._handle, lambda driver: driver.close())

    async def screenshot(self, *, path: Path, **options: Any) -> None:
        text = await self.context._ask(self._handle, lambda driver: driver.get_screenshot_as_base64())
        path.write_bytes(base64.b64decode(text))

    async def evaluate(self, source: str, argument: Any = None) -> Any:
        """The value of an expression, or of a function called with `argument`; what it promises is awaited."""
        self._count += 1
        number = self._count
        await self.context._ask(self._handle, lambda driver: driver.execute_script(START, number, source, argument))
        while True:
            seen = await self.context._ask(
                self._handle, lambda driver: driver.execute_async_script(LOOK, number, PATIENCE_MS)
            )
            if seen is not None:
                outcome = seen if isinstance(seen, dict) else json.loads(seen)
                if "error" in outcome:
                    raise WebKitError(outcome["error"])
                return outcome["value"]

    async def wait_for_timeout(self, timeout: float) -> None:
        await asyncio.sleep(timeout / 1000)

    async def wait_for_function(self, expression: str, *, timeout: float = 30_000, **options: Any) -> None:
        """`timeout` is in milliseconds; `WebKitError` when it is over."""
        wait = f"async () => {{ while (!({expression})) await new Promise((resolve) => setTimeout(resolve, 50)); }}"
        try:
            async with asyncio.timeout(timeout / 1000):
                await self.evaluate(wait)
        except TimeoutError:
            raise WebKitError(f"not in {timeout:g} ms: {expression}") from None


class Context(_Partial):
    """One browser process and its driver, asked by one thread at a time."""

    def __init__(self, driver: WebDriver) -> None:
        self._driver = driver
        self._lock = asyncio.Lock()
        self._opened = 0
        self._closed = False

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """As with `Page.on`."""

    async def new_page(self) -> Page:
        def first_or_new(driver: WebDriver) -> str:
            if self._opened:
                driver.switch_to.new_window("tab")
            return str(driver.current_window_handle)

        handle = await self._ask(None, first_or_new)
        self._opened += 1
        return Page(self, handle)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            async with self._lock:
                await asyncio.to_thread(_quit, self._driver)

    async def _ask(self, handle: str | None, task: Callable[[WebDriver], Any]) -> Any:
        def work() -> Any:
            try:
                if handle is not None and self._opened > 1:
                    self._driver.switch_to.window(handle)
                return task(self._driver)
            except WebDriverException as error:
                raise WebKitError(str(error.msg)) from None

        async with self._lock:
            return await asyncio.to_thread(work)


class Browser(_Partial):
    """What `launch_webkit` yields; `proxy` as Playwright has it."""

    def __init__(self, parts: WebKit, display: str, proxy: int | None) -> None:
        self._parts = parts
        self._environment = {**os.environ, "DISPLAY": display, "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "1"}
        self._proxy = proxy
        self._contexts: list[Context] = []
        self.version = ""

    async def new_context(self, **options: Any) -> Context:
        driver = await asyncio.to_thread(self._start)
        self.version = str(driver.capabilities.get("browserVersion", ""))
        context = Context(driver)
        self._contexts.append(context)
        return context

    def _start(self) -> WebDriver:
        options = Options()
        options.binary_location = self._parts.browser
        options.add_argument("--automation")
        if self._proxy is not None:
            address = f"127.0.0.1:{self._proxy}"
            options.set_capability(
                "proxy", {"proxyType": "manual", "httpProxy": address, "sslProxy": address, "noProxy": []}
            )
        options.timeouts = {"script": 60_000, "pageLoad": 60_000}
        service = Service(self._parts.driver, env=self._environment, log_output=subprocess.DEVNULL)
        try:
            return WebDriver(options=options, service=service)
        except WebDriverException as error:
            raise WebKitError(f"WebKitGTK does not start: {error.msg}") from None

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()


def _quit(driver: WebDriver) -> None:
    with contextlib.suppress(WebDriverException, OSError):
        driver.quit()


@contextlib.asynccontextmanager
async def launch_webkit(*, proxy: int | None = None) -> AsyncIterator[Browser]:
    """WebKitGTK on an X server of its own; `proxy` is a port of this machine that everything goes through."""
    parts = find_webkit()
    if parts is None:
        raise WebKitError(missing("webkit"))
    reading, writing = os.pipe()
    command = [parts.display_server, "-displayfd", str(writing), "-screen", "0", "1120x860x24", "-nolisten", "tcp"]
    server = subprocess.Popen(
        command, pass_fds=[writing], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            number = (await asyncio.to_thread(answer.readline)).strip()
        if not number:
            raise WebKitError(f"{parts.display_server} does not start")
        browser = Browser(parts, f":{number}", proxy)
        try:
            yield browser
        finally:
            await browser.close()
    finally:
        server.terminate()
        await asyncio.to_thread(server.wait, 10)
