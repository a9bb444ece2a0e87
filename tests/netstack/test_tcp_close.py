"""Closing (RFC 9293 3.6, 3.10.4, 3.10.7.4): every order of FINs, half close, abort, release, TIME-WAIT."""

from __future__ import annotations

import pytest

from smolmix_web.errors import ConnectionAborted, ConnectionReset, StateError
from smolmix_web.netstack import StackConfig, State, TcpConnection
from tests.netsim.raw import ACK, FIN, RST, SYN, Raw
from tests.netsim.simulator import Peer, Session, Simulator, Wire, endpoint, void


def opened() -> tuple[Raw, TcpConnection]:
    raw = Raw()
    return raw, raw.connect()


def test_we_close_first() -> None:
    raw, c = opened()
    c.close(raw.now)
    (fin,) = raw.take()
    assert fin.flags == FIN | ACK and fin.seq == 1
    assert c.state is State.FIN_WAIT_1
    raw.inject(ACK, 1, 2)
    assert c.state is State.FIN_WAIT_2
    (ack,) = raw.inject(FIN | ACK, 1, 2)
    assert ack.flags == ACK and (ack.seq, ack.ack) == (2, 2)
    assert c.state is State.TIME_WAIT and c.receive_eof
    raw.advance(9.9)  # the least, on a path this short
    assert c.state is State.TIME_WAIT
    raw.advance(0.2)
    assert c.state is State.CLOSED and c.error is None
    assert raw.stack.next_deadline() is None and not raw.stack.connections


def test_the_peer_closes_first() -> None:
    raw, c = opened()
    (ack,) = raw.inject(FIN | ACK, 1, 1)
    assert ack.ack == 2 and c.state is State.CLOSE_WAIT and c.receive_eof
    c.send(b"still talking", raw.now)
    assert raw.take()[0].payload == b"still talking"
    raw.inject(ACK, 2, 14)
    c.close(raw.now)
    (fin,) = raw.take()
    assert fin.flags == FIN | ACK and c.state is State.LAST_ACK
    raw.inject(ACK, 2, 15)
    assert c.state is State.CLOSED and c.error is None
    assert raw.stack.next_deadline() is None


def test_both_close_at_once() -> None:
    raw, c = opened()
    c.close(raw.now)
    raw.take()
    (ack,) = raw.inject(FIN | ACK, 1, 1)
    assert c.state is State.CLOSING and (ack.seq, ack.ack) == (2, 2)
    raw.inject(ACK, 2, 2)
    assert c.state is State.TIME_WAIT


def test_fin_with_the_ack_of_ours() -> None:
    raw, c = opened()
    c.close(raw.now)
    raw.take()
    raw.inject(FIN | ACK, 1, 2)
    assert c.state is State.TIME_WAIT


def test_fin_rides_on_the_last_data_and_both_are_resent() -> None:
    raw, c = opened()
    c.send(b"last words", raw.now)
    c.close(raw.now)
    (segment,) = raw.take()
    assert segment.payload == b"last words" and segment.flags & FIN
    (again,) = raw.advance(1.5)
    assert again.payload == b"last words" and again.flags & FIN
    raw.inject(ACK, 1, 11)  # the data, not the FIN
    assert c.state is State.FIN_WAIT_1
    (only_fin,) = raw.advance(1.5)
    assert only_fin.flags & FIN and only_fin.seq == 11 and not only_fin.payload
    raw.inject(ACK, 1, 12)
    assert c.state is State.FIN_WAIT_2


def test_fin_before_its_data() -> None:
    raw, c = opened()
    (ack,) = raw.inject(FIN | ACK, 6, 1)
    assert ack.ack == 1 and c.state is State.ESTABLISHED
    (ack,) = raw.inject(ACK, 1, 1, payload=b"hello")
    assert ack.ack == 7 and c.state is State.CLOSE_WAIT
    assert c.receive(100, raw.now) == b"hello" and c.receive_eof


