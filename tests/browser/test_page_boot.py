"""A page whose worker cannot start: within two seconds an error that names the file and the reason, and then again."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, async_playwright

from browserkit.chromium import launch_arguments
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from tests.browser.page_session import ApiPage, PageFailure, Session, write_blank_page

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# ms from the start to the error. It is told within two seconds of its cause; before that a busy machine may take as
# long to compile the half of a file that is there.
PROMPT = 4_000
START_PAGE = b"<!doctype html><title>start page</title>"
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
FILES = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python.zst"]

# How long after the bad answer the set-up failed, and how.
SET_UP = """const began = performance.now();
  try { await api.setupMixTunnel(args.options); } catch (error) {
    const { state, error: told } = await api.getTunnelState();
    return { ms: performance.now() - began, code: error.code, phase: error.phase, reason: error.reason,
      retryable: error.retryable, message: error.message, same: state === "failed" && told.code === error.code };
  }
  return null;"""

Answer = Callable[[str, bytes], dict[str, Any]]


def typed(name: str) -> str:
    return TYPES.get(Path(name).suffix, "application/octet-stream")


# What a server may answer instead, with the reason that we give for each file; None: it works all the same.
SERVERS: dict[str, tuple[Answer, dict[str, str | None]]] = {
    "not found": (lambda name, data: {"status": 404, "body": b"gone"}, dict.fromkeys([*FILES, "worker.js"], "missing")),
    "out of order": (lambda name, data: {"status": 503}, dict.fromkeys([*FILES, "worker.js"], "unavailable")),
    "its start page": (
        lambda name, data: {"body": START_PAGE, "content_type": "text/html"},
        dict.fromkeys([*FILES, "worker.js"], "wrong_type"),
    ),
    "its start page, called what was asked for": (
        lambda name, data: {"body": START_PAGE, "content_type": typed(name)},
        {
            name: "damaged" if "js" in Path(name).suffix and name != "pyodide-lock.json" else "wrong_type"
            for name in FILES
        },
    ),
    "half of it": (
        lambda name, data: {"body": data[: len(data) // 2], "content_type": typed(name)},
        {name: "wrong_type" if name == "pyodide-lock.json" else "damaged" for name in FILES},
    ),
    "nothing": (
        lambda name, data: {"body": b"", "content_type": typed(name)},
        {name: "damaged" if name.endswith(".mjs") else "wrong_type" for name in FILES},
    ),
    "the right file without a type": (
        lambda name, data: {"body": data, "content_type": "application/octet-stream"},
        {name: "wrong_type" if name.endswith(".mjs") else None for name in FILES},
    ),
}


def answering(given: dict[str, Any]) -> Callable[[Route], Awaitable[None]]:
    async def fulfil(route: Route) -> None:
        await route.fulfill(**given)

    return fulfil


@pytest.mark.feature("Worker", "files that are missing, of the wrong kind or damaged are named at once")
@pytest.mark.parametrize("answer", SERVERS)
async def test_a_server_answers_with(fresh: ApiPage, answer: str) -> None:
    make, reasons = SERVERS[answer]
    got = {}
    for name in reasons:
        data = (DIST / name if name == "worker.js" else DIST / "pyodide" / name).read_bytes()
        await fresh.page.route(f"**/{name}", answering(make(name, data)))
        outcome = await fresh.run(SET_UP, options=fresh.options)
        await fresh.page.unroute(f"**/{name}")
        got[name] = outcome
        if outcome is None:
            await fresh.run("await api.disconnectMixTunnel()")
    assert {name: outcome and outcome["reason"] for name, outcome in got.items()} == reasons
    for name, outcome in got.items():
        if outcome is not None:
            assert name in outcome["message"] and outcome["ms"] < PROMPT, outcome
            assert (outcome["code"], outcome["phase"], outcome["same"]) == ("boot_failed", "boot", True)
            assert outcome["retryable"] == (outcome["reason"] == "unavailable")
    await fresh.set_up()


PACK = (DIST / "pyodide" / "python.zst").read_bytes() if DIST.exists() else b""

# Whole, of the right type, and of no use: what goes wrong with it only later.
USELESS = {
    "a lock file without anything": ("pyodide-lock.json", b"{}"),
    "a lock file that is null": ("pyodide-lock.json", b"null"),
    "a lock file that is a list": ("pyodide-lock.json", b"[]"),
    "a lock file that is a text": ("pyodide-lock.json", b'"x"'),
    "an error in JSON": ("pyodide-lock.json", b'{"error": "not found"}'),
    "a module with nothing in it": ("pyodide.asm.wasm", b"\0asm\1\0\0\0"),
    "a loader that fails": ("pyodide.mjs", b"export const loadPyodide = async () => { throw new Error('mine'); };"),
    "a loader that throws nothing": ("pyodide.mjs", b"export const loadPyodide = async () => { throw undefined; };"),
    "a pack with an error inside": ("python.zst", PACK[:100_000] + bytes(1000) + PACK[101_000:]),
    "a pack that lacks its last byte": ("python.zst", PACK[:-1]),
    "a pack of nothing": ("python.zst", bytes.fromhex("28b52ffd2000010000")),
    "a pack that says it has 2^63 bytes": ("python.zst", PACK[:4] + b"\xe0" + bytes(7) + b"\x80" + PACK[12:]),
    "a script that throws what is no error": ("pyodide.asm.mjs", b"throw {a: 1};"),
}


@pytest.mark.feature("Worker", "files that are missing, of the wrong kind or damaged are named at once")
@pytest.mark.parametrize("what", USELESS)
async def test_a_file_of_no_use(fresh: ApiPage, what: str) -> None:
    name, body = USELESS[what]
    await fresh.page.route(f"**/{name}", answering({"body": body, "content_type": typed(name)}))
    outcome = await fresh.run(SET_UP, options=fresh.options)
    assert (outcome["code"], outcome["reason"], outcome["same"]) == ("boot_failed", "damaged", True)
    assert name in outcome["message"] and "[object" not in outcome["message"]
    assert outcome["ms"] < PROMPT


async def test_files_that_cannot_be_reached(fresh: ApiPage) -> None:
    for name in ["worker.js", "pyodide.asm.wasm", "python.zst", "pyodide.mjs"]:
        await fresh.page.route(f"**/{name}", lambda route: route.abort())
        outcome = await fresh.run(SET_UP, options=fresh.options)
        await fresh.page.unroute(f"**/{name}")
        assert (outcome["code"], outcome["reason"], outcome["retryable"]) == ("boot_failed", "unreachable", True)
        assert name in outcome["message"] and outcome["ms"] < PROMPT


async def test_a_worker_with_an_error_in_it(fresh: ApiPage) -> None:
    body, script = "throw new Error('on purpose')", "text/javascript"
    await fresh.page.route("**/worker.js", lambda route: route.fulfill(body=body, content_type=script))
    outcome = await fresh.run(SET_UP, options=fresh.options)
    assert (outcome["code"], outcome["reason"]) == ("boot_failed", "damaged")
    assert "worker.js" in outcome["message"] and "on purpose" in outcome["message"]


@pytest.mark.parametrize(("body", "told"), [("", "empty"), ("setTimeout(() => {})", "another script")])
async def test_a_worker_that_says_nothing(fresh: ApiPage, body: str, told: str) -> None:
    await fresh.page.route("**/worker.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))
    outcome = await fresh.run(SET_UP, options=fresh.options)
    assert (outcome["code"], outcome["reason"], outcome["same"]) == ("boot_failed", "damaged", True)
    assert "worker.js" in outcome["message"] and told in outcome["message"] and outcome["ms"] < PROMPT


@pytest.mark.parametrize("policy", ["require-corp", "credentialless"])
async def test_a_page_that_embeds_only_what_agrees(fresh: ApiPage, policy: str) -> None:
    """Its worker needs the header as well; the browser refuses it without a word."""

    async def isolated(route: Route) -> None:
        response = await route.fetch()
        await route.fulfill(response=response, headers={**response.headers, "Cross-Origin-Embedder-Policy": policy})

    await fresh.page.route("**/index.html", isolated)
    await fresh.page.reload()
    outcome = await fresh.run(SET_UP, options=fresh.options)
    assert (outcome["code"], outcome["reason"], outcome["same"]) == ("boot_failed", "blocked", True)
    assert "worker.js" in outcome["message"] and "Cross-Origin-Embedder-Policy" in outcome["message"]
    assert outcome["ms"] < PROMPT


FORBIDDEN = {
    "WebAssembly": ("script-src 'self' 'unsafe-inline'; connect-src *  blob:", "wasm-unsafe-eval"),
    "fetch": ("script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; connect-src 'none'", "connect-src"),
    "blob": ("script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; connect-src *", "blob:"),
    "workers": ("script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'none'", "worker-src"),
    "untyped scripts": ("require-trusted-types-for 'script'; trusted-types none", "trusted-types smolmix-web"),
}


@pytest.mark.feature("Worker", "a Content-Security-Policy that forbids what the worker needs is named at once")
@pytest.mark.parametrize("what", FORBIDDEN)
async def test_a_policy_forbids(session: Session, tmp_path: Path, what: str) -> None:
    policy, named = FORBIDDEN[what]
    write_blank_page(tmp_path)
    headers = {"Content-Security-Policy": policy}
    with StaticServer({"/": tmp_path, "/smolmix/": DIST}, headers=headers) as site:
        page = await Session(session.net, site, session.browser, session.options).open()
        outcome = await page.run(SET_UP, options=session.options)
        await page.page.context.close()
    assert (outcome["code"], outcome["reason"]) == ("boot_failed", "blocked")
    assert named in outcome["message"] and outcome["ms"] < PROMPT


@pytest.mark.chromium
@pytest.mark.feature("Worker", "blocked storage costs a warning, not the tunnel")
async def test_storage_that_is_blocked(session: Session, tmp_path: Path) -> None:
    """As in a browser whose user forbids sites to keep data."""
    profile = tmp_path / "profile" / "Default"
    profile.mkdir(parents=True)
    preferences = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Preferences").write_text(json.dumps(preferences))
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            profile.parent, executable_path=ensure_chromium(), args=launch_arguments()
        )
        page = ApiPage(await context.new_page(), session.options, recorder=None)  # type: ignore[arg-type]
        await page.page.goto(f"{session.site.url}/index.html")
        began = time.monotonic()
        await page.set_up(clientId="kept")
        seconds = time.monotonic() - began
        warnings = await page.run("return (await api.getTunnelState()).warnings")
        await context.close()
    assert [(warning["code"], warning["phase"]) for warning in warnings] == [("store_unavailable", "storage")]
    assert "denied" in warnings[0]["message"] and "[object" not in warnings[0]["message"]
    assert seconds < 20


async def test_a_page_that_holds_the_database(fresh: ApiPage) -> None:
    """Another version of it, held open by who does not let go: a warning at once."""
    await fresh.run(
        """await new Promise((resolve, reject) => {
          const request = indexedDB.open("smolmix-web");
          request.onsuccess = () => { window.held = request.result; resolve(); };
          request.onerror = () => reject(request.error);
        });"""
    )
    await fresh.set_up(clientId="held")
    warnings = await fresh.run("return (await api.getTunnelState()).warnings")
    assert [warning["code"] for warning in warnings] == ["store_unavailable"]
    assert "held open by another page" in warnings[0]["message"]


async def test_refused_is_not_for_ever(fresh: ApiPage) -> None:
    await fresh.page.route("**/pyodide/python.zst", lambda route: route.fulfill(status=500))
    with pytest.raises(PageFailure, match=r"python\.zst: HTTP status 500"):
        await fresh.set_up()
    await fresh.page.unroute("**/pyodide/python.zst")
    await fresh.set_up()
