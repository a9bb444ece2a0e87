"""The leak guard in Chromium: what code in the worker may try, from JavaScript and from Python, and what gets out.

Witnesses: Playwright for page and workers, and Chromium's own network log, which has every name that was looked up.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Worker, async_playwright

from browserkit.chromium import launch_arguments
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from demo.recorder import NetLog
from localnet.directory import Fault
from smolmix_web.exit.messages import ConnectReason
from tests.browser.page_session import ApiPage, PageFailure, Session, write_blank_page

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# Every way out that a worker of Chromium has, each as a function of an address.
ATTEMPTS = {
    "fetch": "(url) => fetch(url)",
    "fetch of a Request": "(url) => fetch(new Request(url))",
    "fetch without a receiver": "(url) => (0, self.fetch)(url)",
    "fetch of the prototype": "(url) => WorkerGlobalScope.prototype.fetch.call(self, url)",
    "WebSocket": "(url) => new WebSocket(url.replace('http', 'ws'))",
    "WebSocket of the prototype": "(url) => new WebSocket.prototype.constructor(url.replace('http', 'ws'))",
    "XMLHttpRequest": "(url) => { const request = new XMLHttpRequest(); request.open('GET', url); request.send(); }",
    "EventSource": "(url) => new EventSource(url)",
    "WebTransport": "(url) => new WebTransport(url.replace('http:', 'https:'))",
    "WebSocketStream": "(url) => new (self.WebSocketStream ?? WebSocket)(url.replace('http', 'ws'))",
    "Worker": "(url) => new Worker(URL.createObjectURL(new Blob([`fetch('${url}')`])))",
    "FontFace": "(url) => new FontFace('x', `url(${url})`).load()",
    "Cache.add": "async (url) => (await caches.open('x')).add(url)",
    "Cache.addAll": "async (url) => (await caches.open('x')).addAll([url])",
}

# Throws by itself in a module worker.
IMPORT_SCRIPTS = "(url) => { try { importScripts(url); } catch (error) { return error.name; } }"

TRY = """async ({attempts, url}) => {
  const seen = {};
  for (const [name, source] of Object.entries(attempts)) {
    try { await (0, eval)(source)(url); seen[name] = "done"; }
    catch (error) { seen[name] = [error.name, error.code]; }
  }
  return seen;
}"""

PYTHON = {
    "js.fetch": "import js; await js.fetch(url)",
    "pyfetch": "from pyodide.http import pyfetch; await pyfetch(url)",
    "js.WebSocket": "import js; js.WebSocket.new(url.replace('http', 'ws'))",
    "XMLHttpRequest": "import js; js.XMLHttpRequest.new()",
    "run_js": "from pyodide.code import run_js; await run_js(f'fetch({url!r})')",
    "the guard's fetch": "import smolmix_guard; await smolmix_guard.fetchDirectory(url, None)",
    "the guard's WebSocket": "import smolmix_guard; smolmix_guard.openGateway(url.replace('http', 'ws') + 'path')",
    "setting directories anew": "import smolmix_guard; smolmix_guard.setDirectories([url])",
    "another host": """
import smolmix_guard
from smolmix_web.host.browser import BrowserHost, Parts
BrowserHost(Parts(smolmix_guard, None, None, None), [url])""".strip(),
    "urllib": "import socket; socket.create_connection(('127.0.0.1', 80), 1)",
}

TRY_PYTHON = """async ({attempts, url}) => {
  const seen = {};
  for (const [name, source] of Object.entries(attempts)) {
    const locals = self.pyodide.toPy({ url });
    try { await self.pyodide.runPythonAsync(source, { globals: locals }); seen[name] = "done"; }
    catch (error) { seen[name] = String(error.message).trim().split("\\n").at(-1); }
  }
  return seen;
}"""

KEEP_PYODIDE = """import * as real from "./pyodide.real.mjs";
export const loadPyodide = async (options) => (self.pyodide = await real.loadPyodide(options));
"""


@contextmanager
def listener() -> Iterator[tuple[str, socket.socket]]:
    """An address where somebody listens, and the socket that would see a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", server


def nobody_came(server: socket.socket) -> bool:
    try:
        server.accept()
    except BlockingIOError:
        return True
    return False


def worker_of(page: ApiPage) -> Worker:
    (worker,) = page.page.workers
    return worker


