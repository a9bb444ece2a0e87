"""The program rests and goes on: nothing leaves while the tunnel is suspended, and what the exit keeps lives on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smolmix_web.errors import SmolmixError
from smolmix_web.rand import SeededRandom
from tests.simnet.cases import download
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import get, left_over, open_tunnel, simulate, tunnel_to
from tests.simnet.web import add_web

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
FEATURE = pytest.mark.feature("Python", "suspend and resume: no traffic, no connection, running flows go on")


def network_for(name: str) -> SimNetwork:
    network = SimNetwork(name)
    add_web(network.world, tls=False)
    return network


def open_sockets(host: SimHost) -> int:
    return sum(socket.state != "closed" for socket in host.sockets)


async def until(network: SimNetwork, tunnel: Any, state: str, limit: float) -> float:
    """Seconds until the tunnel has this state."""
    begun = network.queue.now
    while tunnel.state != state:
        assert network.queue.now - begun < limit, f"{tunnel.state} {limit:g} s later, not {state}"
        await asyncio.sleep(0.01)
    return network.queue.now - begun


@FEATURE
@pytest.mark.parametrize("away", [2.0, 40.0, 600.0])
def test_nothing_leaves_and_what_the_exit_keeps_goes_on(away: float) -> None:
    network, states = network_for(f"suspended {away}"), []
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, on_change=lambda s: states.append(s["state"])) as tunnel:
            load = asyncio.ensure_future(download(300_000)(tunnel))
            await asyncio.sleep(1.5)
            del states[:]
            await tunnel.suspend()
            assert tunnel.state == tunnel.snapshot()["state"] == "suspended"
            assert open_sockets(host) == 0
            sockets, gets, wakes = len(host.sockets), len(host.gets), host.wakes
            await asyncio.sleep(away)
            assert (len(host.sockets), len(host.gets)) == (sockets, gets), "something left"
            assert host.wakes - wakes < 40, "the timers of the sockets alone wake it"
            addresses = tunnel.snapshot()["addresses"]
            tunnel.resume()
            took = await until(network, tunnel, "ready", 30)
            assert len(host.sockets) == sockets + 1, "one connection"
            if away < 60:
                assert took < 1.5 and tunnel.snapshot()["addresses"] == addresses
                await load
            else:
                with pytest.raises(SmolmixError):
                    await load
            assert tunnel.statistics()["gateway_losses"] == 0
            await download(20_000)(tunnel)
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())
    assert states[:2] == ["suspended", "reconnecting"] and "failed" not in states


@FEATURE
def test_the_gateway_is_back_after_one_handshake() -> None:
    """What comes before the first packet is what a stored identity needs: one connection, one authentication."""
    network = network_for("one handshake")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host) as tunnel:
            assert tunnel._engine is not None
            link, before = tunnel._engine.gateway, network.queue.now
            gateway, key = link.endpoint, link.shared_keys[link.endpoint.identity]
            await tunnel.suspend()
            await asyncio.sleep(5)
            begun = network.queue.now
            tunnel.resume()
            while not link.can_forward:
                assert network.queue.now - begun < 2
                await asyncio.sleep(0.001)
            socket = host.sockets[-1]
            assert before < begun and socket.frames_up <= 4 and link.endpoint == gateway
            assert link.shared_keys[gateway.identity] is key, "no new registration"

    simulate(network, main())


@FEATURE
def test_what_is_begun_meanwhile_waits_within_its_own_time() -> None:
    network = network_for("waiting")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            await tunnel.suspend()
            begun = network.queue.now
            short = asyncio.create_task(get(tunnel, "http://origin.test/bytes/100", timeout=5.0))
            patient = asyncio.create_task(get(tunnel, "http://origin.test/bytes/100"))
            name = asyncio.create_task(tunnel.resolve("origin.test"))
            with pytest.raises(SmolmixError) as caught:
                await short
            assert (caught.value.phase, round(network.queue.now - begun)) == ("total", 5)
            with pytest.raises(SmolmixError) as caught:
                await name
            assert caught.value.phase == "dns" and network.queue.now - begun <= 70.1
            late = asyncio.create_task(get(tunnel, "http://origin.test/bytes/100"))
            with pytest.raises(SmolmixError) as caught:
                await patient
            assert (caught.value.code, round(network.queue.now - begun)) == ("tunnel_timeout", 90)
            assert open_sockets(host) == 0, "waiting wakes nobody"
            tunnel.resume()
            assert (await late)[0] == 200

    simulate(network, main())


@FEATURE
@pytest.mark.parametrize("after", [0.0, 0.02, 0.1, 0.25, 0.4, 0.6, 0.8])
def test_during_set_up(after: float) -> None:
    """Whatever step it is in; its time limits run on."""
    network, states = network_for(f"set-up {after}"), []
    host = SimHost(network)

    async def main() -> None:
        tunnel = tunnel_to(network, host, **QUIET, on_change=lambda s: states.append(s["state"]))
        setup = asyncio.create_task(tunnel.start())
        await asyncio.sleep(after)
        await tunnel.suspend()
        await asyncio.sleep(20)
        assert not setup.done() or tunnel.state == "suspended"
        assert open_sockets(host) == 0
        tunnel.resume()
        await setup
        await until(network, tunnel, "ready", 20)
        await download(5_000)(tunnel)
        await tunnel.close()
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())
    assert "suspended" in states and "failed" not in states


def test_a_set_up_that_is_never_resumed_fails_in_its_time() -> None:
    network = network_for("never")
    host = SimHost(network)

    async def main() -> None:
        tunnel = tunnel_to(network, host, **QUIET)
        setup = asyncio.create_task(tunnel.start())
        await asyncio.sleep(0.2)
        await tunnel.suspend()
        with pytest.raises(SmolmixError) as caught:
            await setup
        assert caught.value.phase == "setup" and tunnel.state == "failed"
        tunnel.resume()
        await asyncio.sleep(1)
        assert left_over(network, host) == {} and tunnel.state == "failed"

    simulate(network, main())


@FEATURE
def test_the_directory_is_asked_for_nothing_and_then_at_once() -> None:
    network = network_for("an hour")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            await tunnel.suspend()
            gets = len(host.gets)
            await asyncio.sleep(3600)
            assert len(host.gets) == gets
            tunnel.resume()
            await until(network, tunnel, "ready", 30)
            assert len(host.gets) > gets, "what is known of the network is an hour old"
            await download(20_000)(tunnel)

    simulate(network, main())


def test_nothing_but_resume_ends_it() -> None:
    """Not the network's coming back, not a sleep of the machine, not somebody who waits."""
    network = network_for("only resume")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            await tunnel.suspend()
            sockets, gets = len(host.sockets), len(host.gets)
            for online in (None, False, True):
                tunnel.network_changed(online)
                await asyncio.sleep(40)
            host.suspend(300)
            waiting = asyncio.ensure_future(download(2_000)(tunnel))
            await asyncio.sleep(1)
            await tunnel.suspend()
            assert (len(host.sockets), len(host.gets), tunnel.state) == (sockets, gets, "suspended")
            tunnel.resume()
            tunnel.resume()
            await waiting
            assert len(host.sockets) == sockets + 1

    simulate(network, main())


