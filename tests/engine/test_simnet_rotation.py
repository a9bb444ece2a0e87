"""Key rotations in simulated time: nothing is lost, and nobody sends what a node must refuse."""

from __future__ import annotations

import pytest

from smolmix_web.netstack import Endpoint
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
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