async def blocked_requests(page: ApiPage) -> int:
    got = await page.run("return (await (await api.getMixTunnel()).statistics()).requests_blocked")
    return int(got)


async def test_javascript_in_the_worker(fresh: ApiPage, session: Session) -> None:
    """A stranger's address, the page's own site, and even the directory and the gateway: all of them are stopped."""
    await fresh.set_up()
    worker = worker_of(fresh)
    recorded = len(fresh.recorder.urls)
    assert await blocked_requests(fresh) == 0
    with listener() as (stranger, server):
        places = [stranger, f"{session.site.url}/index.html", f"{session.site.url}/smolmix/index.js",
                  session.net.directory_url, session.net.gateways[0].url.replace("ws", "http")]  # fmt: skip
        for url in places:
            seen = await worker.evaluate(TRY, {"attempts": ATTEMPTS, "url": url})
            assert seen == {name: ["BlockedRequest", "blocked_request"] for name in ATTEMPTS}, url
            assert await worker.evaluate(IMPORT_SCRIPTS, url) == "TypeError"
        await fresh.run("await sleep(300)")
        assert nobody_came(server)
    assert await blocked_requests(fresh) == len(places) * len(ATTEMPTS)
    assert fresh.recorder.urls[recorded:] == []
    assert any("stopped by the leak guard" in line for line in fresh.console)
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200


async def test_the_guard_cannot_be_taken_off(fresh: ApiPage) -> None:
    await fresh.set_up()
    with listener() as (url, server):
        seen = await worker_of(fresh).evaluate(
            """async (url) => {
              const tries = [
                () => { "use strict"; self.fetch = Object; },
                () => { "use strict"; delete self.fetch; },
                () => { "use strict"; delete WorkerGlobalScope.prototype.fetch; },
                () => Object.defineProperty(self, "WebSocket", { value: Object }),
                () => Object.defineProperty(WebSocket.prototype, "constructor", { value: Object }),
              ];
              const errors = [];
              for (const attempt of [...tries, () => fetch(url)]) {
                try { await attempt(); errors.push(null); } catch (error) { errors.push(error.name); }
              }
              return errors;
            }""",
            url,
        )
        assert nobody_came(server)
    assert seen[-1] == "BlockedRequest" and seen.count("TypeError") >= 3


async def test_python_in_the_worker(fresh: ApiPage, session: Session) -> None:
    real = (DIST / "pyodide" / "pyodide.mjs").read_text()
    script = "text/javascript"
    await fresh.page.route("**/pyodide/pyodide.mjs", lambda r: r.fulfill(body=KEEP_PYODIDE, content_type=script))
    await fresh.page.route("**/pyodide/pyodide.real.mjs", lambda r: r.fulfill(body=real, content_type=script))
    await fresh.set_up()
    with listener() as (url, server):
        seen = await worker_of(fresh).evaluate(TRY_PYTHON, {"attempts": PYTHON, "url": url})
        assert nobody_came(server)
    for name, message in seen.items():
        if name in ("setting directories anew", "another host"):
            assert "are set already" in message
        elif name == "urllib":
            assert "Error" in message
        else:
            assert "BlockedRequest" in message or "stopped by the leak guard" in message, (name, message)
    assert fresh.recorder.others() == []
    assert await fresh.run("""return (await api.mixFetch("http://http.test/text")).status""") == 200


async def test_the_workers_own_files_and_nothing_that_redirects(fresh: ApiPage, session: Session) -> None:
    await fresh.set_up()
    base = f"{session.site.url}/smolmix/pyodide/"
    with listener() as (stranger, server):
        await fresh.page.context.route(
            f"{base}moved", lambda route: route.fulfill(status=302, headers={"location": stranger})
        )
        seen = await worker_of(fresh).evaluate(
            """async ({base, stranger}) => {
              const status = (url) => fetch(url).then((response) => response.status, (error) => error.name);
              return [
                await status(base + "pyodide-lock.json"), await status("data:text/plain,x"),
                await status(URL.createObjectURL(new Blob(["x"]))), await status(base + "moved"),
                await status(base + "../index.js"), await status(base.replace("/smolmix/", "/other/")),
                await status(base.replace("http://", "http://user:password@")), await status("file:///etc/passwd"),
              ];
            }""",
            {"base": base, "stranger": stranger},
        )
        assert nobody_came(server)
    assert seen[:4] == [200, 200, 200, "TypeError"]
    assert seen[4:6] == ["BlockedRequest"] * 2 and set(seen[6:]) <= {"BlockedRequest", "TypeError"}


