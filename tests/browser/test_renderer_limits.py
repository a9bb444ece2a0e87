"""A renderer's share of a core holds for the page and for its worker, busy alone or together."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page

from bench.limits import DUTY_CYCLE, limited
from bench.renderer import cpu_seconds
from tests.browser.own_browser import own_browser
from tests.browser.page_session import Session

SHARE = 0.25
BUSY_MS = 2000
BUSY = """() => {
  const spin = (ms) => {
    let turns = 0;
    for (const end = performance.now() + ms; performance.now() < end; turns += 1);
    return turns;
  };
  const script = `const spin = ${spin}; onmessage = ({ data }) => postMessage(spin(data));`;
  const worker = new Worker(URL.createObjectURL(new Blob([script])));
  const ask = (ms) => new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage(ms);
  });
  window.busy = {
    page: async (ms) => [spin(ms), 0],
    worker: async (ms) => [0, await ask(ms)],
    both: async (ms) => { const asked = ask(ms); return [spin(ms), await asked]; },
  };
  return ask(1);
}"""

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def alone(session: Session) -> AsyncIterator[tuple[Page, list[int]]]:
    """A page with a worker in a browser of its own, and the ids of its renderers."""
    async with own_browser(session) as (own, renderers):
        page = await own.browser.new_page()
        await page.goto(f"{session.site.url}/index.html")
        await page.evaluate(BUSY)
        yield page, renderers()


@pytest.mark.parametrize("groups", [True, False])
@pytest.mark.parametrize("who", ["page", "worker", "both"])
async def test_page_and_worker_get_the_share_together(alone: tuple[Page, list[int]], who: str, groups: bool) -> None:
    page, pids = alone
    with limited(pids, SHARE, groups=groups) as way:
        assert groups or way == DUTY_CYCLE
        used, began = cpu_seconds(pids), time.monotonic()
        turns = await page.evaluate("([who, ms]) => busy[who](ms)", [who, BUSY_MS])
        share = (cpu_seconds(pids) - used) / (time.monotonic() - began)
    assert share < SHARE * 1.3
    assert [bool(count) for count in turns] == [who != "worker", who != "page"]
    # Without the limit whoever is busy does more.
    freely = await page.evaluate("([who, ms]) => busy[who](ms)", [who, BUSY_MS])
    assert all(slow < free for slow, free in zip(turns, freely, strict=True) if free)
