"""Servers and pages with rules of their own: it works, or says within two seconds which file and what to do."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route, async_playwright

from browserkit.chromium import launch_arguments
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from tests.consumers.conftest import EXPECTED, World
from tests.consumers.consumer import FIXTURES, unpack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

# ms; two seconds, and as much again for a busy machine.
PROMPT = 4_000
SELF = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
ANYBODY = {"Access-Control-Allow-Origin": "*"}
Record = Callable[[str, object], None]


@pytest.fixture(scope="session")
def site_folder(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a script of its own beside the package's folder."""
    folder = tmp_path_factory.mktemp("conditions")
    unpack(tarball, folder / "package")
    (folder / "package" / "dist").rename(folder / "smolmix")
    text = (FIXTURES / "app.js").read_text()
    (folder / "app.js").write_text(text.replace('"smolmix-web"', '"./smolmix/index.js"'))
    head = '<!doctype html><meta charset="utf-8"><title>page</title>'
    (folder / "index.html").write_text(f'{head}<script type="module" src="app.js"></script>')
    (folder / "outer.html").write_text(f'{head}<iframe sandbox="allow-scripts" src="index.html"></iframe>')
    return folder


async def ask(world: World, folder: Path, headers: dict[str, str], **options: object) -> list[Any]:
    with StaticServer({"/": folder}, headers=headers) as site:
        page = await world.open(f"{site.url}/index.html")
        try:
            return await world.consume(page, **options)
        finally:
            await page.context.close()


def policy(world: World, *, scripts: str = SELF, connect: str = "'self' blob: DIRECTORY ws:") -> dict[str, str]:
    directory = str(world.options["directoryUrls"][0]).rstrip("/") + "/"
    return {"Content-Security-Policy": f"{scripts}; connect-src {connect.replace('DIRECTORY', directory)}"}


async def test_the_smallest_policy(world: World, site_folder: Path, record_property: Record) -> None:
    """That of docs/deploying.md, with the local network's addresses."""
    record_property("consumer", "smallest Content-Security-Policy")
    assert await ask(world, site_folder, policy(world)) == EXPECTED


