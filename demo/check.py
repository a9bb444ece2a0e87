"""Opens the demo page in one of the engines, waits until it has done its steps, and judges what happened.

What the page says about itself is compared with what the other side knows: the bytes the origin serves, the
address in the name map, the requests the browser made (`witness.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page
from playwright.async_api import Error as PlaywrightError

from browserkit.engines import launch
from browserkit.webkit import WebKitError

from .recorder import Allowed, Recorder
from .witness import Witness, witness

PAGE_TIMEOUT = 240.0  # s for everything the page does
STEP_TIMEOUT = 30.0  # s for each thing asked of the browser itself
VIEWPORT = {"width": 1120, "height": 860}
NAMES = {"chromium": "Chromium", "firefox": "Firefox", "webkit": "WebKitGTK"}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Expected:
    """What the page must find, known independently of it."""

    url: str
    sha256: str
    size: int
    name: str
    addresses: tuple[str, ...]
    tls: str = "TLSv1.3"


@dataclass
class Report:
    """The outcome of a run: `facts` is the printed object, `failures` says in words what was wrong."""

    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    console: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.failures


async def check_page(
    site: str,
    allowed: Allowed,
    expected: Expected,
    *,
    engine: str = "chromium",
    screenshot: Path | None = None,
    say: Say = print,
) -> Report:
    """Run the page once. Never raises for what the page or the browser did: that is in the report."""
    report = Report()
    recorder = Recorder(allowed)
    async with witness(engine) as seen:
        async with browsing(engine, seen, report) as browser:
            page = await open_page(browser, engine, f"{site}/", "index.html", report, say, recorder)
            outcome = await finished(page, "demo", report, screenshot)
            judge(report, outcome, expected, engine)
        _judge_requests(report, recorder, seen, expected)
    return report


@asynccontextmanager
async def browsing(engine: str, seen: Witness, report: Report) -> AsyncIterator[Browser]:
    """A browser for one page; what it does not do, or not in time, is in the report."""
    try:
        async with (
            asyncio.timeout(PAGE_TIMEOUT + 3 * STEP_TIMEOUT),
            launch(engine, arguments=seen.arguments, proxy=seen.proxy) as browser,
        ):
            yield browser
    except TimeoutError:
        report.failures.append("the browser did not answer in time")
    except (PlaywrightError, WebKitError) as error:
        report.failures.append(f"the browser: {str(error).splitlines()[0]}")


async def open_page(
    browser: Browser, engine: str, folder: str, name: str, report: Report, say: Say, recorder: Recorder | None = None
) -> Page:
    """Page `name` of the site's `folder`, an address that ends in "/"; `recorder` notes what the driver tells of."""
    context = await browser.new_context(viewport=VIEWPORT, device_scale_factor=1, color_scheme="light")  # type: ignore[arg-type]
    say(f"{NAMES[engine]} {browser.version} opens {folder}{'' if name == 'index.html' else name}")
    if recorder is not None:
        recorder.attach(context)
    page = await context.new_page()
    page.on("console", lambda message: report.console.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: report.console.append(f"error: {error}"))
    await page.goto(f"{folder}{name}", timeout=STEP_TIMEOUT * 1000)
    return page


async def finished(page: Page, name: str, report: Report, screenshot: Path | None) -> dict[str, Any]:
    """What the page says in its global `name`, when that is `finished` or the time is over."""
    try:
        await page.wait_for_function(f"window.{name}?.finished === true", timeout=PAGE_TIMEOUT * 1000)
    except (PlaywrightError, WebKitError):
        report.failures.append(f"the page was not done after {PAGE_TIMEOUT:g} s")
    outcome: dict[str, Any] = await page.evaluate(f"window.{name} ?? {{}}")
    if screenshot is not None:
        await page.wait_for_timeout(300)
        await page.screenshot(path=screenshot, full_page=True, timeout=STEP_TIMEOUT * 1000)
    return outcome


def judge(report: Report, outcome: dict[str, Any], expected: Expected, engine: str = "chromium") -> None:
    """Fill the facts from what the page says, and compare them with what is known."""
    fetch, dns, socket = (outcome.get(name) or {} for name in ("fetch", "dns", "websocket"))
    statistics = outcome.get("statistics") or {}
    report.facts = facts = {
        "engine": engine,
        "state": outcome.get("state", "unknown"),
        "setup_ms": outcome.get("setup_ms"),
        "fetch": {
            "url": expected.url,
            "status": fetch.get("status"),
            "bytes": fetch.get("bytes"),
            "sha256": fetch.get("sha256"),
            "sha256_expected": expected.sha256,
            "tls": fetch.get("tls"),
            "ms": fetch.get("ms"),
        },
        "dns": {"name": expected.name, "address": dns.get("address")},
        "websocket": {"sent": socket.get("sent"), "echoed": socket.get("echoed")},
        "sphinx": {"sent": statistics.get("packets_sent"), "received": statistics.get("bodies_received")},
    }
    error = outcome.get("error")
    if error:
        facts["error"] = error
        where = "".join(f", {key} {error[key]}" for key in ("code", "phase") if error.get(key))
        report.failures.append(f"step {outcome.get('step') or 'start'}: {error.get('message')}{where}")
        return  # the steps after it were not taken
    checks = {
        "the tunnel's state is {}, not ready": (facts["state"], "ready"),
        "the status is {}, not 200": (facts["fetch"]["status"], 200),
        f"the body has {{}} bytes, not {expected.size}": (facts["fetch"]["bytes"], expected.size),
        "the body's SHA-256 is {}, not the origin's": (facts["fetch"]["sha256"], expected.sha256),
        f"TLS is {{}}, not {expected.tls}": (facts["fetch"]["tls"], expected.tls),
        "the WebSocket's answer is {}, not what was sent": (socket.get("echoed"), socket.get("sent") or "something"),
    }
    report.failures += [text.format(found) for text, (found, wanted) in checks.items() if found != wanted]
    if facts["dns"]["address"] not in expected.addresses:
        report.failures.append(f"{expected.name} has the address {facts['dns']['address']}, not {expected.addresses}")
    for name, value in facts["sphinx"].items():
        if not isinstance(value, int) or value <= 0:
            report.failures.append(f"no Sphinx packets {name}")


def _judge_requests(report: Report, recorder: Recorder, seen: Witness, expected: Expected) -> None:
    try:
        others = seen.others(recorder)
        named = seen.mentions(expected.name)
    except (OSError, ValueError, KeyError) as error:
        report.failures.append(f"the browser left no readable network log: {type(error).__name__}: {error}")
        report.facts["other_requests"] = recorder.others()
        return
    if named:
        others.append(f"look-up of {expected.name} outside the tunnel")
    report.counts = dict(seen.counts(recorder))
    report.facts["other_requests"] = others
    if others:
        report.failures.append(f"requests outside site, directory and gateway: {', '.join(others)}")
    for kind in ("site", "directory", "gateway"):
        if not report.failures and not report.counts.get(kind):
            report.failures.append(f"no request to the {kind} was seen: the record is not complete")
