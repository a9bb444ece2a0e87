"""One hash of `index.js` covers every file that it loads: a changed byte in any of them ends the start, by its name."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route

from browserkit.server import StaticServer
from buildtools.common import DIST
from buildtools.javascript import CHECKED
from localnet.origin import body_sha256
from tests.browser.page_session import ApiPage, Session, write_blank_page

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

FEATURE = pytest.mark.feature("Worker", "one SRI hash covers all files: each is checked before it runs")
SET_UP = """try { await api.setupMixTunnel(args.options); } catch ({ code, reason, message }) {
    return { code, reason, message };
  }
  return null;"""


def integrity(path: Path) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(path.read_bytes()).digest()).decode()


IMPORT_MAP = json.dumps({"integrity": {"/smolmix/index.js": integrity(DIST / "index.js")}})
# The three ways to vouch for a module.
WAYS = {
    "script": f'<script type="module" src="/smolmix/index.js" integrity="{integrity(DIST / "index.js")}"></script>',
    "preload": f'<link rel="modulepreload" href="/smolmix/index.js" integrity="{integrity(DIST / "index.js")}">',
    "import map": f'<script type="importmap">{IMPORT_MAP}</script>',
}


def changed(name: str, data: bytes) -> bytes:
    """Still a file of its kind, which would do its work."""
    if name.endswith("js"):
        return data + b"\n// one more line"
    if name.endswith(".wasm"):
        return data + b"\0\2\1x"  # a section that means nothing
    if name.endswith(".json"):
        return data + b"\n"
    return data[:-5] + bytes((data[-5] ^ 1,)) + data[-4:]


def answering(body: bytes, kind: str) -> Callable[[Route], Awaitable[None]]:
    async def fulfil(route: Route) -> None:
        await route.fulfill(body=body, content_type=kind)

    return fulfil


TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


async def change(page: ApiPage, name: str) -> None:
    kind = TYPES.get(Path(name).suffix, "application/zstd")
    await page.page.route(f"**/smolmix/{name}", answering(changed(name, (DIST / name).read_bytes()), kind))


async def vouching(session: Session, folder: Path, head: str, **headers: str) -> tuple[StaticServer, ApiPage]:
    """A page of its own site, with `head`, and that site."""
    write_blank_page(folder)
    page = folder / "index.html"
    page.write_text(page.read_text().replace("<title>", f"{head}<title>"), encoding="utf-8")
    site = StaticServer({"/": folder, "/smolmix/": DIST}, headers=headers).start()
    return site, await Session(session.net, site, session.browser, session.options).open()


@FEATURE
async def test_a_frame_without_an_origin_is_not_left_unchecked(session: Session, tmp_path: Path) -> None:
    """Chromium runs no module from memory there: it says so, and nothing runs. Firefox does."""
    anybody = {"Access-Control-Allow-Origin": "*"}
    frame = '<iframe sandbox="allow-scripts" srcdoc="&lt;title>x&lt;/title>"></iframe>'
    write_blank_page(tmp_path)
    (tmp_path / "index.html").write_text((tmp_path / "index.html").read_text() + frame, encoding="utf-8")
    with StaticServer({"/": tmp_path, "/smolmix/": DIST}, headers=anybody) as site:
        page = await Session(session.net, site, session.browser, session.options).open()
        use = f"""async (options) => {{
          const begun = performance.now();
          const api = await import("{site.url}/smolmix/index.js");
          return api.setupMixTunnel(options).then(() => null, ({{ code, reason, message }}) =>
            ({{ code, reason, message, ms: performance.now() - begun }}));
        }}"""
        outcome = await page.page.frames[1].evaluate(use, {**session.options, "integrity": "require"})
        if session.engine == "chromium":
            assert (outcome["code"], outcome["reason"]) == ("boot_failed", "unsupported"), outcome
            assert "worker.js" in outcome["message"] and "no origin" in outcome["message"] and outcome["ms"] < 4_000
            assert await page.page.frames[1].evaluate(use, {**session.options, "integrity": "off"}) is None
        else:
            assert outcome is None
        await page.page.context.close()


@FEATURE
@pytest.mark.parametrize("way", WAYS)
async def test_all_is_as_it_should_be(session: Session, tmp_path: Path, way: str) -> None:
    site, page = await vouching(session, tmp_path, WAYS[way])
    try:
        assert await page.run(SET_UP, options=session.options) is None
        load = """return sha256(await (await api.mixFetch("https://origin.test/bytes/50000")).arrayBuffer())"""
        assert await page.run(load) == body_sha256(50_000)
        seen = [*page.recorder.urls, *(worker.url for worker in page.page.workers)]  # Firefox tells of the worker alone
        assert any(url.startswith("blob:") for url in seen), "scripts run from what was checked"
        await page.run("await api.disconnectMixTunnel()")
        await change(page, "worker.js")
        outcome = await page.run(SET_UP, options=session.options)
        assert outcome["reason"] == "altered", "this way counts"
    finally:
        await page.page.context.close()
        site.close()


@FEATURE
async def test_a_changed_byte_in_any_file(session: Session, tmp_path: Path) -> None:
    site, page = await vouching(session, tmp_path, WAYS["script"])
    try:
        for name in CHECKED:
            await change(page, name)
            outcome = await page.run(SET_UP, options=session.options)
            await page.page.unroute(f"**/smolmix/{name}")
            assert (outcome["code"], outcome["reason"]) == ("boot_failed", "altered"), (name, outcome)
            assert name.split("/")[-1] in outcome["message"] and "SHA-256" in outcome["message"]
        assert await page.run(SET_UP, options=session.options) is None
    finally:
        await page.page.context.close()
        site.close()


@FEATURE
async def test_a_library_that_is_loaded_later(session: Session, tmp_path: Path) -> None:
    """The list of public suffixes, when cookies are used first: not run, and the console names it."""
    site, page = await vouching(session, tmp_path, "")
    try:
        name = next((DIST / "pyodide").glob("publicsuffixlist-*.whl")).name
        await page.page.route(f"**/{name}", answering((DIST / "pyodide" / name).read_bytes() + b"x", "application/zip"))
        await page.set_up()
        outcome = await page.run(
            """return caught(() => api.mixFetch("https://origin.test/bytes/10", {cookies: "jar"}))"""
        )
        assert outcome is not None and any(name in line and "SHA-256" in line for line in page.console)
    finally:
        await page.page.context.close()
        site.close()


@FEATURE
async def test_a_page_that_vouches_for_nothing_checks_nothing(session: Session, tmp_path: Path) -> None:
    """Unless it asks for it. The files are served: what a test's interception answers comes from no network that
    Chromium knows, and may not ask the one of this machine."""
    dist = tmp_path / "dist"
    shutil.copytree(DIST / "pyodide", dist / "pyodide")
    for name in ("index.js", "worker.js"):
        shutil.copyfile(DIST / name, dist / name)
    for name in ("worker.js", "pyodide/pyodide.mjs"):
        (dist / name).write_bytes(changed(name, (DIST / name).read_bytes()))
    write_blank_page(tmp_path)
    with StaticServer({"/": tmp_path, "/smolmix/": dist}) as site:
        page = await Session(session.net, site, session.browser, session.options).open()
        await page.set_up()
        await page.run("await api.disconnectMixTunnel()")
        outcome = await page.run(SET_UP, options={**session.options, "integrity": "require"})
        assert (outcome["reason"], "worker.js" in outcome["message"]) == ("altered", True)
        outcome = await page.run(SET_UP, options={**session.options, "integrity": "always"})
        assert outcome["code"] == "bad_option"
        await page.page.context.close()


@FEATURE
async def test_a_policy_without_blob(session: Session, tmp_path: Path) -> None:
    """Nothing is run unchecked instead."""
    base = "connect-src * blob:; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'"
    for policy, named in ((f"{base}; worker-src 'self'", "worker-src"), (f"{base}; worker-src blob:", "script-src")):
        site, page = await vouching(session, tmp_path, WAYS["script"], **{"Content-Security-Policy": policy})
        outcome = await page.run(SET_UP, options=session.options)
        await page.page.context.close()
        site.close()
        assert (outcome["code"], outcome["reason"]) == ("boot_failed", "blocked"), outcome
        assert named in outcome["message"]


@FEATURE
async def test_no_secure_context(session: Session, fresh: ApiPage) -> None:
    """There is nothing to check with, nor any use: who changes a file changes the page."""

    async def served(route: Route) -> None:
        path = route.request.url.split("insecure.test", 1)[1]
        if not path.startswith("/smolmix/"):
            await route.fulfill(body=f"<!doctype html>{WAYS['script']}", content_type="text/html")
            return
        data = (DIST / path.removeprefix("/smolmix/")).read_bytes()
        await route.fulfill(body=data, content_type=TYPES.get(Path(path).suffix, "application/octet-stream"))

    await fresh.page.context.route("http://insecure.test/**", served)
    await fresh.page.goto("http://insecure.test/")
    assert await fresh.page.evaluate("isSecureContext") is False
    given: dict[str, Any] = {**fresh.options, "integrity": "require"}
    outcome = await fresh.run(SET_UP, options=given)
    assert (outcome["code"], outcome["reason"]) == ("boot_failed", "unsupported")
    assert "secure context" in outcome["message"]