FORBIDDEN = {
    "WebAssembly": ({"scripts": "default-src 'none'; script-src 'self'"}, "wasm-unsafe-eval"),
    "blob": ({"connect": "'self' DIRECTORY ws:"}, "blob:"),
    "its own files": ({"connect": "blob: DIRECTORY ws:"}, "connect-src"),
    "workers": ({"scripts": f"{SELF}; worker-src 'none'"}, "worker-src"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
async def test_a_smaller_one_is_named(world: World, site_folder: Path, what: str) -> None:
    given, named = FORBIDDEN[what]
    _, code, reason, message, took = await ask(world, site_folder, policy(world, **given))
    assert (code, reason) == ("boot_failed", "blocked") and named in message
    assert took < PROMPT


@pytest.mark.parametrize("allowed", [True, False])
async def test_files_of_another_origin(world: World, site_folder: Path, record_property: Record, allowed: bool) -> None:
    """Under the policy that docs/deploying.md has for it, and under one that does not name their origin for scripts."""
    if allowed:
        record_property("consumer", "files of another origin (assetsUrl), with a Content-Security-Policy")
        record_property("needs", "that origin in script-src and connect-src; worker-src blob:")
    with StaticServer({"/": site_folder}, headers=ANYBODY) as other:
        scripts = f"{SELF}{f' {other.url}' * allowed}; worker-src blob:"
        headers = policy(world, scripts=scripts, connect=f"'self' {other.url} blob: DIRECTORY ws:")
        answer = await ask(world, site_folder, headers, assetsUrl=f"{other.url}/smolmix/")
    if allowed:
        assert answer == EXPECTED
        return
    _, code, reason, message, took = answer
    assert (code, reason) == ("boot_failed", "blocked") and "worker.js" in message and "script-src" in message
    assert took < PROMPT


@pytest.mark.parametrize("types", ["'script'; trusted-types smolmix-web", "'script'; trusted-types *"])
async def test_trusted_types(world: World, site_folder: Path, record_property: Record, types: str) -> None:
    record_property("consumer", f"Trusted Types ({types.partition('; ')[2]})")
    headers = {"Content-Security-Policy": f"require-trusted-types-for {types}"}
    assert await ask(world, site_folder, headers) == EXPECTED


async def test_an_isolated_page(world: World, site_folder: Path, record_property: Record) -> None:
    record_property("consumer", "COOP and COEP")
    headers = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    assert await ask(world, site_folder, headers) == EXPECTED


async def test_a_server_that_compresses_everything(
    world: World, site_folder: Path, tmp_path: Path, record_property: Record
) -> None:
    record_property("consumer", "gzip by the server, everything, with nosniff")
    folder = tmp_path / "compressed"
    shutil.copytree(site_folder, folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(gzip.compress(path.read_bytes(), 1))
    headers = {"Content-Encoding": "gzip", "X-Content-Type-Options": "nosniff"}
    assert await ask(world, folder, headers) == EXPECTED


def calling_it(kind: str) -> Callable[[Route], Awaitable[None]]:
    async def answer(route: Route) -> None:
        response = await route.fetch()
        headers = {**response.headers, "content-type": kind, "x-content-type-options": "nosniff"}
        if not kind:
            del headers["content-type"]
        await route.fulfill(response=response, headers=headers)

    return answer


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/html"])
@pytest.mark.parametrize("file", ["worker.js", "pyodide.asm.wasm", "python.zst", "*.whl"])
async def test_wrong_types(world: World, site_folder: Path, file: str, kind: str) -> None:
    """A script has to be one; the rest is told by its first bytes."""
    with StaticServer({"/": site_folder}) as site:
        page = await world.open(f"{site.url}/index.html")
        await page.context.route(f"**/{file}", calling_it(kind))
        answer = await world.consume(page)
        await page.context.close()
    if file != "worker.js":
        assert answer == EXPECTED
        return
    _, code, reason, message, took = answer
    assert (code, reason) == ("boot_failed", "wrong_type") and "worker.js" in message and kind in message
    assert ("assetsUrl" if kind == "text/html" else "text/javascript") in message
    assert took < PROMPT


@pytest.mark.parametrize("assets", ["nowhere/", "//127.0.0.1:9/x/"])
async def test_a_folder_that_is_not_there(world: World, site_folder: Path, assets: str) -> None:
    _, code, reason, message, took = await ask(world, site_folder, {}, assetsUrl=assets)
    assert code == "boot_failed" and reason in ("missing", "unreachable") and "worker.js" in message
    assert ("assetsUrl" if reason == "missing" else "Access-Control-Allow-Origin") in message
    assert took < PROMPT


@pytest.mark.parametrize("assets", [5, "", "http://[", "/x/?y", "/x/#y"])
async def test_what_is_no_folder(world: World, site_folder: Path, assets: Any) -> None:
    name, code, _, message, _ = await ask(world, site_folder, {}, assetsUrl=assets)
    assert (name, code) == ("TypeError", "bad_option") and "assetsUrl" in message


async def test_a_sandboxed_frame(world: World, site_folder: Path, record_property: Record) -> None:
    record_property("consumer", 'iframe sandbox="allow-scripts"')
    record_property("needs", "Access-Control-Allow-Origin: *")
    with StaticServer({"/": site_folder}, headers=ANYBODY) as site:
        page = await world.open(f"{site.url}/outer.html")
        frame = page.frames[1]
        assert await frame.evaluate("() => origin") == "null"
        answer = await world.consume(frame)
        await page.context.close()
    assert answer == EXPECTED


async def test_a_sandboxed_frame_whose_files_are_not_for_everybody(world: World, site_folder: Path) -> None:
    """Its script has come (inlined, or from a server that allows it), and the worker's has not."""
    with StaticServer({"/": site_folder}) as files, StaticServer({"/": site_folder}, headers=ANYBODY) as site:
        page = await world.open(f"{site.url}/outer.html")
        answer = await world.consume(page.frames[1], assetsUrl=f"{files.url}/smolmix/")
        await page.context.close()
    _, code, reason, message, took = answer
    assert (code, reason) == ("boot_failed", "unreachable")
    assert "worker.js" in message and "Access-Control-Allow-Origin" in message
    assert took < PROMPT


async def test_an_extension_page(world: World, site_folder: Path, tmp_path: Path, record_property: Record) -> None:
    record_property("consumer", "extension page (Manifest V3)")
    record_property("needs", "'wasm-unsafe-eval' in its policy")
    folder = tmp_path / "extension"
    shutil.copytree(site_folder, folder)
    rules = {"extension_pages": "script-src 'self' 'wasm-unsafe-eval'; object-src 'self'"}
    manifest = {"manifest_version": 3, "name": "consumer", "version": "1", "content_security_policy": rules}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    # Chromium's name for an unpacked extension: its path, hashed, in letters from a.
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
    name = "".join(chr(ord("a") + int(digit, 16)) for digit in digest)
    switches = [
        "--headless=new",
        f"--load-extension={folder}",
        f"--disable-extensions-except={folder}",
        "--disable-features=DisableLoadExtensionCommandLineSwitch",
    ]
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=ensure_chromium(),
            headless=False,
            args=launch_arguments(switches),
            ignore_default_args=["--disable-extensions"],
        )
        page = await context.new_page()
        await page.goto(f"chrome-extension://{name}/index.html")
        answer = await world.consume(page)
        await context.close()
    assert answer == EXPECTED
