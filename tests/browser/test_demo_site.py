"""The demo site as its visitors use it: each panel and its code, by keyboard, in both schemes, within a budget."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

import smolmix_web.cpython
from browserkit.server import StaticServer
from buildtools.common import DIST
from demo.local import LocalRecords
from demo.run import SITE, page_config
from localnet import Network, NetworkConfig
from tests.browser.page_session import Session
from tests.browser.test_page_monitor import SCHEMES, WIDTHS, violations

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

BUDGET = 56_000  # bytes of the site's own files, as they are
SHIFT = 0.02  # of the layout, from the first byte to the end of the first steps
PANELS = ["fetch", "download", "websocket", "dns", "ping", "tcp", "exits", "others"]
WATCH = """
  window.shifts = 0;
  window.shifted = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      window.shifts += entry.value;
      for (const { node } of entry.sources) window.shifted.push(node?.id || node?.className || node?.nodeName);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""


class Demo:
    """The page of the demo on a network of its own, its first steps done."""

    def __init__(self, net: Network, site: StaticServer, page: Page, console: list[str]) -> None:
        self.net = net
        self.site = site
        self.page = page
        self.console = console

    async def open(self, panel: str) -> None:
        await self.page.locator(f"#tab-{panel}").click()

    async def run(self, panel: str, **values: str) -> None:
        """Fill the form of a panel in, and press its button."""
        await self.open(panel)
        form = self.page.locator(f"#panel-{panel} > form")
        for name, value in values.items():
            field = form.locator(f"[name={name}]")
            if await field.evaluate("(field) => field.tagName") == "SELECT":
                await field.select_option(value)
            else:
                await field.fill(value)
        await form.locator("button.main").click()

    def said(self, panel: str) -> Any:
        return self.page.locator(f"#panel-{panel} .said")

    def output(self, panel: str) -> Any:
        return self.page.locator(f"#panel-{panel} > .output")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def demo(session: Session, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    async with Network(NetworkConfig(seed="demo site")) as net:
        config = page_config(net)
        config["options"] |= {"disablePoissonTraffic": True, "disableCoverTraffic": True}
        file = tmp_path_factory.mktemp("demo") / "config.json"
        file.write_text(json.dumps(config))
        folders = {"/": SITE, "/smolmix/": DIST, "/config.json": file}
        context = await session.browser.new_context(viewport={"width": 1280, "height": 900})
        page = await context.new_page()
        console: list[str] = []
        page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: console.append(f"uncaught: {error}"))
        await page.add_init_script(WATCH)
        with StaticServer(folders, answers=LocalRecords(net).answers) as site:
            await page.goto(f"{site.url}/index.html")
            await page.wait_for_function("window.demo?.finished", timeout=60_000)
            assert await page.evaluate("demo.error") is None
            yield Demo(net, site, page, console)
            await context.close()


@pytest.mark.feature("Demo", "within its budget: bytes of its own, no shift of the layout, nothing on the console")
async def test_budgets(demo: Demo) -> None:
    own = [path for path in SITE.rglob("*") if path.is_file() and not path.name.startswith(("chat", "page"))]
    assert sum(path.stat().st_size for path in own) < BUDGET
    asked = {path.lstrip("/") for path in demo.site.requests}
    assert {path.relative_to(SITE).as_posix() for path in own} <= asked  # nothing that nobody loads
    assert await demo.page.evaluate("shifts") < SHIFT, await demo.page.evaluate("shifted")
    assert demo.console == []


@pytest.mark.feature("Demo", "accessible: nothing for axe-core to find in any panel, light and dark, phone and desktop")
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
async def test_axe_finds_nothing(demo: Demo, scheme: Any, width: int) -> None:
    await demo.page.emulate_media(color_scheme=scheme)
    await demo.page.set_viewport_size({"width": width, "height": 900})
    found = []
    for panel in PANELS:
        await demo.open(panel)
        if panel == "others":
            await expect(demo.output(panel).locator("table")).to_have_count(2)
        found += await violations(demo.page)
        assert await demo.page.evaluate("document.documentElement.scrollWidth") <= width, panel
    assert found == []
    await demo.page.set_viewport_size({"width": 1280, "height": 900})


