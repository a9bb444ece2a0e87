"""The rate fits the machine and the line: whole tunnels in virtual time, on machines that are too slow for the default
traffic and behind lines that are too thin for it.
"""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest

from smolmix_web.engine.engine import FRAME_SIZE
from smolmix_web.mixnet.ladder import NAMES, SLOWER
from smolmix_web.netstack import Endpoint
from tests.simnet.costs import thin_line
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.simnet.world import ECHO_PORT, ORIGIN, SINK_PORT, SOURCE_PORT, pattern

FRAME = 2452  # bytes


def get(tunnel: SimTunnel, size: int, seconds: float = 120.0) -> float:
    """Seconds that a download takes."""
    begun = tunnel.queue.now
    transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"%d\n" % size)
    assert tunnel.run(seconds, lambda: transfer.done), f"{len(transfer.received)} of {size} bytes in {seconds} s"
    assert transfer.received == pattern(size)
    return tunnel.queue.now - begun


def put(tunnel: SimTunnel, size: int, seconds: float = 120.0) -> float:
    """Seconds that an upload takes, to the server's word that all has come."""
    begun = tunnel.queue.now
    transfer = tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(size), close=True)
    assert tunnel.run(seconds, lambda: transfer.done)
    assert transfer.received == size.to_bytes(8, "big")
    return tunnel.queue.now - begun


def echo(tunnel: SimTunnel, seconds: float = 30.0) -> float:
    """Seconds to an echo on a connection that is open."""
    transfer = tunnel.connect(Endpoint(ORIGIN, ECHO_PORT), b"open")
    assert tunnel.run(seconds, lambda: len(transfer.received) == 4)
    begun = tunnel.queue.now
    transfer.connection.send(b"again", tunnel.host.now())
    tunnel.driver.wake()
    assert tunnel.run(seconds, lambda: len(transfer.received) == 9)
    return tunnel.queue.now - begun


def started(tunnel: SimTunnel) -> float:
    begun = tunnel.queue.now
    tunnel.start()
    return tunnel.queue.now - begun


def lived_through(tunnel: SimTunnel) -> bool:
    """Nothing was taken for dead."""
    return {state for _, state, _ in tunnel.states} == {"connecting", "ready"}


# -- machines


@pytest.mark.parametrize(
    ("load", "rate", "ready", "down", "up"),
    [
        (0.5, "1", 1.0, 2.0, 6.0),
        (1.0, "1/2", 1.2, 3.0, 11.0),
        (2.0, "1/4", 2.0, 6.0, 24.0),
        (5.0, "1/16", 4.0, 26.0, 90.0),
    ],
)
def test_a_slow_machine_is_ready_and_useful(load: float, rate: str, ready: float, down: float, up: float) -> None:
    """Without the ladder a tunnel on a machine of load 2 is never ready. Of three the middle one counts: paths are
    random, and where a packet is lost a download takes half as long again."""
    runs = [useful(load, rate, seed) for seed in range(3)]
    for times, most in zip(zip(*runs, strict=True), (ready, down, up), strict=True):
        assert statistics.median(times) < most, runs


def useful(load: float, rate: str, seed: int) -> tuple[float, float, float]:
    """Seconds until ready, of a download and of an upload."""
    tunnel = SimTunnel(SimNetwork(f"slow {load} {seed}"))
    tunnel.host.load, tunnel.host.cold = load, True
    times = started(tunnel), get(tunnel, 100_000), put(tunnel, 200_000)
    assert echo(tunnel) < 1.0 + load
    worked, begun = tunnel.host.worked, tunnel.queue.now
    tunnel.run(20)
    share = (tunnel.host.worked - worked) / (tunnel.queue.now - begun)
    assert share < 0.62, "our own traffic leaves room"
    traffic = tunnel.engine.statistics()["traffic"]
    assert (traffic["rate"], traffic["reason"]) == (rate, None if rate == "1" else "machine")
    assert traffic["load"] == pytest.approx(0.91 * load, rel=0.05)  # the host's own share of the work is not seen
    assert lived_through(tunnel)
    tunnel.stop()
    return times


def test_when_the_load_ends_the_rate_comes_back() -> None:
    tunnel = SimTunnel(SimNetwork("recovery"))
    tunnel.start()
    tunnel.host.load = 6.0
    tunnel.run(10)
    assert tunnel.engine.traffic == {"rate": "1/16", "reason": "machine"}
    tunnel.host.load = 0.4
    seen = [tunnel.engine.ladder.rung]
    while seen[-1] and tunnel.queue.now < tunnel.states[-1][0] + 120:
        tunnel.run(0.5)
        if tunnel.engine.ladder.rung != seen[-1]:
            seen.append(tunnel.engine.ladder.rung)
    assert seen == [4, 3, 2, 1, 0] and tunnel.engine.traffic == {"rate": "1", "reason": None}
    assert lived_through(tunnel)
    tunnel.stop()


# -- lines


