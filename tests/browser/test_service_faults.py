"""Bad days of a Service Worker: no tunnel, one that goes, the browser that stops it, releases, refusals.

Each has an end in time, and nothing goes in the clear: the canary of `service_session.py` looks.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from demo.recorder import Recorder
from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, PageFailure
from tests.browser.service_session import BLANK, ServiceWorld, feature, stop_workers

pytestmark = [pytest.mark.chromium, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]
TEXT = 'return (await fetch("https://origin.test/cors/text")).text()'
HELLO = "Hello from the origin.\n"
FAILED = """const began = performance.now();
  const error = await caught(() => fetch("https://origin.test/cors/text"));
  return [error?.name, performance.now() - began];"""


@feature("no tunnel: a request waits until its deadline and fails, it never goes in the clear; one in time is served")
async def test_no_tunnel(world: ServiceWorld) -> None:
    async with world.open() as page:
        assert await page.register(tunnel=False, deadline=1500) == "waiting"
        name, took = await page.run(FAILED)
        assert name == "TypeError" and 1400 < took < 4000
        assert [(one["code"], one["phase"]) for one in await page.failures()] == [("tunnel_timeout", "service")]
        assert (await page.run("return service.counts"))["blocked"] == 1
    async with world.open() as page:
        await page.register(tunnel=False)
        await page.run(f"window.early = (async () => {{ {TEXT} }})();")
        await page.set_up()
        assert await page.run("return [await window.early, service.state]") == [HELLO, "ready"]
        await page.run("await api.disconnectMixTunnel()")
        assert await page.run("return service.state") == "waiting"
        # The next tunnel is another one, and is lent too.
        await page.run(f"window.later = (async () => {{ {TEXT} }})();")
        await page.set_up()
        assert await page.run("return window.later") == HELLO


@feature('`fallback: "pass"`: without a tunnel the browser loads in the clear, and it is counted')
async def test_pass(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register(tunnel=False, fallback="pass")
        assert await page.run('return (await fetch("http://origin.test/text")).text()') == "clear"
        assert (await page.run("await sleep(50); return service.counts"))["passed"] == 1
        assert world.canary.heard.pop() == "GET /text HTTP/1.1"  # so the canary does hear
        await page.set_up()
        assert await page.run(TEXT) == HELLO


@feature("a tunnel that is lost in a download ends it with an error; what had not begun is asked again")
async def test_tunnel_lost(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register()
        await page.run(
            """const response = await fetch("https://origin.test/cors/slow?chunks=1000");
            const reader = response.body.getReader();
            await reader.read();
            window.reading = caught(async () => { while (!(await reader.read()).done); });
            window.waiting = fetch("https://origin.test/cors/delay/1").then((response) => response.text());"""
        )
        await page.run("await sleep(300); await api.disconnectMixTunnel();")
        assert (await page.run("return window.reading", timeout=10))["name"] == "TypeError"
        await page.set_up()
        assert await page.run("return window.waiting") == "late\n"


@feature("stopped by the browser in the middle of a load: the next start asks the page for its tunnel again")
async def test_stopped(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register()
        await page.run(
            """const told = (promise) => promise.then((text) => text, (error) => error.name);
            const get = (path) => told(fetch(`https://origin.test/cors${path}`).then((response) => response.text()));
            window.ends = Promise.all([get("/slow?chunks=1000"), get("/delay/2")]);
            while (service.counts.bytes === 0) await sleep(10);"""
        )
        await stop_workers(page)
        ends = await page.run("return window.ends", timeout=30)
        assert ends[0] == "TypeError" and ends[1] in ("TypeError", "late\n")
        print("a request that had no answer yet:", ends[1])
        assert await page.run(TEXT) == HELLO
        assert await page.run("return idle(await api.getMixTunnel())") == 0  # nothing goes on for nobody
        for _ in range(3):
            await stop_workers(page)
            assert await page.run(TEXT) == HELLO


@feature("an update takes over with the page's tunnel; what the old one had begun is finished")
async def test_update(world: ServiceWorld) -> None:
    world.write("mine.js", "/* 1 */ importScripts('/smolmix/service-worker.js');")
    async with world.open() as page:
        await page.register(url="/mine.js")
        await page.run(
            """window.changed = new Promise((resolve) =>
              navigator.serviceWorker.addEventListener("controllerchange", resolve, {once: true}));
            window.slow = fetch("https://origin.test/cors/slow?chunks=20").then((response) => response.text())
              .then((text) => text.length, (error) => error.name);
            while (service.counts.bytes === 0) await sleep(10);"""
        )
        world.write("mine.js", "/* 2 */ importScripts('/smolmix/service-worker.js');")
        await page.run("await (await navigator.serviceWorker.getRegistration()).update(); await window.slow")
        await page.run("await window.changed", timeout=30)
        assert isinstance(await page.run("return window.slow"), int)
        assert await page.run(TEXT) == HELLO


@feature("the page that has the tunnel goes: pages without one wait for the next, frames and workers use their page's")
async def test_page_goes(world: ServiceWorld) -> None:
    world.write("plain.html", BLANK)
    async with world.open() as page:
        await page.register()
        plain = await world.another(page, "/plain.html")
        assert await plain.run(TEXT) == HELLO
        in_frame = """const frame = document.createElement("iframe");
          frame.src = "/plain.html";
          await new Promise((resolve) => { frame.onload = resolve; document.body.append(frame); });
          return (await frame.contentWindow.fetch("https://origin.test/cors/text")).text();"""
        assert await page.run(in_frame) == HELLO
        in_worker = """const code = 'fetch("https://origin.test/cors/text").then((r) => r.text()).then(postMessage)';
          const worker = new Worker(URL.createObjectURL(new Blob([code])));
          return new Promise((resolve) => { worker.onmessage = ({data}) => resolve(data); });"""
        assert await page.run(in_worker) == HELLO
        await page.page.close()
        await plain.run(f"window.waiting = (async () => {{ {TEXT} }})();")
        third = await world.another(page)
        await third.register()
        assert await plain.run("return window.waiting") == HELLO


@feature("a page that is loaded anew is controlled from its first byte, and its pictures wait for its tunnel")
async def test_from_the_first_byte(world: ServiceWorld) -> None:
    world.write("picture.html", f'{BLANK}<img src="https://origin.test/picture/64x64?seed=first">')
    async with world.open() as page:
        await page.register()
        await page.page.goto(f"{world.session.site.url}/picture.html", wait_until="commit")
        # The order that deadlocks where the tunnel's own requests wait for the tunnel.
        await page.set_up()
        assert await page.register(tunnel=False) == "ready"
        assert await page.run("await document.images[0].decode(); return document.images[0].naturalWidth") == 64
        found = await page.run("return (await import('/smolmix/whole-page.js')).auditPage()")
        assert not [leak for leak in found["leaks"] if leak["happened"]], found


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("scope", {"url": "/smolmix/service-worker.js"}, "scope"),
    ("scope that is too wide", {"url": "/smolmix/service-worker.js", "scope": "/"}, "scope"),
    ("type", {"url": "/service.txt"}, "wrong_type"),
    ("no script", {"url": "/nowhere.js"}, "missing"),
    ("throws", {"url": "/broken.js"}, "blocked"),
    ("another script", {"url": "/foreign.js", "timeout": 1500}, "foreign"),
]


@feature("a registration that is refused is a typed error with its reason: scope, MIME type, another script, ...")
@pytest.mark.parametrize(("given", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_refused(world: ServiceWorld, given: dict[str, Any], reason: str) -> None:
    async with world.open() as page:
        with pytest.raises(PageFailure) as failure:
            await page.register(tunnel=False, **given)
        assert failure.value.code == "service_refused"
        said = await page.run(
            """const { registerMixServiceWorker } = await import("/smolmix/whole-page.js");
            return (await caught(() => registerMixServiceWorker(args.given))).reason;""",
            given=given,
        )
        assert said == reason


# How the registration of our script, or of another one, ends, and after how long.
ENDS = """const { registerMixServiceWorker } = await import("/smolmix/whole-page.js");
  const began = performance.now();
  const error = await caught(() => registerMixServiceWorker(args.given));
  return [error?.code, error?.phase, error?.reason ?? null, performance.now() - began];"""


@feature("a script that is never delivered, or never installed: `service_timeout` in time")
@pytest.mark.parametrize("url", ["/silent.js", "/hangs.js"])
async def test_never_installed(world: ServiceWorld, url: str) -> None:
    async with world.open() as page:
        *end, took = await page.run(ENDS, given={"url": url, "timeout": 1500})
        assert end == ["service_timeout", "service", None] and 1400 < took < 3500


@feature("no Service Workers: a private window without them, no secure context; refused at once")
@pytest.mark.parametrize("why", ["private window", "getter throws", "insecure"])
async def test_unsupported(world: ServiceWorld, why: str) -> None:
    async with world.open() as page:
        if why == "insecure":
            await page.page.goto(world.session.site.url.replace("127.0.0.1", "insecure.example") + "/index.html")
        else:
            found = (
                "undefined"
                if why == "private window"
                else "(() => { throw new DOMException('no', 'SecurityError'); })()"
            )
            await page.run(
                f"Object.defineProperty(Navigator.prototype, 'serviceWorker', {{get: () => {found}}})",
            )
        *end, took = await page.run(ENDS, given={})
        assert end == ["service_refused", "service", "unsupported"] and took < 1000


@feature("storage that the user has blocked: refused, with the browser's own words")
async def test_blocked_storage(world: ServiceWorld, tmp_path: Path) -> None:
    (tmp_path / "Default").mkdir()
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(blocked), encoding="utf-8")
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=ensure_chromium(), args=launch_arguments()
        )
        tab = await context.new_page()
        await tab.goto(f"{world.session.site.url}/index.html")
        page = ApiPage(tab, world.session.options, Recorder(world.session.allowed))
        assert (await page.run("return caught(() => localStorage.length)"))["name"] == "SecurityError"
        *end, took = await page.run(ENDS, given={})
        assert end == ["service_refused", "service", "blocked"] and took < 3000, (end, took)
        await context.close()


@feature("a page that stands still carries nothing: who waits for its tunnel gets an error within half a minute")
async def test_standing_still(world: ServiceWorld) -> None:
    world.write("plain.html", BLANK)
    async with world.open() as page:
        await page.register()
        plain = await world.another(page, "/plain.html")
        assert await plain.run(TEXT) == HELLO
        await page.run(
            "setTimeout(() => { for (const end = performance.now() + 32_000; performance.now() < end;); }, 50);"
        )
        name, took = await plain.run("await sleep(100);" + FAILED)
        print(f"standing still: {took:.0f} ms")
        assert name == "TypeError" and 9_000 < took < 31_000


@feature("a large download goes on with other requests beside it")
async def test_side_by_side(world: ServiceWorld) -> None:
    async with world.open() as page:
        await page.register()
        found = await page.run(
            """const big = fetch("https://origin.test/cors/bytes/1000000")
              .then(async (response) => sha256(await response.arrayBuffer()));
            const texts = await Promise.all(Array.from({length: 60}, async () =>
              (await fetch("https://origin.test/cors/text")).text()));
            return [new Set(texts).size, await big];"""
        )
        assert found == [1, body_sha256(1_000_000)]
        await asyncio.sleep(0)
