"""Pages whose Service Worker sends everything through the tunnel, and a canary for what goes past it.

Chromium is told that every name of the test world leads to the canary: whatever does not go through the tunnel, a
request or only a connection, is counted there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from browserkit.engines import launch
from browserkit.server import Answer, Asked, StaticServer
from buildtools.common import DIST
from localnet import Network, NetworkConfig
from localnet.http_server import Request
from tests.browser.page_session import ApiPage, Session

OWN_SCRIPT = """importScripts("/smolmix/service-worker.js");
const handle = smolmix.mixRequests({
  match: (url) => url.hostname !== "http.test",
  timeouts: { response: 2000 },
});
addEventListener("install", () => skipWaiting());
addEventListener("fetch", (event) => {
  if (new URL(event.request.url).pathname === "/from-the-site") event.respondWith(new Response("the site's own"));
  else handle(event);
});
"""
OWN_MODULE = """import { mixRequests } from "/smolmix/service-worker-module.js";
addEventListener("install", () => skipWaiting());
addEventListener("fetch", mixRequests({ cors: "open" }));
"""
HANGS = 'addEventListener("install", (event) => event.waitUntil(new Promise(() => {})));\n'
FOREIGN = 'addEventListener("message", () => clients.claim());\n'
SILENCE = 8.0  # s, longer than anybody here waits for a script
BLANK = '<!doctype html><meta charset="utf-8"><title>page</title><link rel="icon" href="data:,">\n'

REGISTER = """const whole = await import("/smolmix/whole-page.js");
  window.failures = [];
  if (args.options) window.ready = api.setupMixTunnel(args.options);
  window.service = await whole.registerMixServiceWorker(args.given ?? {});
  service.addEventListener("failed", ({detail: {url, destination, error}}) =>
    failures.push({url, destination, code: error.code, reason: error.reason, phase: error.phase}));
  await window.ready;
  return service.state;"""


class Canary:
    """Answers everything that comes to it in the clear, and counts the connections."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.port = 0

    async def __aenter__(self) -> Canary:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append("connection")
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2.0)
            self.heard[-1] = head.split(b"\r\n", 1)[0].decode("latin-1")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nAccess-Control-Allow-Origin: *\r\n")
            if b" /bytes/" in head:
                writer.write(b"Content-Disposition: attachment\r\n")
            writer.write(b"Connection: close\r\n\r\nclear")
            await writer.drain()
        writer.close()


def feature(name: str) -> pytest.MarkDecorator:
    return pytest.mark.feature("Whole pages", name)


@dataclass
class ServicePage(ApiPage):
    """A page of the site with helpers; `requests` of the origin begin where it was opened."""

    session: Session | None = None
    canary: Canary | None = None
    seen: int = 0

    async def register(self, *, tunnel: bool = True, options: dict[str, Any] | None = None, **given: Any) -> str:
        """Set up the tunnel, unless told otherwise, and the Service Worker; returns its state."""
        chosen = {**self.options, **(options or {})} if tunnel else None
        return str(await self.run(REGISTER, options=chosen, given=given))

    def at_origin(self, path: str) -> list[Request]:
        """What the origin behind the exits was asked for since."""
        assert self.session is not None
        return [r for r in self.session.net.world.origin.requests[self.seen :] if r.path == path]

    async def failures(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.run("await sleep(50); return window.failures")
        return found


@dataclass
class ServiceWorld:
    """A network, a browser and a site with a Service Worker."""

    session: Session
    canary: Canary
    folder: Path
    pages: list[ServicePage] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def open(self, path: str = "/index.html") -> AsyncIterator[ServicePage]:
        """A page in a context of its own; nothing may have gone past its tunnel."""
        opened = await self.session.open()
        page = self._page(opened)
        if path != "/index.html":
            await page.page.goto(f"{self.session.site.url}{path}")
        before = len(self.canary.heard)
        try:
            yield page
        finally:
            await page.page.context.close()
        assert self.canary.heard[before:] == []

    async def another(self, page: ServicePage, path: str = "/index.html") -> ServicePage:
        """One more page in the same context."""
        tab = await page.page.context.new_page()
        await tab.goto(f"{self.session.site.url}{path}")
        return self._page(ApiPage(tab, page.options, page.recorder))

    def _page(self, opened: ApiPage) -> ServicePage:
        seen = len(self.session.net.world.origin.requests)
        return ServicePage(
            opened.page,
            opened.options,
            opened.recorder,
            opened.console,
            session=self.session,
            canary=self.canary,
            seen=seen,
        )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")


async def stop_workers(page: ServicePage) -> None:
    """As the browser does when it has no memory, or nothing has come for a while."""
    session = await page.page.context.new_cdp_session(page.page)
    await session.send("ServiceWorker.enable")
    await session.send("ServiceWorker.stopAllWorkers")
    await session.detach()


def silent(_asked: Asked) -> Answer:
    """Of a server that keeps its visitors waiting."""
    time.sleep(SILENCE)
    return Answer(200, "text/javascript", b"")


@contextlib.asynccontextmanager
async def service_world(engine: str, folder: Path) -> AsyncIterator[ServiceWorld]:
    """Everything started, tunnels unpaced."""
    assert (DIST / "service-worker.js").exists(), "dist/ is missing: run `python3 build.py build` first"
    (folder / "index.html").write_text(BLANK, encoding="utf-8")
    (folder / "own.js").write_text(OWN_SCRIPT, encoding="utf-8")
    (folder / "own-module.js").write_text(OWN_MODULE, encoding="utf-8")
    (folder / "hangs.js").write_text(HANGS, encoding="utf-8")
    (folder / "foreign.js").write_text(FOREIGN, encoding="utf-8")
    (folder / "service.txt").write_text(OWN_SCRIPT, encoding="utf-8")
    (folder / "broken.js").write_text("throw new Error('no');", encoding="utf-8")
    served = {"/": folder, "/smolmix/": DIST, "/service-worker.js": DIST / "service-worker.js"}
    async with Network(NetworkConfig(seed="service")) as net, Canary() as canary:
        # The second is no secure context: neither https: nor this machine's own name.
        rules = f"--host-resolver-rules=MAP *.test 127.0.0.1:{canary.port},MAP insecure.example 127.0.0.1"
        options = {
            "directoryUrls": [net.directory_url],
            "forceTls": False,
            "caCertificates": net.ca_pem,
            "disablePoissonTraffic": True,
            "disableCoverTraffic": True,
        }
        async with launch(engine, arguments=[rules]) as browser:
            with StaticServer(served, answers={"/silent.js": silent}) as site:
                yield ServiceWorld(Session(net, site, browser, options, engine), canary, folder)
