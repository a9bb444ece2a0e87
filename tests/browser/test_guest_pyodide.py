"""The tunnel in a Pyodide that somebody else has started: installed by micropip from an index, used with libraries."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from localnet.origin import body_sha256
from tests.browser.guest_session import GuestSession, guest_session

pytestmark = [pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

SIZE = 100_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GuestSession]:
    async with guest_session(tmp_path_factory.mktemp("guest") / "site") as session:
        yield session


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
    finally:
        smolmix_web.unpatch()
[found, list(patched.names)]
"""


@pytest.mark.parametrize("where", ["page", "worker"])
@pytest.mark.feature("Pyodide", "micropip.install, httpx and requests over a tunnel, in a page or worker of others")
async def test_installed_by_micropip(guests: GuestSession, where: str) -> None:
    """Nothing of ours but the wheel in the index: the tunnel comes up, and libraries fetch 100 KB through it."""
    async with guests.open(where) as guest:
        await guest.install("smolmix-web", "httpx", "requests", "pyodide-http")
        found, names = await guest.run(LIBRARIES, options=guest.options, size=SIZE)
        ways = ("fetch", "httpx", "httpx blocking", "requests", "urllib3", "urllib")
        assert found == dict.fromkeys(ways, body_sha256(SIZE))
        assert {"httpx", "requests", "urllib", "urllib3"} <= set(names)
        assert guest.recorder.others() == []
        assert guest.recorder.counts()["gateway"] > 0 or where == "worker"
