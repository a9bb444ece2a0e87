"""The three engines that tests and the demo run in: where each is found, and how it is installed.

Chromium is what everything runs in, so a task ends without it. Firefox and WebKit may be missing: what needs them is
skipped, with the reason that `missing` gives. Each is one of Debian's packages; elsewhere somebody else installs it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from . import debian
from .chromium import ensure_chromium, find_chromium, find_program
from .common import TaskError, say

ENGINES = ("chromium", "firefox", "webkit")
PACKAGES = {"firefox": ("firefox-esr",), "webkit": ("webkit2gtk-driver", "xvfb")}
FIREFOX_NAMES = ("firefox-esr", "firefox")
FIREFOX_ON_A_MAC = Path("/Applications/Firefox.app/Contents/MacOS/firefox")
# The browser that WebKitGTK's driver starts lies where the library does.
MINI_BROWSERS = ("lib/*/webkit2gtk-4.*/MiniBrowser", "libexec/webkit2gtk-4.*/MiniBrowser")


@dataclass(frozen=True)
class WebKit:
    """WebKitGTK: its driver, the browser it starts, and the X server that has no screen."""

    driver: str
    browser: str
    display_server: str


def find_firefox() -> str | None:
    """$FIREFOX, then PATH."""
    return find_program("FIREFOX", (*FIREFOX_NAMES, str(FIREFOX_ON_A_MAC)))


def find_webkit() -> WebKit | None:
    driver, display_server = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browsers = sorted(str(path) for pattern in MINI_BROWSERS for path in Path("/usr").glob(pattern))
    if driver is None or display_server is None or not browsers:
        return None
    return WebKit(driver, browsers[-1], display_server)


def missing(engine: str) -> str | None:
    """Why this machine cannot run an engine; None where it can."""
    found = {"chromium": find_chromium, "firefox": find_firefox, "webkit": find_webkit}[engine]()
    if found is not None:
        return None
    packages = " and ".join(PACKAGES.get(engine, ("chromium",)))
    return f"no {engine} on this machine: install {packages} (Debian's names)"


def ensure_engine(engine: str) -> None:
    """Install an engine that is not there; `TaskError` with advice when that fails."""
    if engine == "chromium":
        ensure_chromium()
        return
    if missing(engine) is not None and debian.may_install():
        debian.install(*PACKAGES[engine])
    reason = missing(engine)
    if reason is not None:
        raise TaskError(reason)


def ensure_what_can_be_had() -> None:
    """Chromium, or `TaskError`; the others if possible, else a line that says why not."""
    for engine in ENGINES:
        try:
            ensure_engine(engine)
        except TaskError as error:
            if engine == "chromium":
                raise
            say(f"{error}; its tests are skipped")
