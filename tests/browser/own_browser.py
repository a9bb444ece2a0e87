"""A browser that one test has for itself: what is done to its renderers is done to no other's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from bench.renderer import children, renderers
from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from tests.browser.page_session import Session


@asynccontextmanager
async def own_browser(session: Session) -> AsyncIterator[tuple[Session, Callable[[], list[int]]]]:
    """The session with another Chromium, and what tells the process ids of its renderers."""
    known = set(children(os.getpid()))
    browser = await session.browser.browser_type.launch(executable_path=ensure_chromium(), args=launch_arguments())
    try:
        (pid,) = [new for new in set(children(os.getpid())) - known if _main_process(new)]
        yield replace(session, browser=browser), lambda: renderers(pid)
    finally:
        await browser.close()


def _main_process(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"--remote-debugging" in command and b"--type=" not in command
