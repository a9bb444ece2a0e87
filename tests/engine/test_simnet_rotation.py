"""Key rotations in simulated time: nothing is lost, and nobody sends what a node must refuse."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smolmix_web.netstack import Endpoint
from smolmix_web.tunnel import Tunnel
from tests.simnet.cases import download as body
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.outages import REAL_EXIT
from tests.simnet.tunnels import SimTunnel, open_tunnel, simulate
from tests.simnet.web import add_web
from tests.simnet.world import ORIGIN, SOURCE_PORT, pattern

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
SIZE = 300_000


def download(tunnel: SimTunnel) -> None:
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"%d\n" % SIZE)
    assert tunnel.run(90, lambda: transfer.done) and transfer.received == pattern(SIZE)


@pytest.mark.feature("Python", "a tunnel lives through key rotations and restarts of its exit")
def test_an_exit_restarts_after_a_rotation_that_the_client_has_not_heard_of() -> None:
    network = SimNetwork("rotation", exits=1)
    tunnel = SimTunnel(network, **QUIET)
    tunnel.start()
    download(tunnel)
    network.impair(loss=0.02, jitter=0.02)
    network.rotate_keys()
    tunnel.run(2)  # the exit hears of it, the client does not
    assert network.exit("exit1").client.topology is not tunnel.engine.mixnet.topology
    network.exit("exit1").restart()
    # A client that used its connection would notice within seconds; this one by its keep-alive.
    assert tunnel.run(60, lambda: tunnel.engine.exit.registrations == 2)
    download(tunnel)
    tunnel.engine.set_topology(network.topology(), tunnel.queue.now)
    download(tunnel)
    # What it sent before it noticed came from addresses that were nobody's any more.
    assert set(network.violations()) <= {"exit1.exit.bad.source_address"}


def test_a_download_goes_on_over_a_rotation() -> None:
    """The exit hears of it within two seconds, the client after that: SURBs of the old keys and of the new are used."""
    size = 4_000_000
    network = SimNetwork("download over a rotation")
    tunnel = SimTunnel(network, **QUIET)
    tunnel.start()
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"%d\n" % size)
    tunnel.run(60, lambda: len(transfer.received) > 200_000)
    network.rotate_keys()
    tunnel.run(2)
    tunnel.engine.set_topology(network.topology(), tunnel.queue.now)
    assert len(transfer.received) < size - 500_000
    assert tunnel.run(60, lambda: transfer.done) and transfer.received == pattern(size)
    assert tunnel.engine.statistics()["registrations"] == 1 and network.violations() == {}


# -- the client asks the directory when there is a reason


def network_with_web(name: str, **settings: Any) -> tuple[SimNetwork, SimHost]:
    network = SimNetwork(name, exit_settings=REAL_EXIT, **settings)
    add_web(network.world, tls=False)
    return network, SimHost(network)


def rotation_of(tunnel: Tunnel) -> int:
    return int(tunnel.statistics()["path"]["key_rotation"])


def test_a_rotation_is_learnt_of_when_the_directory_s_clock_says_so() -> None:
    network, host = network_with_web("by the clock", epoch_seconds=600.0, validity_epochs=2)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            begun = rotation_of(tunnel)
            for number in range(1, 4):
                due = 1200.0 * number + 1000.0
                while network.queue.now < due + 31.0:
                    await asyncio.sleep(1.0)
                assert rotation_of(tunnel) == begun + number
                await body(20_000)(tunnel)
            assert tunnel.statistics()["registrations"] == 1

    simulate(network, main())
    assert network.violations() == {}
    assert sum(server.counters.get("dropped.no_key", 0) for server in network.nodes.values()) == 0


def test_lost_acks_and_a_lost_exit_are_reasons_to_ask_at_once() -> None:
    """Keys rotate before their time and the old ones are gone: nothing that the client sends arrives."""
    network, host = network_with_web("purged")

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            await body(20_000)(tunnel)
            await asyncio.sleep(60)
            before = rotation_of(tunnel)
            network.rotate_keys(forget_old=True)
            await asyncio.sleep(2)  # the exit hears of it
            network.exits[0].restart()
            network.exits[1].restart()
            begun = network.queue.now
            await body(20_000)(tunnel)
            assert network.queue.now - begun < 25 and rotation_of(tunnel) == before + 1

    simulate(network, main())


def test_an_exit_lost_after_a_purge_is_found_again_in_seconds() -> None:
    network, host = network_with_web("lost after a purge", exits=1)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            engine = tunnel._engine
            assert engine is not None
            await asyncio.sleep(60)
            network.rotate_keys(forget_old=True)
            await asyncio.sleep(1.5)
            network.exits[0].restart()
            while engine.exit.losses == 0:
                await asyncio.sleep(0.05)
            lost = network.queue.now
            while tunnel.state != "ready":
                await asyncio.sleep(0.05)
            # The directory's answer, and an attempt with its keys: not the time of one with the old ones.
            assert network.queue.now - lost < 2.5

    simulate(network, main())


def test_an_attempt_to_register_outlives_a_rotation() -> None:
    """The exit answers by SURBs of keys that the nodes have forgotten by then; the client hears of it and asks anew."""
    network, host = network_with_web("attempt", exits=1)

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            engine = tunnel._engine
            assert engine is not None
            exit_ = network.exits[0]
            exit_.crash()
            while engine.exit.losses == 0:
                await asyncio.sleep(0.05)
            while engine.exit.session is None or engine.exit.session.state.value != "connecting":
                await asyncio.sleep(0.05)
            attempt = engine.exit.attempt
            network.rotate_keys(forget_old=True)
            exit_.start()
            await tunnel.refresh_topology()
            assert engine.exit.attempt != attempt
            begun = network.queue.now
            while tunnel.state != "ready":
                await asyncio.sleep(0.05)
            assert network.queue.now - begun < 1.0
            await body(10_000)(tunnel)

    simulate(network, main())


def test_the_directory_is_not_asked_often_however_much_is_lost() -> None:
    network, host = network_with_web("flapping")

    async def main() -> None:
        async with open_tunnel(network, host, **QUIET) as tunnel:
            before = len(host.gets)
            for _ in range(360):
                await asyncio.sleep(5)
                for socket in network.open_sockets:
                    socket.cut()
            assert tunnel.state in ("ready", "reconnecting")
            topologies = sum("rewarded-set" in url for url in host.gets[before:])
            assert 5 < topologies < 18, "at 30, 60, 120, 240 and then 300 seconds, by and large"

    simulate(network, main())
