"""Installed by micropip into a page's Pyodide, and used with its libraries: by the runner of pytest-pyodide.

Its plugin does not work with this pytest (pyproject.toml says why), and its Playwright runner has no JSPI of its own
accord and no workers with their own messages: the rest is in test_guest_pyodide.py, and our unit tests inside our own
interpreter, which is trimmed, keep the runner in browserkit/pytest_in_page.py.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from pytest_pyodide.runner import PlaywrightChromeRunner
from pytest_pyodide.server import DefaultHandler

from browserkit.chromium import launch_arguments
from browserkit.guest import write_site
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from demo.recorder import Allowed, NetLog, Recorder
from localnet import Network, NetworkConfig
from localnet.origin import body_sha256
from tests.browser.guest_session import INSTALL, LIBRARIES, WAYS

SIZE = 100_000
PACKAGES = ["smolmix-web", "httpx", "requests", "pyodide-http"]


def in_chromium(site: StaticServer, options: dict[str, Any], recorder: Recorder, log: Path) -> list[Any]:
    """What Python in the page found, by pytest-pyodide."""
    with sync_playwright() as playwright:
        arguments = launch_arguments([f"--log-net-log={log}"])
        browser = playwright.chromium.launch(executable_path=ensure_chromium(), args=arguments)
        context = browser.new_context()
        recorder.attach(context)  # type: ignore[arg-type]
        port = int(site.url.rpartition(":")[2])
        runner = PlaywrightChromeRunner({"chrome": context}, port)
        runner.set_script_timeout(300)
        names = {
            "index": f"{site.url}/simple/{{package_name}}/",
            "packages": PACKAGES,
            "options": options,
            "size": SIZE,
        }
        given = f"import json\nglobals().update(json.loads({json.dumps(names)!r}))\n"
        runner.run_async(given + INSTALL)
        answer = runner.run_async(LIBRARIES + "\nimport json; json.dumps([found, list(patched.names)])")
        browser.close()
        found: list[Any] = json.loads(answer)
        return found


@pytest.mark.chromium
@pytest.mark.timeout(600)
@pytest.mark.feature("Pyodide", "micropip.install, httpx and requests over a tunnel, in a page of others")
async def test_installed_by_micropip(tmp_path: Path) -> None:
    """From a page with nothing of ours but the wheel in its index: 100 KB by every way, and no other request."""
    write_site(tmp_path / "site", sorted(DIST.glob("*.whl")))
    page = DefaultHandler.default_templates["/module_test.html"]
    (tmp_path / "site" / "pyodide" / "module_test.html").write_bytes(page)
    folders = {f"/{name}/": tmp_path / "site" / name for name in ("simple", "wheels")}
    with StaticServer({"/": tmp_path / "site" / "pyodide", **folders}) as site:
        async with Network(NetworkConfig(seed="pytest-pyodide")) as network:
            gateways = [*network.gateways, *(host.gateway for host in network.exits)]
            recorder = Recorder(Allowed(site.url, (network.directory_url,), tuple(gateway.url for gateway in gateways)))
            options = {
                "directory_urls": [network.directory_url],
                "force_tls": False,
                "ca_certificates": network.ca_pem,
                "disable_poisson_traffic": True,
            }
            log = tmp_path / "netlog.json"
            found, names = await asyncio.to_thread(in_chromium, site, options, recorder, log)
            assert found == dict.fromkeys(WAYS, body_sha256(SIZE))
            assert names == ["pyodide_http", "urllib", "requests", "urllib3", "httpx", "guard"]
            netlog = NetLog(log)
            assert recorder.others(netlog.page_urls()) == [] and not netlog.mentions("origin.test")
            assert recorder.counts()["gateway"] == 1 and network.violations() == {}
