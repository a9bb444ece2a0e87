"""What an observer at the gateway and at the nodes sees: one law of times, one size, one version, whatever is done."""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from unittest.mock import patch

import pytest

from smolmix_web.dns.message import encode_query
from smolmix_web.mixnet.streams import ExponentialStream
from smolmix_web.netstack import Endpoint
from smolmix_web.streams.stream import Stream
from tests.simnet.network import SimNetwork
from tests.simnet.peer import SimPeer
from tests.simnet.tunnels import SimTunnel, Transfer
from tests.simnet.world import ECHO_PORT, ORIGIN, RESOLVERS, SINK_PORT, SOURCE_PORT, pattern
from tests.statistics_tests import Verdict, ks_law, ks_two

PACKETS = 3000
MAIN_RATE, COVER_RATE = 50.0, 5.0
RATE = MAIN_RATE + COVER_RATE  # of two independent exponential processes: an exponential process again
FORWARD_FRAME = 2452  # regular packet, first hop by IPv4, protocol 5 and newer
SPHINX_SIZES = {2413, 386}  # packets and acks
ONE_PERCENT = 0.01
MOST_CAUGHT_UP = 0.02  # s of ticks that a late timer makes up for

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


def stream_down(tunnel: SimTunnel) -> None:
    """A peer sends without end, by our reply SURBs."""
    stream_with(tunnel, ours=False)


def stream_up(tunnel: SimTunnel) -> None:
    """We send to a peer without end."""
    stream_with(tunnel, ours=True)


def stream_with(tunnel: SimTunnel, *, ours: bool) -> None:
    data = pattern(60_000)

    def fill(stream: Stream, wake: Callable[[], None], writes: bool) -> None:
        def step() -> None:
            while writes and stream.error is None and stream.space:
                stream.write(data)
            while stream.read(65_536):
                pass
            assert stream.error is None
            wake()

        stream.on_event = step
        step()

    peer = SimPeer(tunnel.network, "entry2", lambda stream: fill(stream, peer.wake, not ours))
    stream = tunnel.engine.peers.open(peer.address, tunnel.host.now())
    fill(stream, tunnel.driver.wake, ours)


def single_fetch(tunnel: SimTunnel) -> None:
    """One, and then nothing."""
    tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"60000\n")


def slow_stream(tunnel: SimTunnel) -> None:
    """6 kB at a time, as of a video that plays."""
    repeatedly(tunnel, 0.4, lambda: tunnel.connect(Endpoint(ORIGIN, SOURCE_PORT), b"6000\n"))


def chatter(tunnel: SimTunnel) -> None:
    """Short messages of a WebSocket, and their echoes."""
    connection = tunnel.connect(Endpoint(ORIGIN, ECHO_PORT)).connection
    repeatedly(tunnel, 0.15, lambda: connection.send_space and connection.send(bytes(60), tunnel.host.now()))


def questions(tunnel: SimTunnel) -> None:
    """Look-ups, and nothing else."""
    socket = tunnel.engine.stack.udp_socket()
    query = encode_query("origin.test", 1, 7)
    repeatedly(tunnel, 0.3, lambda: socket.send_to(query, Endpoint(RESOLVERS[0], 53), tunnel.host.now()))


def repeatedly(tunnel: SimTunnel, seconds: float, work: Callable[[], object]) -> None:
    def again() -> None:
        work()
        tunnel.driver.wake()
        tunnel.queue.after(seconds, again)

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

    def __init__(self, load: Load, run: int = 0) -> None:
        self.network = network = SimNetwork(f"the shape of {load.__name__}" + (f", run {run}" if run else ""))
        self.tunnel = tunnel = SimTunnel(network)
        tunnel.start()
        for node in network.nodes.values():
            node.seen.clear()
        network.transcript.keep = True
        self.begun = tunnel.queue.now
        wakes = tunnel.host.timer_wakes
        load(tunnel)
        forwarded = network.sockets[-1].frames_up
        self.ticks: dict[float, list[float]] = defaultdict(list)  # of each stream, by its mean
        with patch.object(ExponentialStream, "advance", self._noting(ExponentialStream.advance)):
            tunnel.run(120, lambda: network.sockets[-1].frames_up - forwarded > PACKETS)
        self.seconds = tunnel.queue.now - self.begun
        self.timer_wakes = tunnel.host.timer_wakes - wakes
        self.packets = [f for f in network.transcript.frames if f.direction == "up" and f.binary]
        self.gaps = gaps_of([packet.time for packet in self.packets])

    def _noting(self, advance: Callable[..., bool]) -> Callable[..., bool]:
        def noting(stream: ExponentialStream, now: float) -> bool:
            self.ticks[stream.mean].append(now)
            return advance(stream, now)

        return noting


@functools.cache
def observe(load: Load) -> Observation:
    return Observation(load)


@functools.cache
def observed_gaps(load: Load, run: int) -> list[float]:
    return (Observation(load, run) if run else observe(load)).gaps[:PACKETS]


def exponential(gaps: Sequence[float], rate: float) -> Verdict:
    return ks_law(gaps, lambda x: 1 - math.exp(-rate * x))


