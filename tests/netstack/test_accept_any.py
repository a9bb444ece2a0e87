"""A stack that plays the whole internet: the hooks by which a user-space exit decides about its clients' flows."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from smolmix_web.errors import MessageTooLong, StateError
from smolmix_web.netstack import Echo, Endpoint, ErrorKind, StackConfig, State, SynRequest, TcpConfig
from tests.netsim.raw import ACK, RST, SYN
from tests.netsim.simulator import CLIENT, Peer, Simulator

ANYWHERE = Endpoint(IPv4Address("93.184.216.34"), 443)


def made(**options: object) -> Simulator:
    return Simulator(accept_any=True, **options)  # type: ignore[arg-type]


def test_accept_at_once() -> None:
    sim = made()
    peers = []

    def on_syn(request: SynRequest, now: float) -> None:
        assert (request.local, request.remote.address) == (ANYWHERE, CLIENT)
        peers.append(Peer(sim, request.accept(now), b"welcome"))

    sim.server.stack.on_syn = on_syn
    client = Peer(sim, sim.client.stack.tcp_connect(ANYWHERE, sim.now), b"hello")
    assert sim.run(10, until=lambda: client.done and peers[0].done)
    assert bytes(client.received) == b"welcome" and bytes(peers[0].received) == b"hello"


def test_defer_then_accept() -> None:
    """The exit dials out first; repeated SYNs meanwhile neither get an answer nor ask again."""
    sim = made()
    requests: list[SynRequest] = []
    sim.server.stack.on_syn = lambda request, now: requests.append(request)
    connection = sim.client.stack.tcp_connect(ANYWHERE, sim.now)
    sim.run(10.0)
    assert len(requests) == 1 and sim.server.stack.statistics.packets_out == 0
    assert sim.server.stack.statistics.dropped["syn_undecided"] == 2
    accepted = requests[0].accept(sim.now, TcpConfig(receive_buffer=10_000, receive_buffer_max=10_000))
    assert accepted.state is State.SYN_RECEIVED
    accepted.send(b"banner", sim.now)
    sim.run(5.0)
    assert connection.receive(100, sim.now) == b"banner"
    with pytest.raises(StateError):
        requests[0].accept(sim.now)
    requests[0].refuse(sim.now)
    sim.run(5.0)
    assert connection.state is State.ESTABLISHED


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (None, "connect_refused"),
        (ErrorKind.PORT_UNREACHABLE, "port_unreachable"),
        (ErrorKind.HOST_UNREACHABLE, "host_unreachable"),
        (ErrorKind.PROHIBITED, "admin_prohibited"),
    ],
)
@pytest.mark.parametrize("deferred", [False, True])
def test_refuse(reason: ErrorKind | None, code: str, deferred: bool) -> None:
    sim = made()
    requests: list[SynRequest] = []

    def on_syn(request: SynRequest, now: float) -> None:
        requests.append(request)
        if not deferred:
            request.refuse(now, reason)

    sim.server.stack.on_syn = on_syn
    connection = sim.client.stack.tcp_connect(ANYWHERE, sim.now)
    sim.run(1.0)
    if deferred:
        assert connection.state is State.SYN_SENT
        requests[0].refuse(sim.now, reason)
        sim.run(1.0)
    assert connection.error is not None and connection.error.code == code
    assert sim.server.stack.next_deadline() is None


def test_the_client_gives_up_while_undecided() -> None:
    sim = made()
    requests: list[SynRequest] = []
    cancelled = []

    def on_syn(request: SynRequest, now: float) -> None:
        requests.append(request)
        request.on_cancel = lambda: cancelled.append(request)

    sim.server.stack.on_syn = on_syn
    sim.client.stack.tcp_connect(ANYWHERE, sim.now, connect_timeout=5.0)
    sim.run(74.0)
    assert not cancelled
    sim.run(2.0)  # nobody tells the exit: its own deadline
    assert cancelled == requests and requests[0].cancelled
    with pytest.raises(StateError):
        requests[0].accept(sim.now)
    assert sim.server.stack.next_deadline() is None


def test_a_reset_cancels_an_undecided_request() -> None:
    from tests.netsim.raw import Raw

    raw = Raw()
    requests: list[SynRequest] = []
    raw.stack.on_syn = lambda request, now: requests.append(request)
    raw.local = raw.local._replace(port=80)
    assert raw.inject(SYN, 0) == []
    raw.inject(RST, 500)
    assert not requests[0].cancelled
    raw.inject(RST, 1)
    assert requests[0].cancelled
    raw.inject(ACK, 1, 1)
    assert raw.stack.next_deadline() in (None, 0.0)


def test_undecided_requests_are_bounded() -> None:
    sim = made(server_config=StackConfig(max_pending_syns=5))
    requests: list[SynRequest] = []
    sim.server.stack.on_syn = lambda request, now: requests.append(request)
    for port in range(1, 11):
        sim.client.stack.tcp_connect(ANYWHERE._replace(port=port), sim.now)
    sim.run(1.0)
    assert len(requests) == 5 and sim.server.stack.statistics.dropped["syn_limit"] == 5


def test_many_destinations_at_once() -> None:
    sim = made()
    echoes = []

    def on_syn(request: SynRequest, now: float) -> None:
        echoes.append(Peer(sim, request.accept(now), str(request.local).encode()))

    sim.server.stack.on_syn = on_syn
    clients = {}
    for n in range(60):
        remote = Endpoint(IPv4Address(f"93.184.{n % 7}.{n}"), 80 + n % 5)
        clients[remote] = Peer(sim, sim.client.stack.tcp_connect(remote, sim.now), bytes(2000))
    assert sim.run(30, until=lambda: all(client.done for client in clients.values()))
    assert all(bytes(client.received) == str(remote).encode() for remote, client in clients.items())
    assert all(len(echo.received) == 2000 for echo in echoes)


def test_without_a_hook_everything_is_refused() -> None:
    sim = made()
    connection = sim.client.stack.tcp_connect(ANYWHERE, sim.now)
    sim.run(1.0)
    assert connection.error is not None and connection.error.code == "connect_refused"


def test_datagrams_to_anywhere() -> None:
    sim = made()
    seen = []

    def on_udp(source: Endpoint, destination: Endpoint, data: bytes, now: float) -> None:
        seen.append((destination, data))
        if data == b"nobody":
            sim.server.stack.send_udp_error(ErrorKind.PORT_UNREACHABLE, source, destination, now)
        else:
            sim.server.stack.send_udp(destination, source, data[::-1], now)

    sim.server.stack.on_udp = on_udp
    socket = sim.client.stack.udp_socket()
    socket.send_to(b"query", Endpoint(IPv4Address("8.8.8.8"), 53), sim.now)
    socket.send_to(b"nobody", Endpoint(IPv4Address("8.8.4.4"), 53), sim.now)
    sim.run(1.0)
    assert seen == [
        (Endpoint(IPv4Address("8.8.8.8"), 53), b"query"),
        (Endpoint(IPv4Address("8.8.4.4"), 53), b"nobody"),
    ]
    assert socket.receive() == (b"yreuq", Endpoint(IPv4Address("8.8.8.8"), 53))
    taken = socket.take_error()
    assert taken is not None and taken[0].code == "port_unreachable"
    with pytest.raises(MessageTooLong):
        sim.server.stack.send_udp(ANYWHERE, Endpoint(CLIENT, 1), bytes(1500), sim.now)


def test_pings_to_anywhere() -> None:
    sim = made()
    stack = sim.server.stack
    first = sim.client.stack.ping(ANYWHERE.address, sim.now)
    sim.run(1.0)
    assert first.rtt is not None  # no hook: everything answers
    asked = []

    def on_echo(source: IPv4Address, destination: IPv4Address, echo: Echo, now: float) -> bool:
        asked.append((source, destination))
        if destination == ANYWHERE.address:
            sim.after(0.5, lambda: answer(destination, source, echo))
        return False

    def answer(source: IPv4Address, destination: IPv4Address, echo: Echo) -> None:
        stack.send_echo_reply(source, destination, echo, sim.now)
        sim.poke()

    stack.on_echo = on_echo  # type: ignore[assignment]
    late = sim.client.stack.ping(ANYWHERE.address, sim.now, b"data")
    silent = sim.client.stack.ping(IPv4Address("9.9.9.9"), sim.now, timeout=2.0)
    sim.run(5.0)
    assert late.rtt == pytest.approx(0.6) and silent.error is not None
    assert asked == [(CLIENT, ANYWHERE.address), (CLIENT, IPv4Address("9.9.9.9"))]
