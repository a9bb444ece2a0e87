"""The machine goes offline and comes back: the tunnel waits without burning attempts, and goes on at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.simnet.cases import download
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import left_over, open_tunnel, simulate
from tests.simnet.web import add_web

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
CLIENT = ("client_up", "client_down")


def network_for(name: str) -> SimNetwork:
    network = SimNetwork(name)
    add_web(network.world, tls=False)
    return network


def cable(network: SimNetwork, *, plugged: bool) -> None:
    for kind in CLIENT:
        network.conditions[kind].down = not plugged


async def until(network: SimNetwork, tunnel: Any, state: str, limit: float) -> float:
    """Seconds until the tunnel has this state."""
    begun = network.queue.now
    while tunnel.state != state:
        assert network.queue.now - begun < limit, f"{tunnel.state} {limit:g} s later, not {state}"
        await asyncio.sleep(0.05)
    return network.queue.now - begun


@pytest.mark.feature("Python", "offline and online: reconnecting at once, a running download goes on")
@pytest.mark.parametrize("away", [10.0, 60.0, 900.0])
def test_offline_for_a_while(away: float) -> None:
    network, states = network_for(f"offline {away}"), []
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, on_change=lambda s: states.append(s["state"]), **QUIET) as tunnel:
            # Longer than TCP waits for a peer that is gone, nothing has to live.
            load = asyncio.create_task(download(300_000)(tunnel)) if away < 30 else None
            await asyncio.sleep(0.6)
            cable(network, plugged=False)
            tunnel.network_changed(False)
            assert await until(network, tunnel, "reconnecting", 5) < 3
            sockets = len(host.sockets)
            await asyncio.sleep(away)
            assert len(host.sockets) - sockets <= 1 + away / 15
            assert tunnel.state == "reconnecting"
            cable(network, plugged=True)
            tunnel.network_changed(True)
            assert await until(network, tunnel, "ready", 30) < (2 if away < 60 else 25)
            if load is not None:
                await load
            await download(20_000)(tunnel)
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())
    assert "failed" not in states


def test_a_gateway_on_the_machine_itself_stays() -> None:
    """Offline by the word of the system, but the gateway answers."""
    network, states = network_for("loopback"), []
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, on_change=lambda s: states.append(s["state"]), **QUIET) as tunnel:
            tunnel.network_changed(False)
            await download(50_000)(tunnel)
            await asyncio.sleep(30)
            # It is lost now, and comes back without a word of the system.
            network.open_sockets[0].cut()
            await until(network, tunnel, "reconnecting", 5)
            assert await until(network, tunnel, "ready", 60) > 10
            await download(50_000)(tunnel)

    simulate(network, main())
    assert len(host.sockets) == 2 and "failed" not in states


def test_the_gateway_is_kept_over_a_long_time_offline() -> None:
    """Nobody pinned it, and it was away for longer than a gateway gets to return: that was not its fault."""
    network = network_for("keep the gateway")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            gateway = tunnel.snapshot()["gateway"]
            cable(network, plugged=False)
            tunnel.network_changed(False)
            await asyncio.sleep(120)
            cable(network, plugged=True)
            tunnel.network_changed(True)
            await until(network, tunnel, "ready", 30)
            assert tunnel.snapshot()["gateway"] == gateway

    simulate(network, main())


def test_a_connection_begun_without_a_network_is_begun_again() -> None:
    network = network_for("connecting")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            cable(network, plugged=False)
            network.open_sockets[0].cut()
            await until(network, tunnel, "reconnecting", 5)
            await asyncio.sleep(2)  # its new socket waits for an answer that will not come
            tunnel.network_changed(False)
            await asyncio.sleep(1)
            cable(network, plugged=True)
            tunnel.network_changed(True)
            assert await until(network, tunnel, "ready", 10) < 2

    simulate(network, main())


def test_a_refresh_that_failed_offline_is_made_up_for() -> None:
    network = network_for("stale")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            for server in network.directories.values():
                server.down = True
            tunnel._directory.trouble()
            await asyncio.sleep(50)
            for server in network.directories.values():
                server.down = False
            before = len(host.gets)
            tunnel.network_changed()
            await asyncio.sleep(1)
            assert len(host.gets) > before
            before = len(host.gets)
            tunnel.network_changed()
            await asyncio.sleep(1)
            assert len(host.gets) == before

    simulate(network, main())