FAILURES: dict[str, dict[str, Any]] = {
    "the directory fails": {"code": "http_status"},
    "the gateway is down": {"code": "tunnel_down"},  # given up by the page
    "the exit refuses": {"code": "exit_refused"},
    "the worker crashes": {"code": "worker_crashed"},
}


async def fail(page: ApiPage, session: Session, what: str) -> str:
    """Makes a tunnel of `page` fail; its code."""
    net = session.net
    if what == "the directory fails":
        net.directory.state.faults["v1/nym-nodes/rewarded-set"] = Fault(status=500)
    if what == "the exit refuses":
        for host in net.exits:
            host.service.faults.refuse_connect = ConnectReason.NO_AVAILABLE_IP
    try:
        if what == "the worker crashes":
            await page.set_up()
            await page.run("window.pending = caught(() => api.mixFetch('http://leak-one.test/delay/60'));")
            await worker_of(page).evaluate("() => { setTimeout(() => { throw new Error('on purpose'); }); }")
            return str((await page.run("return window.pending"))["code"])
        if what == "the gateway is down":
            options = {**page.options, "preferredGateway": net.gateways[2].identity_text}
            return str(
                await page.run(
                    """const setup = caught(() => api.setupMixTunnel(args.options));
                    await sleep(4000);
                    await api.disconnectMixTunnel();
                    return (await setup).code;""",
                    options=options,
                )
            )
        with pytest.raises(PageFailure) as failure:
            await page.set_up(connectTimeoutMs=4_000)
        return str(failure.value.code)
    finally:
        net.directory.state.faults.clear()
        for host in net.exits:
            host.service.faults.refuse_connect = None


@pytest.mark.chromium
async def test_nothing_leaks_when_the_tunnel_fails(session: Session, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each failure in a page of one browser; then everything is asked of the dead tunnel, and the log is read."""
    log = tmp_path_factory.mktemp("netlog") / "log.json"
    names = ["leak-one.test", "leak-two.test", "leak-three.test", "leak-four.test"]
    others: list[str] = []
    async with async_playwright() as playwright:
        arguments = launch_arguments([f"--log-net-log={log}"])
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=arguments)
        for what, expected in FAILURES.items():
            page = await Session(session.net, session.site, browser, session.options).open()
            assert await fail(page, session, what) == expected["code"], what
            seen = await page.run(
                """const codes = [];
                for (const work of [() => api.mixFetch("https://leak-one.test/"), () => api.mixDNS("leak-two.test"),
                  async () => { const socket = new api.MixWebSocket("wss://leak-three.test/"); await socket.opened(); },
                  async () => (await api.getMixTunnel()).connectTcp("leak-four.test", 443)]) {
                  codes.push((await caught(work))?.code ?? null);
                }
                await sleep(500);
                return codes;"""
            )
            assert None not in seen, (what, seen)
            others += page.recorder.others()
            await page.page.context.close()
        await browser.close()
    netlog = NetLog(Path(log))
    assert others == [] and page.recorder.others(netlog.page_urls()) == []
    assert [name for name in names if netlog.mentions(name)] == []


async def test_under_the_policy_that_the_documentation_recommends(
    session: Session, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It works, and then `import()`, which no script can replace, reaches nobody either."""
    directory = session.net.directory_url.removesuffix("api/")
    policy = (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; img-src data:; "
        f"connect-src 'self' blob: {directory} ws:"
    )
    folder = tmp_path_factory.mktemp("site")
    write_blank_page(folder)
    with StaticServer({"/": folder, "/smolmix/": DIST}, headers={"Content-Security-Policy": policy}) as site:
        page = await Session(session.net, site, session.browser, session.options).open()
        await page.set_up(clientId="policy", storagePassphrase="sesame")
        assert await page.run("""return (await api.mixFetch("https://origin.test/bytes/2000")).status""") == 200
        with listener() as (stranger, server):
            seen = await worker_of(page).evaluate(
                "(url) => import(url + 'module.js').then(() => 'done', (error) => error.name)", stranger
            )
            assert seen == "TypeError" and nobody_came(server)
        assert (await page.run("return api.getTunnelState()"))["warnings"] == []
        await page.page.context.close()
