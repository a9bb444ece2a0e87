"""A browser that gives a worker no more memory: the page gets a typed error, and may set up again.

Python's memory is WebAssembly's; V8 can be told how much of it there is. A test fills what is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from tests.browser.page_session import ApiPage, Session

PAGES = 2048  # of 64 KiB: 128 MiB, enough for a tunnel at work
KEEP_PYODIDE = """import * as real from "./pyodide.real.mjs";
export const loadPyodide = async (options) => (self.pyodide = await real.loadPyodide(options));
"""
NO_COPY = """import * as real from "./pyodide.real.mjs";
export const loadPyodide = async (options) => {
  const pyodide = await real.loadPyodide(options);
  pyodide.makeMemorySnapshot = () => { self.asked = true; throw new RangeError("Array buffer allocation failed"); };
  return pyodide;
};
"""
FILL = """
hog = []
for size in (1 << 20, 1 << 16, 1 << 10):
    try:
        while True:
            hog.append(bytearray(size))
    except MemoryError:
        pass
len(hog)
"""


async def replace_pyodide(page: ApiPage, wrapper: str) -> None:
    real = (DIST / "pyodide" / "pyodide.mjs").read_text()
    script = "text/javascript"
    await page.page.route("**/pyodide/pyodide.mjs", lambda r: r.fulfill(body=wrapper, content_type=script))
    await page.page.route("**/pyodide/pyodide.real.mjs", lambda r: r.fulfill(body=real, content_type=script))


pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def small(session: Session) -> AsyncIterator[ApiPage]:
    """A page of a browser with little memory for WebAssembly, with Pyodide in reach of the test."""
    browser = await session.browser.browser_type.launch(
        executable_path=ensure_chromium(), args=launch_arguments([f"--js-flags=--wasm-max-mem-pages={PAGES}"])
    )
    opened = await Session(session.net, session.site, browser, session.options).open()
    await replace_pyodide(opened, KEEP_PYODIDE)
    yield opened
    await browser.close()


@pytest.mark.feature("Worker", "want of memory: a typed error instead of a crash of the page; set-up works again")
async def test_a_worker_without_memory(small: ApiPage) -> None:
    await small.set_up(snapshot="off")
    assert await small.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200
    assert await small.page.workers[0].evaluate("(code) => self.pyodide.runPython(code)", FILL) > 10
    errors = await small.run(
        """const requests = Array.from({ length: 3 }, (_, n) =>
             caught(async () => (await api.mixFetch("http://http.test/bytes/300000?seed=" + n)).arrayBuffer()));
           return Promise.all(requests);""",
        timeout=90,
    )
    failed = [error for error in errors if error is not None]
    assert failed
    for error in failed:
        assert error["code"] == "out_of_memory" or error["reason"] == "out_of_memory", errors
    await small.run("await api.disconnectMixTunnel()")
    await small.set_up(snapshot="off")
    assert await small.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200


async def test_without_memory_for_a_snapshot_the_visit_goes_without(fresh: ApiPage) -> None:
    await replace_pyodide(fresh, NO_COPY)
    await fresh.set_up()
    assert await fresh.page.workers[0].evaluate("() => self.asked")
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200