def most_waiting(tunnel: SimTunnel, seconds: float) -> float:
    """Most seconds of our packets on the way up, every 50 ms."""
    most = 0.0
    for _ in range(round(seconds / 0.05)):
        tunnel.run(0.05)
        link = tunnel.network.sockets[-1]._up
        most = max(most, link.backlog() / link.conditions.rate)
    return most


@pytest.mark.parametrize("buffer", [16 << 10, 1 << 20])
@pytest.mark.parametrize(
    ("rate", "ready", "small", "down", "up"),
    [(200, 1.5, 1.5, 4, 8), (100, 1.5, 3, 8, 16), (50, 1.6, 3, 16, 30), (25, 2.2, 3, 32, 60), (10, 6.0, 10, 80, 150)],
)
def test_a_thin_line_is_ready_and_useful(
    rate: int, ready: float, small: float, down: float, up: float, buffer: int
) -> None:
    """Without the ladder a line of 100 kB/s has 4 s of queue after 15 s, and the exit seems dead."""
    network = SimNetwork(f"a thin line {rate} {buffer}")
    thin_line(network, rate, buffer=buffer)
    tunnel = SimTunnel(network)
    assert started(tunnel) < ready
    assert get(tunnel, 100_000) < down
    tunnel.run(8)
    assert most_waiting(tunnel, 12) < 2.0 + FRAME_SIZE / (1000 * rate)  # as many as the ladder allows, and one more
    assert get(tunnel, 1_000) < small
    assert echo(tunnel) < small
    assert put(tunnel, 100_000, 200) < up
    if rate <= 100:
        # The rung above may be on trial, for a few seconds.
        assert tunnel.run(10, lambda: 55 * FRAME / SLOWER[NAMES.index(tunnel.engine.ladder.rate)] < 1000 * rate)
        assert tunnel.engine.ladder.reason == "line"
    else:
        assert tunnel.engine.ladder.rate == "1"
    assert lived_through(tunnel)
    tunnel.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rate", [50, 25])
def test_after_ten_minutes_a_thin_line_is_as_quick_as_at_first(rate: int) -> None:
    network = SimNetwork(f"ten minutes {rate}")
    thin_line(network, rate, buffer=1 << 20)
    tunnel = SimTunnel(network)
    tunnel.start()
    for _ in range(10):
        get(tunnel, 20_000)
        tunnel.run(55)
    trip = tunnel.engine.mixnet.round_trip
    assert trip is not None and trip < 2.5 and echo(tunnel) < 2.5
    assert lived_through(tunnel)
    tunnel.stop()


@pytest.mark.parametrize("options", [{"disablePoissonTraffic": True}, {"trafficRate": "1"}])
def test_without_a_choice_of_rates_the_line_still_has_its_bound(options: dict[str, Any]) -> None:
    """No packet is added to what is a second's worth, also where nothing is paced or the rate is pinned."""
    network = SimNetwork(f"bound {options}")
    thin_line(network, 50, buffer=1 << 20)
    tunnel = SimTunnel(network, **options)
    tunnel.start()
    tunnel.run(3)
    transfer = tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(300_000), close=True)
    tunnel.run(4)
    assert most_waiting(tunnel, 6) < 2.0
    assert tunnel.run(120, lambda: transfer.done) and transfer.error is None
    assert tunnel.engine.statistics()["traffic"]["line"]["holds"] > 0
    assert lived_through(tunnel)
    tunnel.stop()


def test_a_gateway_that_never_answers_costs_no_packets() -> None:
    network = SimNetwork("silent gateway")
    network.gateway("entry1").faults.no_send_answers = True
    tunnel = SimTunnel(network)
    tunnel.start()
    assert get(tunnel, 50_000) < 4.0
    begun, sent = tunnel.queue.now, tunnel.engine.statistics()["packets_sent"]
    tunnel.run(10)
    rate = (tunnel.engine.statistics()["packets_sent"] - sent) / (tunnel.queue.now - begun)
    assert rate == pytest.approx(55, rel=0.15) and tunnel.engine.traffic["rate"] == "1"
    tunnel.stop()


# -- what users are told


def test_state_and_a_warning_tell_rate_and_reason() -> None:
    network = SimNetwork("told")
    tunnel = SimTunnel(network)
    told: list[dict[str, object]] = []
    tunnel.tunnel._on_change = told.append
    tunnel.tunnel._engine, tunnel.tunnel._driver = tunnel.engine, tunnel.driver
    tunnel.driver._on_change = lambda: tunnel.tunnel._follow_traffic(tunnel.engine)
    tunnel.host.load = 2.0
    tunnel.driver.start()
    tunnel.run(10)
    tunnel.host.load = 0.0
    tunnel.run(25)
    rates = [traffic["rate"] for snapshot in told if isinstance(traffic := snapshot["traffic"], dict)]
    changes = [rate for rate, _ in itertools.groupby(rates)]
    assert changes[-3:] == ["1/4", "1/2", "1"]
    (warning,) = tunnel.tunnel.warnings
    assert (warning.code, warning.phase, warning.reason) == ("traffic_slowed", "traffic", "machine")
    tunnel.stop()
