"""Set-up, DNS, HTTP and WebSocket of `@nymproject/mix-tunnel` 0.2.1 and its companions through our own network."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page

from localnet import Network, NetworkConfig
from localnet.origin import body_sha256
from smolmix_web.http.headers import DEFAULTS
from tests.interop.official import loaded, official_page

BODY = 100_000
OPTIONS = {"forceTls": False, "connectTimeoutMs": 30_000, "dnsTimeoutMs": 20_000}
DEADLINE = 90.0
UNPACED = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
LARGE = 3_000_000


async def use(page: Page, network: Network, options: dict[str, object]) -> None:
    """The whole of the shown behaviour: any failure raises with the client's own words."""
    await page.evaluate("(options) => official.setupMixTunnel(options)", options)
    assert (await page.evaluate("() => official.getTunnelState()"))["state"] == "ready"

    address = await page.evaluate("() => official.mixDNS('origin.test')")
    assert address in network.names["origin.test"]

    result = await page.evaluate("(url) => official.digest(url)", f"http://origin.test/bytes/{BODY}")
    assert result == {"status": 200, "bytes": BODY, "sha256": body_sha256(BODY)}

    # Its request headers and ours are the same; the coding of bodies is the one thing that differs.
    sent = (await page.evaluate("(url) => official.json(url)", "http://origin.test/echo"))["headers"]
    own = [[name.lower(), value] for name, value in sent if name.lower() not in ("host", "connection")]
    assert own == [*([name.lower(), value] for name, value in DEFAULTS), ["accept-encoding", "identity"]]

    text = "through the mixnet and back: äöü"
    assert await page.evaluate("([url, text]) => official.echo(url, text)", ["ws://ws.test/echo", text]) == text


def registrations(network: Network) -> dict[str, int]:
    """How many new clients each entry gateway and exit's gateway took."""
    gateways = [*network.gateways, *(host.gateway for host in network.exits)]
    return {gateway.name: gateway.counters["registered"] for gateway in gateways if gateway.counters["registered"]}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("release", ["1.36.0", "1.38.0"], ids=["v9 exit", "v10 exit"])
async def test_the_official_client_works_unmodified_in_its_default_settings(release: str) -> None:
    """Poisson and cover traffic on; then the page is loaded anew, and the client is the one that it was before."""
    config = NetworkConfig(seed=f"interop {release}", exit_versions=(release,), gateways=3)
    async with Network(config) as network, official_page(network) as page, asyncio.timeout(DEADLINE):
        await use(page, network, dict(OPTIONS))
        first = registrations(network)
        assert sum(first.values()) == 1
        await page.reload()
        await loaded(page)
        await use(page, network, dict(OPTIONS))
        assert registrations(network) == first, "its registration was not found again after the reload"
        await page.evaluate("() => official.disconnectMixTunnel()")
        assert network.violations() == {}


@pytest.mark.timeout(240)
async def test_several_entry_gateways_and_3_mb_without_pacing() -> None:
    """Every entry gateway serves it, each with a client of its own; the last one carries the large download."""
    async with Network(NetworkConfig(seed="interop gateways", gateways=3, exits=1, processes=2)) as network:
        for number, gateway in enumerate(network.gateways):
            async with official_page(network) as page, asyncio.timeout(DEADLINE):
                options = {**OPTIONS, **UNPACED, "preferredGateway": gateway.identity_text}
                await page.evaluate("(options) => official.setupMixTunnel(options)", options)
                assert gateway.counters["registered"] == 1 and len(gateway.active) == 1
                size = LARGE if number == len(network.gateways) - 1 else 10_000
                result = await page.evaluate("(url) => official.digest(url)", f"http://origin.test/bytes/{size}")
                assert result == {"status": 200, "bytes": size, "sha256": body_sha256(size)}
        await network.collect()
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
