"""Opening connections (RFC 9293 3.5, 3.10.7.3): handshake variants, refusals, silence, listeners."""

from __future__ import annotations

import pytest

from smolmix_web.errors import AddressError, ConnectionRefused, NetworkError, OptionError, TimeoutExpired
from smolmix_web.netstack import Endpoint, StackConfig, State, TcpConfig
from smolmix_web.netstack.tcp.segment import syn_options
from tests.netsim.raw import ACK, FIN, RST, SYN, Raw
from tests.netsim.simulator import CLIENT6, SERVER, SERVER6, Peer, Session, Simulator, Wire, endpoint


def test_syn_carries_mss_scale_and_sack() -> None:
    raw = Raw(mtu=1420)
    raw.stack.tcp_connect(raw.remote, raw.now)
    (syn,) = raw.take()
    assert syn.flags == SYN and not syn.payload
    assert (syn.mss, syn.window_scale, syn.sack_permitted) == (1380, 7, True)
    assert syn.timestamp is not None and syn.timestamp[1] == 0
    assert syn.window == 47 * 1380


def test_a_syn_of_another_stack() -> None:
    """What `fingerprint: "official"` has: options by their kinds, the whole buffer, no identification."""
    raw = Raw(linux=False, timestamps=False, receive_buffer=65_535, receive_buffer_max=65_535)
    raw.stack.tcp_connect(raw.remote, raw.now)
    (packet,) = raw.stack.poll(raw.now)
    assert packet[4:6] == b"\0\0"
    assert packet[34:36] == b"\xff\xff" and packet[40:] == bytes.fromhex("02040564 030300 0402 000000")


def test_active_open() -> None:
    raw = Raw()
    events = []
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    connection.on_event = lambda: events.append(connection.state)
    raw.take()
    assert connection.state is State.SYN_SENT
    raw.now += 0.3
    raw.inject(SYN | ACK, 0, 1, options=syn_options(1000, 3, True))
    assert events == [State.ESTABLISHED]
    assert connection.rtt.srtt == pytest.approx(0.3)
    assert connection.sender.mss == 1000
    assert raw.advance(1000.0) == []


def test_the_smaller_mss_wins_and_tiny_ones_are_not_believed() -> None:
    for announced, used in ((9000, 1380), (536, 536), (8, 64), (0, 536)):
        raw = Raw()
        assert raw.connect(mss=announced).sender.mss == used


def test_no_options_in_the_answer_means_none_are_used() -> None:
    raw = Raw()
    connection = raw.connect(sack=False, scale=None)
    raw.inject(ACK, 100, 1, payload=b"behind a gap")
    (ack,) = raw.inject(ACK, 200, 1, payload=b"again")
    assert not ack.sack
    assert connection.receiver.window_scale == connection.sender.window_scale == 0


def test_the_window_is_scaled_after_the_handshake_only() -> None:
    raw = Raw()
    connection = raw.connect(scale=3, window=1000)
    assert connection.sender.snd_wnd == 1000
    raw.inject(ACK, 1, 1, window=1000)
    assert connection.sender.snd_wnd == 8000


def test_passive_open_and_data_with_the_last_ack() -> None:
    raw = Raw()
    connection = raw.accept(payload=b"early")
    assert connection.state is State.ESTABLISHED
    assert connection.receive(100, raw.now) == b"early"


def test_simultaneous_open() -> None:
    """RFC 9293 3.5 figure 7."""
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    raw.take()
    (answer,) = raw.inject(SYN, 0, options=syn_options(1380, None, True))
    assert connection.state is State.SYN_RECEIVED
    assert answer.flags == SYN | ACK and (answer.seq, answer.ack) == (0, 1)
    raw.inject(SYN | ACK, 0, 1)
    assert connection.state is State.ESTABLISHED
    raw.inject(ACK, 1, 1, payload=b"both called")
    assert connection.receive(100, raw.now) == b"both called"


def test_two_stacks_open_simultaneously() -> None:
    sim = Simulator()
    a = sim.client.stack.tcp_connect(endpoint(7000), sim.now, local=Endpoint(sim.client.stack.addresses[0], 6000))
    b = sim.server.stack.tcp_connect(
        Endpoint(sim.client.stack.addresses[0], 6000), sim.now, local=Endpoint(SERVER, 7000)
    )
    one, two = Peer(sim, a, b"from a"), Peer(sim, b, b"from b")
    assert sim.run(60, until=lambda: one.done and two.done)
    assert (bytes(one.received), bytes(two.received)) == (b"from b", b"from a")


