"""Congestion controllers: CUBIC, PRR, the path model, and what connections of a stack share."""

from __future__ import annotations

import pytest

from smolmix_web.netstack import StackConfig, TcpConfig
from smolmix_web.netstack.limits import Budget
from smolmix_web.netstack.tcp.cache import LIFETIME, PathCache
from smolmix_web.netstack.tcp.congestion import Cubic, NewReno, PathModel, SharedPath
from smolmix_web.netstack.tcp.congestion.prr import Prr
from smolmix_web.netstack.tcp.rate import RateEstimator, RateSample
from smolmix_web.netstack.tcp.scoreboard import Scoreboard
from tests.netsim.simulator import Session, Simulator, Wire

MSS = 1000


def test_cubic_returns_to_where_the_loss_was_and_goes_beyond() -> None:
    """RFC 9438 4.2: concave up to W_max at the time K, convex after it."""
    control = Cubic(MSS, 10 * MSS)
    control.cwnd = 100 * MSS
    control.on_loss(100 * MSS, 100 * MSS, 0.0)
    assert control.ssthresh == 70 * MSS
    control.on_recovery_exit(70 * MSS, 0.0)
    k = (30 / 0.4) ** (1 / 3)
    sizes, now = [], 0.0
    while now < 2 * k:
        for _ in range(10):
            control.on_ack(control.cwnd // 10, control.cwnd, now, 0.1)
        sizes.append((now, control.cwnd / MSS))
        now += 0.1
    at_k = min(sizes, key=lambda entry: abs(entry[0] - k))[1]
    assert at_k == pytest.approx(100, rel=0.04)
    halfway = min(sizes, key=lambda entry: abs(entry[0] - k / 2))[1]
    assert 70 + 0.75 * 30 < halfway < 100  # most of the way back in half the time
    assert sizes[-1][1] > 115


def test_cubic_fast_convergence_and_reno_friendliness() -> None:
    control = Cubic(MSS, 10 * MSS)
    control.cwnd = 100 * MSS
    control.on_loss(100 * MSS, 100 * MSS, 0.0)
    control.on_recovery_exit(0, 0.0)
    control.on_loss(70 * MSS, 70 * MSS, 0.1)  # lower than the last: RFC 9438 4.7 leaves more room
    assert control._w_max == pytest.approx(70 * 0.85)
    small = Cubic(MSS, 4 * MSS)
    small.cwnd = small.ssthresh = 4 * MSS
    now = 0.0
    for _ in range(40):  # 40 round trips of 10 ms: the cubic curve is flat, Reno is not (4.3)
        for _ in range(4):
            small.on_ack(small.cwnd // 4, small.cwnd, now, 0.01)
        now += 0.01
    assert small.cwnd >= 20 * MSS


def test_cubic_undo_and_idle() -> None:
    control = Cubic(MSS, 10 * MSS)
    control.cwnd = 100 * MSS
    control.on_loss(100 * MSS, 100 * MSS, 0.0)
    control.undo()
    assert control.cwnd == 100 * MSS and control.ssthresh == 1 << 62
    control.on_idle(1.0)
    assert control.cwnd == 10 * MSS


def hystart_round(control: Cubic, rtts: list[float], now: float) -> None:
    for number, rtt in enumerate(rtts):
        sample = RateSample()
        sample.rtt, sample.round_started = rtt, number == 0
        control.on_ack(MSS, control.cwnd, now, rtt)
        control.on_delivered(sample, now)


def test_hystart_ends_slow_start_when_round_trips_grow() -> None:
    """RFC 9406 4.2."""
    control = Cubic(MSS, 10 * MSS)
    hystart_round(control, [0.1] * 10, 0.1)
    hystart_round(control, [0.101] * 10, 0.2)
    assert control.cwnd == 30 * MSS
    hystart_round(control, [0.12] * 8, 0.3)  # more than an eighth: conservative from the eighth sample on
    assert control.cwnd == 38 * MSS and control.ssthresh == 1 << 62
    for n in range(5):
        assert control.ssthresh == 1 << 62
        hystart_round(control, [0.12] * 8, 0.4 + n / 10)
    assert 46 * MSS < control.cwnd < 50 * MSS  # a quarter of the growth for five rounds
    assert control.ssthresh <= control.cwnd


def test_hystart_goes_on_when_it_was_jitter_and_is_for_the_first_slow_start_only() -> None:
    control = Cubic(MSS, 10 * MSS)
    hystart_round(control, [0.1] * 10, 0.1)
    hystart_round(control, [0.12] * 8, 0.2)
    before = control.cwnd
    hystart_round(control, [0.1] * 8, 0.3)
    middle = control.cwnd
    hystart_round(control, [0.1] * 8, 0.4)
    assert middle - before < 8 * MSS and control.cwnd - middle == 8 * MSS
    assert control.ssthresh == 1 << 62
    control.on_loss(control.cwnd, control.cwnd, 0.5)
    control.on_recovery_exit(0, 0.5)
    control.cwnd, control.ssthresh = 10 * MSS, 1 << 62
    for n in range(8):
        hystart_round(control, [0.1 + n / 10] * 8, 1.0 + n)
    assert control.ssthresh == 1 << 62 and control.cwnd == 74 * MSS


def test_prr_sends_in_proportion_and_then_slow_starts() -> None:
    """RFC 6937 3: from 20 segments to 10 while 20 are delivered."""
    prr = Prr()
    prr.start(20 * MSS, 10 * MSS)
    pipe, sent = 19 * MSS, []
    for _ in range(9):
        pipe -= MSS
        room = prr.window(MSS, pipe, MSS, True) - pipe
        count = room // MSS
        sent.append(count)
        prr.sent(count * MSS)
        pipe += count * MSS
    assert sum(sent) in (4, 5) and max(sent) == 1  # half of what was delivered
    low = Prr()
    low.start(20 * MSS, 10 * MSS)
    low.sent(MSS)
    assert low.window(MSS, 4 * MSS, MSS, False) == 4 * MSS  # more losses: packet conservation only
    assert low.window(MSS, 4 * MSS, MSS, True) == 4 * MSS + 2 * MSS  # else one segment more than was delivered


def delivered(model: PathModel, rate: float, rtt: float, now: float, in_flight: int = 1 << 30) -> None:
    sample = RateSample()
    sample.delivered, sample.rate, sample.rtt = MSS, rate, rtt
    sample.round_started, sample.in_flight, sample.pipe = True, in_flight, in_flight
    model.on_delivered(sample, now)


def test_the_model_keeps_the_product_in_flight_and_ignores_losses() -> None:
    model = PathModel(MSS, 10 * MSS)
    now = 100.0
    for _ in range(400):
        delivered(model, 100_000.0, 0.5, now)
        now += 0.05
    assert not model.startup
    expected = 1.25 * 100_000 * 0.5 + 5 * MSS
    assert model.cwnd == pytest.approx(expected, rel=0.01)
    model.on_loss(model.cwnd, model.cwnd, now)
    model.on_recovery_exit(model.cwnd, now)
    assert model.cwnd == pytest.approx(expected, rel=0.01)
    model.on_timeout(model.cwnd, now, True)
    assert model.cwnd == MSS
    model.undo()
    assert model.cwnd == pytest.approx(expected, rel=0.01)


def test_a_window_that_is_not_used_does_not_grow_and_app_limited_samples_do_not_count() -> None:
    model = PathModel(MSS, 10 * MSS)
    delivered(model, 10_000.0, 0.5, 1.0, in_flight=2 * MSS)
    assert model.cwnd == 20 * MSS
    before = model.bandwidth
    sample = RateSample()
    sample.delivered, sample.rate, sample.app_limited, sample.round_started = MSS, before / 2, True, True
    for _ in range(20):
        model.on_delivered(sample, 2.0)
    assert model.bandwidth == before


def test_rounds_with_little_to_send_do_not_end_the_startup() -> None:
    """Small answers, one after another, and then a large one: how much the path takes is still unknown."""
    for limited in (True, False):
        model = PathModel(MSS, 10 * MSS)
        for index in range(20):
            sample = RateSample()
            sample.delivered, sample.rate, sample.rtt, sample.round_started = 5 * MSS, 5.0 * MSS, 1.0, True
            sample.app_limited, sample.in_flight = limited, 5 * MSS
            model.on_delivered(sample, float(index))
        assert model.startup == limited


def test_a_flow_with_less_than_its_share_of_the_path_grows_faster() -> None:
    path = SharedPath()
    models = [PathModel(MSS, 10 * MSS) for _ in range(2)]
    now = 100.0
    for model in models:
        model.join(path)
    for _ in range(200):
        for model, rate in zip(models, (300_000.0, 100_000.0), strict=True):
            delivered(model, rate, 0.5, now)
        now += 0.05
    assert path.fair_share == pytest.approx(200_000)
    assert models[0].cwnd == pytest.approx(1.25 * 300_000 * 0.5 + 5 * MSS, rel=0.01)
    assert models[1].cwnd == pytest.approx(1.5 * 1.25 * 100_000 * 0.5 + 5 * MSS, rel=0.01)
    models[0].leave()
    assert path.fair_share == pytest.approx(100_000)
    models[1].on_idle(now)
    assert path.fair_share == 0.0


def test_the_shared_minimum_is_looked_for_again_by_all_at_once() -> None:
    path = SharedPath()
    path.sample(0.3, 0.0)
    now = 0.5
    while not path.draining(now, 0.8):
        path.sample(0.8, now)
        now += 0.5
    assert path.LIFETIME <= now <= path.LIFETIME + 1
    assert path.draining(now + 0.1, 0.8)  # for the other connections, too
    path.sample(0.35, now + 1.0)
    assert not path.draining(now + 2.0, 0.8)
    assert path.min_rtt == 0.35
    path.sample(0.2, now + 2.1)
    assert path.min_rtt == 0.2


def test_the_shared_minimum_rises_in_steps() -> None:
    path = SharedPath()
    path.sample(0.3, 0.0)
    now = 0.0
    while now < 400:  # the path has become longer: half a second is all there is
        path.draining(now, 0.5)
        path.sample(0.5, now)
        if now < 45:
            assert path.min_rtt <= 0.3 * 1.3
        now += 0.25
    assert path.min_rtt == pytest.approx(0.5)


def test_a_segment_that_was_alone_shows_the_path() -> None:
    path = SharedPath()
    path.sample(0.1, 10.0)
    path.sample(0.5, 10.4)  # sent before the other was heard of: perhaps behind it
    assert path.min_rtt == 0.1
    path.sample(0.14, 20.0)  # by as little it may be late by chance
    assert path.min_rtt == 0.1
    path.sample(0.5, 30.0)
    assert path.min_rtt == 0.5
    path.sample(0.4, 30.1)
    assert path.min_rtt == 0.4


@pytest.mark.parametrize(
    ("flight", "rtt", "expected"),
    [
        (50_000, 0.5, 0.5),  # half as much in flight, and as long: not our queue
        (50_000, 0.25, 0.1),  # in proportion: our queue
        (90_000, 0.5, 0.1),  # the others did not drain
        (50_000, None, 0.1),  # no answer yet
    ],
)
def test_a_doubt_is_judged_by_what_is_in_flight(flight: int, rtt: float | None, expected: float) -> None:
    path = SharedPath()
    path.in_flight = 100_000
    path.sample(0.1, 10.0)
    path.sample(0.5, 10.4)
    path.doubt(0.5, 10.5)
    assert path.in_doubt and path.draining(10.6, 0.5)
    path.in_flight = flight
    path.sample(0.5, 10.9)  # sent before all had drained
    if rtt is not None:
        path.sample(rtt, 11.1)
    assert not path.draining(11.6, 0.5) and not path.in_doubt
    assert path.min_rtt == expected
    path.doubt(0.5, 11.7)
    # At once when nothing was learnt or all of it, after a while when the doubt was wrong.
    wrong = rtt is not None and expected == 0.1
    assert path.in_doubt != wrong
    if wrong:
        path.doubt(0.5, 11.6 + path.PATIENCE[0])
        assert path.in_doubt


def test_a_flow_that_starts_is_not_disturbed_by_doubts() -> None:
    path = SharedPath()
    path.sample(0.1, 10.0)
    path.starting(12.0)
    path.doubt(0.5, 11.9)
    assert not path.in_doubt
    path.doubt(0.5, 12.0)
    assert path.in_doubt


def test_a_connection_that_ends_leaves_nothing_in_flight() -> None:
    path = SharedPath()
    models = [PathModel(MSS, 10 * MSS) for _ in range(2)]
    for model, flight in zip(models, (30_000, 20_000), strict=True):
        model.join(path)
        delivered(model, 100_000.0, 0.5, 1.0, in_flight=flight)
    assert path.in_flight == 50_000
    models[0].leave()
    assert path.in_flight == 20_000


def test_rate_samples_are_neither_fooled_by_bursts_of_acks_nor_of_segments() -> None:
    board, rate = Scoreboard(), RateEstimator()
    rate.begin_flight(0.0)
    for n in range(10):  # ten at once
        rate.sent(board.sent(n * MSS, n * MSS + MSS, 0.0))
    sample = rate.on_delivered(board.acknowledge(5 * MSS), 0.5, 0.5)  # five ACKs come as one
    assert (sample.delivered, sample.rate, sample.rtt) == (5 * MSS, 10_000.0, 0.5)
    sample = rate.on_delivered(board.acknowledge(10 * MSS), 0.501, 0.5)  # and five more right behind
    assert sample.rate == pytest.approx(20_000.0, rel=0.01)  # ten segments in half a second, not five in a millisecond
    rate.limited_by_application(0)
    rate.begin_flight(2.0)
    rate.sent(board.sent(10 * MSS, 11 * MSS, 2.0))
    assert rate.on_delivered(board.acknowledge(11 * MSS), 2.5, 0.5).app_limited


def test_the_path_cache_gives_the_first_syn_its_timeout() -> None:
    config = TcpConfig()
    cache = PathCache(config)
    assert cache.initial_rto(config, 0.0) == 3.0
    cache.sample(0.3, 10.0)
    assert cache.initial_rto(config, 20.0) == 1.0
    cache.sample(4.0, 30.0)
    assert cache.initial_rto(config, 31.0) > 4.0
    assert cache.initial_rto(config, 30.0 + LIFETIME + 1) == 3.0


def test_a_second_connection_knows_the_round_trip_and_the_reordering() -> None:
    wire = Wire(delay=0.2, jitter=0.05)
    sim = Simulator(there=wire, back=wire)
    first = Session(sim, bytes(200_000), b"")
    assert first.connection.rtt.base_rto == 3.0
    assert sim.run(60, until=lambda: first.done)
    second = Session(sim, b"x", b"", port=81)
    assert second.connection.rtt.base_rto < 3.0
    assert second.connection.sender.rack.reordering
    assert sim.run(60, until=lambda: second.connection.rtt.srtt is not None)
    assert second.connection.sender.congestion.min_rtt < 0.6  # type: ignore[attr-defined]


def test_all_buffers_together_grow_no_further_than_the_budget() -> None:
    budget = Budget(100)
    assert (budget.take(60), budget.take(60), budget.left) == (60, 40, 0)
    budget.give(100)
    assert budget.left == 100
    wire = Wire(delay=0.3)
    config = StackConfig(buffer_growth=200_000)
    sim = Simulator(there=wire, back=wire, config=config)
    sessions = [Session(sim, b"", bytes(600_000), port=80 + n) for n in range(4)]
    assert sim.run(200, until=lambda: all(session.done for session in sessions))
    for host in (sim.client, sim.server):
        assert host.stack._tcp._budget.left <= 200_000
    grown = sum(session.connection.receiver.capacity - 65_536 for session in sessions)
    assert 0 < grown <= 200_000
    assert sim.run(400)  # TIME-WAIT ends
    assert sim.client.stack._tcp._budget.left == sim.server.stack._tcp._budget.left == 200_000


def test_the_send_buffer_follows_what_is_outstanding() -> None:
    wire = Wire(delay=0.5)
    sim = Simulator(there=wire, back=wire)
    session = Session(sim, bytes(4_000_000), b"")
    assert session.connection.send_space == 0 and session.connection.sender.queued == 128 * 1024
    assert sim.run(60, until=lambda: session.done)
    assert session.connection.sender.buffer.capacity > 512 * 1024
    small = Session(sim, bytes(500_000), b"", port=81, send_buffer=20_000)
    assert small.connection.sender.queued == 20_000
    assert sim.run(60, until=lambda: small.done)
    assert small.connection.sender.buffer.capacity == 20_000


@pytest.mark.parametrize("factory", [NewReno, Cubic, PathModel])
def test_every_controller_carries_data_both_ways_over_a_bad_path(factory: type) -> None:
    wire = Wire(delay=0.1, jitter=0.02, loss=0.03, rate=200_000, queue=60_000)
    sim = Simulator(seed=factory.__name__, there=wire, back=wire)
    data = bytes(range(256)) * 800
    session = Session(sim, data, data, congestion=factory)
    assert sim.run(1000, until=lambda: session.done)
    assert bytes(session.client.received) == bytes(session.server.received) == data