def test_closing_without_resuming() -> None:
    network = network_for("closed")
    host = SimHost(network)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            waiting = asyncio.ensure_future(download(2_000)(tunnel))
            await tunnel.suspend()
        with pytest.raises(SmolmixError) as caught:
            await waiting
        assert caught.value.code in ("tunnel_down", "client_closed")
        await tunnel.suspend()
        tunnel.resume()
        assert tunnel.state == "shutdown"
        await asyncio.sleep(0.5)
        assert left_over(network, host) == {}

    simulate(network, main())


@pytest.mark.parametrize("seed", range(10))
def test_any_order_of_what_can_happen(seed: int) -> None:
    """Suspended by the last word, nothing is open; resumed, the tunnel comes back."""
    network = network_for(f"any order {seed}")
    host, rng = SimHost(network), SeededRandom(f"any order {seed}")

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            suspended = False
            for _ in range(12):
                match rng.below(7):
                    case 0 | 1:
                        suspended = True
                        await tunnel.suspend()
                        assert open_sockets(host) == 0
                    case 2 | 3:
                        suspended = False
                        tunnel.resume()
                    case 4:
                        tunnel.network_changed((None, False, True)[rng.below(3)])
                    case 5:
                        for socket in network.open_sockets:
                            socket.cut()
                    case 6:
                        host.suspend(rng.uniform() * 100)
                await asyncio.sleep(rng.uniform() * (0.2 if rng.below(2) else 20))
                assert (tunnel.state == "suspended") is suspended
                assert not suspended or open_sockets(host) == 0
            tunnel.network_changed(True)
            tunnel.resume()
            await until(network, tunnel, "ready", 60)
            await download(10_000)(tunnel)

    simulate(network, main())