def test_refused_by_rst_in_one_round_trip() -> None:
    sim = Simulator(there=Wire(delay=0.5), back=Wire(delay=0.5))
    connection = sim.client.stack.tcp_connect(endpoint(81), sim.now)
    start = sim.now
    assert sim.run(60, until=lambda: connection.state is State.CLOSED)
    assert sim.now - start == pytest.approx(1.0)
    assert isinstance(connection.error, ConnectionRefused)
    assert (connection.error.code, connection.error.phase) == ("connect_refused", "connect")
    with pytest.raises(ConnectionRefused):
        connection.receive(1, sim.now)
    with pytest.raises(ConnectionRefused):
        connection.send(b"x", sim.now)
    assert sim.client.stack.next_deadline() is None


def test_rst_without_or_with_a_wrong_ack_does_not_refuse() -> None:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    raw.take()
    assert raw.inject(RST, 0) == []
    assert raw.inject(RST | ACK, 0, 2) == []
    assert connection.state is State.SYN_SENT


def test_an_ack_of_something_else_is_reset_and_the_open_goes_on() -> None:
    """RFC 9293 3.5.2, half-open recovery."""
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    raw.take()
    (reset,) = raw.inject(ACK, 300, 99)
    assert reset.flags == RST and reset.seq == 99
    assert connection.state is State.SYN_SENT
    raw.inject(SYN | ACK, 0, 1)
    assert connection.state is State.ESTABLISHED


def test_a_black_hole_gets_few_syns_and_a_timeout() -> None:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now, connect_timeout=60.0)
    start = raw.now
    times = []
    while raw.stack.next_deadline() is not None:
        raw.now = max(raw.now, raw.stack.next_deadline() or 0.0)
        times += [raw.now - start for segment in raw.take() if segment.flags == SYN]
    assert times == pytest.approx([0, 3, 9, 21, 45])  # RFC 6298: 3 s, doubled
    assert raw.now - start == pytest.approx(60.0)
    assert isinstance(connection.error, TimeoutExpired)
    assert (connection.error.code, connection.error.phase) == ("connect_timeout", "connect")


def test_syn_retries_are_limited() -> None:
    raw = Raw(syn_retries=2)
    raw.stack.tcp_connect(raw.remote, raw.now, connect_timeout=600.0)
    assert len(raw.take() + raw.advance(700.0)) == 3
    assert raw.stack.next_deadline() is None


@pytest.mark.parametrize("lost", ["syn", "syn_ack", "ack"])
def test_a_lost_packet_of_the_handshake_is_made_good(lost: str) -> None:
    sim = Simulator()
    dropped = []

    def drop(host: str, packet: bytes) -> bytes | None:
        flags = packet[33]
        kind = {SYN: "syn", SYN | ACK: "syn_ack", ACK: "ack"}.get(flags)
        if kind == lost and not dropped:
            dropped.append(packet)
            return None
        return packet

    sim.filter = drop
    session = Session(sim, b"question" * 100, b"answer" * 100)
    assert sim.run(30, until=lambda: session.done)
    assert dropped
    assert bytes(session.client.received) == b"answer" * 100
    assert bytes(session.server.received) == b"question" * 100


def test_a_lost_syn_starts_the_rto_anew() -> None:
    """RFC 6298 5.7, and Karn: no sample from a SYN that was sent twice."""
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    raw.take()
    raw.advance(3.5)
    raw.inject(SYN | ACK, 0, 1)
    assert connection.rtt.srtt is None
    assert connection.rtt.rto == 3.0


def test_repeated_syn_ack_gets_an_ack() -> None:
    raw = Raw()
    raw.connect()
    (ack,) = raw.inject(SYN | ACK, 0, 1)
    assert ack.flags == ACK and ack.ack == 1


def test_data_queued_before_the_handshake_goes_with_it() -> None:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    assert connection.send(b"at once", raw.now) == 7
    connection.close(raw.now)
    raw.take()
    (segment,) = raw.inject(SYN | ACK, 0, 1, options=syn_options(1380, None, True))
    assert segment.payload == b"at once" and segment.flags & FIN
    assert connection.state is State.FIN_WAIT_1


