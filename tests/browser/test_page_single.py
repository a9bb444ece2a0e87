"""Everything in one file: from a web server, the disk, in a frame without an origin; no requests but the tunnel's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Frame, Page

from browserkit.server import StaticServer
from buildtools.common import DIST
from demo.recorder import Recorder
from localnet.origin import body_sha256
from tests.browser.page_session import Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

SIZE = 100_000
MODULE, CLASSIC = "smolmix.js", "smolmix.classic.js"
FEATURE = pytest.mark.feature("Worker", "one file with everything inside: http, file:, frames without an origin")

PAGES = {
    # Nothing of the page's name for it but what the file's own form gives.
    "module.html": '<script type="module">import * as smolmix from "./smolmix.js"; window.smolmix = smolmix;</script>',
    "classic.html": '<script src="smolmix.classic.js"></script>',
    "policy.html": """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self'
      'wasm-unsafe-eval'; worker-src blob:; connect-src blob: http://127.0.0.1:* ws://127.0.0.1:*;
      require-trusted-types-for 'script'; trusted-types smolmix-web"><script src="smolmix.classic.js"></script>""",
    "refused.html": """<meta http-equiv="Content-Security-Policy" content="worker-src 'self'">
      <script src="smolmix.classic.js"></script>""",
    "frame.html": """<iframe sandbox="allow-scripts" srcdoc='<script src="smolmix.classic.js"></script>'></iframe>""",
    "inner.html": '<script type="module">import * as smolmix from "./smolmix.js"; window.smolmix = smolmix;</script>',
    "module-frame.html": '<iframe sandbox="allow-scripts" src="inner.html"></iframe>',
}

