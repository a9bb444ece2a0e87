"""What an observer sees on each rung of the ladder and over a change of rung: one law of times, whatever is done."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from smolmix_web.mixnet.ladder import RATES
from tests.engine.test_simnet_shape import RATE, Load, downloads, exponential, gaps_of, nothing, uploads
from tests.simnet.costs import thin_line
from tests.simnet.network import SimNetwork
from tests.simnet.tunnels import SimTunnel
from tests.statistics_tests import ks_two

pytestmark = pytest.mark.timeout(600)

PACKETS = 500
ONE_PERCENT = 0.01
SEEDS = 20


def tunnel_of(seed: str, load: float = 0.0, line: float = 0.0, **options: Any) -> SimTunnel:
    network = SimNetwork(f"rungs {seed}")
    network.transcript.keep = True
    if line:
        thin_line(network, line, buffer=256 << 10)
    tunnel = SimTunnel(network, **options)
    tunnel.host.load = load
    tunnel.start()
    return tunnel


def sent_since(tunnel: SimTunnel, begun: float) -> list[float]:
    frames = tunnel.network.transcript.frames
    return [frame.time for frame in frames if frame.direction == "up" and frame.binary and frame.time >= begun]


def gaps_under(tunnel: SimTunnel, load: Load, packets: int = PACKETS) -> list[float]:
    """The gaps between the next packets while this is done."""
    load(tunnel)
    tunnel.run(2.0)
    begun = tunnel.queue.now
    tunnel.run(
        1000, lambda: len(tunnel.network.transcript.frames) % 50 == 0 and len(sent_since(tunnel, begun)) > packets
    )
    tunnel.stop()
    return gaps_of(sent_since(tunnel, begun))[:packets]


@pytest.mark.parametrize("rate", RATES)
def test_gaps_on_each_rung_are_exponential_and_alike(rate: str) -> None:
    tunnels = {load: tunnel_of(f"rung {rate} {load.__name__}", trafficRate=rate) for load in LOADS}
    runs = {load.__name__: gaps_under(tunnel, load) for load, tunnel in tunnels.items()}
    for gaps in runs.values():
        assert exponential(gaps, RATE / RATES[rate]).p > ONE_PERCENT
    for name in ("downloads", "uploads"):
        assert ks_two(runs["nothing"], runs[name]).p > ONE_PERCENT


LOADS = (nothing, downloads, uploads)


@pytest.mark.parametrize(("load", "rate"), [(0.5, "1"), (1.0, "1/2"), (2.0, "1/4"), (5.0, "1/16")])
def test_a_slow_machine_shows_no_more(load: float, rate: str) -> None:
    """It sends late by what it is doing, less than the rung's mean gap, and the rung is that of the machine."""
    runs = []
    for what in LOADS:
        tunnel = tunnel_of(f"a slow machine {load} {what.__name__}", load)
        tunnel.run(3.0)
        runs.append(gaps_under(tunnel, what, 400))
        assert tunnel.engine.traffic["rate"] == rate
    idle, *busy = runs
    assert statistics.mean(idle) == pytest.approx(RATES[rate] / RATE, rel=0.15)
    for gaps in busy:
        assert ks_two(idle, gaps).p > ONE_PERCENT


@pytest.mark.parametrize(("line", "rate"), [(100.0, "1/2"), (50.0, "1/4")])
def test_a_download_that_fills_a_thin_line_shows_no_more(line: float, rate: str) -> None:
    """It makes the gateway's answers late; on a line that is known that moves nothing."""
    runs = []
    for what in LOADS:
        tunnel = tunnel_of(f"thin {line} {what.__name__}", line=line)
        tunnel.run(8.0)
        assert tunnel.engine.traffic == {"rate": rate, "reason": "line"}
        begun, holds = tunnel.queue.now, tunnel.engine.line.holds
        what(tunnel)
        tunnel.run(12.0)  # within one look: what comes then is another rung in any case
        runs.append(gaps_of(sent_since(tunnel, begun)))
        assert tunnel.engine.traffic["rate"] == rate and tunnel.engine.line.holds == holds
        tunnel.stop()
    idle, *busy = runs
    for gaps in busy:
        assert ks_two(idle, gaps).p > ONE_PERCENT


def change(seed: int, what: Load) -> tuple[list[float], list[float]]:
    """A machine becomes six times slower: the gaps from 1 s before to 9 s after, and when the rung changed."""
    tunnel = tunnel_of(f"change {seed} {what.__name__}", load=1.0)
    what(tunnel)
    tunnel.run(1.0)
    begun = tunnel.queue.now
    tunnel.run(1.0)
    slowed = tunnel.queue.now
    tunnel.host.load = 6.0
    changes, rung = [], tunnel.engine.ladder.rung
    for _ in range(90):
        tunnel.run(0.1)
        if tunnel.engine.ladder.rung != rung:
            rung = tunnel.engine.ladder.rung
            changes.append(tunnel.queue.now - slowed)
    tunnel.stop()
    assert tunnel.engine.ladder.rate == "1/16"
    return gaps_of(sent_since(tunnel, begun)), changes


def test_a_change_of_rung_does_not_tell_what_is_done() -> None:
    """Over all seeds: each seed's two samples, and when the last change came."""
    idle = [change(seed, nothing) for seed in range(SEEDS)]
    busy = [change(seed, uploads) for seed in range(SEEDS)]
    p_values = [ks_two(left, right).p for (left, _), (right, _) in zip(idle, busy, strict=True)]
    # If nothing differs they are spread evenly; the asymptotic law gives small samples somewhat larger ones.
    assert sum(p < 0.05 for p in p_values) <= 4 and min(p_values) > 0.001, p_values
    fisher = -2 * sum(math.log(p) for p in p_values)
    assert fisher < 2 * SEEDS + 3 * math.sqrt(4 * SEEDS), p_values
    assert ks_two([last for _, (*_, last) in idle], [last for _, (*_, last) in busy]).p > ONE_PERCENT
    pooled = [gap for gaps, _ in idle for gap in gaps], [gap for gaps, _ in busy for gap in gaps]
    assert ks_two(*pooled).p > ONE_PERCENT
