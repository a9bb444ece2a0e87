"""Starting again in simulated time: after a clean end, after the machine died, with a wrong clock, over an outage."""

from __future__ import annotations

import asyncio

import pytest

from smolmix_web.mixnet.addresses import Recipient
from smolmix_web.tunnel import Tunnel
from tests.simnet.cases import download
from tests.simnet.fast_crypto import InsecureFastCrypto
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, open_tunnel, simulate, tunnel_to
from tests.simnet.web import add_web

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "clientId": "me"}


def made(seed: str) -> SimNetwork:
    network = SimNetwork(seed, crypto=InsecureFastCrypto())
    add_web(network.world)
    return network


def address(tunnel: Tunnel) -> Recipient:
    assert tunnel._engine is not None
    return tunnel._engine.mixnet.address


def successor(network: SimNetwork, before: SimHost, number: int) -> SimHost:
    """The machine after it was started again: its files are there, its locks are not."""
    host = SimHost(network, f"start {number}")
    host.places = before.places
    for place in host.places.values():
        place.holder = None
    return host


def registered(network: SimNetwork) -> int:
    return sum(gateway.counters["registered"] for gateway in network.gateways)


def test_every_start_is_the_same_client() -> None:
    network = made("restarts")

    async def main() -> None:
        host = SimHost(network)
        async with open_tunnel(network, host, **QUIET) as tunnel:
            first = address(tunnel)
        for number in range(4):
            host = successor(network, host, number)
            async with open_tunnel(network, host, **QUIET) as tunnel:
                assert address(tunnel) == first and tunnel.warnings == []
                await download(5_000)(tunnel)
            assert not left_over(network, host)
        assert host.places["me"].writes == 5, "one for each start"

    simulate(network, main())
    assert registered(network) == 1


@pytest.mark.parametrize("wait", [0, 60])
def test_a_machine_that_died_comes_back_as_the_same_client(wait: int) -> None:
    """The gateway still thinks that the old connection lives, and finds out; in the same second it refuses first."""
    network = made("died")

    async def main() -> None:
        host = SimHost(network)
        dead = tunnel_to(network, host, **QUIET)
        await dead.start()
        host._asleep = True  # for ever
        await asyncio.sleep(wait)
        again = successor(network, host, 1)
        async with open_tunnel(network, again, **QUIET) as tunnel:
            assert address(tunnel) == address(dead)
            await download(5_000)(tunnel)
        dead._tear_down()

    simulate(network, main())
    assert registered(network) == 1


@pytest.mark.parametrize("hours", [-1000, -1, 1])
def test_a_clock_that_was_set(hours: int) -> None:
    """Authentications of one client need growing times; where they do not grow the same client registers anew."""
    network = made(f"clock {hours}")

    async def main() -> None:
        host = SimHost(network)
        async with open_tunnel(network, host, **QUIET) as tunnel:
            first = address(tunnel)
        for number in range(3):
            host = successor(network, host, number)
            host.clock_error = 0.0 if number == 0 else hours * 3600.0
            async with open_tunnel(network, host, **QUIET) as tunnel:
                assert address(tunnel) == first
                await download(5_000)(tunnel)

    simulate(network, main())


def test_an_outage_is_noted_with_the_new_authentication() -> None:
    network = made("outage")

    async def main() -> None:
        host = SimHost(network)
        async with open_tunnel(network, host, **QUIET) as tunnel:
            writes = host.places["me"].writes
            for socket in host.sockets:
                socket.close()
            await asyncio.sleep(20)
            assert tunnel.state == "ready"
            await asyncio.sleep(600)
            assert host.places["me"].writes <= writes + 1, "and nothing is written without a reason"

    simulate(network, main())