async def test_tabs_by_keyboard_and_the_address(demo: Demo) -> None:
    page = demo.page
    await page.locator("#tab-fetch").click()
    await page.keyboard.press("ArrowLeft")
    assert await page.evaluate("document.activeElement.id") == "tab-others"
    await page.keyboard.press("Home")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowRight")
    assert await page.evaluate("document.activeElement.id") == "tab-dns"
    await page.keyboard.press("Tab")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("zone.test")
    assert await page.evaluate("location.hash") == "#panel=dns&name=zone.test&type=A&server="
    code = await page.locator("#panel-dns pre").all_inner_texts()
    assert len(code) == 2 and all('"zone.test"' in text for text in code)
    await page.evaluate("location.hash = '#panel=ping&host=echo.test&count=3'")
    await expect(page.locator("#panel-ping")).to_be_visible()
    assert await page.locator("#panel-ping [name=host]").input_value() == "echo.test"


# -- the panels ---------------------------------------------------------------------------------------------


async def test_fetch(demo: Demo) -> None:
    await demo.run("fetch", url="https://origin.test/image", method="GET")
    await expect(demo.said("fetch")).to_contain_text("200 OK")
    size = "document.querySelector('#panel-fetch img').naturalWidth"
    await demo.page.wait_for_function(f"{size} === 240")
    bars = await demo.output("fetch").locator(".waterfall li").all_inner_texts()
    assert [re.split(r"\s+", bar)[0] for bar in bars][-3:] == ["request", "waiting", "body"]
    await demo.run("fetch", url="https://origin.test/echo", method="POST", headers="x-one: 1\nx-two: 2", body="hello")
    await expect(demo.output("fetch").locator("pre")).to_contain_text('"x-two"')
    text = json.loads(await demo.output("fetch").locator("pre").inner_text())
    assert (text["method"], text["text"], dict(text["headers"])["x-one"]) == ("POST", "hello", "1")
    await demo.run("fetch", url="https://nowhere.test/", method="GET", headers="", body="")
    await expect(demo.said("fetch")).to_contain_text("dns_not_found")


async def test_download_pauses(demo: Demo) -> None:
    await demo.run("download", url="https://origin.test/slow?chunks=100&interval=0.03&size=4000")
    pause = demo.output("download").get_by_role("button", name="Pause")
    await demo.page.wait_for_function("document.querySelector('#panel-download progress').value > 0.05")
    await pause.click()
    await expect(demo.said("download")).to_contain_text("paused")
    await demo.page.wait_for_timeout(500)
    bar = "document.querySelector('#panel-download progress').value"
    before = await demo.page.evaluate(bar)
    await demo.page.wait_for_timeout(1000)
    assert await demo.page.evaluate(bar) == before < 1
    await demo.output("download").get_by_role("button", name="Go on").click()
    await expect(demo.said("download")).to_have_text("done", timeout=40_000)
    assert "400,000" in await demo.output("download").inner_text()
    async with demo.page.expect_download() as saved:
        await demo.output("download").get_by_text("Save").click()
    assert Path(await (await saved.value).path()).stat().st_size == 400_000


@pytest.mark.parametrize(
    ("panel", "values"),
    [("websocket", {"url": "wss://ws.test/"}), ("tcp", {"host": "echo.test", "port": "50007"})],
)
async def test_consoles(demo: Demo, panel: str, values: dict[str, str]) -> None:
    await demo.run(panel, **values)
    await expect(demo.said(panel)).to_contain_text("open")
    await demo.page.keyboard.type("through the mixnet")
    await demo.page.keyboard.press("Enter")
    lines = demo.output(panel).locator(".lines p")
    await expect(lines).to_have_text(["→ through the mixnet", "← through the mixnet"])
    await demo.page.locator(f"#panel-{panel}").get_by_role("button", name="Stop").click()
    await expect(demo.said(panel)).to_contain_text(re.compile("closed|stopped"))


async def test_dns_and_ping(demo: Demo) -> None:
    await demo.run("dns", name="zone.test", type="MX")
    await expect(demo.output("dns")).to_contain_text("exchange mail.zone.test")
    await demo.run("ping", host="origin.test", count="3")
    await expect(demo.said("ping")).to_have_text("done", timeout=30_000)
    assert await demo.output("ping").locator("rect").count() == 3


