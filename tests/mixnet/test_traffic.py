"""Pacing: exponential gaps, no bursts, switches, presets, and lanes with priority and fairness."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import UsageError
from smolmix_web.mixnet.client import MixnetClient
from smolmix_web.mixnet.lanes import Lane, LaneQueue
from smolmix_web.mixnet.preparer import PreparedPacket
from smolmix_web.mixnet.streams import ExponentialStream
from smolmix_web.mixnet.traffic import TrafficConfig
from smolmix_web.rand import SeededRandom


def kolmogorov_smirnov(gaps: list[float], mean: float) -> float:
    """Largest distance between the gaps' distribution and the exponential law of that mean, times sqrt(n)."""
    ordered = sorted(gaps)
    count = len(ordered)
    distance = 0.0
    for index, gap in enumerate(ordered):
        expected = 1.0 - math.exp(-gap / mean)
        distance = max(distance, expected - index / count, (index + 1) / count - expected)
    return distance * math.sqrt(count)


KS_ONE_PERCENT = 1.63


def gaps_of(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


# -- one stream ---------------------------------------------------------------------------------------------


def test_gaps_follow_the_exponential_law_although_the_host_is_late() -> None:
    rng = SeededRandom("stream")
    stream = ExponentialStream(rng, 0.02, 0.0)
    deadlines = [0.0]
    for _ in range(3000):
        deadlines.append(stream.deadline)
        late = stream.deadline + 0.015 * rng.uniform()
        assert stream.due(late)
        stream.advance(late)
    assert kolmogorov_smirnov(gaps_of(deadlines), 0.02) < KS_ONE_PERCENT


@pytest.mark.parametrize("mean", [0.004, 0.02, 0.2])
def test_a_gap_is_made_up_for_one_mean_at_most(mean: float) -> None:
    for seed in range(20):
        stream = ExponentialStream(SeededRandom(f"sleep {seed}"), mean, 0.0)
        now = stream.deadline + 0.9 * mean  # late, but not too late: the missed packets leave now
        assert not stream.advance(now)
        while stream.due(now):
            assert not stream.advance(now)
        for sleep in (1.1 * mean, 60.0, 100_000.0):
            now = stream.deadline + sleep
            assert stream.due(now) and stream.advance(now) and not stream.due(now)


# -- configuration --------------------------------------------------------------------------------------------


def test_defaults_and_presets() -> None:
    default = TrafficConfig.preset("default")
    assert (default.main_interval, default.cover_interval) == (0.020, 0.200)
    assert (default.packet_delay, default.ack_delay) == (0.015, 0.015)
    assert (default.ack_multiplier, default.ack_addition) == (1.5, 1.5)
    fast = TrafficConfig.preset("fast")
    assert (fast.main_interval, fast.packet_delay, fast.cover_interval) == (0.004, 0.010, 2000.0)
    none = TrafficConfig.preset("no_cover")
    assert not none.main_stream and not none.cover_stream
    alive = TrafficConfig.preset("no_cover_keepalive")
    assert not alive.main_stream and alive.cover_stream and alive.cover_interval == 5.0
    assert TrafficConfig.preset("no_poisson") == replace(default, main_stream=False)
    assert TrafficConfig.preset("no_delays").packet_delay == 0.0
    assert TrafficConfig.switched(disable_poisson=True, disable_cover=False) == TrafficConfig.preset("no_poisson")
    fast_alone = TrafficConfig.switched("fast", disable_poisson=False, disable_cover=True)
    assert fast_alone == replace(fast, cover_stream=False)
    assert TrafficConfig.switched("no_cover", disable_poisson=False, disable_cover=False) == none
    for name in ("medium", "", "turbo"):
        with pytest.raises(UsageError):
            TrafficConfig.preset(name)


@pytest.mark.parametrize(
    "change", [{"main_interval": 0.0}, {"cover_interval": -1}, {"packet_delay": -0.1}, {"surb_batch": 101}]
)
def test_senseless_numbers_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TrafficConfig(**change)


# -- a client's streams ---------------------------------------------------------------------------------------

FAKE = PreparedPacket(b"\x04\x06\xfd\x7f\x00\x00\x01", 1, bytes(2413), 0.09)


def cheap(client: MixnetClient) -> MixnetClient:
    """Packets cost nothing: long simulations look at times only."""
    client._factory.cover = lambda topology: FAKE  # type: ignore[method-assign]
    client._factory.data = lambda *arguments: FAKE  # type: ignore[method-assign]
    return client


def drive(client: MixnetClient, start: float, seconds: float, *, feed: Any = None) -> list[float]:
    """Poll at every deadline; the time of each packet."""
    now, times = start, []
    while True:
        if feed is not None:
            feed(now)
        deadline = client.next_deadline()
        if deadline is None or deadline > start + seconds:
            return times
        now = max(now, deadline)
        times += [now] * len(client.poll(now))


def test_rates_of_both_streams(network: Any) -> None:
    client = cheap(network.station("a").client)
    times = drive(client, network.now, 120.0)
    statistics = client.statistics
    assert 6000 * 0.95 < statistics.main_cover_sent < 6000 * 1.05
    assert 600 * 0.85 < statistics.loop_cover_sent < 600 * 1.15
    assert statistics.packets_sent == len(times) == statistics.main_cover_sent + statistics.loop_cover_sent
    # Two independent exponential processes together are one with the sum of the rates.
    assert kolmogorov_smirnov(gaps_of(times)[:3000], 1 / 55) < KS_ONE_PERCENT


def test_load_does_not_change_the_shape(network: Any) -> None:
    """Idle, bulk upload, small messages: the same law of send times."""
    recipient = network.station("peer", gateway=1).client.address
    for index, lane in enumerate((None, Lane.BULK, Lane.SMALL)):
        client = cheap(network.station(f"loaded {index}").client)

        def feed(now: float, client: MixnetClient = client, lane: Lane | None = lane) -> None:
            while lane is not None and client.room(lane) > 8 and client.queue_length < 64:
                client.send(recipient, bytes(1400), lane=lane, max_retransmissions=0, lifetime=1.0, fill=True, now=now)

        times = drive(client, network.now, 60.0, feed=feed)
        assert kolmogorov_smirnov(gaps_of(times)[:3000], 1 / 55) < KS_ONE_PERCENT
        assert (client.statistics.real_sent > 2000) == (lane is not None)


@pytest.mark.parametrize(
    ("config", "main", "cover"),
    [
        (TrafficConfig(main_stream=False), 0, 300),
        (TrafficConfig(cover_stream=False), 3000, 0),
        (TrafficConfig(main_stream=False, cover_stream=False), 0, 0),
        (TrafficConfig.preset("no_cover_keepalive"), 0, 12),
        (TrafficConfig.preset("fast"), 15_000, 0),
    ],
)
def test_switches(network: Any, config: TrafficConfig, main: int, cover: int) -> None:
    client = cheap(network.station("a", config).client)
    drive(client, network.now, 60.0)
    statistics = client.statistics
    assert main * 0.9 <= statistics.main_cover_sent <= main * 1.1
    assert cover * 0.6 <= statistics.loop_cover_sent <= cover * 1.4
    if not main and not cover:
        assert client.next_deadline() is None


@pytest.mark.parametrize("slower", [2, 16])
def test_both_streams_go_slower_together(network: Any, slower: int) -> None:
    client = cheap(network.station("a").client)
    client.streams.set_slower(slower, network.now)
    times = drive(client, network.now, 60.0 * slower)
    statistics = client.statistics
    assert 3000 * 0.93 < statistics.main_cover_sent < 3000 * 1.07
    assert 300 * 0.8 < statistics.loop_cover_sent < 300 * 1.2
    assert kolmogorov_smirnov(gaps_of(times)[:3000], slower / 55) < KS_ONE_PERCENT


def test_a_sleeping_machine_makes_no_burst(network: Any) -> None:
    client = cheap(network.station("a").client)
    now = network.now
    drive(client, now, 1.0)
    now += 3600.0
    burst = 0
    while packets := client.poll(now):
        burst += len(packets)
    assert burst <= 3 and client.statistics.late_ticks == 1


def test_poll_obeys_its_limit(network: Any, quiet: TrafficConfig) -> None:
    client = cheap(network.station("a", quiet).client)
    recipient = network.station("b", quiet).client.address
    for _ in range(10):
        client.send(recipient, bytes(1000), now=network.now)
    assert client.queue_length == 10
    assert len(client.poll(network.now, 3)) == 3
    assert client.next_deadline() == network.now and client.queue_length == 7
    assert len(client.poll(network.now, 32)) == 7
    deadline = client.next_deadline()
    assert deadline is not None and deadline > network.now + 1.0  # the acks


# -- lanes ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Parcel:
    lane: Lane
    remaining: int = 1


def fill(queue: LaneQueue[Parcel], **counts: int) -> None:
    for name, count in counts.items():
        for _ in range(count):
            queue.push(Lane[name.upper()], Parcel(Lane[name.upper()]))


def test_urgent_packets_pass_a_long_queue() -> None:
    queue: LaneQueue[Parcel] = LaneQueue()
    fill(queue, bulk=200)
    for _ in range(50):
        queue.pop()
    for lane in (Lane.SMALL, Lane.CONTROL, Lane.SURBS, Lane.RETRANSMISSION):
        queue.push(lane, Parcel(lane))
    order = [job.lane for _ in range(5) if (job := queue.pop())]
    assert order[:4] == [Lane.SURBS, Lane.CONTROL, Lane.RETRANSMISSION, Lane.SMALL]


def test_nobody_starves() -> None:
    queue: LaneQueue[Parcel] = LaneQueue()
    fill(queue, surbs=900, control=900, retransmission=900, small=900, bulk=900)
    first = Counter(job.lane for _ in range(560) if (job := queue.pop()))
    assert first == {Lane.SURBS: 160, Lane.CONTROL: 160, Lane.RETRANSMISSION: 120, Lane.SMALL: 80, Lane.BULK: 40}


def test_lanes_count_packets_and_drop_jobs() -> None:
    queue: LaneQueue[Parcel] = LaneQueue()
    big = Parcel(Lane.BULK, 5)
    queue.push(Lane.BULK, big)
    fill(queue, bulk=2)
    assert (len(queue), queue.length(Lane.BULK)) == (7, 7)
    assert queue.pop() is big and (len(queue), big.remaining) == (6, 4)
    queue.drop(big)
    assert (len(queue), queue.length(Lane.BULK), big.remaining) == (2, 2, 0)
    queue.drop(big)
    assert len(queue) == 2
    assert queue.pop((Lane.SMALL,)) is None
    assert queue.pop() is not None and queue.pop() is not None and queue.pop() is None


@given(st.lists(st.tuples(st.sampled_from(list(Lane)), st.integers(1, 4)), max_size=30), st.integers(0, 200))
def test_order_within_a_lane_is_kept(entries: list[tuple[Lane, int]], seed: int) -> None:
    queue: LaneQueue[Parcel] = LaneQueue()
    rng = SeededRandom(seed)
    waiting = [Parcel(lane, count) for lane, count in entries]
    sent: dict[Lane, list[Parcel]] = {lane: [] for lane in Lane}
    pushed: dict[Lane, list[Parcel]] = {lane: [] for lane in Lane}
    expected = sum(count for _, count in entries)
    for _ in range(expected + len(entries)):
        if waiting and rng.below(2):
            job = waiting.pop(0)
            pushed[job.lane] += [job] * job.remaining
            queue.push(job.lane, job)
        elif (popped := queue.pop()) is not None:
            sent[popped.lane].append(popped)
    while waiting:
        job = waiting.pop(0)
        pushed[job.lane] += [job] * job.remaining
        queue.push(job.lane, job)
    while (popped := queue.pop()) is not None:
        sent[popped.lane].append(popped)
    assert sent == pushed and len(queue) == 0
