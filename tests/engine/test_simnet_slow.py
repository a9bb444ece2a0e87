"""Machines that are too slow for their traffic, and lines that are too thin: nobody living is given up, everything gets
its turn, and who is really gone is found."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smolmix_web.exit.messages import UnrequestedReason
from smolmix_web.tunnel import Tunnel
from tests.simnet.cases import Step, attempt, download, upload
from tests.simnet.costs import thin_line
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.outages import QUIET, REAL_EXIT
from tests.simnet.tunnels import SimTunnel, open_tunnel, simulate
from tests.simnet.web import add_web

LATEST = 0.4  # s that anything else of the page waits for, at a load of 5; in proportion below


def network_for(name: str, *, announced: bool = False) -> SimNetwork:
    settings = {**REAL_EXIT, "announce_timeout": announced}
    network = SimNetwork(name, mixes_per_layer=3, exit_settings=settings)
    add_web(network.world, tls=False)
    return network


async def echoes(tunnel: Tunnel) -> int:
    connection = await tunnel.connect_websocket("ws://origin.test:8080/")
    try:
        for size in (1, 3_000):
            await connection.send(b"x" * size)
            assert len(await connection.receive()) == size
    finally:
        await connection.close()
    return 1


def use(name: str, *steps: Step, load: float = 0.0, line: tuple[float, int] | None = None, **options: Any) -> Any:
    """Set-up and `steps` on such a machine and line: seconds of each, and the latest that a timer of 50 ms was."""
    network = network_for(name)
    host = SimHost(network)
    host.load = load
    if line is not None:
        thin_line(network, line[0], buffer=line[1])
    states: list[tuple[str, str | None]] = []
    late: list[float] = []

    async def watch() -> None:
        while True:
            due = host.now() + 0.05
            fired = asyncio.get_running_loop().create_future()
            host.call_later(0.05, lambda fired=fired: fired.set_result(host.now()))  # type: ignore[misc]
            late.append(await fired - due)

    async def main() -> list[float]:
        begun = network.queue.now
        watching = asyncio.create_task(watch())
        async with open_tunnel(
            network, host, on_change=lambda s: states.append((s["state"], s["step"])), **options
        ) as tunnel:
            took = [network.queue.now - begun]
            for number, step in enumerate(steps):
                outcome = await attempt(network, step(tunnel), 240.0, f"use {number}")
                assert outcome.ok, str(outcome)
                took.append(outcome.seconds)
            statistics = tunnel.statistics()
            assert statistics["registrations"] == 1 and statistics["gateway_losses"] == 0
            assert not [state for state in states if state[0] == "reconnecting"], states
            assert statistics["inbox"]["longest"] < 1000
        watching.cancel()
        return took

    return simulate(network, main()), max(late), network


# What the default traffic takes in wall time bounds how much of it is tried here.
@pytest.mark.parametrize("load", [0.5, 1.0, 2.0, 5.0])
def test_a_slow_machine_comes_up_and_is_served(load: float) -> None:
    size = round(40_000 / max(1.0, load))
    took, late, _ = use(f"slow {load}", download(size), upload(size), echoes, load=load)
    assert took[0] < 2.0 + load, took
    assert late < LATEST * max(0.5, load / 4), late


@pytest.mark.parametrize("load", [0.5, 2.0, 5.0])
def test_a_slow_machine_without_default_traffic_moves_200_kb_each_way(load: float) -> None:
    took, late, network = use(f"slow, quiet {load}", download(200_000), upload(200_000), echoes, load=load, **QUIET)
    assert took[0] < 1.0 + load, took
    assert late < LATEST * max(0.5, load / 4), late
    assert network.violations() == {}


@pytest.mark.parametrize("line", [(200, 1 << 20), (40, 1 << 16), (10, 1 << 14)])
def test_a_thin_line_without_default_traffic_moves_200_kb_each_way(line: tuple[float, int]) -> None:
    took, _, _ = use(f"line {line}", download(200_000), upload(200_000), echoes, line=line, **QUIET)
    # Each byte costs about 2.4 of packets with their SURBs, and as much again where something is sent twice.
    assert took[1] < 10 + 2 * 2.4 * 200 / line[0] and took[2] < 10 + 2 * 2.4 * 200 / line[0], took


@pytest.mark.parametrize("line", [(200, 1 << 20), (100, 1 << 14)])
def test_default_traffic_on_a_line_it_just_fits_or_does_not(line: tuple[float, int]) -> None:
    took, _, _ = use(f"paced line {line}", download(20_000), echoes, line=line)
    assert took[0] < 10, took


# -- who is really gone


@pytest.mark.parametrize(("load", "multiple"), [(0.0, 1.0), (2.0, 2.5)])
@pytest.mark.parametrize("mode", ["paced", "quiet"])
def test_a_dead_exit_is_found(load: float, multiple: float, mode: str) -> None:
    """Asked for something, an idle machine finds out in 20.5 s; a slow one in at most `multiple` of that."""
    network = network_for(f"dead {load} {mode}")
    tunnel = SimTunnel(network, **(QUIET if mode == "quiet" else {}))
    tunnel.start()
    tunnel.host.load = load
    tunnel.run(5.0)
    network.exit("exit1").crash()
    tunnel.connect_somewhere()
    begun, states = tunnel.queue.now, len(tunnel.states)
    assert tunnel.run(60.0, lambda: any(state[1] == "reconnecting" for state in tunnel.states[states:]))
    assert tunnel.queue.now - begun < 20.5 * multiple


@pytest.mark.parametrize(("mode", "limit"), [("paced", 5.0), ("quiet", 10.0)])
@pytest.mark.parametrize("load", [0.0, 2.0])
def test_a_silent_line_is_found(load: float, mode: str, limit: float) -> None:
    """Nothing comes, nothing leaves, and nobody says so: with default traffic 5 s, without 10 s of something that waits
    for its answer; a machine that is too slow needs a second more to know that it is not its own lateness."""
    network = network_for(f"silent {load} {mode}")
    tunnel = SimTunnel(network, **(QUIET if mode == "quiet" else {}))
    tunnel.start()
    tunnel.host.load = load
    tunnel.run(5.0)
    for socket in network.open_sockets:
        socket.freeze()
    if mode == "quiet":
        tunnel.connect_somewhere()
    begun = tunnel.queue.now
    assert tunnel.run(60.0, lambda: not tunnel.engine.gateway.ready)
    assert tunnel.queue.now - begun < limit + (1.0 if load else 0.0)


@pytest.mark.parametrize("lives", [True, False])
def test_a_network_that_may_be_another_one_is_asked_about(lives: bool) -> None:
    """A probe, not a blind reconnect: a line that lives stays, and the tunnel is ready all the time."""
    network = network_for(f"hint {lives}")
    tunnel = SimTunnel(network, **QUIET)
    tunnel.start()
    tunnel.run(5.0)
    if not lives:
        for socket in network.open_sockets:
            socket.vanish()
    tunnel.engine.network_changed(tunnel.host.now(), online=None)
    tunnel.driver.wake()
    states = len(tunnel.states)
    tunnel.run(6.0)
    assert tunnel.engine.statistics()["gateway"]["probes"] == 1
    assert tunnel.engine.statistics()["gateway_losses"] == (0 if lives else 1)
    assert (len(tunnel.states) == states) is lives and tunnel.ready


# -- a machine that wakes up


def test_a_request_whose_exit_says_goodbye_meanwhile_is_asked_again() -> None:
    """As the first thing that a machine reads when it wakes up, while a request has just left."""
    network = network_for("goodbye")

    async def main() -> None:
        async with open_tunnel(network, preferredIpr=str(network.exits[0].address), **QUIET) as tunnel:
            await download(3_000)(tunnel)
            router = network.exits[0].router

            def goodbye() -> None:
                for client in list(router.clients):
                    router.end_client(client, UnrequestedReason.MIXNET_TRAFFIC_TIMEOUT)

            network.queue.after(0.05, goodbye)
            outcome = await attempt(network, download(1_000)(tunnel), 20.0, "request")
            assert outcome.ok, str(outcome)
            assert tunnel.statistics()["registrations"] == 2

    simulate(network, main())


@pytest.mark.parametrize("when", [0.0, 0.003, 0.3])
@pytest.mark.parametrize("seconds", [20.0, 75.0, 200.0, 600.0])
@pytest.mark.parametrize("mode", ["paced", "quiet"])
def test_no_request_begun_at_the_wake_up_fails(seconds: float, when: float, mode: str) -> None:
    network = network_for(f"wake {seconds} {when} {mode}", announced=True)
    host = SimHost(network)

    async def main() -> list[float]:
        async with open_tunnel(network, host, **(QUIET if mode == "quiet" else {})) as tunnel:
            await download(3_000)(tunnel)
            await asyncio.sleep(3.0)
            host.load = 0.5
            host.suspend(seconds)

            async def one(number: int) -> float:
                await asyncio.sleep(when)
                outcome = await attempt(network, download(1_000 + number)(tunnel), 20.0, "request")
                assert outcome.ok, str(outcome)
                return outcome.seconds

            return await asyncio.gather(*(one(number) for number in range(3)))

    assert max(simulate(network, main())) < 4.0
