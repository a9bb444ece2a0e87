"""Launch Chromium under Playwright so that it makes no requests of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from buildtools.chromium import ensure_chromium
from buildtools.common import TaskError

if TYPE_CHECKING:
    from playwright import async_api
    from playwright.sync_api import Browser, Playwright

STARTS_WITHIN = 20.0  # s

QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pings",
)


def launch_arguments(extra: Sequence[str] = ()) -> list[str]:
    """Command line switches; without the sandbox for root, where Chromium refuses to start with it."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*QUIET, *(("--no-sandbox",) if root else ()), *extra]


def launch_chromium(playwright: Playwright, *, arguments: Sequence[str] = (), headless: bool = True) -> Browser:
    """A browser of the synchronous Playwright API."""
    return playwright.chromium.launch(
        executable_path=ensure_chromium(), args=launch_arguments(arguments), headless=headless
    )


@contextlib.asynccontextmanager
async def chromium_of_a_user(playwright: async_api.Playwright, profile: Path) -> AsyncIterator[async_api.Browser]:
    """One in which tabs can be hidden and frozen: those that Playwright launches itself always have the focus."""
    switches = launch_arguments(["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}"])
    switches.append("about:blank")  # instead of a page of its own, which loads much
    process = await asyncio.create_subprocess_exec(
        ensure_chromium(), *switches, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(STARTS_WITHIN):
            async for line in process.stderr:
                if found := re.search(rb"listening on (ws://\S+)", line):
                    break
            else:
                raise TaskError("Chromium ended before anybody could talk to it")
        browser = await playwright.chromium.connect_over_cdp(found[1].decode(), no_defaults=True)
        yield browser
        await browser.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()
