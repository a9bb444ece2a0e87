"""`<mix-monitor>` (docs/monitor.md): what it shows is what the tunnel says, for eyes, keyboards and screen readers.

The page around it has the strictest policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from browserkit.server import StaticServer
from buildtools.common import DIST, NODE_MODULES, ROOT
from buildtools.javascript import ERRORS, error_meanings
from tests.browser.page_session import ApiPage, Session

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

FOLDER = Path(__file__).with_name("monitor")
# No style of any kind, no script but of files, nothing made of text.
POLICY = (
    "default-src 'none'; script-src 'self'; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'"
)
AXE = (NODE_MODULES / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")


async def violations(page: Page) -> list[str]:
    """What axe-core finds in a page, its shadow trees included."""
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {node['html'][:120]}" for one in found["violations"] for node in one["nodes"]]


async def becomes(page: Page, expression: str) -> None:
    """As `wait_for_function`, which a policy without eval forbids."""
    async with asyncio.timeout(10):
        while not await page.evaluate(expression):
            await asyncio.sleep(0.05)


class Strict:
    """Pages of a site with `POLICY`, whose consoles must stay empty."""

    def __init__(self, session: Session, url: str) -> None:
        self._session = session
        self._url = url

    @contextlib.asynccontextmanager
    async def page(self, *, clock: bool = False, **options: Any) -> AsyncIterator[Page]:
        context = await self._session.browser.new_context(**options)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if clock:
            await page.clock.install(time=0)
        await page.goto(f"{self._url}/index.html")
        await becomes(page, "window.tunnel?.asked > 0")
        if clock:
            await page.clock.pause_at(60_000)
            await page.clock.run_for(1000)
        yield page
        await context.close()
        assert complaints == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(session: Session) -> AsyncIterator[Strict]:
    with StaticServer({"/": FOLDER, "/smolmix/": DIST}, headers={"Content-Security-Policy": POLICY}) as site:
        yield Strict(session, site.url)


# -- what it shows ------------------------------------------------------------------------------------------


@pytest.mark.feature(
    "Monitor", "`<mix-monitor>`: packets by kind, round trip, SURBs, queues and open flows, as the tunnel tells"
)
async def test_it_shows_what_the_statistics_say(strict: Strict) -> None:
    async with strict.page(clock=True) as page:
        await page.evaluate("""() => {
          const { up, down, flows } = tunnel.answer;
          up.packets.real += 12; up.packets.cover += 30; down.packets.ack += 44; tunnel.answer.packets_sent += 42;
          flows[0].bytes_received += 5000;
        }""")
        await page.clock.run_for(1000)
        assert await page.evaluate("legends()") == [["12", "30", "0", "0"], ["0", "0", "0", "44"], ["345 ms"]]
        assert await page.evaluate("[...root().querySelectorAll('dd')].map((value) => value.textContent)") == [
            "345 ms", "1.2 %", "123", "12 ms", "1/2 (line)", "version 10",
        ]  # fmt: skip
        assert await page.evaluate("rows('.scroll')") == [
            ["203.0.114.10:443", "close wait", "0 B/s", "0 B/s", "–"],
            ["first.test", "established", "5.0 kB/s", "0 B/s", "321 ms"],
        ]
        hops = await page.evaluate("[...root().querySelectorAll('.hops code')].map((value) => value.textContent)")
        assert hops == ["10.0.0.7", "5gatew…", "1noden…", "2noden…", "3noden…", "9exits…"]
        assert "No. 100: data" in await page.evaluate("root().querySelector('.note').textContent")


async def test_another_tunnel_begins_anew(strict: Strict) -> None:
    async with strict.page(clock=True) as page:
        await page.evaluate("() => { tunnel.answer.packets_sent = 1; tunnel.answer.up.packets.real = 1; }")
        await page.clock.run_for(1000)
        assert (await page.evaluate("legends()"))[0] == ["–"] * 4  # a rate needs two answers
        await page.evaluate("monitor.tunnel = null")
        assert (await page.evaluate("rows('.scroll')"), await page.evaluate("legends()[2]")) == ([], ["345 ms"])
        with pytest.raises(Exception, match="not a MixTunnel"):
            await page.evaluate("monitor.tunnel = {}")


@pytest.mark.feature("Monitor", "set-up with its steps and the bytes of the first load; errors with code and advice")
async def test_set_up_and_failure(strict: Strict) -> None:
    async with strict.page(clock=True) as page:
        await page.evaluate("tunnel.become('connecting', { step: 'boot' })")
        await page.evaluate(
            "tunnel.dispatchEvent(new CustomEvent('loading', { detail: { files: 3, of: 5, bytes: 2_345_678 } }))"
        )
        steps = (
            "[...root().querySelectorAll('.steps li:not([hidden])')].map((item) => [item.dataset.at, item.textContent])"
        )
        assert await page.evaluate(steps) == [
            ["now", "Load the client3 of 5 files, 2.3 MB"], ["later", "Ask the directory"],
            ["later", "Reach a gateway"], ["later", "Get an address"],
        ]  # fmt: skip
        seen = [await page.evaluate("root().querySelector('progress').value")]
        for step in ("storage", "directory", "gateway", "exit"):
            await page.evaluate("(step) => tunnel.become('connecting', { step })", step)
            seen.append(await page.evaluate("root().querySelector('progress').value"))
        assert seen == sorted(set(seen)) and 0 < seen[0] < seen[-1] < 1
        assert await page.evaluate("root().querySelector('[aria-current]').textContent") == "Get an address"
        error = {"code": "gateway_timeout", "phase": "gateway", "message": "no answer", "retryable": True}
        await page.evaluate("(error) => tunnel.become('failed', { error })", error)
        assert await page.evaluate("root().querySelector('.steps').checkVisibility()") is False
        shown = await page.evaluate("root().querySelector('.error').textContent")
        meaning = error_meanings(ERRORS.read_text())["gateway_timeout"]
        assert shown == (
            f"The tunnel failed: no answergateway_timeout (phase gateway, trying again may help): {meaning}"
        )


async def test_it_asks_only_while_somebody_looks(strict: Strict) -> None:
    async with strict.page(clock=True) as page:
        asked = 0

        async def more() -> int:
            nonlocal asked
            await page.wait_for_timeout(100)  # the observer of what is seen runs in real time
            await page.clock.run_for(5000)
            before, asked = asked, await page.evaluate("tunnel.asked")
            return asked - before

        await more()
        assert 4 <= await more() <= 6
        for hide, show in (
            ("monitor.hidden = true", "monitor.hidden = false"),
            ("monitor.paused = true", "monitor.paused = false"),
            ("window.away = monitor; monitor.remove()", "document.querySelector('main').append(away)"),
            ("tunnel.become('connecting', {step: 'exit'})", "tunnel.become('ready')"),
        ):
            await page.evaluate(f"() => {{ {hide} }}")
            await page.wait_for_timeout(100)
            asked = await page.evaluate("tunnel.asked")
            assert await more() == 0, hide
            await page.evaluate(f"() => {{ {show} }}")
            await more()
            assert 4 <= await more() <= 6, show


# -- for whom -----------------------------------------------------------------------------------------------


@pytest.mark.feature("Monitor", "accessible: nothing for axe-core to find, in light and dark, on a phone and a desktop")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
async def test_axe_finds_nothing(strict: Strict, scheme: Any, width: int) -> None:
    async with strict.page(color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        await page.evaluate("root().querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.evaluate("tunnel.become('connecting', { step: 'directory' })")
        assert await violations(page) == []
        error = {"code": "boot_failed", "phase": "boot", "message": "a file is missing", "reason": "missing"}
        await page.evaluate("(error) => tunnel.become('failed', { error })", error)
        assert await violations(page) == []


async def test_a_screen_reader_hears_states_and_no_numbers(strict: Strict) -> None:
    async with strict.page(clock=True) as page:
        await page.evaluate("""() => {
          window.heard = [];
          const live = root().querySelectorAll("[role=status], [role=alert], [aria-live]");
          const note = (changes) => heard.push(...changes.map(({ target }) => target.textContent));
          const watcher = new MutationObserver(note);
          live.forEach((region) => watcher.observe(region, { childList: true, characterData: true, subtree: true }));
          const count = () => { tunnel.answer.up.packets.real += 7; tunnel.answer.packets_sent += 7; };
          setInterval(count, 500);
        }""")
        await page.clock.run_for(20_000)
        assert len(set(await page.evaluate("heard"))) <= 1
        await page.evaluate("heard.length = 0")
        for state in ("reconnecting", "ready") * 10:
            await page.evaluate("(state) => tunnel.become(state)", state)
            await page.clock.run_for(200)
        await page.evaluate("tunnel.become('reconnecting')")
        await page.clock.run_for(5000)
        heard = await page.evaluate("heard")
        assert heard[-1] == "Tunnel: Reconnecting" and len(heard) <= 4


async def test_by_keyboard(strict: Strict) -> None:
    async with strict.page() as page:
        focused = "root().activeElement?.textContent.slice(0, 16) ?? null"
        stops = []
        for _ in range(4):
            await page.keyboard.press("Tab")
            stops.append(await page.evaluate(focused))
        assert stops == ["Pause", "Open connections", "NameStateDownUpR", "Queues and SURBs"]
        await page.keyboard.press("Enter")
        assert await page.evaluate("root().querySelectorAll('details')[1].open") is True
        await becomes(page, "rows('details:last-child')[4][1] === '1'")
        assert [row[1] for row in await page.evaluate("rows('details:last-child')")] == [
            "4", "5", "2", "3", "1", "6", "7", "8", "11", "9", "10",
        ]  # fmt: skip
        for _ in range(3):
            await page.keyboard.press("Shift+Tab")
        await page.keyboard.press("Space")
        assert await page.evaluate("[monitor.paused, root().activeElement.textContent]") == [True, "Go on"]


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
async def test_dots_move_unless_that_is_not_wanted(strict: Strict, motion: Any) -> None:
    async with strict.page(reduced_motion=motion) as page:
        await page.evaluate(
            "() => { tunnel.statistics = () => { tunnel.last = true; return new Promise(() => {}); }; }"
        )
        await becomes(page, "tunnel.last")  # what was drawn last stays
        pictures = set()
        for _ in range(8):
            pictures.add(await page.evaluate("root().querySelector('canvas').toDataURL()"))
            await page.wait_for_timeout(150)
        assert (len(pictures) == 1) == (motion == "reduce")


CHARTS = """[...root().querySelectorAll(".plot canvas")].map((canvas) => {
  const blank = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  return canvas.width > 0 && canvas.toDataURL() !== blank.toDataURL(); })"""


async def test_charts_are_never_blank(strict: Strict) -> None:
    """Axes before there is anything to draw, and in the new colours when the scheme changes while it stands still."""
    async with strict.page(color_scheme="light") as page:
        await page.evaluate("() => { monitor.remove(); tunnel.become('connecting', {step: 'boot'}); }")
        await page.evaluate("document.querySelector('main').append(monitor)")
        await becomes(page, f"{CHARTS}.length === 3")
        assert await page.evaluate(CHARTS) == [True] * 3
        await page.evaluate("monitor.paused = true")
        await page.evaluate("() => { window.picture = () => root().querySelector('.plot canvas').toDataURL(); }")
        await page.evaluate("() => { window.before = picture(); }")
        await page.emulate_media(color_scheme="dark")
        await becomes(page, "picture() !== before")
        await becomes(page, f"{CHARTS}.length === 3 && {CHARTS}.every(Boolean)")


async def test_colours_follow_the_scheme(strict: Strict) -> None:
    async with strict.page(color_scheme="light") as page:
        look = "[getComputedStyle(monitor).backgroundColor, getComputedStyle(monitor).borderRadius]"
        assert await page.evaluate(look) == ["rgb(255, 255, 255)", "10px"]
        await page.emulate_media(color_scheme="dark")
        assert (await page.evaluate(look))[0] == "rgb(27, 31, 36)"


# -- a real tunnel ------------------------------------------------------------------------------------------

SHOWN = """
  await import("/smolmix/monitor.js");
  const { MixTunnel } = api;
  const monitor = document.createElement("mix-monitor");
  document.body.append(monitor);
  const tunnel = new MixTunnel({ ...args.options, disablePoissonTraffic: false, disableCoverTraffic: false });
  const loads = [];
  tunnel.addEventListener("loading", ({ detail }) => loads.push(detail));
  monitor.tunnel = tunnel;
  Object.assign(window, { monitor, tunnel });
  await tunnel.setup();