USE = """async ({ options, url }) => {
  for (let waited = 0; !window.smolmix; waited += 50) {
    if (waited > 10000) throw new Error("the file did not load");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { smolmix } = window;
  try {
    const begun = performance.now();
    await smolmix.setupMixTunnel(options);
    const started = performance.now() - begun;
    const bytes = await (await smolmix.mixFetch(url)).arrayBuffer();
    const jar = url.replace(/bytes.*/, "bytes/10");
    await (await smolmix.mixFetch(jar, { cookies: "jar" })).text();  // its list of suffixes is inside, too
    const state = await smolmix.getTunnelState();
    await smolmix.disconnectMixTunnel();
    let binary = "";
    for (const byte of new Uint8Array(bytes)) binary += String.fromCharCode(byte);
    return { state: state.state, started, body: btoa(binary), origin: self.origin };
  } catch (error) {
    return { name: error.name, message: error.message, code: error.code, reason: error.reason };
  }
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("single")
    for name in (MODULE, CLASSIC):
        shutil.copyfile(DIST / "single" / name, place / name)
    for name, body in PAGES.items():
        head = '<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">\n'
        (place / name).write_text(head + body, encoding="utf-8")
    return place


async def use(session: Session, page: Page, frame: Frame | None = None, **options: Any) -> dict[str, Any]:
    arguments = {"options": {**session.options, **options}, "url": f"https://origin.test/bytes/{SIZE}"}
    found: dict[str, Any] = await (frame or page).evaluate(USE, arguments)
    return found


def check(found: dict[str, Any], recorder: Recorder, own: list[str]) -> None:
    import base64
    import hashlib

    assert found.get("state") == "ready", found
    assert hashlib.sha256(base64.b64decode(found["body"])).hexdigest() == body_sha256(SIZE)
    tunnel = [url for url in recorder.urls if recorder.allowed.kind(url) in ("directory", "gateway")]
    rest = [url for url in recorder.urls if url not in tunnel and not url.startswith(("blob:", "data:"))]
    assert sorted(set(rest)) == sorted(own), "other requests"
    assert tunnel, "the recorder has seen the tunnel's own"


async def opened(session: Session, url: str) -> tuple[Page, Recorder]:
    context = await session.browser.new_context()
    recorder = Recorder(session.allowed)
    recorder.attach(context)
    page = await context.new_page()
    await page.goto(url)
    return page, recorder


@FEATURE
@pytest.mark.parametrize("name, file", [("module.html", MODULE), ("classic.html", CLASSIC), ("policy.html", CLASSIC)])
async def test_from_a_web_server(session: Session, folder: Path, name: str, file: str) -> None:
    with StaticServer({"/app/": folder}) as site:
        page, recorder = await opened(session, f"{site.url}/app/{name}")
        check(await use(session, page), recorder, [f"{site.url}/app/{name}", f"{site.url}/app/{file}"])
        await page.context.close()


@FEATURE
async def test_the_second_visit_starts_from_memory(session: Session, folder: Path) -> None:
    """As with the many files: where the page has an origin."""
    with StaticServer({"/app/": folder}) as site:
        page, _ = await opened(session, f"{site.url}/app/classic.html")
        await page.wait_for_function("window.smolmix")
        await page.evaluate("(options) => smolmix.setupMixTunnel(options)", session.options)
        kept = """async () => (await caches.keys()).includes("smolmix-web")
          && (await (await caches.open("smolmix-web")).keys()).map(({ url }) => url)"""

        async def urls() -> list[str]:
            for _ in range(100):
                if found := await page.evaluate(kept):
                    return list(found)
                await page.wait_for_timeout(100)
            return []

        assert (await urls())[0].startswith(f"{site.url}/smolmix-web/")
        await page.reload()
        assert (await use(session, page))["state"] == "ready"
        await page.context.close()


@FEATURE
async def test_from_the_disk(session: Session, folder: Path) -> None:
    address = (folder / "classic.html").as_uri()
    page, recorder = await opened(session, address)
    found = await use(session, page)
    files = [address, (folder / CLASSIC).as_uri()]
    check(found, recorder, [] if session.engine == "firefox" else files)  # its driver tells of no file
    assert found["origin"] == "null"
    await page.context.close()


@FEATURE
async def test_in_a_frame_without_an_origin(session: Session, folder: Path) -> None:
    with StaticServer({"/app/": folder}) as site:
        page, recorder = await opened(session, f"{site.url}/app/frame.html")
        frame = page.frames[1]
        found = await use(session, page, frame)
        # Playwright names a frame's own document as a request.
        own = [f"{site.url}/app/frame.html", f"{site.url}/app/{CLASSIC}"]
        recorder.urls[:] = [url for url in recorder.urls if url != "about:srcdoc"]
        recorder.urls.append(own[1])  # it does not name this one, which has been loaded
        check(found, recorder, own)
        assert found["origin"] == "null"
        await page.context.close()


@FEATURE
async def test_the_module_in_a_frame_without_an_origin(session: Session, folder: Path) -> None:
    """Modules are asked for with an origin, here none, so the server has to allow anybody."""
    with StaticServer({"/app/": folder}, headers={"Access-Control-Allow-Origin": "*"}) as site:
        page, recorder = await opened(session, f"{site.url}/app/module-frame.html")
        found = await use(session, page, page.frames[1])
        own = [f"{site.url}/app/{name}" for name in ("module-frame.html", "inner.html", MODULE)]
        check(found, recorder, own)
        assert found["origin"] == "null"
        await page.context.close()


@FEATURE
async def test_its_worker_is_a_classic_one_and_loads_no_scripts(session: Session, folder: Path) -> None:
    """By `importScripts`, which module workers have not: a way out that the guard alone shuts."""
    with StaticServer({"/app/": folder}) as site:
        page, _ = await opened(session, f"{site.url}/app/classic.html")
        await page.wait_for_function("window.smolmix")
        await page.evaluate("(options) => smolmix.setupMixTunnel(options)", session.options)
        (worker,) = page.workers
        asked = list(site.requests)
        tries = """(url) => [
          () => importScripts(url), () => WorkerGlobalScope.prototype.importScripts.call(self, url),
          () => { delete self.importScripts; importScripts(url); },
        ].map((attempt) => { try { attempt(); return "loaded"; } catch ({ name, code }) { return [name, code]; } })"""
        told = await worker.evaluate(tries, f"{site.url}/app/{CLASSIC}")
        assert told[:2] == [["BlockedRequest", "blocked_request"]] * 2 and told[2][0] in ("BlockedRequest", "TypeError")
        assert site.requests == asked
        await page.context.close()


@FEATURE
async def test_what_is_refused_is_named(session: Session, folder: Path) -> None:
    with StaticServer({"/app/": folder}) as site:
        page, _ = await opened(session, f"{site.url}/app/refused.html")
        found = await use(session, page)
        assert (found["code"], found["reason"]) == ("boot_failed", "blocked"), found
        assert "worker-src" in found["message"]
        page2, _ = await opened(session, f"{site.url}/app/classic.html")
        found = await use(session, page2, assetsUrl="/x/")
        assert found["code"] == "bad_option", found
        await page.context.close()
        await page2.context.close()


async def test_nothing_is_in_it_twice() -> None:
    """The parts by their sizes: what is text costs its own length, what is binary four thirds of its compressed one."""
    lock = json.loads((DIST / "pyodide" / "pyodide-lock.json").read_text())
    files = [DIST / "pyodide" / name for name in ("pyodide.mjs", "pyodide.asm.mjs")] + [DIST / "worker.js"]
    files += [DIST / "index.js", DIST / "globals.js"]
    text = sum(path.stat().st_size for path in files)
    binary = (DIST / "pyodide" / "python.zst").stat().st_size
    binary += sum(
        (DIST / "pyodide" / lock["packages"][name]["file_name"]).stat().st_size for name in lock["info"]["on_demand"]
    )
    binary += (DIST / "pyodide" / "pyodide.asm.wasm.gz").stat().st_size
    for name in (MODULE, CLASSIC):
        size = (DIST / "single" / name).stat().st_size
        assert size < 1.03 * (text + binary * 4 / 3), name
