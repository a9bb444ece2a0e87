"""A browser behind the proxy: Chromium with nothing of ours in it loads pages through the tunnel."""

from __future__ import annotations

import pytest
from playwright.async_api import async_playwright

from browserkit.chromium import launch_arguments
from buildtools.chromium import ensure_chromium
from localnet import Network, NetworkConfig
from localnet.origin import body_sha256
from smolmix_web.proxy.server import Proxy, ProxyOptions
from tests.integration.tunnels import open_tunnel
from tests.proxy.stand_in import ANYWHERE

DIGEST = """
async (url) => {
  const data = await (await fetch(url)).arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [data.byteLength, Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("")];
}
"""


@pytest.mark.chromium
@pytest.mark.timeout(300)
@pytest.mark.feature("Proxy", "Chromium behind it, by SOCKS5 and by HTTP")
async def test_chromium_loads_pages(request: pytest.FixtureRequest) -> None:
    async with Network(NetworkConfig(seed=request.node.name)) as network, open_tunnel(network) as tunnel:
        proxy = Proxy(tunnel, ProxyOptions(socks=ANYWHERE, http=ANYWHERE))
        await proxy.start()
        try:
            async with async_playwright() as playwright:
                for scheme, name in (("socks5", "socks"), ("http", "http")):
                    switch = f"--proxy-server={scheme}://{proxy.places[name]}"
                    browser = await playwright.chromium.launch(
                        executable_path=ensure_chromium(), args=launch_arguments([switch])
                    )
                    page = await browser.new_page(ignore_https_errors=True)
                    response = await page.goto("https://origin.test/html", timeout=120_000)
                    assert response is not None and response.status == 200
                    assert await page.title() == "origin" and await page.inner_text("p") == "Hello."
                    found = await page.evaluate(DIGEST, "https://origin.test/bytes/100000")
                    assert found == [100_000, body_sha256(100_000)]
                    await browser.close()
        finally:
            await proxy.close(1.0)
        assert network.violations() == {}