@pytest.mark.parametrize("state", ["FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT"])
def test_a_repeated_fin_is_acknowledged_again(state: str) -> None:
    raw, c = opened()
    if state in ("CLOSE_WAIT", "LAST_ACK"):
        raw.inject(FIN | ACK, 1, 1)
        if state == "LAST_ACK":
            c.close(raw.now)
            raw.take()
    else:
        c.close(raw.now)
        raw.take()
        if state != "FIN_WAIT_1":
            raw.inject(FIN | ACK, 1, 1 if state == "CLOSING" else 2)
    if state in ("FIN_WAIT_1", "FIN_WAIT_2"):
        if state == "FIN_WAIT_2":
            raw, c = opened()
            c.close(raw.now)
            raw.take()
            raw.inject(ACK, 1, 2)
        assert c.state is State[state]
        (ack,) = raw.inject(FIN | ACK, 1, 1)
        assert ack.ack == 2
        (ack,) = raw.inject(FIN | ACK, 1, 1)
    else:
        assert c.state is State[state]
        (ack,) = raw.inject(FIN | ACK, 1, 1)
    assert ack.flags & ACK and ack.ack == 2


def test_time_wait_starts_again_with_a_repeated_fin() -> None:
    raw, c = opened()
    c.close(raw.now)
    raw.take()
    raw.inject(FIN | ACK, 1, 2)
    raw.advance(6.0)
    raw.inject(FIN | ACK, 1, 2)
    raw.advance(6.0)
    assert c.state is State.TIME_WAIT
    raw.advance(4.1)
    assert c.state is State.CLOSED


def test_time_wait_ignores_resets_of_another_place_and_old_data() -> None:
    raw, c = opened()
    c.close(raw.now)
    raw.take()
    raw.inject(FIN | ACK, 1, 2)
    raw.inject(RST, 500)
    assert c.state is State.TIME_WAIT


def test_a_new_syn_replaces_time_wait() -> None:
    """RFC 9293 3.10.7.4, RFC 6191."""
    raw = Raw()
    listener = raw.stack.tcp_listen(80)
    raw.local = raw.local._replace(port=80)
    raw.inject(SYN, 0)
    raw.inject(ACK, 1, 1)
    first = listener.accept()
    assert first is not None
    first.close(raw.now)
    raw.take()
    raw.inject(FIN | ACK, 1, 2)
    assert first.state is State.TIME_WAIT
    raw.inject(SYN, 1)  # not newer
    assert first.state is State.TIME_WAIT
    (answer,) = raw.inject(SYN, 50_000)
    assert answer.flags == SYN | ACK and answer.ack == 50_001
    assert first.state is State.CLOSED and first.error is None


def test_half_close_lets_the_other_half_finish() -> None:
    sim = Simulator()
    session = Session(sim, b"request", close=False)
    sim.run(1.0)
    session.client.close_when_sent = True
    session.client.step()
    sim.run(1.0)
    server = session.server
    assert server.eof and bytes(server.received) == b"request"
    server.pending = memoryview(bytes(300_000))
    server.close_when_sent = True
    server.step()
    assert sim.run(60, until=lambda: session.client.done)
    assert len(session.client.received) == 300_000 and session.client.eof


def test_sending_after_close_is_an_error_of_the_caller() -> None:
    raw, c = opened()
    c.close(raw.now)
    c.close(raw.now)
    with pytest.raises(StateError) as caught:
        c.send(b"x", raw.now)
    assert caught.value.code == "not_writable"
    assert c.send_space == 0
    assert len(raw.take()) == 1


def test_abort_sends_one_reset() -> None:
    raw, c = opened()
    c.send(bytes(5000), raw.now)
    c.abort(raw.now)
    c.abort(raw.now)
    (reset,) = raw.take()
    assert reset.flags & RST and reset.seq == 1
    assert isinstance(c.error, ConnectionAborted)
    assert raw.stack.next_deadline() is None
    with pytest.raises(ConnectionAborted):
        c.receive(1, raw.now)