def test_release_before_the_answer_forgets_everything() -> None:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    raw.take()
    connection.release(raw.now)
    assert connection.state is State.CLOSED and connection.error is None
    (reset,) = raw.inject(SYN | ACK, 0, 1)
    assert reset.flags == RST and reset.seq == 1


def test_backlog_bounds_half_open_and_waiting_connections() -> None:
    sim = Simulator()
    listener = sim.server.stack.tcp_listen(80, backlog=3)
    connections = [sim.client.stack.tcp_connect(endpoint(80), sim.now) for _ in range(5)]
    sim.run(1.0)
    assert sum(c.state is State.ESTABLISHED for c in connections) == 3
    assert listener.dropped_backlog == 2
    accepted = [listener.accept() for _ in range(4)]
    assert accepted[3] is None and None not in accepted[:3]
    sim.run(20.0)  # the others try again
    assert sum(c.state is State.ESTABLISHED for c in connections) == 5


def test_a_listener_gives_up_a_silent_half_open_connection() -> None:
    raw = Raw()
    listener = raw.stack.tcp_listen(80, backlog=1)
    raw.local = Endpoint(raw.stack.addresses[0], 80)
    raw.inject(SYN, 0)
    assert listener.full
    answers = raw.advance(200.0)
    assert [segment.flags for segment in answers if not segment.flags & RST] == [SYN | ACK] * 4
    assert not listener.full
    assert raw.stack.next_deadline() is None


def test_closing_a_listener_resets_what_waits() -> None:
    sim = Simulator()
    listener = sim.server.stack.tcp_listen(80)
    connection = sim.client.stack.tcp_connect(endpoint(80), sim.now)
    sim.run(1.0)
    listener.close(sim.now)
    sim.run(1.0)
    assert connection.error is not None and connection.error.code == "connection_reset"
    late = sim.client.stack.tcp_connect(endpoint(80), sim.now)
    sim.run(1.0)
    assert late.error is not None and late.error.code == "connect_refused"


def test_ports_and_isns_are_unlike_each_other() -> None:
    raw = Raw()
    ports, isns = [], []
    for _ in range(100):
        raw.stack.tcp_connect(raw.remote, raw.now)
        raw.take()
        ports.append(raw.local.port)
        isns.append(raw.base)
    assert len(set(ports)) == 100
    assert all(32_768 <= port <= 65_535 for port in ports)
    assert len({isn >> 20 for isn in isns}) > 90
    other = Raw(seed="another secret")
    other.stack.tcp_connect(other.remote, other.now)
    other.take()
    assert other.base not in isns


def test_what_cannot_be_connected_to_is_refused_at_once() -> None:
    raw = Raw(config=StackConfig(max_connections=2))
    for remote in (Endpoint(SERVER, 0), Endpoint(SERVER, 70_000), endpoint(80, SERVER6)):
        with pytest.raises(NetworkError):
            raw.stack.tcp_connect(remote, raw.now)
    with pytest.raises(AddressError):
        raw.stack.tcp_connect(endpoint(80, type(SERVER)("224.0.0.1")), raw.now)
    with pytest.raises(OptionError):
        raw.stack.tcp_connect(raw.remote, raw.now, no_such_setting=1)
    local = Endpoint(raw.stack.addresses[0], 5000)
    raw.stack.tcp_connect(raw.remote, raw.now, local=local)
    with pytest.raises(NetworkError) as caught:
        raw.stack.tcp_connect(raw.remote, raw.now, local=local)
    assert caught.value.code == "address_in_use"
    raw.stack.tcp_connect(raw.remote, raw.now)
    with pytest.raises(NetworkError) as caught:
        raw.stack.tcp_connect(raw.remote, raw.now)
    assert caught.value.code == "too_many_connections"


def test_over_ipv6() -> None:
    sim = Simulator(mtu=1280)
    session = Session(sim, b"six" * 5000, b"SIX" * 5000, address=SERVER6)
    assert sim.run(60, until=lambda: session.done)
    assert session.connection.local.address == CLIENT6
    assert session.connection.sender.mss == 1220 - 12  # timestamps
    assert bytes(session.client.received) == b"SIX" * 5000
    assert bytes(session.server.received) == b"six" * 5000


def test_settings_of_one_connection() -> None:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now, keepalive=25.0, send_buffer=1000, config=TcpConfig())
    assert (connection.config.keepalive, connection.send_space) == (25.0, 1000)
