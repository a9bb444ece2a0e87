"""Launch Chromium under Playwright so that it makes no requests of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from buildtools.chromium import ensure_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

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
