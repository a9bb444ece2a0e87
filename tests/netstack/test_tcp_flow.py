"""Windows, silly windows, Nagle, ACK economy, zero-window probes, keep-alive, the limits of patience, back-pressure."""

from __future__ import annotations

import itertools

import pytest

from smolmix_web.errors import TimeoutExpired
from smolmix_web.netstack import State, TcpConnection
from smolmix_web.netstack.tcp.congestion import CongestionFactory, NewReno, PathModel
from tests.netsim.raw import ACK, FIN, PSH, RST, Raw
from tests.netsim.simulator import Peer, Session, Simulator, Wire, endpoint, void


def opened(*, window: int = 65_535, mss: int = 1380, **tcp: object) -> tuple[Raw, TcpConnection]:
    raw = Raw(**tcp)
    return raw, raw.connect(window=window, mss=mss)


@pytest.mark.parametrize(("congestion", "segments"), [(NewReno, 10), (PathModel, 20)])
def test_the_first_window(congestion: CongestionFactory, segments: int) -> None:
    """RFC 6928; the path model relies on the tunnel's pace."""
    raw, c = opened(congestion=congestion)
    c.send(bytes(100_000), raw.now)
    assert [len(segment.payload) for segment in raw.take()] == [1380] * segments


def test_the_peers_window_is_a_hard_limit() -> None:
    raw, c = opened(window=3000)
    c.send(bytes(100_000), raw.now)
    segments = raw.take()
    assert sum(len(segment.payload) for segment in segments) <= 3000
    assert all(segment.seq + len(segment.payload) <= 3001 for segment in segments)


def test_push_marks_the_end_of_what_was_written() -> None:
    raw, c = opened()
    c.send(bytes(3000), raw.now)
    assert [bool(segment.flags & PSH) for segment in raw.take()] == [False, False, True]


def test_small_writes_are_merged_until_the_poll() -> None:
    raw, c = opened()
    for _ in range(10):
        c.send(b"0123456789", raw.now)
    assert [len(segment.payload) for segment in raw.take()] == [100]


def test_nagle_waits_for_the_ack_and_nodelay_does_not() -> None:
    raw, c = opened(nodelay=False)
    c.send(b"a", raw.now)
    assert len(raw.take()) == 1
    c.send(b"b", raw.now)
    assert raw.take() == []
    (both,) = raw.inject(ACK, 1, 2)
    assert both.payload == b"b"
    raw, c = opened(nodelay=True)
    c.send(b"a", raw.now)
    raw.take()
    c.send(b"b", raw.now)
    assert raw.take()[0].payload == b"b"


def test_the_sender_avoids_silly_segments() -> None:
    """RFC 9293 3.8.6.2.1: a sliver of window waits for more, but not for ever."""
    raw, c = opened(window=2000)
    c.send(bytes(10_000), raw.now)
    assert [len(segment.payload) for segment in raw.take()] == [1380]
    assert raw.inject(ACK, 1, 1381, window=100) == []
    out = raw.advance(1.5)
    assert len(out) == 1 and len(out[0].payload) == 100


def test_zero_window_probes_back_off_and_the_connection_lives() -> None:
    raw, c = opened(user_timeout=30.0)
    c.send(bytes(1380), raw.now)
    raw.take()
    raw.inject(ACK, 1, 1381, window=0)
    c.send(b"waiting", raw.now)
    assert raw.take() == []
    times, start = [], raw.now
    while raw.now < start + 600:
        deadline = raw.stack.next_deadline()
        assert deadline is not None
        raw.now = max(raw.now, deadline)
        for probe in raw.take():
            assert probe.payload == b"w" and probe.seq == 1381
            times.append(raw.now - start)
            raw.inject(ACK, 1, 1381, window=0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] < gaps[1] < gaps[2] and max(gaps) <= 60.0
    assert c.state is State.ESTABLISHED
    (data,) = raw.inject(ACK, 1, 1381, window=1000)
    assert data.payload == b"waiting"
    assert c.rtt.rto < 5.0  # the back-off of the probes does not stay


def test_a_probe_that_was_taken_counts() -> None:
    raw, c = opened()
    c.send(bytes(1380), raw.now)
    raw.take()
    raw.inject(ACK, 1, 1381, window=0)
    c.send(b"waiting", raw.now)
    raw.advance(5.0)
    (rest,) = raw.inject(ACK, 1, 1382, window=1000)
    assert rest.payload == b"aiting" and rest.seq == 1382


