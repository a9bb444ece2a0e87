"""ICMP errors to the right socket, path MTU, MTU changes, pings, echo replies, fragments, martians."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address

import pytest

from smolmix_web.errors import (
    ConnectionRefused,
    HostUnreachable,
    MessageTooLong,
    NetworkError,
    OptionError,
    TimeoutExpired,
)
from smolmix_web.netstack import Echo, Endpoint, ErrorKind, Stack, StackConfig, State, icmp, ip, ipv4, udp
from smolmix_web.netstack.addresses import is_group, is_martian_source
from smolmix_web.rand import SeededRandom
from tests.netsim.raw import ACK, SYN, Raw
from tests.netsim.simulator import CLIENT, CLIENT6, SERVER, SERVER6, Host, Session, Simulator, Wire, endpoint

ROUTER = IPv4Address("198.51.100.1")


def stack_with_syn_out() -> tuple[Raw, object, bytes]:
    raw = Raw()
    connection = raw.stack.tcp_connect(raw.remote, raw.now)
    (packet,) = raw.stack.poll(raw.now)
    raw.read(packet)
    return raw, connection, packet


def error(kind: ErrorKind, packet: bytes, mtu: int = 0) -> bytes:
    return icmp.build_error(kind, packet, ROUTER.packed, 1, mtu=mtu)


@pytest.mark.parametrize(
    ("kind", "of", "code"),
    [
        (ErrorKind.PORT_UNREACHABLE, ConnectionRefused, "port_unreachable"),
        (ErrorKind.PROTOCOL_UNREACHABLE, ConnectionRefused, "protocol_unreachable"),
        (ErrorKind.HOST_UNREACHABLE, HostUnreachable, "host_unreachable"),
        (ErrorKind.NETWORK_UNREACHABLE, HostUnreachable, "network_unreachable"),
        (ErrorKind.PROHIBITED, HostUnreachable, "admin_prohibited"),
    ],
)
def test_unreachable_fails_a_connecting_socket_at_once(kind: ErrorKind, of: type, code: str) -> None:
    raw, connection, packet = stack_with_syn_out()
    raw.stack.receive(error(kind, packet), raw.now)
    assert isinstance(connection.error, of)  # type: ignore[attr-defined]
    assert connection.error.code == code and connection.error.phase == "connect"  # type: ignore[attr-defined]
    assert raw.stack.next_deadline() is None


def test_errors_that_quote_another_sequence_number_are_ignored() -> None:
    """RFC 5927."""
    raw, connection, packet = stack_with_syn_out()
    forged = packet[:24] + bytes(4) + packet[28:]
    raw.stack.receive(error(ErrorKind.PORT_UNREACHABLE, forged), raw.now)
    assert connection.state is State.SYN_SENT  # type: ignore[attr-defined]
    assert raw.stack.statistics.dropped["icmp_unrelated"] == 1


def test_errors_about_an_open_connection_are_a_hint() -> None:
    raw = Raw(user_timeout=10.0)
    connection = raw.connect()
    connection.send(b"x", raw.now)
    (packet,) = raw.stack.poll(raw.now)
    raw.stack.receive(error(ErrorKind.HOST_UNREACHABLE, packet), raw.now)
    assert connection.state is State.ESTABLISHED
    raw.advance(20.0)
    assert isinstance(connection.error, TimeoutExpired)
    assert "host unreachable" in connection.error.message


def test_fragmentation_needed_lowers_the_segment_size_at_once() -> None:
    raw = Raw()
    connection = raw.connect()
    connection.send(bytes(5000), raw.now)
    packets = raw.stack.poll(raw.now)
    cwnd = connection.sender.congestion.cwnd
    raw.stack.receive(error(ErrorKind.FRAGMENTATION_NEEDED, packets[0], 1000), raw.now)
    out = raw.take()
    assert out and out[0].seq == 1 and all(len(segment.payload) <= 960 for segment in out)
    assert connection.sender.congestion.cwnd == cwnd
    later = raw.stack.tcp_connect(raw.remote, raw.now)
    assert later.path_mss == 960  # remembered for the destination
    elsewhere = raw.stack.tcp_connect(Endpoint(ROUTER, 80), raw.now)
    assert elsewhere.path_mss == 1380


@pytest.mark.parametrize(("mtu", "mss"), [(0, 1240), (100, 512), (1400, 1360), (1420, 1380), (9000, 1380)])
def test_odd_next_hop_mtus(mtu: int, mss: int) -> None:
    """0: an old router, so the next plateau (RFC 1191 7). Tiny ones are not believed."""
    raw = Raw()
    connection = raw.connect()
    connection.send(bytes(5000), raw.now)
    packets = raw.stack.poll(raw.now)
    raw.stack.receive(error(ErrorKind.FRAGMENTATION_NEEDED, packets[0], mtu), raw.now)
    assert connection.sender.mss == mss


def test_a_path_with_a_smaller_mtu_somewhere() -> None:
    sim = Simulator()

    def router(host: str, packet: bytes) -> bytes | None:
        if len(packet) <= 1000:
            return packet
        answer = icmp.build_error(ErrorKind.FRAGMENTATION_NEEDED, packet, ROUTER.packed, 1, mtu=1000)
        sim.after(0.01, lambda: tell(sim.client if host == "client" else sim.server, answer))
        return None

    def tell(host: Host, answer: bytes) -> None:
        host.stack.receive(answer, sim.now)
        sim.poke()

    sim.filter = router
    session = Session(sim, bytes(100_000), bytes(100_000))
    assert sim.run(30, until=lambda: session.done)
    assert len(session.client.received) == len(session.server.received) == 100_000
    assert session.connection.sender.timeouts == 0


def test_set_mtu_while_data_is_in_flight() -> None:
    sim = Simulator(mtu=1280)
    session = Session(sim, b"", bytes(300_000))
    sim.run(0.45)
    sim.server.stack.set_mtu(700)
    sim.back.mtu = 700
    assert sim.run(60, until=lambda: session.done)
    assert len(session.client.received) == 300_000
    assert session.server.connection.sender.mss == 660 - 12  # timestamps
    sim.server.stack.set_mtu(1420)
    assert sim.server.stack.mtu == 1420
    for bad in (575, 65_536):
        with pytest.raises(OptionError):
            sim.server.stack.set_mtu(bad)


def test_packets_never_exceed_the_mtu() -> None:
    sim = Simulator(mtu=600, there=Wire(loss=0.05), back=Wire(loss=0.05))
    sizes = []
    sim.filter = lambda host, packet: sizes.append(len(packet)) or packet  # type: ignore[func-returns-value]
    session = Session(sim, bytes(50_000), bytes(50_000))
    assert sim.run(100, until=lambda: session.done)
    assert max(sizes) == 600


# -- echo


@pytest.mark.parametrize("address", [SERVER, SERVER6])
def test_ping_measures_the_round_trip(address: IPv4Address) -> None:
    sim = Simulator(there=Wire(delay=0.3), back=Wire(delay=0.2))
    told = []
    ping = sim.client.stack.ping(address, sim.now, b"payload")
    ping.on_event = lambda: told.append(ping.rtt)
    assert sim.run(5, until=lambda: ping.done)
    assert told == [pytest.approx(0.5)] and ping.error is None
    assert sim.client.stack.next_deadline() is None


def test_ping_fails_by_time_error_policy_and_cancel() -> None:
    sim = Simulator(there=Wire(down=True))
    stack = sim.client.stack
    silent = stack.ping(SERVER, sim.now, timeout=3.0)
    cancelled = stack.ping(SERVER, sim.now)
    cancelled.cancel()
    assert sim.run(3.1) or silent.done
    assert isinstance(silent.error, TimeoutExpired) and silent.error.code == "ping_timeout"
    assert not cancelled.done
    denied = stack.ping(IPv4Address("10.0.0.1"), sim.now)
    assert stack.refuse(Endpoint(IPv4Address("10.0.0.1"), 0)) == 1
    assert denied.error is not None and denied.error.code == "policy_denied"
    failed = stack.ping(SERVER, sim.now)
    packet = stack.poll(sim.now)[-1]
    stack.receive(error(ErrorKind.HOST_UNREACHABLE, packet), sim.now)
    assert failed.error is not None and failed.error.code == "host_unreachable"
    assert stack.next_deadline() is None


def test_pings_are_bounded_and_forged_replies_ignored() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1), config=StackConfig(max_pings=2))
    ping = stack.ping(SERVER, 0.0, b"secret")
    stack.ping(SERVER, 0.0)
    with pytest.raises(NetworkError) as caught:
        stack.ping(SERVER, 0.0)
    assert caught.value.code == "too_many_pings"
    with pytest.raises(NetworkError):
        Stack([CLIENT], 600, SeededRandom(1)).ping(SERVER, 0.0, bytes(600))
    for payload, identifier in ((b"wrong!", ping.identifier), (b"secret", ping.identifier ^ 1)):
        body = icmp.build_echo(SERVER.packed, CLIENT.packed, Echo(True, identifier, ping.sequence, payload))
        stack.receive(ipv4.build(SERVER.packed, CLIENT.packed, ip.ICMP, body, 1), 0.1)
    assert not ping.done


def test_echo_requests_are_answered_at_a_limited_rate() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1))
    request = Echo(False, 7, 8, b"abc")
    packet = ipv4.build(
        SERVER.packed, CLIENT.packed, ip.ICMP, icmp.build_echo(SERVER.packed, CLIENT.packed, request), 1
    )
    for _ in range(50):
        stack.receive(packet, 0.0)
    answers = stack.poll(0.0)
    assert len(answers) == 20 and stack.statistics.dropped["echo_rate"] == 30
    header = ipv4.parse(answers[0])
    assert icmp.parse(header.source, header.destination, answers[0][20:]) == Echo(True, 7, 8, b"abc")
    stack.receive(packet, 1.0)
    assert len(stack.poll(1.0)) == 1


# -- fragments, strangers, martians


def test_fragmented_packets_are_put_together() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1))
    socket = stack.udp_socket(5353)
    body = udp.build(SERVER.packed, CLIENT.packed, 53, 5353, bytes(range(256)) * 20)
    for at in reversed(range(0, len(body), 1400)):
        piece = body[at : at + 1400]
        flags = at >> 3 | (ipv4.FLAG_MF if at + 1400 < len(body) else 0)
        stack.receive(ipv4.header(SERVER.packed, CLIENT.packed, ip.UDP, 20 + len(piece), 9, flags) + piece, 5.0)
    assert socket.receive() == (bytes(range(256)) * 20, endpoint(53))
    lone = ipv4.header(SERVER.packed, CLIENT.packed, ip.UDP, 28, 10, ipv4.FLAG_MF) + bytes(8)
    stack.receive(lone, 5.0)
    assert stack.next_deadline() == 35.0
    stack.poll(35.0)
    assert stack.next_deadline() is None


@pytest.mark.parametrize(
    ("text", "martian", "group"),
    [
        ("0.0.0.0", True, False),
        ("127.0.0.1", True, False),
        ("224.0.0.1", True, True),
        ("255.255.255.255", True, True),
        ("240.0.0.1", True, False),
        ("8.8.8.8", False, False),
        ("10.0.0.1", False, False),
    ],
)
def test_martians(text: str, martian: bool, group: bool) -> None:
    packed = IPv4Address(text).packed
    assert (is_martian_source(packed), is_group(packed)) == (martian, group)
    raw = Raw()
    raw.stack.tcp_listen(80)
    raw.remote = Endpoint(IPv4Address(text), 1000)
    raw.local = raw.local._replace(port=80)
    assert bool(raw.inject(SYN, 0)) is not martian


def test_ipv6_martians() -> None:
    for text, martian in (("::", True), ("::1", True), ("ff02::1", True), ("2001:db8::1", False)):
        assert is_martian_source(type(CLIENT6)(text).packed) is martian


def test_packets_for_others_and_unknown_protocols_are_counted() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1))
    stack.receive(ipv4.build(SERVER.packed, ROUTER.packed, ip.TCP, bytes(20), 1), 0.0)
    stack.receive(ipv4.build(SERVER.packed, CLIENT.packed, 132, bytes(20), 1), 0.0)
    stack.receive(ipv4.build(CLIENT.packed, CLIENT.packed, ip.TCP, bytes(20), 1), 0.0)
    stack.receive(b"", 0.0)
    stack.receive(b"\x55" * 40, 0.0)
    assert dict(stack.statistics.dropped) == {"not_for_us": 1, "ip_protocol": 1, "martian": 1, "ip_version": 2}
    assert stack.poll(0.0) == []


def test_identifications_count_in_a_connection_and_start_anywhere() -> None:
    """As a Linux kernel's: they tell a server what it counts anyway, and nothing of other connections."""
    raw = Raw()
    starts = []
    for _ in range(8):
        connection = raw.stack.tcp_connect(endpoint(80), raw.now)
        (packet,) = raw.stack.poll(raw.now)
        starts.append(int.from_bytes(packet[4:6], "big"))
        connection.abort(raw.now)
        raw.stack.poll(raw.now)
    assert len({later - earlier for earlier, later in itertools.pairwise(starts)}) > 5
    connection = raw.connect()
    connection.send(bytes(13_800), raw.now)
    numbers = [int.from_bytes(packet[4:6], "big") for packet in raw.stack.poll(raw.now)]
    assert len(numbers) >= 9
    assert {(later - earlier) & 0xFFFF for earlier, later in itertools.pairwise(numbers)} == {1}
    assert raw.inject(ACK, 1, 13_801) == []


