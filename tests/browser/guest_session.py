"""A page of somebody else's with a Pyodide of its own, in a real Chromium on a real local network.

Python code runs in the page or in a worker; there is nothing of ours but what it installs from the index.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from browserkit.chromium import launch_arguments
from browserkit.guest import write_site
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from demo.recorder import Allowed, Recorder
from localnet import Network, NetworkConfig

ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
START = """async () => {
  const { loadPyodide } = await import("/pyodide/pyodide.mjs");
  window.pyodide = await loadPyodide({ indexURL: "/pyodide/" });
}"""
RUN = """async ([code, globals, plain]) => {
  for (const [name, value] of Object.entries(globals)) pyodide.globals.set(name, pyodide.toPy(value));
  const value = plain ? pyodide.runPython(code) : await pyodide.runPythonAsync(code);
  return value?.toJs ? value.toJs({ dict_converter: Object.fromEntries }) : value;
}"""
START_WORKER = """() => {
  window.worker = new Worker("/guest_worker.js", { type: "module" });
  window.inWorker = (message, transfer = []) => new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => "error" in data ? reject(new Error(data.error)) : resolve(data.value);
    worker.postMessage({ ...message, reply: port2 }, [port2, ...transfer]);
  });
}"""
STARTS = {"page": START, "worker": START_WORKER}
INSTALL = """
import pyodide_js
await pyodide_js.loadPackage("micropip")
import micropip
micropip.set_index_urls(index)
await micropip.install(packages)
"""

# Hashes of one body by every way; `options` and `size` are given.
LIBRARIES = """
import hashlib
import httpx
from smolmix_web.integrations.httpx_transport import MixTransport
from smolmix_web.pyodide import open_tunnel
import smolmix_web, requests, urllib3, urllib.request

url = f"https://origin.test/bytes/{size}"
found = {}

def sha256(data):
    return hashlib.sha256(data).hexdigest()

async with open_tunnel(**options) as tunnel:
    response = await tunnel.fetch(url)
    found["fetch"] = sha256(await response.read())
    async with httpx.AsyncClient(transport=MixTransport(tunnel), timeout=60) as client:
        found["httpx"] = sha256((await client.get(url)).content)
    with httpx.Client(transport=MixTransport(tunnel), timeout=60) as client:
        found["httpx blocking"] = sha256(client.get(url).content)
    patched = smolmix_web.patch(tunnel)
    try:
        found["requests"] = sha256(requests.get(url, timeout=60).content)
        found["urllib3"] = sha256(urllib3.PoolManager().request("GET", url).data)
        found["urllib"] = sha256(urllib.request.urlopen(url).read())
        found["httpx patched"] = sha256(httpx.get(url, timeout=60).content)
    finally:
        smolmix_web.unpatch()
[found, list(patched.names)]
"""
WAYS = ("fetch", "httpx", "httpx blocking", "requests", "urllib3", "urllib", "httpx patched")


@dataclass
class GuestPage:
    """`where` Python runs: "page" or "worker"."""

    page: Page
    site: StaticServer
    network: Network
    recorder: Recorder
    where: str

    @property
    def options(self) -> dict[str, Any]:
        """For `open_tunnel`."""
        return {
            "directory_urls": [self.network.directory_url],
            "force_tls": False,
            "ca_certificates": self.network.ca_pem,
            "disable_poisson_traffic": True,
            "disable_cover_traffic": True,
        }

    @property
    def page_options(self) -> dict[str, Any]:
        """For a `MixTunnel`."""
        return {
            "directoryUrls": [self.network.directory_url],
            "forceTls": False,
            "caCertificates": self.network.ca_pem,
            "disablePoissonTraffic": True,
            "disableCoverTraffic": True,
        }

    async def install(self, *packages: str) -> None:
        await self.run(INSTALL, index=f"{self.site.url}/simple/{{package_name}}/", packages=list(packages))

    async def run(self, code: str, *, plain: bool = False, timeout: float = 300.0, **names: Any) -> Any:
        """The value of the last expression; `plain`: in a way that cannot be suspended."""
        text = textwrap.dedent(code)
        async with asyncio.timeout(timeout):
            if self.where == "page":
                return await self.page.evaluate(RUN, [text, names, plain])
            message = {"code": text, "globals": names, "plain": plain}
            return await self.page.evaluate("(message) => inWorker(message)", message)


@dataclass
class GuestSession:
    network: Network
    browser: Browser
    folder: Path

    @asynccontextmanager
    async def open(
        self, where: str = "page", *, isolated: bool = False, ours: bool = False
    ) -> AsyncIterator[GuestPage]:
        """A page in a context of its own; `ours`: with dist/ below /smolmix/."""
        folders = {"/": self.folder, **({"/smolmix/": DIST} if ours else {})}
        with StaticServer(folders, headers=ISOLATED if isolated else None) as site:
            gateways = [*self.network.gateways, *(host.gateway for host in self.network.exits)]
            allowed = Allowed(site.url, (self.network.directory_url,), tuple(gateway.url for gateway in gateways))
            context = await self.browser.new_context()
            recorder = Recorder(allowed)
            recorder.attach(context)
            page = await context.new_page()
            try:
                await page.goto(f"{site.url}/index.html")
                if where in STARTS:
                    await page.evaluate(STARTS[where])
                yield GuestPage(page, site, self.network, recorder, where)
            finally:
                await context.close()


@asynccontextmanager
async def guest_session(folder: Path) -> AsyncIterator[GuestSession]:
    """The index holds our wheels of dist/."""
    write_site(folder, sorted(DIST.glob("*.whl")))
    async with Network(NetworkConfig(seed="guest", gateways=2)) as network, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=launch_arguments())
        yield GuestSession(network, browser, folder)
        await browser.close()