def test_a_fin_can_be_probed_for_too() -> None:
    raw, c = opened()
    c.send(bytes(1380), raw.now)
    raw.take()
    raw.inject(ACK, 1, 1381, window=0)
    c.close(raw.now)
    out = raw.advance(5.0)
    assert out and out[0].flags & FIN and out[0].seq == 1381
    raw.inject(ACK, 1, 1382, window=0)
    assert c.state is State.FIN_WAIT_2


def test_probes_that_nobody_answers_end_the_connection() -> None:
    raw, c = opened(user_timeout=100.0)
    c.send(bytes(1380), raw.now)
    raw.take()
    raw.inject(ACK, 1, 1381, window=0)
    c.send(b"waiting", raw.now)
    raw.advance(150.0)
    assert isinstance(c.error, TimeoutExpired) and c.error.code == "transfer_timeout"
    assert raw.stack.next_deadline() is None


def test_a_window_taken_back_is_no_congestion() -> None:
    raw, c = opened()
    c.send(bytes(5000), raw.now)
    raw.take()
    cwnd = c.sender.congestion.cwnd
    raw.inject(ACK, 1, 1, window=0)
    out = raw.advance(10.0)
    assert out and {segment.seq for segment in out} == {1}
    assert c.sender.congestion.cwnd == cwnd


def test_a_slow_reader_stops_the_sender_and_loses_nothing() -> None:
    sim = Simulator()
    data = bytes(range(256)) * 4000
    session = Session(sim, b"", data, receive_buffer=20_000, receive_buffer_max=20_000)
    client = session.client
    client.reading = False
    sim.run(300)
    assert session.connection.receive_available <= 20_000
    assert session.server.connection.error is None

    def sip() -> None:
        client.received += session.connection.receive(7_000, sim.now)
        if not session.connection.receive_eof:
            sim.after(0.05, sip)
        client.eof = session.connection.receive_eof
        sim.poke()

    sip()
    assert sim.run(600, until=lambda: client.eof)
    assert bytes(client.received) == data


def test_acks_are_few() -> None:
    """An ACK costs a packet of the mix network: about one per two full segments, fewer when they come in bursts."""
    sim = Simulator()
    session = Session(sim, b"", bytes(1_000_000))
    assert sim.run(60, until=lambda: session.done)
    assert sim.client.stack.statistics.packets_out <= 400
    assert sim.server.stack.statistics.packets_out >= 725


def test_an_ack_rides_on_an_answer() -> None:
    raw, c = opened()
    assert raw.inject(ACK, 1, 1, payload=b"question") == []
    c.send(b"answer", raw.now)
    (segment,) = raw.take()
    assert segment.payload == b"answer" and segment.ack == 9
    assert raw.advance(0.5) == []


def test_delayed_ack_comes() -> None:
    raw, _ = opened(ack_delay=0.05)
    assert raw.inject(ACK, 1, 1, payload=b"question") == []
    assert raw.advance(0.049) == []
    assert [segment.ack for segment in raw.advance(0.002)] == [9]


def test_keep_alive_probes_and_gives_up() -> None:
    raw = Raw()
    c = raw.connect(keepalive=10.0)
    assert raw.advance(9.9) == []
    (probe,) = raw.advance(0.2)
    assert probe.flags == ACK and probe.seq == 0 and not probe.payload
    raw.inject(ACK, 1, 1)
    assert raw.advance(9.8) == []
    probes = raw.advance(55.0)
    assert len(probes) == 6
    raw.advance(10.0)
    assert isinstance(c.error, TimeoutExpired) and c.error.code == "keepalive_timeout"
    assert raw.stack.next_deadline() is None


def test_keep_alive_between_two_stacks_holds_an_idle_connection() -> None:
    sim = Simulator()
    session = Session(sim, b"hello", close=False, keepalive=10.0)
    sim.run(3600.0)
    assert session.connection.state is State.ESTABLISHED
    assert 600 < sim.packets < 900
    sim.there.down = sim.back.down = True
    sim.run(200.0)
    assert session.connection.error is not None and session.connection.error.code == "keepalive_timeout"


