"""Browser tests share one started Python worker per session, and one network with one browser for the page API.

`--engine firefox` or `webkit` runs them in another engine than Chromium. Left out then is what is about Chromium itself
(marked `chromium`), and what a driver cannot do: in WebKit, Python in a worker without our page, and interception.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Error as PlaywrightError

from browserkit.engines import launch
from browserkit.pyodide_page import PyodidePage
from browserkit.server import StaticServer
from browserkit.webkit import NotInWebKit, WebKitError
from buildtools.common import DIST
from buildtools.engines import ENGINES, missing
from localnet import Network, NetworkConfig
from tests.browser.page_session import ApiPage, Session, write_blank_page
from tests.browser.scripted_worker import SCRIPTED
from tests.browser.service_session import ServiceWorld, service_world


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=ENGINES, default="chromium", help="the engine of the browser tests")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    engine = config.getoption("--engine")
    if engine == "chromium":
        return
    for item in items:
        if item.get_closest_marker("chromium"):
            item.add_marker(pytest.mark.skip(reason="about Chromium itself"))


@contextlib.contextmanager
def beyond_the_driver(config: pytest.Config) -> Iterator[None]:
    """What an engine's driver cannot do is no failure of ours."""
    try:
        yield
    except NotInWebKit as error:
        pytest.skip(str(error))
    except WebKitError as error:
        if "Refused to evaluate" not in str(error):
            raise
        pytest.skip("WebKitGTK's driver runs nothing where the page's policy forbids eval")
    except PlaywrightError as error:
        if config.getoption("--engine") == "firefox" and error.message.startswith("Worker.evaluate: Target"):
            pytest.skip("WebDriver BiDi does not look into the workers of Firefox")
        raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    with beyond_the_driver(item.config):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: object, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
    with beyond_the_driver(request.config):
        return (yield)


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """The engine that was chosen; skips where this machine has none."""
    chosen: str = request.config.getoption("--engine")
    reason = missing(chosen)
    if reason is not None:
        pytest.skip(reason)
    return chosen


@pytest.fixture(scope="session")
def pyodide_page(engine: str) -> Iterator[PyodidePage]:
    """The worker as it ships: only the standard library that a first page load fetches."""
    if engine == "webkit":
        pytest.skip("Playwright drives no WebKit that is installed")
    assert (DIST / "pyodide" / "python.zst").exists(), "dist/ is missing: run `python3 build.py build` first"
    with PyodidePage(engine=engine) as page:
        yield page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session(engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Session]:
    """A network, a site with dist/ below /smolmix/, and a browser. Tunnels are unpaced here unless a test says so."""
    assert (DIST / "worker.js").exists(), "dist/ is missing: run `python3 build.py build` first"
    folder = tmp_path_factory.mktemp("site")
    write_blank_page(folder)
    async with Network(NetworkConfig(seed="page", gateways=3)) as net, launch(engine) as browser:
        await net.stop_node(net.gateways[2].name)  # for the test of a gateway that is down
        options = {
            "directoryUrls": [net.directory_url],
            "forceTls": False,
            "caCertificates": net.ca_pem,
            "preferredGateway": net.gateways[0].identity_text,
            "disablePoissonTraffic": True,
            "disableCoverTraffic": True,
        }
        with StaticServer({"/": folder, "/smolmix/": DIST}) as site:
            yield Session(net, site, browser, options, engine)


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


@pytest.fixture(scope="session")
def scripted_session(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """The same with another worker: a file of the site, as not every driver can answer in a server's place."""
    folder = tmp_path_factory.mktemp("scripted")
    write_blank_page(folder)
    script = tmp_path_factory.mktemp("script") / "worker.js"
    script.write_text(SCRIPTED)
    with StaticServer({"/": folder, "/smolmix/": DIST, "/smolmix/worker.js": script}) as site:
        yield dataclasses.replace(session, site=site)


@pytest_asyncio.fixture(loop_scope="session")
async def scripted(scripted_session: Session) -> AsyncIterator[ApiPage]:
    """A page whose worker is scripted by the test itself."""
    opened = await scripted_session.open()
    yield opened
    await opened.page.context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServiceWorld]:
    """A site with a Service Worker, for the tests of a file."""
    async with service_world(engine, tmp_path_factory.mktemp("service")) as made:
        yield made
