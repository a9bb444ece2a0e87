"""Browser tests share one started Python worker per session, and one network with one browser for the page API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from browserkit.chromium import launch_arguments
from browserkit.pyodide_page import PyodidePage
from browserkit.server import StaticServer
from buildtools.chromium import ensure_chromium
from buildtools.common import DIST
from localnet import Network, NetworkConfig
from tests.browser.page_session import ApiPage, Session, write_blank_page
from tests.browser.scripted_worker import SCRIPTED


@pytest.fixture(scope="session")
def pyodide_page() -> Iterator[PyodidePage]:
    """The worker as it ships: only the standard library that a first page load fetches."""
    assert (DIST / "pyodide" / "python.zst").exists(), "dist/ is missing: run `python3 build.py build` first"
    with PyodidePage() as page:
        yield page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    """A network, a site with dist/ below /smolmix/, and a browser. Tunnels are unpaced here unless a test says so."""
    assert (DIST / "worker.js").exists(), "dist/ is missing: run `python3 build.py build` first"
    folder = tmp_path_factory.mktemp("site")
    write_blank_page(folder)
    async with Network(NetworkConfig(seed="page", gateways=3)) as net, async_playwright() as playwright:
        await net.stop_node(net.gateways[2].name)  # for the test of a gateway that is down
        browser = await playwright.chromium.launch(executable_path=ensure_chromium(), args=launch_arguments())
        options = {
            "directoryUrls": [net.directory_url],
            "forceTls": False,
            "caCertificates": net.ca_pem,
            "preferredGateway": net.gateways[0].identity_text,
            "disablePoissonTraffic": True,
            "disableCoverTraffic": True,
        }
        with StaticServer({"/": folder, "/smolmix/": DIST}) as site:
            yield Session(net, site, browser, options)
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(session: Session) -> AsyncIterator[ApiPage]:
    """A page without a tunnel."""
    page = await session.open()
    yield page
    await page.page.context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(session: Session) -> AsyncIterator[ApiPage]:
    """A page whose shared tunnel is up: for tests that leave it up."""
    page = await session.open()
    await page.set_up()
    yield page
    await page.page.context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(session: Session) -> AsyncIterator[ApiPage]:
    """A page whose worker is scripted by the test itself."""
    opened = await session.open()
    await opened.page.route("**/smolmix/worker.js", lambda r: r.fulfill(body=SCRIPTED, content_type="text/javascript"))
    yield opened
    await opened.page.context.close()
