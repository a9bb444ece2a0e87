"""Set-up, DNS, HTTP and WebSocket of `@nymproject/mix-tunnel` 0.2.1 and its companions through our own network."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page

from localnet import Network, NetworkConfig
from localnet.origin import body_sha256
from tests.interop.official import official_page

BODY = 100_000
OPTIONS = {"forceTls": False, "connectTimeoutMs": 30_000, "dnsTimeoutMs": 20_000}
DEADLINE = 90.0


async def use(page: Page, network: Network, options: dict[str, object]) -> None:
    """The whole of the shown behaviour: any failure raises with the client's own words."""
    await page.evaluate("(options) => official.setupMixTunnel(options)", options)
    assert (await page.evaluate("() => official.getTunnelState()"))["state"] == "ready"

    address = await page.evaluate("() => official.mixDNS('origin.test')")
    assert address in network.names["origin.test"]

    result = await page.evaluate("(url) => official.digest(url)", f"http://origin.test/bytes/{BODY}")
    assert result == {"status": 200, "bytes": BODY, "sha256": body_sha256(BODY)}

    text = "through the mixnet and back: äöü"
    assert await page.evaluate("([url, text]) => official.echo(url, text)", ["ws://ws.test/echo", text]) == text


@pytest.mark.timeout(240)
@pytest.mark.parametrize("traffic", ["paced", "unpaced"])
async def test_the_official_client_works_unmodified(traffic: str) -> None:
    switches = {} if traffic == "paced" else {"disablePoissonTraffic": True, "disableCoverTraffic": True}
    async with (
        Network(NetworkConfig(seed=f"interop {traffic}")) as network,
        official_page(network) as page,
        asyncio.timeout(DEADLINE),
    ):
        await use(page, network, {**OPTIONS, **switches})
        await page.evaluate("() => official.disconnectMixTunnel()")
        assert network.violations() == {}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("protocol", [4, 5])
async def test_older_gateways_serve_the_official_client_too(protocol: int) -> None:
    async with (
        Network(NetworkConfig(seed=f"interop {protocol}", gateway_protocol=protocol, exit_versions=("1.35.0",))) as net,
        official_page(net) as page,
        asyncio.timeout(DEADLINE),
    ):
        await use(page, net, {**OPTIONS, "disableCoverTraffic": True})
