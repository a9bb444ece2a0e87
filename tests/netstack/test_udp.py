"""UDP sockets: bound, connected, bounded, errors, the policy's denial, the output queue."""

from __future__ import annotations

import pytest

from smolmix_web.errors import (
    AddressError,
    ConnectionRefused,
    MessageTooLong,
    NetworkError,
    StateError,
    TunnelError,
)
from smolmix_web.netstack import Endpoint, ErrorKind, Stack, StackConfig, ip, ipv4, udp
from smolmix_web.rand import SeededRandom
from tests.netsim.simulator import CLIENT, CLIENT6, SERVER, SERVER6, Simulator, endpoint


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_there_and_back(address) -> None:  # type: ignore[no-untyped-def]
    sim = Simulator()
    server = sim.server.stack.udp_socket(53)
    client = sim.client.stack.udp_socket()
    told = []
    server.on_event = lambda: told.append("server")
    assert client.send_to(b"query", endpoint(53, address), sim.now)
    sim.run(1.0)
    item = server.receive()
    assert item is not None and item[0] == b"query" and item[1].port == client.port and told == ["server"]
    server.send_to(b"answer", item[1], sim.now)
    sim.run(1.0)
    assert client.receive() == (b"answer", endpoint(53, address))
    assert client.receive() is None
    assert sim.client.stack.next_deadline() is None


def test_a_connected_socket_hears_its_peer_only() -> None:
    sim = Simulator()
    client = sim.client.stack.udp_socket()
    client.connect(endpoint(53))
    assert client.local == Endpoint(CLIENT, client.port)
    stranger = sim.server.stack.udp_socket(54)
    peer = sim.server.stack.udp_socket(53)
    for socket in (stranger, peer):
        socket.send_to(b"from %d" % socket.port, client.local, sim.now)
    client.send_to(b"default destination", None, sim.now)
    sim.run(1.0)
    assert client.receive() == (b"from 53", endpoint(53))
    assert client.receive() is None
    item = peer.receive()
    assert item is not None and item[0] == b"default destination"


def test_queues_are_bounded_and_count_what_they_drop() -> None:
    config = StackConfig(udp_receive_datagrams=3, udp_receive_bytes=1000, udp_output_bytes=400)
    sim = Simulator(config=config)
    server = sim.server.stack.udp_socket(53)
    client = sim.client.stack.udp_socket()
    assert [client.send_to(bytes(100), endpoint(53), sim.now) for _ in range(5)] == [True] * 3 + [False] * 2
    assert client.dropped_output == 2
    sim.run(1.0)
    client.send_to(b"one more", endpoint(53), sim.now)
    sim.run(1.0)
    assert server.dropped_full == 1 and server.queued_bytes == 300
    server.receive()
    for _ in range(3):
        client.send_to(bytes(300), endpoint(53), sim.now)
        sim.run(1.0)
    assert server.queued_bytes <= 1000
    assert sim.server.stack.statistics.dropped["udp_socket"] == server.dropped_full


def test_what_does_not_fit_is_refused() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1))
    socket = stack.udp_socket()
    socket.send_to(bytes(1392), endpoint(53), 0.0)
    with pytest.raises(MessageTooLong) as caught:
        socket.send_to(bytes(1393), endpoint(53), 0.0)
    assert "1392" in caught.value.message
    assert [len(packet) for packet in stack.poll(0.0)] == [1420]
    with pytest.raises(StateError):
        socket.send_to(b"x", None, 0.0)
    with pytest.raises(AddressError) as no_family:
        socket.send_to(b"x", endpoint(53, SERVER6), 0.0)
    assert no_family.value.code == "no_family"


def test_ports() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1))
    assert stack.udp_socket(53).port == 53
    with pytest.raises(NetworkError) as caught:
        stack.udp_socket(53)
    assert caught.value.code == "address_in_use"
    drawn = [stack.udp_socket() for _ in range(50)]
    assert len({socket.port for socket in drawn}) == 50
    drawn[0].close()
    drawn[0].close()
    assert stack.udp_socket(drawn[0].port).port == drawn[0].port
    with pytest.raises(StateError):
        drawn[0].send_to(b"x", endpoint(53), 0.0)


def test_unreachable_is_reported_to_the_socket_that_sent() -> None:
    sim = Simulator(server_config=StackConfig(udp_unreachable=True))
    socket, other = sim.client.stack.udp_socket(), sim.client.stack.udp_socket()
    told = []
    socket.on_event = lambda: told.append(1)
    other.on_event = lambda: told.append(2)
    socket.send_to(b"anyone?", endpoint(9), sim.now)
    sim.run(1.0)
    assert told == [1]
    taken = socket.take_error()
    assert taken is not None and isinstance(taken[0], ConnectionRefused)
    assert taken[0].code == "port_unreachable" and taken[1] == endpoint(9)
    assert socket.take_error() is None and other.take_error() is None


def test_closed_ports_are_silent_by_default() -> None:
    sim = Simulator()
    socket = sim.client.stack.udp_socket()
    socket.send_to(b"anyone?", endpoint(9), sim.now)
    sim.run(5.0)
    assert socket.error is None and sim.server.stack.statistics.packets_out == 0
    assert sim.server.stack.statistics.dropped["udp_no_socket"] == 1


def test_an_error_about_something_never_sent_is_ignored() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1))
    socket = stack.udp_socket(5000)
    packet = ipv4.build(CLIENT.packed, SERVER.packed, ip.UDP, udp.build(CLIENT.packed, SERVER.packed, 5000, 53, b""), 1)
    other = Stack([SERVER], 1420, SeededRandom(2))
    other.send_error(ErrorKind.PORT_UNREACHABLE, packet, SERVER, 0.0)
    for answer in other.poll(0.0):
        stack.receive(answer, 0.0)
    assert socket.error is None and stack.statistics.dropped["icmp_unrelated"] == 1


def test_the_exit_policy_and_the_end_of_the_tunnel_reach_sockets() -> None:
    stack = Stack([CLIENT, CLIENT6], 1420, SeededRandom(1))
    socket = stack.udp_socket()
    connection = stack.tcp_connect(endpoint(25), 0.0)
    bystander = stack.tcp_connect(endpoint(443), 0.0)
    socket.send_to(b"x", endpoint(25), 0.0)
    assert stack.refuse(endpoint(25), "port 25") == 2
    assert socket.error is not None and socket.error.code == "policy_denied"
    assert isinstance(connection.error, ConnectionRefused) and connection.error.code == "policy_denied"
    assert bystander.error is None
    stack.abort_all(TunnelError("the exit is gone", code="exit_lost"), 1.0)
    assert bystander.error is not None and bystander.error.code == "exit_lost"
    assert socket.error.code == "exit_lost"
    stack.poll(1.0)
    assert stack.next_deadline() is None and not stack.connections


def test_one_notice_for_many_datagrams_of_one_call() -> None:
    sim = Simulator()
    server = sim.server.stack.udp_socket(53)
    got = []

    def read() -> None:
        while (item := server.receive()) is not None:
            got.append(item[0])

    server.on_event = read
    client = sim.client.stack.udp_socket()
    for n in range(5):
        client.send_to(b"%d" % n, endpoint(53), sim.now)
    sim.run(1.0)
    assert got == [b"0", b"1", b"2", b"3", b"4"]