"""


@pytest.mark.feature("Worker", "event `loading`: how much of the worker's files is there")
async def test_with_a_real_tunnel(fresh: ApiPage) -> None:
    seen = await fresh.run(
        SHOWN
        + """
  const socket = await tunnel.connectTcp("echo.test", 50007);
  const writer = (await socket.opened).writable.getWriter();
  const root = monitor.shadowRoot;
  const text = (selector) => root.querySelector(selector)?.textContent ?? "";
  const deadline = performance.now() + 15000;
  const shown = () => /echo.test.*established/.test(text(".scroll tbody")) && /\\d/.test(text(".legend b"));
  while (performance.now() < deadline && !shown()) {
    await writer.write(new Uint8Array(2000));
    await sleep(300);
  }
  const { flows, newest, path } = await tunnel.statistics();
  const [state, flow, rate] = [".state", ".scroll tbody", ".legend b"].map(text);
  return { loads, state, flow, rate, flows, newest, path };""",
        options=fresh.options,
    )
    loads = seen["loads"]
    assert [load["files"] for load in loads] == [1, 2, 3, 4, 5] and {load["of"] for load in loads} == {5}
    sizes = [load["bytes"] for load in loads]
    raw = sum(path.stat().st_size for path in (DIST / "pyodide").iterdir() if path.name in {
        "pyodide.mjs", "pyodide-lock.json", "pyodide.asm.mjs", "pyodide.asm.wasm", "python.zst",
    })  # fmt: skip
    assert sizes == sorted(sizes) and sizes[-1] == raw
    assert seen["state"] == "Connected" and "echo.test" in seen["flow"] and "established" in seen["flow"]
    assert float(seen["rate"].replace(",", "")) >= 0
    (flow,) = [flow for flow in seen["flows"] if flow["name"] == "echo.test"]
    assert flow["bytes_sent"] > 0 and flow["round_trip_ms"] > 0 and flow["remote"].endswith(":50007")
    assert len(seen["newest"]) == 8 and all(len(packet["route"]) == 4 for packet in seen["newest"])
    assert {packet["kind"] for packet in seen["newest"]} <= {"real", "cover", "surb", "retransmitted"}


CORE_SHARE = 0.02
ROUND = 8.0  # s
ROUNDS = 5
ASKED = 200  # times in a row


def used(processes: list[int]) -> Counter[str]:
    """CPU seconds of processes, of their threads by name."""
    spent: Counter[str] = Counter()
    for process in processes:
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                spent[(thread / "comm").read_text()] += int((thread / "schedstat").read_text().split()[0]) / 1e9
    return spent


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="CPU time of threads is read from /proc")
async def test_what_it_costs(session: Session, fresh: ApiPage) -> None:
    """CPU time of a renderer with standard traffic: of all threads but the worker's, shown and not shown by turns.

    And what one answer costs the worker, whose own work is too uneven to see one a second in it.
    """
    await fresh.run(SHOWN, options=fresh.options)
    client = await session.browser.new_browser_cdp_session()
    found = (await client.send("SystemInfo.getProcessInfo"))["processInfo"]
    renderers = [process["id"] for process in found if process["type"] == "renderer"]
    worker = "DedicatedWorker thread"[:15] + "\n"
    assert used(renderers)[worker] > 0

    async def during(work: Awaitable[Any]) -> tuple[float, float]:
        """Seconds of CPU meanwhile: of the worker, and of all others."""
        before = used(renderers)
        await work
        spent = used(renderers)
        spent.subtract(before)
        return spent[worker], sum(spent.values()) - spent[worker]

    await asyncio.sleep(15)  # the snapshot of the first visit is written
    drawing, idle = [], []
    for _ in range(ROUNDS):
        spent = {}
        for shown in (True, False):
            await fresh.page.evaluate("(shown) => { shown ? document.body.append(monitor) : monitor.remove(); }", shown)
            await asyncio.sleep(1)
            own, spent[shown] = await during(asyncio.sleep(ROUND))
        drawing.append((spent[True] - spent[False]) / ROUND)
        idle.append(own / ROUND)
    ask = "async (times) => { for (let n = 0; n < times; n += 1) await tunnel.statistics(); }"
    began = time.monotonic()
    asked, _ = await during(fresh.page.evaluate(ask, ASKED))
    answer = (asked - statistics.median(idle) * (time.monotonic() - began)) / ASKED  # one a second
    share = statistics.median(drawing) + answer
    facts = {"share": share, "drawing": drawing, "answer": answer, "idle": idle}
    (ROOT / "build" / "monitor-cost.json").write_text(json.dumps(facts))
    print(f"the monitor takes {share:.2%} of a core, {answer:.2%} of it in the worker")
    assert answer > 0 and share < CORE_SHARE
