"""What an observer at the gateway and at the nodes sees: one law of times, one size, one version, whatever is done."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import pytest

from smolmix_web.netstack import Endpoint
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel, Transfer
from tests.simnet.world import ORIGIN, SINK_PORT, SOURCE_PORT, pattern

PACKETS = 3000
MAIN_RATE, COVER_RATE = 50.0, 5.0
RATE = MAIN_RATE + COVER_RATE  # of two independent exponential processes: an exponential process again
FORWARD_FRAME = 2452  # regular packet, first hop by IPv4, protocol 5 and newer
SPHINX_SIZES = {2413, 386}  # packets and acks
KS_ONE_PERCENT = 1.628  # asymptotic critical value, times 1/sqrt(n)

Load = Callable[[SimTunnel], None]


def nothing(tunnel: SimTunnel) -> None:
    """An idle tunnel."""


def downloads(tunnel: SimTunnel) -> None:
    """One after another without a pause."""

    def again() -> None:
        transfer = tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"60000\n")
        follow(tunnel, transfer, again)

    again()


def uploads(tunnel: SimTunnel) -> None:
    def again() -> None:
        transfer = tunnel.connect(Endpoint(ORIGIN, SINK_PORT), pattern(60_000), close=True)
        follow(tunnel, transfer, again)

    again()


def follow(tunnel: SimTunnel, transfer: Transfer, then: Callable[[], None]) -> None:
    def look() -> None:
        if transfer.done:
            assert transfer.error is None
            then()
        else:
            tunnel.queue.after(0.2, look)

    look()


class Observation:
    """A minute of a ready tunnel under a load, as its gateway and the nodes saw it."""

    def __init__(self, load: Load) -> None:
        self.network = network = SimNetwork(f"shape {load.__name__}")
        self.tunnel = tunnel = SimTunnel(network)
        tunnel.start()
        for node in network.nodes.values():
            node.seen.clear()
        network.transcript.keep = True
        self.begun = tunnel.queue.now
        wakes = tunnel.host.timer_wakes
        load(tunnel)
        forwarded = network.sockets[-1].frames_up
        tunnel.run(120, lambda: network.sockets[-1].frames_up - forwarded > PACKETS)
        self.seconds = tunnel.queue.now - self.begun
        self.timer_wakes = tunnel.host.timer_wakes - wakes
        self.packets = [f for f in network.transcript.frames if f.direction == "up" and f.binary]
        self.gaps = [later.time - earlier.time for earlier, later in zip(self.packets, self.packets[1:], strict=False)]


@functools.cache
def observe(load: Load) -> Observation:
    return Observation(load)


def ks_distance(samples: Sequence[float], law: Callable[[float], float]) -> float:
    """The largest distance between the samples' distribution and a law."""
    ordered, n = sorted(samples), len(samples)
    return max(max((i + 1) / n - law(x), law(x) - i / n) for i, x in enumerate(ordered))


def ks_two_samples(left: Sequence[float], right: Sequence[float]) -> float:
    events = sorted([(x, 1 / len(left)) for x in left] + [(x, -1 / len(right)) for x in right])
    distance = total = 0.0
    for _, step in events:
        total += step
        distance = max(distance, abs(total))
    return distance


LOADS = (nothing, downloads, uploads)


@pytest.mark.parametrize("load", LOADS)
def test_send_times_follow_the_exponential_law(load: Load) -> None:
    gaps = observe(load).gaps[:PACKETS]
    assert len(gaps) == PACKETS
    distance = ks_distance(gaps, lambda x: 1 - math.exp(-RATE * x))
    assert distance < KS_ONE_PERCENT / math.sqrt(PACKETS)


@pytest.mark.parametrize("load", LOADS[1:])
def test_busy_and_idle_cannot_be_told_apart(load: Load) -> None:
    distance = ks_two_samples(observe(nothing).gaps[:PACKETS], observe(load).gaps[:PACKETS])
    assert distance < KS_ONE_PERCENT * math.sqrt(2 / PACKETS)


@pytest.mark.parametrize("load", LOADS)
def test_rates_are_constant_and_a_real_packet_takes_the_place_of_a_dummy(load: Load) -> None:
    seen = observe(load)
    expected = RATE * seen.seconds
    assert abs(len(seen.packets) - expected) < 4 * math.sqrt(expected)
    statistics = seen.tunnel.engine.statistics()
    main = statistics["real_sent"] + statistics["retransmitted"] + statistics["main_cover_sent"]
    lifetime = seen.tunnel.queue.now - seen.tunnel.states[0][0]
    for count, rate in ((main, MAIN_RATE), (statistics["loop_cover_sent"], COVER_RATE)):
        assert abs(count - rate * lifetime) < 5 * math.sqrt(rate * lifetime) + rate
    share = statistics["real_sent"] / main
    assert share < 0.05 if load is nothing else share > 0.15
    # One timer for each packet and a few for bundles and ACKs; nothing spins.
    assert seen.timer_wakes < 2.5 * len(seen.packets)


@pytest.mark.parametrize("load", LOADS)
def test_one_size_and_one_version_everywhere(load: Load) -> None:
    seen = observe(load)
    assert {packet.size for packet in seen.packets} == {FORWARD_FRAME}
    for node in seen.network.nodes.values():
        assert {size for size, _, _ in node.seen} <= SPHINX_SIZES
        assert {version for _, version, _ in node.seen} <= {259}
        assert {rotation for _, _, rotation in node.seen} <= {1}
    assert seen.network.violations() == {}
