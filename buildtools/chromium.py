"""Find Chromium, or install it: Debian's package as root, else Playwright's own build."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from . import debian
from .common import PYTHON, TaskError, run, say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ADVICE = "no Chromium: install the package `chromium`, or set CHROMIUM to the path of a Chromium or Chrome binary"


def find_program(variable: str, names: Iterable[str]) -> str | None:
    """The program that an environment variable names, else the first of `names` that is there; `TaskError` when the
    variable names none."""
    named = os.environ.get(variable)
    if named:
        path = shutil.which(named)
        if path is None:
            raise TaskError(f"{variable}={named} is not an executable file")
        return path
    return next(filter(None, map(shutil.which, names)), None)


def find_chromium() -> str | None:
    """$CHROMIUM, then PATH, then what Playwright has downloaded before."""
    return find_program("CHROMIUM", NAMES) or _from_playwright()


def _from_playwright() -> str | None:
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    places = [Path(cache)] if cache and cache != "0" else []
    places += [Path.home() / ".cache" / "ms-playwright", Path.home() / "Library" / "Caches" / "ms-playwright"]
    patterns = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*")
    for place in places:
        for pattern in patterns:
            found = sorted(p for p in place.glob(pattern) if os.access(p, os.X_OK))
            if found:
                return str(found[-1])
    return None


def ensure_chromium() -> str:
    """Path of a Chromium binary, installing one when there is none; `TaskError` with advice when that fails."""
    found = find_chromium()
    if found:
        return found
    attempts: list[Callable[[], None]] = []
    if debian.may_install():
        attempts.append(partial(debian.install, "chromium"))
    attempts.append(_install_playwright)
    for attempt in attempts:
        try:
            attempt()
        except TaskError as error:
            say(str(error))
        found = find_chromium()
        if found:
            return found
    raise TaskError(ADVICE)


def _install_playwright() -> None:
    say("installing Playwright's Chromium")
    run([PYTHON, "-m", "playwright", "install", "chromium"])
