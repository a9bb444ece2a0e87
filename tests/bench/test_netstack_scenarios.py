"""What the benchmark measures at length, in short: goodput on bad paths, fairness, ACK economy, many connections."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest

from bench.netstack_scenarios import (
    LINK,
    Upload,
    ack_economy,
    fairness,
    first_bytes,
    smoltcp_setting,
    standing_queue,
    steady_fraction,
)
from smolmix_web.errors import ConnectionRefused, HostUnreachable, TimeoutExpired
from smolmix_web.netstack import ErrorKind, Stack, State, TcpConnection
from smolmix_web.rand import SeededRandom
from tests.netsim.raw import SYN, Raw
from tests.netsim.simulator import CLIENT, Peer, Session, Simulator, Wire, endpoint, void

# bytes per second: multiples of what smoltcp's own simulation gives
GOODPUT = {0.0: 322_945, 0.01: 1.2 * 219_671, 0.05: 2 * 76_626, 0.1: 2 * 37_775, 0.2: 10 * 6_079, 0.3: 10 * 1_156}


@pytest.mark.parametrize("loss", GOODPUT)
def test_goodput_with_small_buffers(loss: float) -> None:
    assert smoltcp_setting(loss, runs=3 if loss >= 0.2 else 1) >= GOODPUT[loss]


@pytest.mark.parametrize(("rtt", "loss", "least"), [(0.3, 0.05, 0.7), (1.0, 0.01, 0.85)])
def test_a_mix_network_is_filled(rtt: float, loss: float, least: float) -> None:
    assert steady_fraction(rtt, loss, window=30.0) >= least


@pytest.mark.parametrize("rtt", [0.3, 1.0, 2.0])
def test_the_first_200_kilobytes_take_five_round_trips(rtt: float) -> None:
    assert first_bytes(rtt)[0] <= 5.0  # since the call, handshake included


@pytest.mark.parametrize(("rtt", "rate"), [(0.2, 200_000), (0.5, 100_000), (1.0, 250_000)])
def test_a_link_is_kept_busy_with_a_short_queue(rtt: float, rate: int) -> None:
    longer, used = standing_queue(rtt, rate)
    assert longer < 1.4 and used > 0.93


def test_jitter_as_long_as_the_path_is_not_taken_for_a_queue() -> None:
    """Each packet of a mix network waits by itself at each hop: the mean round trip may be twice the shortest."""
    longer, used = standing_queue(0.2, 250_000, hops=0.1)
    assert longer < 1.5 and used > 0.85


@pytest.mark.parametrize("rtt", [0.3, 1.0])
def test_flows_share_fairly(rtt: float) -> None:
    index, rates = fairness(rtt=rtt, seconds=30.0)
    assert index >= 0.95 and sum(rates) > 0.85 * 250_000


def link(rtt: float, jitter: float = 0.0, *, seed: object = 0) -> Simulator:
    return Simulator(
        seed=seed, there=Wire(delay=rtt / 2, rate=LINK, jitter=jitter), back=Wire(delay=rtt / 2, jitter=jitter)
    )


def lengthen(sim: Simulator, rtt: float) -> None:
    sim.there.delay = sim.back.delay = rtt / 2


@pytest.mark.parametrize("jitter", [0.0, 0.02])
@pytest.mark.parametrize(("flows", "rtt", "longer"), [(1, 0.09, 0.5), (1, 0.3, 0.9), (4, 0.09, 0.5), (8, 0.3, 0.9)])
def test_a_path_that_becomes_longer_is_filled_again(flows: int, rtt: float, longer: float, jitter: float) -> None:
    """In the middle of a transfer: the old minimum makes the whole difference look like a queue."""
    sim = link(rtt, jitter, seed=f"longer {flows} {rtt}")
    runs = [Upload(sim, port=80 + n).start() for n in range(flows)]
    sim.run(15.0)
    lengthen(sim, longer)
    sim.run(18 * longer)
    before = sum(run.arrived for run in runs)
    sim.run(8 * longer)
    assert sum(run.arrived for run in runs) - before > 0.9 * 8 * longer * LINK


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_a_transfer_while_the_path_becomes_longer_takes_few_round_trips_more(jitter: float) -> None:
    sim = link(0.09, jitter)
    run = Upload(sim).start()
    sim.run(5.0)
    lengthen(sim, 0.5)
    goal = run.arrived + 480_000
    assert sim.run(6.5, until=lambda: run.arrived >= goal)  # the link takes 2; it was 15 to 21


@pytest.mark.parametrize("pause", [0.2, 5.0])
@pytest.mark.parametrize("longer", [0.5, 2.0])
def test_a_new_connection_is_not_held_up_by_the_path_of_the_past(longer: float, pause: float) -> None:
    seconds = []
    for past in (0.09, longer):
        sim = link(past)
        first = Upload(sim, 200_000).start()
        assert sim.run(60, until=lambda first=first: first.received >= 200_000)  # type: ignore[misc]
        sim.run(pause)
        lengthen(sim, longer)
        start = sim.now
        second = Upload(sim, 480_000, port=81).start()
        assert sim.run(60, until=lambda second=second: second.received >= 480_000)  # type: ignore[misc]
        seconds.append(sim.now - start)
    assert seconds[0] <= 1.1 * seconds[1]


def test_a_link_that_becomes_slower_is_not_taken_for_a_longer_path() -> None:
    """There is a queue, and it is ours: it drains, and the minimum stays."""
    sim = link(0.3)
    run = Upload(sim).start()
    sim.run(15.0)
    sim.there.rate = 60_000
    sim.run(24.0)
    assert run.connection.sender.congestion.min_rtt < 0.32  # type: ignore[attr-defined]
    assert (run.connection.rtt.srtt or 9.0) < 1.5 * 0.3


def test_a_download_costs_few_acks() -> None:
    assert ack_economy()["ratio"] <= 0.27
    assert ack_economy(reorder=0.0)["ratio"] <= 0.26


def test_no_response_costs_six_syns_a_minute_and_ends_in_time() -> None:
    raw = Raw()
    c = raw.stack.tcp_connect(raw.remote, raw.now, connect_timeout=60.0)
    start = raw.now
    out = raw.take() + raw.advance(59.9)
    assert 4 <= len([s for s in out if s.flags & SYN]) <= 6 and c.state is State.SYN_SENT
    raw.advance(0.2)
    assert isinstance(c.error, TimeoutExpired) and c.error.code == "connect_timeout" and raw.now <= start + 61


def test_failures_are_quick_and_distinct() -> None:
    """A closed port in one round trip, an unreachable host by ICMP in one."""
    sim = Simulator()  # 100 ms
    refused = sim.client.stack.tcp_connect(endpoint(9), sim.now)
    start = sim.now
    assert sim.run(10, until=lambda: refused.error is not None)
    assert isinstance(refused.error, ConnectionRefused) and refused.error.code == "connect_refused"
    assert sim.now - start == pytest.approx(0.1)
    sim = Simulator(accept_any=True)
    sim.server.stack.on_syn = lambda request, now: request.refuse(now, ErrorKind.HOST_UNREACHABLE)
    lost = sim.client.stack.tcp_connect(endpoint(9), sim.now)
    start = sim.now
    assert sim.run(10, until=lambda: lost.error is not None)
    assert isinstance(lost.error, HostUnreachable) and lost.error.code == "host_unreachable"
    assert sim.now - start == pytest.approx(0.1)


def test_a_thousand_connections_at_once_all_finish() -> None:
    sim = Simulator()
    data = bytes(range(250)) * 40
    peers: list[Peer] = []

    def serve(connection: TcpConnection) -> None:
        peers.append(Peer(sim, connection, data))

    sim.server.stack.tcp_listen(80, backlog=1000, on_connection=serve)
    clients = [Peer(sim, sim.client.stack.tcp_connect(endpoint(80), sim.now), data) for _ in range(1000)]
    assert sim.run(120, until=lambda: len(peers) == 1000 and all(peer.done for peer in clients + peers))
    assert all(peer.received == data and peer.failed is None for peer in clients + peers)
    assert sim.run(120)
    assert not sim.client.stack.connections and not sim.server.stack.connections


@pytest.mark.skipif(sys.platform == "emscripten", reason="sizes of CPython on a 64-bit machine")
def test_an_idle_connection_takes_little_memory() -> None:
    sim = Simulator()
    sim.server.stack.tcp_listen(80, backlog=1000, on_connection=lambda connection: void(connection))
    stack: Stack = sim.client.stack
    warm = stack.tcp_connect(endpoint(80), sim.now)
    sim.run(2.0)
    gc.collect()
    tracemalloc.start()
    held = [stack.tcp_connect(endpoint(80), sim.now) for _ in range(200)]
    sim.run(5.0)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert all(connection.state is State.ESTABLISHED for connection in [warm, *held])
    assert size / 400 <= 12 * 1024  # both ends of each are in this process


def test_a_stack_without_a_word_about_the_mtu_is_careful() -> None:
    assert Stack([CLIENT], rng=SeededRandom(1)).mtu == 1280


def test_the_window_opens_behind_a_hole() -> None:
    """The reader gets nothing until the hole is filled, but the sender may go on."""
    sim = Simulator()
    dropped: list[int] = []

    def lose(host: str, packet: bytes) -> bytes | None:
        if host == "server" and len(packet) > 1000:
            seq = int.from_bytes(packet[24:28], "big")
            if not dropped:
                dropped.append(seq)
            if seq == dropped[0] and sim.now < 103:
                return None
        return packet

    sim.filter = lose
    session = Session(sim, b"", bytes(2_000_000))
    sim.run(2.5)
    receiver = session.connection.receiver
    assert not receiver.available and receiver.buffered > 150_000
    assert sim.run(60, until=lambda: session.done)
    assert len(session.client.received) == 2_000_000