@pytest.mark.feature("Demo", "what gateway and exit see, side by side; a cut that heals; the exit's packets as pcap")
async def test_what_others_see_and_a_cut(demo: Demo) -> None:
    await demo.open("others")
    panel = demo.page.locator("#panel-others")
    await expect(panel.locator("dd")).to_have_count(6)
    seen = dict(
        zip(await panel.locator("dt").all_inner_texts(), await panel.locator("dd").all_inner_texts(), strict=True)
    )
    assert seen["Sizes from you"] == "2422" and "origin.test" in seen["Names in the clear"]
    async with demo.page.expect_download() as saved:
        await panel.get_by_text("pcap").click()
    assert Path(await (await saved.value).path()).read_bytes()[:4] == b"\xa1\xb2\xc3\xd4"
    cut = panel.get_by_role("switch")
    await cut.click()
    state = demo.page.locator("mix-monitor .state")
    await expect(state).to_contain_text("Reconnecting")
    await expect(cut).to_have_attribute("aria-checked", "true")
    await cut.click()
    await expect(state).to_have_text("Connected", timeout=30_000)


async def test_another_exit(demo: Demo) -> None:
    await demo.run("exits")
    await expect(demo.said("exits")).to_have_text("2 exits")
    rows = demo.output("exits").locator("tbody tr")
    assert [text.split("\t")[:2] for text in await rows.all_inner_texts()] == [["CH", "1.38.0"]] * 2
    before = (await demo.page.evaluate("monitor.tunnel.state"))["exit"]
    await demo.output("exits").get_by_role("button", name="Use the exit").and_(demo.page.locator(":enabled")).click()
    await expect(demo.said("exits")).to_contain_text("connected", timeout=40_000)
    after = (await demo.page.evaluate("monitor.tunnel.state"))["exit"]
    assert {before, after} == {str(host.address) for host in demo.net.exits}


# -- the code that they show ---------------------------------------------------------------------------------

VALUES: dict[str, dict[str, str]] = {
    "fetch": {"url": "https://origin.test/echo", "method": "POST", "headers": "x-a: 1", "body": "hello"},
    "download": {"url": "https://origin.test/bytes/200000"},
    "websocket": {"url": "wss://ws.test/"},
    "dns": {"name": "zone.test", "type": "MX", "server": ""},
    "ping": {"host": "origin.test", "count": "1"},
    "tcp": {"host": "echo.test", "port": "50007", "tls": ""},
    "exits": {"country": ""},
}
SAYS = {
    "fetch": "hello", "download": "200000", "websocket": "hello", "dns": "mail.zone.test", "ping": "203.0.114.10",
    "tcp": "hello", "exits": "@",
}  # fmt: skip
RUN = """async ([code, options]) => {
  const said = [];
  const api = await import("/smolmix/index.js");
  const names = code.match(/import \\{ (.*) \\} from/)[1].split(", ");
  const given = { ...api, setupMixTunnel: (more) => api.setupMixTunnel({ ...options, ...more }) };
  const body = code.replace(/^import .*$/m, "");
  const AsyncFunction = (async () => {}).constructor;
  const console = { log: (...values) => said.push(JSON.stringify(values)) };
  await new AsyncFunction("console", ...names, body)(console, ...names.map((name) => given[name]));
  for (let wait = 0; !said.length && wait < 100; wait += 1) await new Promise((resolve) => setTimeout(resolve, 100));
  return said.join("\\n");
}"""


@pytest.mark.feature("Demo", "each panel's code in JavaScript and Python runs as it is shown")
@pytest.mark.parametrize("panel", VALUES)
async def test_the_code_of_a_panel(
    demo: Demo, panel: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = VALUES[panel]
    if panel == "exits":
        values = {**values, "exit": str(demo.net.exits[0].address)}
    made = await demo.page.evaluate(
        "async ([panel, values]) => (await import('/snippets.js')).snippets[panel](values)", [panel, values]
    )
    options = page_config(demo.net)["options"]
    assert SAYS[panel] in await demo.page.evaluate(RUN, [made["JavaScript"], options])
    real = smolmix_web.cpython.open_tunnel

    def open_here(**more: Any) -> Any:
        plain = {"disable_poisson_traffic": True, "disable_cover_traffic": True}
        ca = options["caCertificates"]
        return real(directory_urls=options["directoryUrls"], force_tls=False, ca_certificates=ca, **plain, **more)

    monkeypatch.setattr(smolmix_web.cpython, "open_tunnel", open_here)
    await asyncio.to_thread(exec, compile(made["Python"], panel, "exec"), {"__name__": "__main__"})
    assert SAYS[panel] in capsys.readouterr().out