def test_a_lost_fin_is_sent_again() -> None:
    for who in ("client", "server"):
        sim = Simulator()
        dropped = []

        def drop(host: str, packet: bytes, who: str = who, dropped: list[bytes] = dropped) -> bytes | None:
            if host == who and packet[33] & FIN and not dropped:
                dropped.append(packet)
                return None
            return packet

        sim.filter = drop
        session = Session(sim, b"a" * 10, b"b" * 10)
        assert sim.run(60, until=lambda session=session: session.done)
        assert dropped and session.client.eof and session.server.eof
        sim.run(100)
        assert sim.client.stack.next_deadline() is None and sim.server.stack.next_deadline() is None


def test_release_with_unread_data_is_an_abort() -> None:
    """RFC 2525 2.17."""
    raw, c = opened()
    raw.inject(ACK, 1, 1, payload=b"unread")
    c.release(raw.now)
    assert raw.take()[0].flags & RST
    assert c.state is State.CLOSED


def test_data_for_a_released_connection_is_refused() -> None:
    raw, c = opened()
    c.release(raw.now)
    assert raw.take()[0].flags == FIN | ACK
    raw.inject(ACK, 1, 2)
    assert c.state is State.FIN_WAIT_2
    (reset,) = raw.inject(ACK, 1, 2, payload=b"nobody listens")
    assert reset.flags & RST
    assert isinstance(c.error, ConnectionReset) and c.error.code == "connection_released"


def test_a_released_connection_does_not_wait_for_ever() -> None:
    raw, c = opened()
    c.release(raw.now)
    raw.take()
    raw.inject(ACK, 1, 2)
    out = raw.advance(61.0)
    assert c.state is State.CLOSED and out[-1].flags & RST
    assert raw.stack.next_deadline() is None


def test_an_unreleased_half_closed_connection_waits() -> None:
    raw, c = opened()
    c.close(raw.now)
    raw.take()
    raw.inject(ACK, 1, 2)
    assert raw.stack.next_deadline() is None
    raw.advance(100_000.0)
    raw.inject(FIN | ACK, 1, 2, payload=b"late answer")
    assert c.receive(100, raw.now) == b"late answer" and c.receive_eof


def test_received_data_survives_a_reset() -> None:
    raw, c = opened()
    raw.inject(ACK, 1, 1, payload=b"before")
    raw.inject(RST, 7)
    assert c.receive(100, raw.now) == b"before"
    with pytest.raises(ConnectionReset):
        c.receive(100, raw.now)


def test_no_timer_is_left_after_many_ways_to_end() -> None:
    for seed in range(10):
        wire = Wire(loss=0.1, jitter=0.02)
        sim = Simulator(seed=seed, there=wire, back=wire)
        session = Session(sim, bytes(20_000), bytes(20_000))
        sim.run(seed * 0.3)
        if seed % 3 == 1:
            session.connection.abort(sim.now)
        elif seed % 3 == 2:
            session.client.reading = False
            session.connection.release(sim.now)
        assert sim.run(4000)
        assert sim.client.stack.next_deadline() is None and sim.server.stack.next_deadline() is None
        assert not sim.client.stack.connections and not sim.server.stack.connections


def test_time_wait_gives_way_when_the_table_is_full() -> None:
    sim = Simulator(config=StackConfig(max_connections=3))
    sim.server.stack.tcp_listen(80, on_connection=lambda connection: void(Peer(sim, connection)))
    for _ in range(8):
        peer = Peer(sim, sim.client.stack.tcp_connect(endpoint(80), sim.now))
        assert sim.run(10, until=lambda peer=peer: peer.done)
        assert peer.failed is None
        assert len(sim.client.stack.connections) <= 3