def test_without_keep_alive_an_idle_connection_sends_nothing() -> None:
    raw, c = opened()
    assert raw.stack.next_deadline() is None
    assert raw.advance(1e6) == []
    assert c.state is State.ESTABLISHED


def test_retransmission_backs_off_and_the_user_timeout_is_exact() -> None:
    raw, c = opened(user_timeout=60.0)
    c.send(b"lost", raw.now)
    raw.take()
    start, times = raw.now, []
    while c.state is State.ESTABLISHED:
        raw.now = max(raw.now, raw.stack.next_deadline() or 0.0)
        times += [raw.now - start for segment in raw.take() if not segment.flags & RST]
    assert times == pytest.approx([1, 3, 7, 15, 31])
    assert raw.now - start == pytest.approx(60.0)
    assert isinstance(c.error, TimeoutExpired)
    assert (c.error.code, c.error.phase) == ("transfer_timeout", "transfer")
    assert raw.stack.next_deadline() is None


def test_retransmissions_are_counted_too() -> None:
    raw, c = opened(user_timeout=1e9, retries=3)
    c.send(b"lost", raw.now)
    out = raw.take() + raw.advance(1000.0)
    assert len([segment for segment in out if segment.payload]) == 4
    assert out[-1].flags & RST and c.state is State.CLOSED


def test_writers_are_told_when_there_is_room() -> None:
    raw, c = opened(send_buffer=10_000)
    events: list[int] = []
    c.on_event = lambda: events.append(c.send_space)
    assert c.send(bytes(20_000), raw.now) == 10_000
    assert c.send_space == 0 and c.send(b"x", raw.now) == 0
    raw.take()
    raw.inject(ACK, 1, 2761)
    assert events == []  # a little room is not worth a wake-up
    raw.inject(ACK, 1, 5521)
    assert events == [5520]


def test_poll_hands_out_no_more_than_asked_and_keeps_the_rest() -> None:
    raw, c = opened()
    c.send(bytes(13_800), raw.now)
    for _ in range(5):
        assert raw.stack.next_deadline() == 0.0
        assert len(raw.take(2)) == 2
    assert raw.take(2) == []
    assert raw.stack.next_deadline() is not None and raw.stack.next_deadline() != 0.0


def test_a_full_tunnel_leaves_only_timers() -> None:
    raw, c = opened()
    c.send(bytes(1380), raw.now)
    assert raw.stack.next_deadline() == 0.0
    assert raw.stack.next_deadline(full=True) is None
    assert raw.stack.poll(raw.now, 0) == []
    c.send(bytes(1380), raw.now)
    raw.take(1)
    timer = raw.stack.next_deadline(full=True)
    assert timer is not None and timer > raw.now and raw.stack.next_deadline() == 0.0


def test_connections_take_turns() -> None:
    sim = Simulator()
    sim.server.stack.tcp_listen(80, on_connection=lambda connection: void(Peer(sim, connection)))
    connections = [sim.client.stack.tcp_connect(endpoint(80), sim.now) for _ in range(5)]
    sim.run(1.0)
    for connection in connections:
        connection.send(bytes(13_800), sim.now)
    packets = sim.client.stack.poll(sim.now, 10)
    ports = [int.from_bytes(packet[20:22], "big") for packet in packets]
    assert sorted(ports) == sorted([connection.local.port for connection in connections] * 2)


def test_the_receive_window_grows_with_a_fast_path() -> None:
    wire = Wire(delay=0.25)
    sim = Simulator(there=wire, back=wire)
    session = Session(sim, b"", bytes(3_000_000))
    assert sim.run(120, until=lambda: session.done)
    assert session.connection.receiver.capacity >= 512 * 1024
    small = Session(sim, b"", bytes(300_000), port=81, receive_buffer_max=65_536)
    assert sim.run(120, until=lambda: small.done)
    assert small.connection.receiver.capacity == 65_536


def test_memory_of_a_closed_connection_is_released() -> None:
    sim = Simulator()
    session = Session(sim, bytes(100_000), bytes(100_000))
    assert sim.run(60, until=lambda: session.done)
    sim.run(1.0)  # the last ACK is on its way
    assert session.connection.sender.queued == 0
    assert session.connection.receiver.buffered == 0