def test_error_helper_never_answers_errors_and_is_limited() -> None:
    stack = Stack([CLIENT], 1420, SeededRandom(1), config=StackConfig(error_rate=3.0))
    packet = ipv4.build(SERVER.packed, CLIENT.packed, ip.UDP, udp.build(SERVER.packed, CLIENT.packed, 1, 2, b""), 1)
    assert [stack.send_error(ErrorKind.TTL_EXCEEDED, packet, CLIENT, 0.0) for _ in range(4)] == [True] * 3 + [False]
    (first, *_) = stack.poll(0.0)
    assert not stack.send_error(ErrorKind.TTL_EXCEEDED, first, CLIENT, 9.0)
    assert stack.statistics.icmp_errors_out == 3


def test_too_long_for_udp_by_icmp() -> None:
    sim = Simulator()
    socket = sim.client.stack.udp_socket()
    socket.send_to(bytes(1300), endpoint(9), sim.now)
    (packet,) = sim.client.stack.poll(sim.now)
    sim.client.stack.receive(error(ErrorKind.FRAGMENTATION_NEEDED, packet, 1000), sim.now)
    assert isinstance(socket.error, MessageTooLong)
    with pytest.raises(MessageTooLong):
        socket.send_to(bytes(1300), endpoint(9), sim.now)
    socket.send_to(bytes(972), endpoint(9), sim.now)
