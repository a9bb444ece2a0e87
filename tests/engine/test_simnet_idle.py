"""An hour of silence: the exit keeps us, nothing spins, memory stays; then the tunnel works at once."""

from __future__ import annotations

import asyncio
import tracemalloc

from smolmix_web.netstack import Endpoint
from tests.simnet.cases import download, live
from tests.simnet.host import SimHost
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel, simulate
from tests.simnet.web import add_web
from tests.simnet.world import ORIGIN, SOURCE_PORT, pattern

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
HOUR = 3600.0


def test_an_idle_hour_of_the_engine() -> None:
    network = SimNetwork("hour")
    tunnel = SimTunnel(network, **QUIET)
    tunnel.start()
    tunnel.run(60)
    exit_ = network.exit("exit1")
    timer_wakes, wakes = tunnel.host.timer_wakes, tunnel.host.wakes
    sent = tunnel.engine.statistics()["packets_sent"]
    for _ in range(60):
        tunnel.run(HOUR / 60)
        assert tunnel.ready and network.clients_connected() == 1
    assert exit_.counters["timeouts"] == 0 and exit_.counters["connects"] == 1
    assert tunnel.states[-1][1] == "ready" and tunnel.engine.statistics()["registrations"] == 1
    assert tunnel.host.timer_wakes - timer_wakes < HOUR / 4
    assert tunnel.host.wakes - wakes < HOUR
    # At most three packets a minute are wanted of a silent tunnel, answers to the exit's SURB requests besides.
    assert tunnel.engine.statistics()["packets_sent"] - sent < 60 * 3
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"20000\n")
    assert tunnel.run(30, lambda: transfer.done) and transfer.received == pattern(20_000)
    assert network.violations() == {}


def client_memory() -> int:
    """Bytes held by objects that the client's code made."""
    taken = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/smolmix_web/*")])
    return sum(one.size for one in taken.statistics("filename"))


def test_idling_costs_no_memory() -> None:
    network = SimNetwork("memory")
    tunnel = SimTunnel(network, **QUIET)
    tracemalloc.start()
    try:
        tunnel.start()
        tunnel.run(HOUR / 6)
        before = client_memory()
        tunnel.run(HOUR / 2)
        grown = client_memory() - before
    finally:
        tracemalloc.stop()
    assert grown < 150_000, f"{grown} bytes in half an hour"


def test_cover_traffic_leaves_nothing_behind() -> None:
    network = SimNetwork("cover")
    tunnel = SimTunnel(network)
    tunnel.start()
    tunnel.run(10)
    tracemalloc.start()
    try:
        tunnel.run(3)
        before = client_memory()
        tunnel.run(4)
        grown = client_memory() - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000, f"{grown} bytes in 4 s of cover traffic"
    statistics = tunnel.engine.statistics()
    assert statistics["acks_for_cover"] > 500
    assert tunnel.engine.mixnet.in_flight <= 3 and statistics["queue_length"] <= 3


def test_an_idle_hour_of_a_user_s_tunnel_with_its_directory() -> None:
    """The topology is fetched again and again, keys rotate, and the tunnel is as good as new."""
    network = SimNetwork("user hour", epoch_seconds=300.0, validity_epochs=4)
    add_web(network.world, tls=False)
    host = SimHost(network)

    async def wait(tunnel: object) -> None:
        await asyncio.sleep(HOUR)

    life = simulate(network, live(network, download(), wait, download(), host=host, use_deadline=HOUR + 60, **QUIET))
    assert all(use.ok for use in life.uses), str(life)
    assert [state for _, state, _ in life.states] == ["connecting"] * 3 + ["ready", "shutting_down", "shutdown"]
    fetched = len([url for url in host.gets if "rewarded-set" in url])
    assert 10 <= fetched <= 15
    assert network.clock.at(network.unix_time()).rotation >= 43
    # Segments of the last connection may overtake the goodbye, or be overtaken by it.
    assert set(network.violations()) <= {f"{one.name}.exit.bad.source_address" for one in network.exits}