def gaps_of(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


LOADS = (nothing, downloads, uploads, stream_down, stream_up)
ACTIVITIES = (*LOADS, single_fetch, slow_stream, chatter, questions)
RUNS = 10
ONE_RUN = 3  # of them, whose samples are none of the one in a hundred that differ by chance


@pytest.mark.parametrize("load", LOADS)
def test_send_times_follow_the_exponential_law(load: Load) -> None:
    gaps = observe(load).gaps[:PACKETS]
    assert len(gaps) == PACKETS
    assert exponential(gaps, RATE).p > ONE_PERCENT
    # Without memory: what follows a short gap is like what follows a long one.
    median = sorted(gaps)[PACKETS // 2]
    after = {short: [b for a, b in itertools.pairwise(gaps) if (a < median) is short] for short in (True, False)}
    assert ks_two(after[True], after[False]).p > ONE_PERCENT


@pytest.mark.parametrize("load", LOADS)
def test_two_independent_processes(load: Load) -> None:
    """The main stream with a mean gap of 20 ms, the cover stream with 200 ms; the packets are their ticks and no
    others, and the rate is not adapted to the load while the gateway keeps up."""
    seen = observe(load)
    main, cover = seen.ticks[1 / MAIN_RATE], seen.ticks[1 / COVER_RATE]
    assert set(seen.ticks) == {1 / MAIN_RATE, 1 / COVER_RATE}
    assert exponential(gaps_of(main), MAIN_RATE).p > ONE_PERCENT
    assert exponential(gaps_of(cover), COVER_RATE).p > ONE_PERCENT
    assert abs(len(main) + len(cover) - len(seen.packets)) <= 2
    # From a tick of the cover stream to the next one of the main stream: the law of the main stream again.
    ordered = sorted([(time, 0) for time in main] + [(time, 1) for time in cover])
    waits = [
        next(t for t, kind in ordered[at:] if not kind) - time for at, (time, kind) in enumerate(ordered[:-50]) if kind
    ]
    assert exponential(waits, MAIN_RATE).p > ONE_PERCENT


@pytest.mark.feature("Streams", "cannot be told from a download or an idle tunnel by its gateway")
@pytest.mark.parametrize("load", LOADS[1:])
def test_busy_and_idle_cannot_be_told_apart(load: Load) -> None:
    assert ks_two(observe(nothing).gaps[:PACKETS], observe(load).gaps[:PACKETS]).p > ONE_PERCENT


@pytest.mark.parametrize("load", [stream_down, stream_up])
def test_a_stream_and_a_download_cannot_be_told_apart(load: Load) -> None:
    assert ks_two(observe(downloads).gaps[:PACKETS], observe(load).gaps[:PACKETS]).p > ONE_PERCENT


def told_apart(run: int) -> list[tuple[str, str]]:
    """Pairs of activities whose gaps differ as those of one law do in one run of a hundred."""
    found = []
    for one, other in itertools.combinations(ACTIVITIES, 2):
        gaps = observed_gaps(one, run), observed_gaps(other, run)
        assert min(map(len, gaps)) == PACKETS
        if ks_two(*gaps).p <= ONE_PERCENT:
            found.append((one.__name__, other.__name__))
    return found


def test_no_two_activities_can_be_told_apart() -> None:
    assert told_apart(ONE_RUN) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_two_activities_can_be_told_apart_in_ten_runs() -> None:
    """One pair in a hundred is below by chance: of 36 pairs none twice in ten runs."""
    pairs = [pair for run in range(1, RUNS + 1) for pair in told_apart(run)]
    assert len(pairs) == len(set(pairs)) and len(pairs) <= RUNS, pairs


def test_setting_up_looks_like_anything_else() -> None:
    """From the first packet on, over many tunnels that find their exit and begin a download at once."""
    gaps: list[float] = []
    for seed in range(8):
        network = SimNetwork(f"shape from the start {seed}")
        network.transcript.keep = True
        tunnel = SimTunnel(network)
        tunnel.start()
        downloads(tunnel)
        tunnel.run(2.0)
        packets = [frame.time for frame in network.transcript.frames if frame.direction == "up" and frame.binary]
        assert len(packets) > 100
        gaps += gaps_of(packets)
    assert exponential(gaps, RATE).p > ONE_PERCENT


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.9, 2.0, 20.0])
def test_no_burst_after_a_gap(seconds: float) -> None:
    """Timers that fire late: what was missed is not made up for, but for the few packets of the last moments."""
    network = SimNetwork(f"shape gap {seconds}")
    network.transcript.keep = True
    tunnel = SimTunnel(network)
    tunnel.start()
    downloads(tunnel)
    for _ in range(6):
        tunnel.run(1.5)
        tunnel.host.suspend(seconds)
        begun = tunnel.queue.now
        tunnel.run(0.1)
        burst = [f for f in network.transcript.frames if f.direction == "up" and f.binary and f.time >= begun]
        caught_up = min(seconds, MOST_CAUGHT_UP) * RATE
        assert len(burst) <= caught_up + 0.1 * RATE + 4 * math.sqrt(caught_up + 0.1 * RATE)


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
    # Nothing is lost here: what is sent again waited too short for its ack.
    assert statistics["retransmitted"] <= statistics["real_sent"] // 10
    # One timer for each packet, one for each SURB made ahead, a few for bundles and ACKs; nothing spins.
    made_ahead = statistics["surbs_given"] if load is stream_down else 0  # its peer takes all there are
    assert seen.timer_wakes < 3 * len(seen.packets) + made_ahead


@pytest.mark.parametrize("load", LOADS)
def test_one_size_and_one_version_everywhere(load: Load) -> None:
    seen = observe(load)
    assert {packet.size for packet in seen.packets} == {FORWARD_FRAME}
    for node in seen.network.nodes.values():
        assert {size for size, _, _ in node.seen} <= SPHINX_SIZES
        assert {version for _, version, _ in node.seen} <= {259}
        assert {rotation for _, _, rotation in node.seen} <= {1}
    assert seen.network.violations() == {}
