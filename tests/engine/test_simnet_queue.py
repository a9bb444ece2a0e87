"""Downloads from servers that know only loss, as most do, and who else wants something meanwhile; in virtual time.

The exit sends what it has SURBs for. Whatever a server has on its way beyond that waits there, in front of everybody.
"""

from __future__ import annotations

import pytest

from smolmix_web.netstack import Endpoint
from smolmix_web.netstack.tcp.congestion import Cubic
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.simnet.world import ORIGIN, SOURCE_PORT

SMALL = 20_000
FETCHES = 5


def fetch_times(tunnel: SimTunnel) -> list[float]:
    times = []
    for _ in range(FETCHES):
        before = tunnel.host.now()
        transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"%d\n" % SMALL)
        assert tunnel.run(60, lambda: transfer.done)  # noqa: B023 -- it is used up here
        times.append(tunnel.host.now() - before)
        tunnel.run(0.5)
    return times


@pytest.mark.parametrize("downloads", [1, 4])
def test_small_fetches_beside_downloads(downloads: int) -> None:
    """Without a limit to the queue they take 7 and 20 s; the downloads are as fast as the SURBs allow all the same."""
    tunnel = SimTunnel(SimNetwork(f"queue {downloads}", server_congestion=Cubic))
    tunnel.start()
    tunnel.run(10)
    alone = fetch_times(tunnel)
    bulk = [tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"20000000\n") for _ in range(downloads)]
    tunnel.run(6)
    started, before = sum(len(transfer.received) for transfer in bulk), tunnel.host.now()
    beside = fetch_times(tunnel)
    tunnel.run(10)
    rate = (sum(len(transfer.received) for transfer in bulk) - started) / (tunnel.host.now() - before)
    assert sum(alone) / FETCHES < 1.0
    assert sum(beside) / FETCHES < 2.5 and max(beside) < 4.0
    assert rate > 150_000


def test_the_first_request_does_not_wait_for_the_surbs_that_the_exit_asks_for() -> None:
    """They are 17 packets, a third of a second of ticks."""
    first, later = [], []
    for seed in range(8):
        tunnel = SimTunnel(SimNetwork(f"first {seed}"))
        tunnel.start()
        times = fetch_times(tunnel)
        first.append(times[0])
        later += times[1:]
    assert sum(first) / len(first) < 1.2 * sum(later) / len(later)
